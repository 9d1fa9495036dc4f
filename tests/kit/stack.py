"""A running stack: `specie up` as a person starts it, in a process of its own."""

import json
import os
import signal
import ssl
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
from functools import cached_property
from pathlib import Path
from typing import Any

from specie_cli.stack.issuer import Issuer
from tests.kit.ports import free_port
from tests.kit.tokens import EVERYTHING, TTL_SECONDS, USUAL_SUBJECT, Authorised, bearer

ROOT = Path(__file__).resolve().parents[2]
SPECIE = [sys.executable, "-m", "specie_cli.main"]
READY_TIMEOUT_SECONDS = 90
STOP_TIMEOUT_SECONDS = 60
POLL_SECONDS = 0.05
MEASURING = "COVERAGE_PROCESS_CONFIG"
"""The variable by which coverage.py follows into child processes."""
PLENTY = "local=20000,20000,2000"
"""What the usual subject may send, so that no test meets a limit that it did not ask for."""


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
    data_dir: Path = field(repr=False)

    @cached_property
    def token(self) -> str:
        """The usual one, which may do everything."""
        return self.mint()

    def mint(self, subject: str = USUAL_SUBJECT, scope: str = EVERYTHING, **claims: object) -> str:
        """A token of the stack's own issuer."""
        return Issuer(self.data_dir).mint(subject, scope, TTL_SECONDS, **claims)

    def header(self, subject: str = USUAL_SUBJECT, scope: str = EVERYTHING) -> tuple[str, str]:
        """The same as metadata."""
        return bearer(self.mint(subject, scope))

    @property
    def grpc(self) -> str:
        """The gateway as a gRPC target."""
        return self.gateway.partition("://")[2]

    @cached_property
    def trust(self) -> ssl.SSLContext | None:
        """With TLS: of the stack's own authority."""
        is_plain = self.gateway.startswith("http://")
        return None if is_plain else ssl.create_default_context(cafile=self.data_dir / "ca.pem")

    def authorised(self, stub: object) -> Any:  # noqa: ANN401 - any stub
        """The stub with the usual token."""
        return Authorised(stub, bearer(self.token))

    def call(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        raw: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        token: str | None = None,
    ) -> Answer:
        """One HTTP call to the gateway; `body` is sent as JSON, `raw` as it is. `token`: None: the usual one, which may
        do everything; empty: none. Every answer must be JSON."""
        data = raw if raw is not None else None if body is None else json.dumps(body).encode()
        url = self.gateway + path
        request = urllib.request.Request(url, method=method, data=data, headers=dict(headers or {}))  # noqa: S310 - ours
        if token != "" and not request.has_header("Authorization"):
            request.add_header("Authorization", f"Bearer {self.token if token is None else token}")
        if data is not None and not request.has_header("Content-type"):
            request.add_header("Content-Type", "application/json")
        try:
            with urllib.request.urlopen(request, timeout=30, context=self.trust) as response:  # noqa: S310 - ours
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
    arguments: Sequence[str] = ("--ephemeral",),
    env: Mapping[str, str] | None = None,
    port: int | None = None,
    *,
    measured: bool = False,
) -> Iterator[Stack]:
    """`specie up` with these arguments, healthy. At the end it is stopped, if it has not been already. `measured`: its
    coverage counts, for a third more CPU; what it runs is measured by tests of each service."""
    environment = {name: value for name, value in os.environ.items() if measured or name != MEASURING} | dict(env or {})
    with tempfile.TemporaryDirectory(prefix="specie-stack-") as folder:
        ready, output = Path(folder) / "ready.json", Path(folder) / "output.txt"
        command = [*SPECIE, "up", "--port", str(port or free_port()), "--ready-file", str(ready)]
        command += ["--subject-limits", PLENTY, *arguments]
        with output.open("w") as out:
            process = subprocess.Popen(
                command, cwd=ROOT, env=environment, stdout=out, stderr=subprocess.STDOUT, text=True
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
                data_dir=Path(found["data_dir"]),
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
