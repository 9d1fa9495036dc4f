"""The measurements that runs are made of. Every client is a process of its own."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from bench import floor
from bench.client import Finding
from bench.load import TOKEN_VARIABLE
from bench.machine import Meter
from bench.measured import Measurement

BALANCE_RATE: Final = 500
BEHIND_GRPC: Final = ("service", "postgresql")
BEHIND_GATEWAY: Final = (*BEHIND_GRPC, "envoy")


@dataclass(frozen=True)
class Place:
    """A service that is measured, and the database that it writes to."""

    meter: Meter
    target: str
    """HOST:PORT."""
    owner_dsn: str
    token: str
    """Of who makes the calls."""
    name: str = ""
    """Goes before the measurements' names."""
    says: str = ""
    """Goes before what they say."""
    wallets: Sequence[str] = ()
    """bench.load's options that choose them, if not the usual ones."""

    def measurement(
        self, name: str, says: str, *load: str, target: str = "", parts: Sequence[str] = BEHIND_GRPC
    ) -> Measurement:
        take = partial(client, ["bench.load", target or self.target, *load, *self.wallets], token=self.token)
        return Measurement(self.name + name, self.says + says, take, self.meter, parts)

    def floor(self, *, hot: bool = False) -> Measurement:
        name, says = ("floor_hot", "SQL, one by one, hot account") if hot else ("floor", "SQL, one by one")
        take = partial(floor.one_by_one, self.owner_dsn, hot=hot)
        return Measurement(name, says, take, self.meter, ("postgresql",))

    def floor_set(self) -> Measurement:
        return self._floor_set("floor_set", "SQL, sets of 1,000", "narrow")

    def floor_set_ledger(self) -> Measurement:
        return self._floor_set("floor_set_ledger", "SQL, sets, ledger's tables", "ledger")

    def _floor_set(self, name: str, says: str, shape: str) -> Measurement:
        take = partial(client, ["bench.floor_set", self.owner_dsn, f"--shape={shape}"])
        return Measurement(name, says, take, self.meter, ("postgresql",))

    def unary(self, in_flight: int) -> Measurement:
        says = f"gRPC, {in_flight} in flight"
        return self.measurement(f"unary_{in_flight}", says, "--kind=transfer", f"--in-flight={in_flight}")

    def batch(self, in_flight: int) -> Measurement:
        says = f"gRPC, batches, {in_flight} in flight"
        return self.measurement(f"batch_{in_flight}", says, "--kind=batch", f"--in-flight={in_flight}")

    def hot(self, in_flight: int) -> Measurement:
        says = f"gRPC, hot account, {in_flight} in flight"
        return self.measurement(f"hot_{in_flight}", says, "--kind=hot", f"--in-flight={in_flight}")

    def balance(self) -> Measurement:
        says = f"balance reads, {BALANCE_RATE}/s"
        return self.measurement("balance", says, "--kind=balance", f"--rate={BALANCE_RATE}")

    def through_gateway(self, url: str, in_flight: int) -> Measurement:
        says = f"JSON, Envoy, {in_flight} in flight"
        load = ("--kind=json", f"--in-flight={in_flight}")
        return self.measurement(f"json_{in_flight}", says, *load, target=url, parts=BEHIND_GATEWAY)


def client(command: Sequence[str], seconds: float, token: str = "") -> Finding:
    """What `python -m COMMAND` tells after so long. Raises with what it said when it fails."""
    arguments = [sys.executable, "-m", *command, f"--seconds={seconds}"]
    environment = os.environ | {TOKEN_VARIABLE: token}
    result = subprocess.run(arguments, env=environment, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise RuntimeError(f"{command[0]} failed:\n{result.stderr}")
    return Finding(**json.loads(result.stdout))
