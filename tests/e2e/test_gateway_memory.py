"""Bodies that arrive slowly, or never end, fill neither a service's memory nor the gateway's: a gateway of its own."""

import http.client
import json
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from threading import Event
from typing import Any

import grpc
import pytest

from tests.kit.gateway import Gateway, gateway_config, running_gateway
from tests.kit.standin import StandIn
from tests.kit.tokens import USUAL

KIB = 1024
MIB = 1024 * KIB
HEAP = "max_heap_size_bytes: 536870912"
SMALL_HEAP = "max_heap_size_bytes: 67108864"
BODIES = 40
"""Of nearly 4 MiB each: more than twice the small heap."""
WAIT_SECONDS = 30
GRPC = "application/grpc"
TRANSFER = "/specie.transaction.v1.TransactionService/Transfer"
HEALTH = "/specie.transaction.v1.HealthService/GetHealth"


@pytest.fixture(scope="module")
def gateway(service: StandIn, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    config = gateway_config(service.address, service.address)
    with running_gateway(config, tmp_path_factory.mktemp("memory"), (HEAP, SMALL_HEAP)) as gateway:
        gateway.wait_until_healthy()
        yield gateway


def connected(gateway: Gateway, stack: ExitStack) -> socket.socket:
    listen = gateway.config.listen
    return stack.enter_context(socket.create_connection((listen.host, listen.port), WAIT_SECONDS))


def head(verb: str, path: str, length: int, headers: dict[str, str]) -> bytes:
    """Of a request with a body of so many bytes."""
    lines = [f"{verb} {path} HTTP/1.1", "host: x", f"content-length: {length}"]
    lines += [f"{key}: {value}" for key, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


@pytest.mark.parametrize("verb", ["GET", "POST"])
@pytest.mark.parametrize("path", ["/v1/health", "/docs", "/docs/", "/docs/page.js", "/docs/x", "/openapi.json"])
def test_what_needs_no_token_keeps_no_body(gateway: Gateway, verb: str, path: str) -> None:
    """It is answered before the body is whole."""
    with ExitStack() as stack:
        connection = connected(gateway, stack)
        connection.sendall(head(verb, path, MIB, {"content-type": "application/json"}) + b" " * 2 * KIB)
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        assert answer.status == 413
        assert json.loads(answer.read())["details"][0]["reason"] == "REQUEST_TOO_LARGE"


def test_a_stranger_by_grpc_keeps_no_body_either(gateway: Gateway) -> None:
    with ExitStack() as stack:
        connection = connected(gateway, stack)
        connection.sendall(head("POST", HEALTH, MIB, {"content-type": GRPC, "te": "trailers"}) + bytes(2 * KIB))
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        assert answer.getheader("grpc-status") == "3"


def test_a_service_hears_of_a_call_when_it_is_whole(gateway: Gateway, service: StandIn) -> None:
    """Half of a message, and a second call meanwhile, which is over before the first is sent to the service."""
    length = 100 * KIB
    message = b"\0" + (length - 5).to_bytes(4, "big") + bytes(length - 5)
    headers = {"content-type": GRPC, "te": "trailers", **dict([USUAL])}
    service.calls.clear()
    with ExitStack() as stack:
        slow = connected(gateway, stack)
        slow.sendall(head("POST", TRANSFER, length, headers) + message[: length // 2])
        meanwhile = http.client.HTTPConnection(str(gateway.config.listen), timeout=WAIT_SECONDS)
        stack.callback(meanwhile.close)
        meanwhile.request("GET", "/v1/wallets", headers=dict([USUAL]))
        assert meanwhile.getresponse().status == 200
        assert TRANSFER not in [method for method, _ in service.calls]
        slow.sendall(message[length // 2 :])
        answer = http.client.HTTPResponse(slow)
        answer.begin()
        assert answer.status == 200
    assert TRANSFER in [method for method, _ in service.calls]


def is_served(gateway: Gateway) -> bool:
    connection = http.client.HTTPConnection(str(gateway.config.listen), timeout=WAIT_SECONDS)
    try:
        connection.request("GET", "/v1/wallets", headers=dict([USUAL]))
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def test_when_memory_gets_scarce_the_largest_bodies_go(gateway: Gateway) -> None:
    """One caller with a token and one connection of HTTP/2, whose messages never end. They come faster here than the
    gateway looks at its memory, so others may be refused for a moment."""
    no_more = Event()

    def endless() -> Iterator[bytes]:
        yield bytes(4 * MIB - KIB)
        no_more.wait()

    with grpc.insecure_channel(gateway.target) as channel:
        sent: Any = channel.stream_unary(TRANSFER)
        calls = [sent.future(endless(), timeout=WAIT_SECONDS, metadata=[USUAL]) for _ in range(BODIES)]
        deadline = time.monotonic() + WAIT_SECONDS
        while not resets(gateway) or not is_served(gateway):
            assert time.monotonic() < deadline
        no_more.set()
        for call in calls:
            call.cancel()


def resets(gateway: Gateway) -> int:
    """How many bodies went because memory was scarce."""
    stats = http.client.HTTPConnection(str(gateway.config.admin), timeout=WAIT_SECONDS)
    try:
        stats.request("GET", "/stats?filter=^envoy.overload_actions.reset_high_memory_stream.count$")
        return int(stats.getresponse().read().decode().split()[-1])
    finally:
        stats.close()
