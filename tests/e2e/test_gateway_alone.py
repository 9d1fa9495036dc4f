"""What the gateway answers when a service is gone, or says nothing: a gateway of its own before stand-ins."""

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health, health_pb2_grpc
from specie.transaction.v1 import WatchTransactionsResponse

from specie_cli.stack.address import Address
from tests.kit.gateway import HOST, gateway_config, running_gateway
from tests.kit.tokens import USUAL


@dataclass(frozen=True)
class SilentService:
    """Says that it is healthy, takes transfers and answers none; its streams have a second message once it may."""

    address: Address
    may_go_on: Event


@pytest.fixture
def silent_service() -> Iterator[SilentService]:
    released, may_go_on = Event(), Event()

    def transfer(_request: bytes, _context: grpc.ServicerContext) -> bytes:
        released.wait()
        return b""

    def watch(_request: bytes, _context: grpc.ServicerContext) -> Iterator[bytes]:
        yield WatchTransactionsResponse(cursor="1").SerializeToString()
        may_go_on.wait()
        yield WatchTransactionsResponse(cursor="2").SerializeToString()

    def late(_request: bytes, context: grpc.ServicerContext) -> bytes:
        context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded")

    server = grpc.server(ThreadPoolExecutor(8))
    health_pb2_grpc.add_HealthServicer_to_server(health.HealthServicer(), server)
    methods: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {
        "Transfer": grpc.unary_unary_rpc_method_handler(transfer),
        "PlaceHold": grpc.unary_unary_rpc_method_handler(late),
        "WatchTransactions": grpc.unary_stream_rpc_method_handler(watch),
    }
    name = "specie.transaction.v1.TransactionService"
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(name, methods),))
    port = server.add_insecure_port(f"{HOST}:0")
    server.start()
    yield SilentService(Address(HOST, port), may_go_on)
    for event in (released, may_go_on):
        event.set()
    server.stop(None).wait()


@pytest.fixture
def gateway(silent_service: SilentService, tmp_path: Path) -> Iterator[str]:
    """Before a wallet service that is not there, and a transaction service that is silent."""
    config = replace(gateway_config(transaction=silent_service.address), deadline_seconds=1)
    with running_gateway(config, tmp_path) as running:
        yield running.url


def call(url: str, body: bytes | None = None) -> tuple[int, Any, dict[str, str]]:
    """An error's status, body and headers."""
    try:
        urllib.request.urlopen(authorised(url, body), timeout=30).close()  # noqa: S310 - ours
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read()), {k.lower(): v for k, v in error.headers.items()}
    raise AssertionError(f"{url} was answered")


def authorised(url: str, body: bytes | None = None) -> urllib.request.Request:
    return urllib.request.Request(url, body, dict([USUAL]))  # noqa: S310 - ours


def test_a_service_that_is_not_there(gateway: str) -> None:
    status, body, headers = call(f"{gateway}/v1/wallets?walletId=a", b"{}")
    assert (status, body["code"], body["details"][0]["reason"]) == (503, 14, "UNAVAILABLE")
    assert "same request id" in body["message"]
    assert body["details"][1] == {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "1s"}
    assert headers["retry-after"] == "1"


def test_a_service_that_says_nothing(gateway: str) -> None:
    status, body, _ = call(f"{gateway}/v1/transfers", b"{}")
    while status == 503:  # until the first health check has been answered
        status, body, _ = call(f"{gateway}/v1/transfers", b"{}")
    assert (status, body["code"]) == (504, 4)
    # The service's gRPC library knows the deadline too. Where its bare status is faster, the gateway adds the reason.
    assert body["details"][0]["reason"] == "DEADLINE_EXCEEDED"
    assert "same request id" in body["message"]


def test_a_deadline_that_the_service_s_grpc_library_notices_first(gateway: str) -> None:
    """Its status is bare: it knows of no reasons."""
    status, body, headers = call(f"{gateway}/v1/holds", b"{}")
    while status == 503:  # as above
        status, body, headers = call(f"{gateway}/v1/holds", b"{}")
    assert (status, body["code"], body["details"][0]["reason"]) == (504, 4, "DEADLINE_EXCEEDED")
    assert "same request id" in body["message"]
    assert headers["content-type"] == "application/json"


def test_a_stream_outlives_the_deadline_of_calls(gateway: str, silent_service: SilentService) -> None:
    while call(f"{gateway}/v1/transfers", b"{}")[0] == 503:  # as above
        pass
    with urllib.request.urlopen(authorised(f"{gateway}/v1/transactions:watch"), timeout=30) as stream:  # noqa: S310 - ours
        assert [stream.readline(), stream.readline()] == [b"id: 1\n", b'data: {"cursor":"1"}\n']
        # This call begins later, and its time is up.
        assert call(f"{gateway}/v1/transfers", b"{}")[0] == 504
        silent_service.may_go_on.set()
        assert stream.read() == b'\nid: 2\ndata: {"cursor":"2"}\n\n'
