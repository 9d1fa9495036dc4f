"""A receiver of webhooks: checks signatures by the library that receivers use, and keeps what it got in its order.

In the test's own process (`Receiver`), where the test decides about every answer, or as a process that fails a share of
what it gets, dies and comes back (`ReceiverProcess`).
"""

import asyncio
import json
import os
import random
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any, NamedTuple, Self

from aiohttp import web
from standardwebhooks import Webhook, WebhookVerificationError

from tests.kit.ports import free_port
from tests.kit.service import PATIENCE_SECONDS, wait_until


class Got(NamedTuple):
    """One request, and what it was answered. `valid`: whether its signature is good by the secret."""

    id: str
    body: dict[str, Any]
    headers: Mapping[str, str]
    valid: bool
    path: str
    text: str
    status: int = 0


class Reply(NamedTuple):
    """An answer."""

    status: int = 200
    headers: Mapping[str, str] = {}
    seconds: float = 0.0
    """How long it takes."""


def is_valid(secret: str, text: str, headers: Mapping[str, str]) -> bool:
    if not secret:
        return False
    try:
        Webhook(secret).verify(text, dict(headers))
    except WebhookVerificationError:
        return False
    return True


async def to_got(request: web.Request, secret: str) -> Got:
    text = (await request.read()).decode()
    headers = {name.lower(): value for name, value in request.headers.items()}
    return Got(headers["webhook-id"], json.loads(text), headers, is_valid(secret, text, headers), request.path_qs, text)


@dataclass
class Receiver:
    """In a thread. What it answers may be changed at any time."""

    secret: str = ""
    answer: Callable[[Got], Reply] = field(default=lambda _: Reply())
    got: list[Got] = field(default_factory=list)
    port: int = field(default_factory=free_port)
    encrypted_by: ssl.SSLContext | None = None

    def __post_init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    @property
    def taken(self) -> list[Got]:
        """What was answered with 2xx."""
        return [got for got in self.got if got.status // 100 == 2]

    def taken_subjects(self) -> list[str]:
        """`transactions/...` and the like."""
        return [next(iter(got.body["data"].values()))["name"] for got in self.taken]

    def wait_for(self, count: int) -> list[Got]:
        """So many that were taken."""
        wait_until(lambda: len(self.taken) >= count, f"{count} webhooks are taken")
        return self.taken

    def listen(self) -> None:
        self._run(self._listen())

    def die(self) -> None:
        """Connections break, and nobody listens any more."""
        self._run(self._die())

    def __enter__(self) -> Self:
        self._thread.start()
        self.listen()
        return self

    def __exit__(self, *_: object) -> None:
        self.die()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _run(self, work: Any) -> None:  # noqa: ANN401 - a coroutine
        asyncio.run_coroutine_threadsafe(work, self._loop).result(PATIENCE_SECONDS)

    async def _listen(self) -> None:
        application = web.Application()
        application.router.add_post("/{path:.*}", self._handle)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=0)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port, ssl_context=self.encrypted_by).start()

    async def _die(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _handle(self, request: web.Request) -> web.Response:
        got = await to_got(request, self.secret)
        reply = self.answer(got)
        place = len(self.got)
        self.got.append(got._replace(status=reply.status))
        if reply.seconds:
            self.got[place] = got
            await asyncio.sleep(reply.seconds)
            self.got[place] = got._replace(status=reply.status)
        return web.Response(status=reply.status, headers=reply.headers)


class ReceiverProcess:
    """`python -m tests.kit.receiver`. What it gets goes into a file, which stays when it is killed."""

    def __init__(self, folder: Path, failing_share: float) -> None:
        self.port = free_port()
        self.secret = ""
        self._file = folder / "received.jsonl"
        self._failing_share = failing_share
        self._process: subprocess.Popen[bytes] | None = None
        self._read: list[Got] = []
        self._read_bytes = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    def start(self) -> None:
        """The secret must be known."""
        arguments = [str(self.port), str(self._file), self.secret, str(self._failing_share)]
        self._process = subprocess.Popen([sys.executable, "-m", "tests.kit.receiver", *arguments])

    def kill(self) -> None:
        """kill -9."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def received(self) -> list[Got]:
        """In its order. Reads only what is new."""
        if self._file.exists():
            with self._file.open("rb") as file:
                file.seek(self._read_bytes)
                whole = file.read().rpartition(b"\n")[0]
            self._read += [Got(*json.loads(line)) for line in whole.splitlines()]
            self._read_bytes += len(whole) + 1 if whole else 0
        return self._read

    def taken(self) -> list[Got]:
        """What was answered with 200, each event once."""
        seen: dict[str, Got] = {}
        for got in self.received():
            if got.status == HTTPStatus.OK:
                seen.setdefault(got.id, got)
        return list(seen.values())


@contextmanager
def receiver_process(folder: Path, failing_share: float) -> Iterator[ReceiverProcess]:
    """Not started yet; killed at the end."""
    receiver = ReceiverProcess(folder, failing_share)
    try:
        yield receiver
    finally:
        if receiver._process is not None:
            receiver.kill()


def _serve(port: int, file: Path, secret: str, failing_share: float) -> None:
    choose = random.Random()  # noqa: S311 - a choice, not a secret
    out = os.open(file, os.O_CREAT | os.O_APPEND | os.O_WRONLY)

    async def handle(request: web.Request) -> web.Response:
        got = await to_got(request, secret)
        status = 500 if choose.random() < failing_share else 200
        os.write(out, json.dumps(got._replace(status=status)).encode() + b"\n")  # at once: no line is cut off
        return web.Response(status=status)

    application = web.Application()
    application.router.add_post("/{path:.*}", handle)
    web.run_app(application, host="127.0.0.1", port=port, print=None, access_log=None)


if __name__ == "__main__":
    _serve(int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], float(sys.argv[4]))
