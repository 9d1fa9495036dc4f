"""The chain around a call that is answered with a stream, through a real server, and how streams end."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Any

import grpc
import grpc.aio
import pytest
import structlog
from google.protobuf.message import Message
from pydantic import SecretStr
from specie.transaction.v1 import Transaction, WatchTransactionsRequest
from specie.transaction.v1 import WatchTransactionsResponse as Watched

from service_kit.call import Call, current_call
from service_kit.interceptors import ChainInterceptor, chain
from service_kit.server import Application, serve
from service_kit.settings import ServiceSettings
from service_kit.status import RETRY_AFTER_SECONDS, Refusal
from service_kit.streams import Streams
from tests.kit.calls import Client, Failed, connected, to_failed
from tests.kit.chain import counted
from tests.kit.ports import free_port
from tests.kit.service import wait_until_async
from tests.kit.tokens import IDENTITY, verifier
from tests.kit.wallets import asynchronous

SERVICE = "specie.transaction.v1.TransactionService"
METHOD = f"/{SERVICE}/WatchTransactions"

Answers = AsyncGenerator[Watched, None]


class Service:
    """Watches by what a test puts there; tells when a handler has begun to wait and when it is closed."""

    def __init__(self, watch: Callable[[WatchTransactionsRequest], Answers]) -> None:
        self._watch = watch
        self.calls: list[Call] = []
        self.closed = asyncio.Event()

    async def watch(self, request: WatchTransactionsRequest, _context: object) -> Answers:
        self.calls.append(current_call())
        try:
            async with aclosing(self._watch(request)) as answers:
                async for answer in answers:
                    yield answer
        finally:
            self.closed.set()

    def register(self, server: Any) -> None:  # noqa: ANN401 - the types of generic handlers know only blocking servers
        make: Any = grpc.unary_stream_rpc_method_handler
        handler = make(self.watch, WatchTransactionsRequest.FromString, Watched.SerializeToString)
        handlers = grpc.method_handlers_generic_handler(SERVICE, {"WatchTransactions": handler})
        server.add_generic_rpc_handlers((handlers,))


async def two(_: WatchTransactionsRequest) -> Answers:
    yield Watched(cursor="1")
    yield Watched(cursor="2")


async def one_and_no_more(_: WatchTransactionsRequest) -> Answers:
    yield Watched(cursor="1")
    await asyncio.Event().wait()


@asynccontextmanager
async def serving(service: Service, interceptor: ChainInterceptor | None = None) -> AsyncIterator[Client]:
    server = grpc.aio.server(interceptors=(interceptor or ChainInterceptor(chain(verifier())),))
    service.register(server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with connected(f"127.0.0.1:{port}") as client:
            yield client
    finally:
        await server.stop(None)


def watch(client: Client, wallet: str = "", **more: Any) -> Any:  # noqa: ANN401 - the types of stubs are of blocking ones
    return client.transactions.WatchTransactions(WatchTransactionsRequest(wallet=wallet), **more)


async def received(call: Any) -> list[str | Failed]:  # noqa: ANN401 - as above
    """The cursors of all answers, and the error if it ends with one."""
    got: list[str | Failed] = []
    try:
        async for answer in call:
            got.append(answer.cursor)  # noqa: PERF401 - what came before an error counts
    except grpc.aio.AioRpcError as error:
        got.append(to_failed(error))
    return got


def lines(logs: list[Any]) -> list[tuple[str, str, str, str]]:
    return [(line["event"], line["log_level"], line.get("code", ""), line.get("reason", "")) for line in logs]


@asynchronous
async def test_a_stream_goes_through_the_chain_once() -> None:
    before = counted("OK", METHOD)
    service = Service(two)
    with structlog.testing.capture_logs() as logs:
        async with serving(service) as client:
            call = watch(client, metadata=(("x-request-id", "trace-1"),))
            assert await received(call) == ["1", "2"]
            assert dict(await call.trailing_metadata())["x-request-id"] == "trace-1"
    assert lines(logs) == [("call", "info", "OK", "")]
    assert (logs[0]["method"], logs[0]["trace_id"]) == (METHOD, "trace-1")
    assert counted("OK", METHOD) == before + 1


@asynchronous
async def test_a_request_that_breaks_a_rule_begins_no_stream() -> None:
    service = Service(two)
    async with serving(service) as client:
        (error,) = await received(watch(client, wallet="none"))
    assert isinstance(error, Failed)
    assert (error.code, error.reason, list(error.fields)) == ("INVALID_ARGUMENT", "INVALID_FIELD", ["wallet"])
    assert not service.calls


@asynchronous
async def test_a_refusal_in_the_middle_comes_after_what_was_yielded_and_is_whole() -> None:
    async def refusing(_: WatchTransactionsRequest) -> Answers:
        yield Watched(cursor="1")
        raise Refusal("OVERLOADED", "too slow", {"a": "b"}, retry_after_seconds=0.5)

    with structlog.testing.capture_logs() as logs:
        async with serving(Service(refusing)) as client:
            call = watch(client, metadata=(("x-request-id", "trace-2"),))
            first, error = await received(call)
            assert dict(await call.trailing_metadata())["x-request-id"] == "trace-2"
    assert (first, error) == ("1", Failed("RESOURCE_EXHAUSTED", "OVERLOADED", "", {}))
    assert isinstance(error, Failed)
    assert (error.message, error.metadata, error.retry_seconds) == ("too slow", {"a": "b"}, 0.5)
    assert lines(logs) == [("call", "info", "RESOURCE_EXHAUSTED", "OVERLOADED")]


@asynchronous
async def test_a_bug_in_the_middle_is_told_to_the_log_and_to_the_caller_without_inside_words() -> None:
    async def failing(_: WatchTransactionsRequest) -> Answers:
        yield Watched(cursor="1")
        raise ValueError("secret inside")

    with structlog.testing.capture_logs() as logs:
        async with serving(Service(failing)) as client:
            _, error = await received(watch(client))
        await wait_until_async(lambda: len(logs) > 1, "the call is logged")  # after its caller has been answered
    assert isinstance(error, Failed)
    assert (error.code, error.reason, "secret" in error.message) == ("INTERNAL", "INTERNAL", False)
    assert lines(logs) == [("call_failed", "error", "", ""), ("call", "info", "INTERNAL", "INTERNAL")]


@asynchronous
async def test_a_caller_that_goes_away_ends_the_handler_and_is_no_error() -> None:
    service = Service(one_and_no_more)
    with structlog.testing.capture_logs() as logs:
        async with serving(service) as client:
            call = watch(client)
            assert (await anext(aiter(call))).cursor == "1"
            call.cancel()
            await service.closed.wait()
    assert lines(logs) == [("call", "info", "CANCELLED", "CANCELLED")]


@asynchronous
async def test_a_caller_that_goes_away_without_taking_what_is_sent_is_no_error() -> None:
    async def flood(_: WatchTransactionsRequest) -> Answers:
        large = Watched(cursor="1", transaction=Transaction(description="x" * 1_000_000))
        while True:
            yield large

    service = Service(flood)
    with structlog.testing.capture_logs() as logs:
        async with serving(service) as client:
            call = watch(client)
            assert (await anext(aiter(call))).cursor == "1"
            call.cancel()
            await service.closed.wait()
    assert lines(logs) == [("call", "info", "CANCELLED", "CANCELLED")]


@asynchronous
async def test_a_deadline_of_the_caller_s_ends_the_stream_and_is_no_error() -> None:
    service = Service(one_and_no_more)
    with structlog.testing.capture_logs() as logs:
        async with serving(service) as client:
            assert await received(watch(client, timeout=0.3)) == ["1", Failed("DEADLINE_EXCEEDED", "", "", {})]
            await service.closed.wait()
    assert lines(logs) == [("call", "info", "CANCELLED", "CANCELLED")]


@asynchronous
async def test_a_stream_without_a_deadline_may_last_for_ever() -> None:
    service = Service(two)
    async with serving(service) as client:
        await received(watch(client))
        await received(watch(client, timeout=1_000))
    assert service.calls[0].seconds_left() == float("inf")
    assert service.calls[1].seconds_left() < 1_100


def assert_sent_on(error: object) -> None:
    assert error == Failed("UNAVAILABLE", "UNAVAILABLE", "", {})
    assert isinstance(error, Failed)
    assert error.retry_seconds == RETRY_AFTER_SECONDS
    assert "go on from the last cursor" in error.message


@asynchronous
async def test_when_the_service_stops_a_stream_ends_in_order_with_where_to_go_on() -> None:
    service, interceptor = Service(one_and_no_more), ChainInterceptor(chain(verifier()))
    with structlog.testing.capture_logs() as logs:
        async with serving(service, interceptor) as client:
            call = watch(client)
            assert (await anext(aiter(call))).cursor == "1"
            interceptor.streams.end()
            (error,) = await received(call)
            assert_sent_on(error)
            assert service.closed.is_set(), "the handler is closed before its caller hears"
            late = await received(watch(client))
            assert_sent_on(late[0])
    assert lines(logs) == [("call", "info", "UNAVAILABLE", "UNAVAILABLE")] * 2


async def sending(streams: Streams, answers: Answers, write: Callable[[Message], Any]) -> Refusal | None:
    try:
        await streams.send(answers, write)
    except Refusal as refusal:
        return refusal
    return None


@asynchronous
async def test_a_message_that_is_on_its_way_arrives_before_its_stream_ends() -> None:
    streams, begun, go_on = Streams(), asyncio.Event(), asyncio.Event()
    written: list[Message] = []

    async def write(message: Message) -> None:
        begun.set()
        await go_on.wait()
        written.append(message)

    running = asyncio.create_task(sending(streams, two(WatchTransactionsRequest()), write))
    await begun.wait()
    streams.end()
    go_on.set()
    refusal = await running
    assert refusal is not None
    assert (refusal.reason, written) == ("UNAVAILABLE", [Watched(cursor="1")])


@asynchronous
async def test_what_cannot_be_written_has_no_caller_any_more() -> None:
    closed = False

    async def endless(_: WatchTransactionsRequest) -> Answers:
        nonlocal closed
        try:
            while True:
                yield Watched(cursor="1")
        finally:
            closed = True

    async def write(_: Message) -> None:
        raise grpc.aio.InternalError

    with pytest.raises(asyncio.CancelledError):
        await Streams().send(endless(WatchTransactionsRequest()), write)
    assert closed


@asynchronous
async def test_who_goes_away_while_the_service_stops_is_cancelled() -> None:
    streams, begun = Streams(), asyncio.Event()

    async def write(_: Message) -> None:
        begun.set()

    running = asyncio.create_task(sending(streams, one_and_no_more(WatchTransactionsRequest()), write))
    await begun.wait()
    await asyncio.sleep(0)
    streams.end()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


@asynchronous
async def test_a_process_that_stops_ends_its_streams_long_before_its_patience_does() -> None:
    stop = asyncio.Event()
    service = Service(one_and_no_more)

    async def good() -> None:
        pass

    async def until_told() -> None:
        """Background work that ends stops the process."""
        await stop.wait()

    settings = ServiceSettings(
        database_dsn=SecretStr("postgresql://nobody"),
        port=free_port(),
        shutdown_notice_seconds=0,
        shutdown_grace_seconds=600,
        **IDENTITY,
    )
    application = Application({SERVICE: service.register}, good, (until_told,), good)
    process = asyncio.create_task(serve(application, settings))
    async with connected(f"127.0.0.1:{settings.port}") as client:
        call = watch(client, wait_for_ready=True)
        assert (await anext(aiter(call))).cursor == "1"
        stop.set()
        (error,) = await received(call)
        assert_sent_on(error)
        await process
