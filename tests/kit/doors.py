"""The ways into the services, with one form of answer: the reason of an error, or that there is none."""

import json
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from http.client import HTTPConnection, HTTPResponse
from typing import Any, Protocol

import grpc
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from service_kit.status import CODES
from tests.kit.calls import CALL_SECONDS, Failed, to_failed
from tests.kit.rpcs import Rpc, as_http
from tests.kit.stack import Stack

Headers = Sequence[tuple[str, str]]
HTTP = {"UNAUTHENTICATED": 401, "PERMISSION_DENIED": 403, "NOT_FOUND": 404}
"""The status of a gRPC code, of those that tell who may do what."""


class Door(Protocol):
    """One call, made one way."""

    rpc: Rpc

    def call(self, request: Message, headers: Headers = (), query: str = "") -> str:
        """The error's reason, whose form and status are checked; empty: it was answered. `query`: beside the request's
        own."""


class Connections:
    """To one address, kept for the next call."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._free: list[HTTPConnection] = []

    @contextmanager
    def one(self, *, keep: bool) -> Iterator[HTTPConnection]:
        try:
            connection = self._free.pop()
        except IndexError:
            connection = HTTPConnection(self._address, timeout=CALL_SECONDS)
        try:
            yield connection
        except BaseException:
            keep = False
            raise
        finally:
            if keep:
                self._free.append(connection)
            else:
                connection.close()

    def close(self) -> None:
        for connection in self._free:
            connection.close()


class Json:
    """Through the gateway, by one of the call's bindings."""

    def __init__(self, rpc: Rpc, binding: Any, connections: Connections) -> None:  # noqa: ANN401 - google.api.HttpRule
        self.rpc = rpc
        self._binding = binding
        self._connections = connections

    def __repr__(self) -> str:
        return f"{self._binding.WhichOneof('pattern').upper()} {self.rpc.name}"

    def call(self, request: Message, headers: Headers = (), query: str = "") -> str:
        wire = as_http(self._binding, request)
        path = wire.path if not query else f"{wire.path}{'&' if '?' in wire.path else '?'}{query}"
        with self._connections.one(keep=not self.rpc.descriptor.server_streaming) as connection:
            connection.putrequest(wire.verb, path)
            if wire.body is not None:
                connection.putheader("content-type", "application/json")
                connection.putheader("content-length", str(len(wire.body)))
            for header in headers:
                connection.putheader(*header)
            connection.endheaders(wire.body)
            with connection.getresponse() as answer:
                return _reason(answer)


def _reason(answer: HTTPResponse) -> str:
    if answer.getheader("content-type") == "text/event-stream":
        assert answer.status == 200
        assert answer.readline().startswith((b"id: ", b"data: {"))
        return ""
    content = answer.read()
    assert answer.getheader("content-type") == "application/json", (answer.status, content)
    body = json.loads(content)
    if answer.status == 200:
        return ""
    assert set(body) == {"code", "message", "details"}
    info = body["details"][0]
    reason: str = info["reason"]
    assert (info["domain"], body["code"]) == ("specie", CODES[reason].value[0])
    assert HTTP.get(CODES[reason].name, answer.status) == answer.status
    assert (answer.getheader("www-authenticate") or "").startswith("Bearer ") == (answer.status == 401), content
    return reason


class Grpc:
    """Through the gateway, or straight at a service."""

    def __init__(self, rpc: Rpc, channel: grpc.Channel, where: str) -> None:
        self.rpc = rpc
        self._where = where
        self._channel = channel

    def __repr__(self) -> str:
        return f"{self._where} {self.rpc.name}"

    def call(self, request: Message, headers: Headers = (), query: str = "") -> str:
        failed = self.failure(request, headers, query)
        if failed is None:
            return ""
        assert failed.message
        assert not failed.reason or CODES[failed.reason].name == failed.code
        # What the gateway itself refuses has the code and the message, and no details.
        return failed.reason or failed.code

    def failure(self, request: Message, headers: Headers = (), query: str = "") -> Failed | None:
        """The whole error; None: it was answered."""
        make: Any = self._channel.unary_unary
        if self.rpc.descriptor.server_streaming:
            make = self._channel.unary_stream
        path = f"{self.rpc.path}?{query}" if query else self.rpc.path
        reply = GetMessageClass(self.rpc.descriptor.output_type)
        method = make(path, type(request).SerializeToString, reply.FromString)
        try:
            answer = method(request, timeout=CALL_SECONDS, metadata=tuple(headers))
            if self.rpc.descriptor.server_streaming:
                next(answer)
                answer.cancel()
        except grpc.RpcError as error:
            return to_failed(error)  # type: ignore[arg-type]
        return None


@contextmanager
def all_doors(rpcs: Sequence[Rpc], stack: Stack) -> Iterator[list[Door]]:
    """Every way of every call: all its JSON bindings and gRPC through the gateway, and gRPC straight at the service."""
    with (
        closing(Connections(stack.gateway.removeprefix("http://"))) as connections,
        grpc.insecure_channel(stack.grpc) as gateway,
        grpc.insecure_channel(stack.wallet[0]) as wallet,
        grpc.insecure_channel(stack.transaction[0]) as transaction,
    ):
        doors: list[Door] = []
        for rpc in rpcs:
            doors += [Json(rpc, binding, connections) for binding in rpc.bindings]
            doors += [Grpc(rpc, gateway, "gateway")] * bool(rpc.bindings)
            doors.append(Grpc(rpc, wallet if ".wallet." in rpc.path else transaction, "inner"))
        yield doors
