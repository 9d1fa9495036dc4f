"""What headers of a call do: the idempotency key and the trace id."""

from typing import Any

import pytest
from specie.transaction.v1 import GetBalanceRequest, GetBalanceResponse, TransferRequest

from service_kit import interceptors
from service_kit.call import Call
from service_kit.status import Refusal
from tests.kit.calls import Failed, outcome
from tests.kit.chain import METHOD, Service, done, serving, transfer
from tests.kit.wallets import asynchronous


@pytest.mark.parametrize(
    ("field", "headers", "expected"),
    [
        ("f", {}, "f"),
        ("", {"idempotency-key": "h"}, "h"),
        ("", {"x-idempotency-key": "x"}, "x"),
        ("", {"idempotency-key": "h", "x-idempotency-key": "h"}, "h"),
        ("s", {"idempotency-key": "s", "x-idempotency-key": "s"}, "s"),
        ("", {}, None),
        ("", {"idempotency-key": ""}, None),
        ("", {"x-request-id": "trace"}, None),
        ("", {"idempotency-key": "h" * 129}, None),
        ("f", {"idempotency-key": "h"}, None),
        ("f", {"x-idempotency-key": "x"}, None),
        ("", {"idempotency-key": "h", "x-idempotency-key": "x"}, None),
        ("f", {"idempotency-key": "f", "x-idempotency-key": "x"}, None),
    ],
)
@asynchronous
async def test_the_request_id_comes_from_the_field_or_a_header_and_all_must_agree(
    field: str, headers: dict[str, str], expected: str | None
) -> None:
    service = Service(done)
    async with serving(service) as client:
        answer = await outcome(
            client.transactions.Transfer(transfer(request_id=field), metadata=tuple(headers.items()))
        )
    if expected is None:
        assert isinstance(answer, Failed)
        assert (answer.code, answer.reason, list(answer.fields)) == (
            "INVALID_ARGUMENT",
            "INVALID_FIELD",
            ["request_id"],
        )
        assert not service.requests
    else:
        assert [request.request_id for request in service.requests] == [expected]


@asynchronous
async def test_a_header_that_is_sent_twice_is_one_key_of_both_values() -> None:
    service = Service(done)
    async with serving(service) as client:
        twice = (("idempotency-key", "a"), ("idempotency-key", "b"))
        await client.transactions.Transfer(transfer(request_id=""), metadata=twice)
    assert [request.request_id for request in service.requests] == ["a,b"]


@asynchronous
async def test_a_key_is_no_matter_to_calls_that_move_nothing() -> None:
    async with serving(Service(done)) as client:
        request = GetBalanceRequest(wallet="wallets/a")
        headers = (("idempotency-key", "a"), ("x-idempotency-key", "b"))
        assert await client.transactions.GetBalance(request, metadata=headers) == GetBalanceResponse()


@asynchronous
async def test_bytes_in_the_metadata_are_left_alone() -> None:
    service = Service(done)
    async with serving(service) as client:
        await client.transactions.Transfer(transfer(), metadata=(("idempotency-key-bin", b"\xff"),))
    assert "idempotency-key-bin" not in service.calls[0].metadata


class Silent:
    """A context that only takes the trailing metadata."""

    def set_trailing_metadata(self, _: object) -> None:
        return


async def through(stage: interceptors.Stage, metadata: dict[str, str]) -> Call:
    """What a header does that grpc's own client refuses to send, and others do not."""

    async def proceed(_: Call) -> Any:  # noqa: ANN401 - any answer
        return None

    context: Any = Silent()
    call = Call(METHOD, b"", TransferRequest.FromString, context, metadata)
    call.request = transfer(request_id="")
    await stage(call, proceed)
    return call


@pytest.mark.parametrize("sent", ["caf\u00e9", "two\nlines", "\x00", "x" * 129, ""])
@asynchronous
async def test_a_trace_id_that_could_not_be_sent_back_is_replaced(sent: str) -> None:
    call = await through(interceptors.trace, {"x-request-id": sent})
    assert call.trace_id != sent
    assert call.trace_id.isascii()


@asynchronous
async def test_an_idempotency_key_in_a_header_is_ascii() -> None:
    with pytest.raises(Refusal) as raised:
        await through(interceptors.idempotency_key, {"idempotency-key": "\u00ff\u00fe"})
    assert [v.field for v in raised.value.violations] == ["request_id"]
