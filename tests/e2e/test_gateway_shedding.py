"""Clients that only hold connections are shed, and good clients do not notice."""

import contextlib
import http.client
import resource
import select
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from tests.kit.gateway import Gateway, gateway_config, running_gateway
from tests.kit.standin import standin
from tests.kit.tokens import USUAL

IDLE = 1000
ROOM = 600
SLOW = 100
FILES = 4096
BEGIN = b"GET /v1/wallets HTTP/1.1\r\nhost: x\r\nx-slow: "
WAIT_SECONDS = 30


@pytest.fixture(autouse=True)
def many_files() -> Iterator[None]:
    """The connections of this process, and those of Envoy, which inherits it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = FILES if hard == resource.RLIM_INFINITY else min(FILES, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, most), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


class GoodClient:
    """Calls on one connection that it keeps."""

    def __init__(self, gateway: Gateway, stack: ExitStack) -> None:
        self._connection = http.client.HTTPConnection(str(gateway.config.listen), timeout=WAIT_SECONDS)
        stack.callback(self._connection.close)

    def call(self) -> int:
        self._connection.request("GET", "/v1/wallets", headers=dict([USUAL]))
        answer = self._connection.getresponse()
        answer.read()
        return answer.status


def gateway_with(stack: ExitStack, folder: Path, **changed: int) -> Gateway:
    service = stack.enter_context(standin())
    config = replace(gateway_config(service.address, service.address), **changed)  # type: ignore[arg-type]
    gateway = stack.enter_context(running_gateway(config, folder))
    gateway.wait_until_healthy()
    return gateway


def opened(gateway: Gateway, stack: ExitStack) -> socket.socket:
    listen = gateway.config.listen
    return stack.enter_context(socket.create_connection((listen.host, listen.port), WAIT_SECONDS))


def closed(connections: list[socket.socket], wait_seconds: float) -> list[socket.socket]:
    """Those that the gateway has closed. What it said before is read and left."""
    poll = select.poll()
    by_number = {connection.fileno(): connection for connection in connections}
    for number in by_number:
        poll.register(number, select.POLLIN)
    found = []
    for number, _ in poll.poll(wait_seconds * 1000):
        try:
            if by_number[number].recv(65536) == b"":
                found.append(by_number[number])
        except ConnectionError:
            found.append(by_number[number])
    return found


def until_closed(connections: list[socket.socket], client: GoodClient, talkative: set[socket.socket]) -> None:
    """Until the gateway has closed all. Meanwhile the talkative send more, and the good client goes on calling."""
    deadline = time.monotonic() + WAIT_SECONDS
    left = set(connections)
    while left:
        assert time.monotonic() < deadline, f"{len(left)} connections are open still"
        assert client.call() == 200
        for connection in left & talkative:
            with contextlib.suppress(ConnectionError):
                connection.send(b"a")
        left -= set(closed(list(left), 0.05))


def test_a_thousand_idle_connections_are_shed(tmp_path: Path) -> None:
    """Those beyond the limit at once, the others when they have been idle for long enough."""
    with ExitStack() as stack:
        gateway = gateway_with(stack, tmp_path, connections_max=ROOM, idle_seconds=1)
        client = GoodClient(gateway, stack)
        idle = []
        for number in range(IDLE):
            idle.append(opened(gateway, stack))
            if number % 50 == 0:
                assert client.call() == 200
        until_closed(idle, client, set())
        assert GoodClient(gateway, stack).call() == 200


def test_connections_beyond_the_limit_are_closed_at_once(tmp_path: Path) -> None:
    room, tried = 20, 50
    with ExitStack() as stack:
        gateway = gateway_with(stack, tmp_path, connections_max=room)
        client = GoodClient(gateway, stack)
        assert client.call() == 200
        inside = {opened(gateway, stack) for _ in range(tried)}
        while len(inside) > room:
            inside -= set(closed(list(inside), 1))
            assert client.call() == 200
        # Whoever operates it gets in when nobody else does.
        admin = http.client.HTTPConnection(str(gateway.config.admin), timeout=WAIT_SECONDS)
        stack.callback(admin.close)
        admin.request("GET", "/ready")
        assert admin.getresponse().status == 200


def test_slow_headers_are_shed(tmp_path: Path) -> None:
    """Those that come a byte at a time, and those that stop after a word."""
    with ExitStack() as stack:
        gateway = gateway_with(stack, tmp_path, headers_seconds=1, idle_seconds=1)
        client = GoodClient(gateway, stack)
        slow = [opened(gateway, stack) for _ in range(SLOW)]
        talkative = set(slow[: SLOW // 2])
        for connection in slow:
            connection.sendall(BEGIN if connection in talkative else BEGIN[:3])
        until_closed(slow, client, talkative)
        assert GoodClient(gateway, stack).call() == 200
