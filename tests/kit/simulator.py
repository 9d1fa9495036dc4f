"""The payout simulator as it runs: a process of its own, on a free port; and its book, read as an auditor would."""

import json
import os
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
from specie.payout.v1 import PayRequest
from specie.type.v1 import Money

from tests.kit.ports import free_port
from tests.kit.service import PATIENCE_SECONDS, health, wait_until

IBAN = "DE02120300000000202051"


@dataclass(frozen=True)
class Booked:
    """A row of the bank's book."""

    minor_units: int
    currency: str
    account: str
    beneficiary: str
    reference: str
    state: str


class SimulatorProcess:
    """`python -m payout_simulator`. It may be stopped or killed and started again, on the same port and book."""

    def __init__(self, folder: Path, options: Sequence[str] = ()) -> None:
        self.data_dir, self.faults, self._log = folder / "bank", folder / "faults.json", folder / "simulator.log"
        self.port = free_port()
        self._options = options
        self._starts = 0
        self.process: subprocess.Popen[bytes] | None = None
        self.switch()

    @property
    def target(self) -> str:
        return f"127.0.0.1:{self.port}"

    def switch(self, **faults: float) -> None:
        """These on, all others off; whole or not at all."""
        new = self.faults.with_suffix(".new")
        new.write_text(json.dumps(faults))
        new.replace(self.faults)

    def launch(self) -> None:
        """Does not wait. Each start has a seed of its own: else one that dies early would always die there."""
        self._starts += 1
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "payout_simulator", "--port", str(self.port), "--seed", str(self._starts)),
                    *("--data-dir", str(self.data_dir), "--faults", str(self.faults), *self._options),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=os.environ | {"PYTHONUNBUFFERED": "1"},
            )

    def start(self) -> None:
        """Returns when it says that it is ready."""
        said = self.log().count("ready:")
        self.launch()
        wait_until(lambda: self.log().count("ready:") > said or not self.runs(), "the simulator is ready")
        assert self.runs(), self.log()

    def runs(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def is_healthy(self) -> bool:
        return health(self.target) == "SERVING"

    def stop(self) -> int:
        """Its exit code."""
        assert self.process is not None
        self.process.terminate()
        return self.wait()

    def wait(self) -> int:
        """Its exit code."""
        assert self.process is not None
        return self.process.wait(PATIENCE_SECONDS)

    def kill(self) -> None:
        """kill -9."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def end(self) -> None:
        """Whatever became of it."""
        if self.runs():
            self.kill()

    def log(self) -> str:
        return self._log.read_text() if self._log.exists() else ""

    def happened(self) -> Counter[str]:
        """How often each fault has."""
        return Counter(line.split()[1] for line in self.log().splitlines() if line.startswith("fault: "))

    def book(self) -> dict[str, Booked]:
        """Every payment, by its key."""
        with closing(sqlite3.connect(f"file:{self.data_dir}/bank.sqlite3?mode=ro", uri=True)) as opened:
            rows = opened.execute(
                "SELECT idempotency_key, minor_units, currency, account, beneficiary, reference, state FROM payment"
            )
            return {key: Booked(*rest) for key, *rest in rows}


@contextmanager
def simulator(folder: Path, options: Sequence[str] = ()) -> Iterator[SimulatorProcess]:
    """Ready, without faults; ended at the end, whatever happened."""
    process = SimulatorProcess(folder, options)
    try:
        process.start()
        yield process
    finally:
        process.end()


def pay_request(key: str, minor_units: int = 100, account: str = IBAN) -> PayRequest:
    return PayRequest(
        idempotency_key=key,
        amount=Money(currency_code="EUR", minor_units=minor_units),
        account=account,
        beneficiary="Ann",
        reference="rent",
    )


def code_of(error: grpc.RpcError) -> str:
    return str(error.code().name)
