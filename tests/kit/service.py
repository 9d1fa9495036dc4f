"""A service as it runs: a process of its own, on free ports, over a database of a test."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.request import urlopen
from uuid import uuid4

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.kit.ports import free_ports
from tests.kit.postgres import Database
from tests.kit.tokens import SERVICE_TOKEN_FILE, SETTINGS

PATIENCE_SECONDS = 30.0
"""For things that must happen; how long they take is not what is tested."""
POLL_SECONDS = 0.02


def wait_until(happened: Callable[[], object], what: str) -> None:
    last = time.monotonic() + PATIENCE_SECONDS
    while not happened():
        assert time.monotonic() < last, f"it did not happen: {what}"
        time.sleep(POLL_SECONDS)


async def wait_until_async(happened: Callable[[], object], what: str) -> None:
    """The same beside running calls."""
    last = time.monotonic() + PATIENCE_SECONDS
    while not happened():
        assert time.monotonic() < last, f"it did not happen: {what}"
        await asyncio.sleep(POLL_SECONDS)


class ServiceProcess:
    """`python -m module`. It may be stopped or killed and started again, on the same ports; its log goes on."""

    def __init__(self, module: str, prefix: str, database: Database, log: Path, **settings: object) -> None:
        self.workers = int(str(settings.get("WORKERS", 1)))
        ports = free_ports(2 * self.workers)
        self.ports, self.metrics_ports = ports[: self.workers], ports[self.workers :]
        own: dict[str, object] = {
            "PORT": self.ports[0],
            "METRICS_PORT": self.metrics_ports[0],
            "SHUTDOWN_NOTICE_SECONDS": 0,
            **SETTINGS,
        }
        if module == "wallet_service":
            own["SERVICE_TOKEN_FILE"] = SERVICE_TOKEN_FILE
        self._module = module
        self._environment = database.environment | {prefix + k: str(v) for k, v in (own | settings).items()}
        self._log = log
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def targets(self) -> list[str]:
        return [f"127.0.0.1:{port}" for port in self.ports]

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def start(self) -> None:
        """Returns when every worker says that it is ready."""
        self.launch()
        for target in self.targets:
            wait_until(partial(self._is_ready, target), f"{target} is ready")

    def launch(self) -> None:
        """Does not wait."""
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", self._module],
                env=os.environ | self._environment,
                stderr=log,
                stdout=log,
                stdin=subprocess.DEVNULL,
            )

    def terminate(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)

    def wait(self) -> int:
        """Its exit code."""
        assert self.process is not None
        return self.process.wait(PATIENCE_SECONDS)

    def stop(self) -> int:
        self.terminate()
        return self.wait()

    def kill(self) -> None:
        """kill -9. Children of a supervisor end by themselves."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def end(self) -> None:
        """Whatever became of it."""
        if self.process is None or self.process.poll() is not None:
            return
        self.process.terminate()
        try:
            self.process.wait(PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()

    def worker_pids(self) -> set[int]:
        """Its children."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children")
        return {int(pid) for pid in children.read_text().split()}

    def events(self, name: str = "") -> list[dict[str, Any]]:
        """What it has logged, or its events of one name. What is no JSON is of this name too: `not json`."""
        found: list[dict[str, Any]] = []
        for line in self._log.read_text().splitlines():
            try:
                found.append(json.loads(line))
            except ValueError:
                found.append({"event": "not json", "text": line})
        return [event for event in found if not name or event.get("event") == name]

    def log_text(self) -> str:
        return self._log.read_text()

    def metrics(self, worker: int = 0) -> dict[str, float]:
        """Its metrics by name with labels."""
        url = f"http://127.0.0.1:{self.metrics_ports[worker]}/metrics"
        with urlopen(url, timeout=PATIENCE_SECONDS) as answer:
            lines = [line for line in answer.read().decode().splitlines() if not line.startswith("#")]
        return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}

    def _is_ready(self, target: str) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.log_text()
        return health(target) == "SERVING"


def health(target: str, service: str = "") -> str:
    """What grpc.health.v1 says, or the code of the error."""
    with grpc.insecure_channel(target) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        try:
            answer = stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=PATIENCE_SECONDS)
        except grpc.RpcError as error:
            return str(error.code().name)
    return health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)


@contextmanager
def transaction_service(database: Database, folder: Path, **settings: object) -> Iterator[ServiceProcess]:
    """Ready; ended at the end, whatever happened."""
    log = folder / f"transaction-{uuid4().hex}.log"
    process = ServiceProcess("transaction_service", "SPECIE_TRANSACTION_", database, log, **settings)
    try:
        process.start()
        yield process
    finally:
        process.end()


@contextmanager
def back_office(database: Database, folder: Path, **settings: object) -> Iterator[ServiceProcess]:
    """As transaction_service. Without settings it seals nothing, pays nothing out and sends nothing."""
    log = folder / f"back-office-{uuid4().hex}.log"
    module = "transaction_service.back_office"
    own = {"DATABASE_DSN": database.transaction_dsn} | settings
    process = ServiceProcess(module, "SPECIE_BACK_OFFICE_", database, log, **own)
    try:
        process.start()
        yield process
    finally:
        process.end()
