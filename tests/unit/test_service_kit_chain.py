"""What happens to every call around its handler: the order as data, and each stage through a real server."""

import asyncio
from typing import Any

import grpc
import grpc.aio
import pytest
import structlog
from prometheus_client import REGISTRY
from specie.transaction.v1 import (
    GetAccountsRequest,
    ListTransactionsRequest,
    TransferRequest,
    TransferResponse,
)
from specie.type.v1 import Money

from service_kit import interceptors
from service_kit.call import Call, current_call
from service_kit.interceptors import CALL_SECONDS_MAX, ChainInterceptor, chain
from service_kit.status import Refusal, invalid
from tests.kit.calls import Failed, failed
from tests.kit.chain import METHOD, Service, counted, done, serving, transfer
from tests.kit.tokens import verifier
from tests.kit.wallets import asynchronous


def test_the_order_of_the_chain_and_why_it_is_so() -> None:
    order = [stage.__name__ for stage in chain(verifier())]
    reasons = [
        ("trace", "access_log", "a line of the log names the trace"),
        ("trace", "map_errors", "an error carries the trace id too"),
        ("access_log", "map_errors", "the log tells the code that the caller sees"),
        ("count", "map_errors", "refusals count"),
        ("map_errors", "deadline", "a late call gets a status with a reason"),
        ("map_errors", "parse", "a broken message gets a status with a reason"),
        ("deadline", "authenticate", "nothing is spent on who does not wait any more"),
        ("map_errors", "authenticate", "who is refused gets a status with a reason"),
        ("authenticate", "authorise", "whose scopes are asked for must be known"),
        ("authorise", "parse", "nothing is spent on the message of who may not make the call"),
        ("parse", "idempotency_key", "the header fills a field of the request"),
        ("idempotency_key", "validate", "a request id from the header must keep the rules of the field"),
    ]
    for outer, inner, why in reasons:
        assert order.index(outer) < order.index(inner), why
    assert set(order) == {name for outer, inner, _ in reasons for name in (outer, inner)}
    assert len(order) == len(set(order))


@asynchronous
async def test_the_trace_id_that_came_goes_back_and_is_made_up_otherwise() -> None:
    service = Service(done)
    async with serving(service) as client:

        async def traced(*metadata: tuple[str, str]) -> str:
            call = client.transactions.Transfer(transfer(), metadata=metadata)
            await call
            trailing: dict[str, str] = dict(await call.trailing_metadata())
            return trailing["x-request-id"]

        assert await traced(("x-request-id", "trace-7")) == "trace-7"
        made_up = {await traced(), await traced(), await traced(("x-request-id", "t" * 129))}
        assert len(made_up) == 3
        assert {len(trace) for trace in made_up} == {36}
        assert [call.trace_id for call in service.calls[:1]] == ["trace-7"]
        assert {call.principal for call in service.calls} == {"local"}


@asynchronous
async def test_an_error_carries_the_trace_id_too() -> None:
    async with serving(Service(done)) as client:
        call = client.transactions.Transfer(transfer(source=""), metadata=(("x-request-id", "trace-8"),))
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await call
        assert dict(raised.value.trailing_metadata())["x-request-id"] == "trace-8"


@asynchronous
async def test_each_call_has_one_line_in_the_log_with_the_code_that_its_caller_sees() -> None:
    async def handler(request: TransferRequest) -> TransferResponse:
        if request.description:
            raise Refusal("INSUFFICIENT_FUNDS", "poor", {"wallet": "wallets/a"})
        return TransferResponse()

    with structlog.testing.capture_logs() as logs:
        async with serving(Service(handler)) as client:
            await client.transactions.Transfer(transfer(), metadata=(("x-request-id", "t"),))
            await failed(client.transactions.Transfer(transfer(description="x")))
            await failed(client.transactions.Transfer(transfer(source="")))
    lines = [line for line in logs if line["event"] == "call"]
    assert [(line["code"], line["reason"]) for line in lines] == [
        ("OK", ""),
        ("FAILED_PRECONDITION", "INSUFFICIENT_FUNDS"),
        ("INVALID_ARGUMENT", "INVALID_FIELD"),
    ]
    assert {(line["method"], line["principal"], line["log_level"]) for line in lines} == {(METHOD, "local", "info")}
    assert lines[0]["trace_id"] == "t"
    assert all(line["duration_ms"] >= 0 for line in lines)
    # An error that a caller caused is no error of ours, and nobody's names stand in the log.
    assert len(lines) == len(logs)
    assert "wallets/" not in str(logs)


