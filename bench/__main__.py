"""`python -m bench [--seconds N]`: measures a stack of its own and prints a table; JSON goes to bench/results/."""

import argparse
import asyncio
import json
import platform
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc.aio
import psutil
from rich.console import Console
from rich.table import Table
from specie.transaction.v1 import DepositRequest, TransactionServiceStub
from specie.wallet.v1 import CreateWalletRequest, Wallet, WalletServiceStub

from bench import floor
from bench.load import WALLETS, money, wallet
from bench.machine import CpuMeter, memory_mib
from tests.kit.stack import Stack, running_stack

RESULTS = Path(__file__).with_name("results")
IN_FLIGHT = (1, 64, 256)
SECONDS = 10
RATE_EXPECTED = {1: 800, 64: 3000, 256: 3500}
"""Only to choose how many calls make a run of about the asked length."""
FUNDS = 1_000_000_000
OPENED_AT_ONCE = 32

console = Console(stderr=True)


async def open_wallets(stack: Stack) -> None:
    """Through the services' own doors, as any wallet is opened."""
    async with (
        grpc.aio.insecure_channel(stack.wallet[0]) as wallets,
        grpc.aio.insecure_channel(stack.transaction[0]) as transactions,
    ):
        wallet_stub: Any = WalletServiceStub(wallets)
        transaction_stub: Any = TransactionServiceStub(transactions)
        numbers = iter(range(WALLETS))

        async def opener() -> None:
            for number in numbers:
                name = wallet(number)
                new = CreateWalletRequest(wallet_id=name.removeprefix("wallets/"), wallet=Wallet(currency_code="USD"))
                await wallet_stub.CreateWallet(new)
                funds = DepositRequest(wallet=name, amount=money(FUNDS), request_id=f"open {name}")
                await transaction_stub.Deposit(funds)

        await asyncio.gather(*(opener() for _ in range(OPENED_AT_ONCE)))


def unary(stack: Stack, meter: CpuMeter, kind: str, in_flight: int, seconds: int) -> dict[str, float]:
    count = RATE_EXPECTED[in_flight] * seconds
    command = [sys.executable, "-m", "bench.load", stack.transaction[0], "--kind", kind]
    command += ["--in-flight", str(in_flight), "--count", str(count)]
    with meter:
        result = subprocess.run(command, capture_output=True, text=True, check=True)
    measured: dict[str, float] = json.loads(result.stdout)
    measured["service_cpu_us"] = meter.seconds["transaction_service"] / count * 1e6
    measured["postgres_cpu_us"] = meter.seconds["postgres"] / count * 1e6
    return measured


def measure(seconds: int) -> dict[str, Any]:
    with running_stack() as stack:
        process = psutil.Process(stack.process.pid)
        meter = CpuMeter(process)
        results: dict[str, Any] = {"memory_idle_mib": memory_mib(process)}
        console.log(f"opening {WALLETS} wallets")
        asyncio.run(open_wallets(stack))
        floor.prepare(stack.owner_dsn)
        for name, hot in (("floor", False), ("floor_hot", True)):
            console.log(f"{name}: one SQL transaction per transfer, {floor.CLIENTS} clients, {seconds} s")
            results[name] = vars(floor.measure(stack.owner_dsn, seconds, meter, hot=hot))
        for in_flight in IN_FLIGHT:
            console.log(f"unary transfers, {in_flight} in flight")
            results[f"unary_{in_flight}"] = unary(stack, meter, "transfer", in_flight, seconds)
        console.log("unary deposits from one hot account, 256 in flight")
        results["hot_256"] = unary(stack, meter, "hot", 256, seconds)
        results["memory_after_load_mib"] = memory_mib(process)
    return results


def ratios(results: dict[str, Any]) -> dict[str, float]:
    rate = "transfers_per_second"
    load = results["unary_256"]
    cpu = load["service_cpu_us"] + load["postgres_cpu_us"]
    return {
        "unary_256 / floor": load[rate] / results["floor"][rate],
        "hot_256 / floor_hot": results["hot_256"][rate] / results["floor_hot"][rate],
        "hot_256 / unary_256": results["hot_256"][rate] / load[rate],
        "CPU of service and PostgreSQL / CPU of floor": cpu / results["floor"]["cpu_us_per_transfer"],
    }


def show(report: dict[str, Any]) -> None:
    table = Table(title="Durable transfers, fsync on, everything on this machine")
    for heading in ("measured", "transfers/s", "p50 ms", "p95 ms", "p99 ms", "CPU us: service", "PostgreSQL", "client"):
        table.add_column(heading, justify="left" if heading == "measured" else "right")
    for name, row in report["results"].items():
        if "transfers_per_second" in row:
            keys = ("p50_ms", "p95_ms", "p99_ms", "service_cpu_us", "postgres_cpu_us", "client_cpu_us")
            cells = [f"{row[key]:,.1f}" if key in row else "" for key in keys]
            if "cpu_us_per_transfer" in row:
                cells[4] = f"{row['cpu_us_per_transfer']:,.1f} (with pgbench)"
            table.add_row(name, f"{row['transfers_per_second']:,.0f}", *cells)
    screen = Console()
    screen.print(table)
    for name, value in report["ratios"].items():
        screen.print(f"{name}: {value:.2f}")
    for name in ("memory_idle_mib", "memory_after_load_mib"):
        screen.print(f"{name}: {report['results'][name]}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=SECONDS, help="about how long each measurement takes")
    options = parser.parse_args()
    results = measure(options.seconds)
    report = {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {"python": platform.python_version(), "cores": psutil.cpu_count()},
        "results": results,
        "ratios": ratios(results),
    }
    show(report)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "latest.json").write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
