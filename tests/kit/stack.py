"""A running stack: `specie up` as a person starts it, in a process of its own."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import Message
from pathlib import Path
from typing import Any

from tests.kit.ports import free_port

ROOT = Path(__file__).resolve().parents[2]
SPECIE = [sys.executable, "-m", "specie_cli.main"]
READY_TIMEOUT_SECONDS = 90
STOP_TIMEOUT_SECONDS = 60
POLL_SECONDS = 0.05


@dataclass(frozen=True)
class Answer:
    """What HTTP answered."""

    status: int
    body: Any
    """Parsed JSON."""
    headers: Mapping[str, str] = field(repr=False)
    """Names in lower case."""


@dataclass(frozen=True)
class Stack:
    gateway: str
    """http://127.0.0.1:port"""
    wallet: list[str]
    transaction: list[str]
    owner_dsn: str = field(repr=False)
    process: subprocess.Popen[str] = field(repr=False)
    output: Path = field(repr=False)
    """What it prints."""

    @property
    def grpc(self) -> str:
        """The gateway as a gRPC target."""
        return self.gateway.removeprefix("http://")

    def call(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        raw: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """One HTTP call to the gateway; `body` is sent as JSON, `raw` as it is. Every answer must be JSON."""
        data = raw if raw is not None else None if body is None else json.dumps(body).encode()
        url = self.gateway + path
        request = urllib.request.Request(url, method=method, data=data, headers=dict(headers or {}))  # noqa: S310 - ours
        if data is not None and not request.has_header("Content-type"):
            request.add_header("Content-Type", "application/json")
        try:
            with urllib.request.urlopen(request, timeout=30) as response:  # noqa: S310 - ours
                return _answer(response.status, response.read(), response.headers)
        except urllib.error.HTTPError as error:
            with error:
                return _answer(error.code, error.read(), error.headers)

    def stop(self) -> int:
        """As Ctrl-C or a service manager would; its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(STOP_TIMEOUT_SECONDS)


def _answer(status: int, content: bytes, headers: Message) -> Answer:
    names = {name.lower(): value for name, value in headers.items()}
    assert names.get("content-type") == "application/json", (status, names, content[:200])
    return Answer(status, json.loads(content), names)


def specie(*arguments: str, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """The command as a person types it."""
    # Tables are as wide as the terminal; this one is wide enough that nothing is cut.
    environment = os.environ | {"COLUMNS": "200"} | dict(env or {})
    return subprocess.run([*SPECIE, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


@contextmanager
def running_stack(
    arguments: Sequence[str] = ("--ephemeral",), env: Mapping[str, str] | None = None, port: int | None = None
) -> Iterator[Stack]:
    """`specie up` with these arguments, healthy. At the end it is stopped, if it has not been already."""
    with tempfile.TemporaryDirectory(prefix="specie-stack-") as folder:
        ready, output = Path(folder) / "ready.json", Path(folder) / "output.txt"
        command = [*SPECIE, "up", "--port", str(port or free_port()), "--ready-file", str(ready), *arguments]
        with output.open("w") as out:
            process = subprocess.Popen(
                command, cwd=ROOT, env=os.environ | dict(env or {}), stdout=out, stderr=subprocess.STDOUT, text=True
            )
        try:
            found = _ready(process, ready, output)
            yield Stack(
                gateway=found["gateway"],
                wallet=found["wallet"],
                transaction=found["transaction"],
                owner_dsn=found["database"],
                process=process,
                output=output,
            )
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            process.wait(STOP_TIMEOUT_SECONDS)


def _ready(process: subprocess.Popen[str], ready: Path, output: Path) -> dict[str, Any]:
    deadline = time.monotonic() + READY_TIMEOUT_SECONDS
    while not ready.exists():
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"specie up did not get ready ({process.poll()}):\n{output.read_text()}")
        time.sleep(POLL_SECONDS)
    found: dict[str, Any] = json.loads(ready.read_text())
    return found