@asynchronous
async def test_answers_and_refusals_count_and_nothing_runs_at_the_end() -> None:
    before = counted("OK"), counted("INVALID_ARGUMENT")
    async with serving(Service(done)) as client:
        await client.transactions.Transfer(transfer())
        await failed(client.transactions.Transfer(transfer(source="")))
    assert (counted("OK"), counted("INVALID_ARGUMENT")) == (before[0] + 1, before[1] + 1)
    assert REGISTRY.get_sample_value("specie_calls_running") == 0


@asynchronous
async def test_a_bug_is_told_to_the_log_once_and_to_the_caller_without_inside_words() -> None:
    async def handler(_: TransferRequest) -> TransferResponse:
        raise ValueError("secret inside")

    with structlog.testing.capture_logs() as logs:
        async with serving(Service(handler)) as client:
            answer = await failed(client.transactions.Transfer(transfer(), metadata=(("x-request-id", "t-9"),)))
    assert (answer.code, answer.reason, answer.metadata) == ("INTERNAL", "INTERNAL", {"trace_id": "t-9"})
    assert "t-9" in answer.message
    assert "secret" not in answer.message
    assert "ValueError" not in answer.message
    (told,) = [line for line in logs if line["log_level"] == "error"]
    assert (told["event"], told["trace_id"], told["exc_info"]) == ("call_failed", "t-9", True)
    assert [line["code"] for line in logs if line["event"] == "call"] == ["INTERNAL"]


@asynchronous
async def test_a_refusal_reaches_the_caller_whole() -> None:
    async def handler(_: TransferRequest) -> TransferResponse:
        raise Refusal("OVERLOADED", "voll \u00fc", {"a": "\u00e9"}, retry_after_seconds=0.5)

    async with serving(Service(handler)) as client:
        answer = await failed(client.transactions.Transfer(transfer()))
        assert answer == Failed("RESOURCE_EXHAUSTED", "OVERLOADED", "", {})
        assert (answer.message, answer.metadata, answer.retry_seconds) == ("voll \u00fc", {"a": "\u00e9"}, 0.5)


@asynchronous
async def test_a_caller_that_goes_away_is_counted_as_cancelled_and_no_error() -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def handler(_: TransferRequest) -> TransferResponse:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        raise AssertionError

    before = counted("CANCELLED")
    with structlog.testing.capture_logs() as logs:
        async with serving(Service(handler)) as client:
            call = client.transactions.Transfer(transfer())
            await begun.wait()
            call.cancel()
            await ended.wait()
        # The server has stopped: what it had to say is said.
    assert [(line["event"], line["code"]) for line in logs] == [("call", "CANCELLED")]
    assert counted("CANCELLED") == before + 1


@asynchronous
async def test_the_handler_knows_how_long_its_caller_waits() -> None:
    left: list[float] = []

    async def handler(_: TransferRequest) -> TransferResponse:
        left.append(current_call().seconds_left())
        return TransferResponse()

    service = Service(handler)
    async with serving(service) as client:
        await client.transactions.Transfer(transfer(), timeout=1_000)
        await client.transactions.Transfer(transfer())
    assert CALL_SECONDS_MAX < left[0] <= 1_100  # grpc sends it rounded up by some per cent
    assert 0 < left[1] <= CALL_SECONDS_MAX


