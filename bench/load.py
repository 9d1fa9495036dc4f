"""One process with many unary calls in flight, through the bundled Python stubs. Prints one JSON object.

python -m bench.load 127.0.0.1:50061 --kind transfer --in-flight 256 --count 20000
"""

import argparse
import asyncio
import gc
import json
import random
import sys
import time
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import grpc.aio
import uvloop
from specie.transaction.v1 import DepositRequest, TransactionServiceStub, TransferRequest
from specie.type.v1 import Money

WALLETS = 1000
DEADLINE_SECONDS = 30


def wallet(number: int) -> str:
    return f"wallets/bench-{number}"


def money(minor_units: int) -> Money:
    return Money(currency_code="USD", minor_units=minor_units)


def calls(stub: Any, kind: str) -> Callable[[int], Awaitable[None]]:  # noqa: ANN401 - see below
    """What call number n is. Keys never repeat between runs. The stub's own type is that of a blocking one."""
    run = uuid.uuid4().hex

    async def transfer(number: int) -> None:
        source, destination = random.sample(range(WALLETS), 2)
        request = TransferRequest(
            source=wallet(source), destination=wallet(destination), amount=money(1), request_id=f"{run}-{number}"
        )
        await stub.Transfer(request, timeout=DEADLINE_SECONDS)

    async def hot(number: int) -> None:
        """Every deposit debits system/cash-usd."""
        request = DepositRequest(
            wallet=wallet(random.randrange(WALLETS)),  # noqa: S311 - load, not a secret
            amount=money(1),
            request_id=f"{run}-{number}",
        )
        await stub.Deposit(request, timeout=DEADLINE_SECONDS)

    return {"transfer": transfer, "hot": hot}[kind]


async def run(target: str, kind: str, in_flight: int, count: int) -> dict[str, float]:
    async with grpc.aio.insecure_channel(target) as channel:
        call = calls(TransactionServiceStub(channel), kind)
        latencies: list[float] = []
        numbers = iter(range(count))

        async def caller() -> None:
            for number in numbers:
                started = time.perf_counter()
                await call(number)
                latencies.append(time.perf_counter() - started)

        started = time.perf_counter()
        await asyncio.gather(*(caller() for _ in range(min(in_flight, count))))
        seconds = time.perf_counter() - started
    latencies.sort()
    return {
        "transfers_per_second": count / seconds,
        "p50_ms": latencies[count // 2] * 1000,
        "p95_ms": latencies[count * 95 // 100] * 1000,
        "p99_ms": latencies[count * 99 // 100] * 1000,
        "client_cpu_us": time.process_time() / count * 1e6,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target")
    parser.add_argument("--kind", choices=("transfer", "hot"), default="transfer")
    parser.add_argument("--in-flight", type=int, default=256)
    parser.add_argument("--count", type=int, default=20_000)
    options = parser.parse_args()
    gc.freeze()  # as the service does: the collector walks no imports while we measure
    result = uvloop.run(run(options.target, options.kind, options.in_flight, options.count))
    json.dump(result, sys.stdout)


if __name__ == "__main__":
    main()
