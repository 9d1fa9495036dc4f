"""What stands behind a gateway in tests of the gateway alone."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.protobuf.empty_pb2 import Empty
from google.protobuf.unknown_fields import UnknownFieldSet
from grpc_health.v1 import health, health_pb2_grpc

from specie_cli.stack.address import Address

HOST = "127.0.0.1"
SHOULD_RATE_LIMIT = "/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit"
OK, OVER_LIMIT = 1, 2
PER_SECOND = 1


@dataclass(frozen=True)
class StandIn:
    """A service that says it is healthy, and answers every call with an empty message."""

    address: Address
    calls: list[tuple[str, dict[str, str | bytes]]] = field(default_factory=list)
    """Method and metadata of every call but health checks."""


class _Anything(grpc.GenericRpcHandler):
    def __init__(self, answer: Callable[[Any, bytes], bytes]) -> None:
        self._answer = answer

    def service(self, handler_call_details: Any) -> Any:  # noqa: ANN401 - grpc's
        return grpc.unary_unary_rpc_method_handler(lambda request, _: self._answer(handler_call_details, request))


@contextmanager
def standin(credentials: grpc.ServerCredentials | None = None) -> Iterator[StandIn]:
    """`credentials`: of TLS; without, the connection is plain."""
    calls: list[tuple[str, dict[str, str | bytes]]] = []

    def answer(details: Any, _request: bytes) -> bytes:  # noqa: ANN401 - grpc's
        calls.append((details.method, dict(details.invocation_metadata)))
        return b""

    with _server(_Anything(answer), credentials) as address:
        yield StandIn(address, calls)


@dataclass
class Limiter:
    """Speaks the one method of envoyproxy/ratelimit."""

    address: Address
    asked: list[dict[str, str]] = field(default_factory=list)
    """The descriptors that came; each call must bring one."""
    over: set[str] = field(default_factory=set)
    """Subjects that have had enough."""

    def answer(self, request: bytes) -> bytes:
        (descriptor,) = _parts(request, 2)
        found = {_parts(e, 1)[0].decode(): _parts(e, 2)[0].decode() for e in _parts(descriptor, 1)}
        assert _parts(request, 1) == [b"specie"]
        self.asked.append(found)
        code = OVER_LIMIT if found["subject"] in self.over else OK
        limit = bytes([0x08, 7, 0x10, PER_SECOND])  # 7 a second
        until_reset = bytes([0x08, 1])  # 1 s
        status = bytes([0x08, code, 0x12, len(limit), *limit, 0x18, 0, 0x22, len(until_reset), *until_reset])
        return bytes([0x08, code, 0x12, len(status), *status])


@contextmanager
def limiter() -> Iterator[Limiter]:
    running = Limiter(Address(HOST, 0))

    def answer(details: Any, request: bytes) -> bytes:  # noqa: ANN401 - grpc's
        assert details.method == SHOULD_RATE_LIMIT
        return running.answer(request)

    with _server(_Anything(answer), None) as address:
        running.address = address
        yield running


@contextmanager
def _server(handler: grpc.GenericRpcHandler, credentials: grpc.ServerCredentials | None) -> Iterator[Address]:
    server = grpc.server(ThreadPoolExecutor(8))
    health_pb2_grpc.add_HealthServicer_to_server(health.HealthServicer(), server)
    server.add_generic_rpc_handlers((handler,))
    any_port = f"{HOST}:0"
    port = server.add_secure_port(any_port, credentials) if credentials else server.add_insecure_port(any_port)
    server.start()
    try:
        yield Address(HOST, port)
    finally:
        server.stop(None).wait()


def _parts(message: bytes, number: int) -> list[bytes]:
    """The values of a field, of a message whose type is not here: every message is an Empty with unknown fields."""
    fields: Any = UnknownFieldSet(Empty.FromString(message))
    return [field.data for field in fields if field.field_number == number]