@asynchronous
async def test_what_is_late_already_is_not_begun() -> None:
    class Late:
        def time_remaining(self) -> float:
            return -0.001

    begun = False

    async def proceed(_: Call) -> Any:  # noqa: ANN401 - any answer
        nonlocal begun
        begun = True

    late: Any = Late()
    with pytest.raises(Refusal) as raised:
        await interceptors.deadline(Call(METHOD, b"", TransferRequest.FromString, late, {}), proceed)
    assert raised.value.reason == "DEADLINE_EXCEEDED"
    assert not begun


@asynchronous
async def test_what_is_not_answered_in_time_is_ended_before_its_caller_gives_up() -> None:
    ended = asyncio.Event()

    async def handler(_: TransferRequest) -> TransferResponse:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        raise AssertionError

    with structlog.testing.capture_logs() as logs:
        async with serving(Service(handler)) as client:
            answer = await failed(client.transactions.Transfer(transfer(), timeout=1))
            assert ended.is_set()
    assert (answer.code, answer.reason) == ("DEADLINE_EXCEEDED", "DEADLINE_EXCEEDED")
    assert "same request id" in answer.message
    assert [line["code"] for line in logs if line["event"] == "call"] == ["DEADLINE_EXCEEDED"]


@asynchronous
async def test_a_timeout_of_the_handler_s_own_is_a_bug_and_not_the_caller_s_deadline() -> None:
    async def handler(_: TransferRequest) -> TransferResponse:
        raise TimeoutError

    async with serving(Service(handler)) as client:
        assert (await failed(client.transactions.Transfer(transfer(), timeout=30))).reason == "INTERNAL"


def paths(request: Any) -> list[str]:  # noqa: ANN401 - any message
    async def proceed(_: Call) -> Any:  # noqa: ANN401 - any answer
        raise AssertionError("it must not come so far")

    nobody: Any = None
    call = Call(METHOD, b"", type(request).FromString, nobody, {})
    call.request = request
    with pytest.raises(Refusal) as raised:
        asyncio.run(interceptors.validate(call, proceed))
    return [violation.field for violation in raised.value.violations]


def test_a_field_is_told_by_its_path() -> None:
    assert paths(transfer(amount=Money(currency_code="x", minor_units=1))) == ["amount.currency_code"]
    assert paths(transfer(labels={"Key": ""})) == ['labels["Key"]']
    assert paths(GetAccountsRequest(names=["wallets/a", "b"])) == ["names[1]"]
    reversed_range = ListTransactionsRequest()
    reversed_range.start_time.seconds, reversed_range.end_time.seconds = 2, 1
    assert paths(reversed_range) == [""]


def test_a_refusal_of_a_field_that_a_handler_finds_reads_like_the_contract_s() -> None:
    refusal = invalid("end_time", "timestamp", "is wrong")
    assert [(v.field, v.rule) for v in refusal.violations] == [("end_time", "timestamp")]


def intercepted(method: str, handler: Any) -> Any:  # noqa: ANN401 - any handler
    async def continuation(_: Any) -> Any:  # noqa: ANN401 - as above
        return handler

    details: Any = type("Details", (), {"method": method})()
    return asyncio.run(ChainInterceptor(chain(verifier())).intercept_service(continuation, details))


def test_what_is_not_ours_passes_untouched() -> None:
    handler = object()
    assert intercepted("/grpc.health.v1.Health/Check", handler) is handler
    assert intercepted("/specie.wallet.v1.WalletService/Steal", None) is None


def test_a_call_that_takes_a_stream_is_not_let_through_without_the_chain() -> None:
    handler: Any = grpc.stream_unary_rpc_method_handler(lambda _requests, _context: None)
    with pytest.raises(TypeError, match="takes a stream"):
        intercepted("/specie.x.v1.X/Watch", handler)
