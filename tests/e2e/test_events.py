"""WatchTransactions through the gateway: server-sent events as they happen, gRPC streams without a deadline."""

from uuid import uuid4

import grpc
import pytest
from specie.transaction.v1 import TransactionServiceStub, WatchTransactionsRequest

from tests.kit.events import events
from tests.kit.stack import Stack, running_stack
from tests.kit.till import usd


def opened(stack: Stack) -> str:
    """A new wallet."""
    wallet = f"watched-{uuid4().hex[:12]}"
    assert stack.call("POST", f"/v1/wallets?walletId={wallet}", {"currencyCode": "USD"}).status == 200
    return wallet


def deposited(stack: Stack, wallet: str, amount: int) -> str:
    """The transaction's name."""
    body = {"amount": usd(amount), "requestId": uuid4().hex}
    answer = stack.call("POST", f"/v1/wallets/{wallet}:deposit", body)
    assert answer.status == 200
    name: str = answer.body["transaction"]["name"]
    return name


def test_events_come_as_they_happen_and_go_on_from_a_cursor(stack: Stack) -> None:
    wallet = opened(stack)
    with events(stack, wallet=f"wallets/{wallet}") as stream:
        assert (stream.response.status, stream.response.headers["content-type"]) == (200, "text/event-stream")
        coming = iter(stream)
        first = next(coming)
        assert [*first] == ["cursor"]
        made, seen = [], []
        for amount in (1, 2, 3):  # each is read before the next one is made
            made.append(deposited(stack, wallet, amount))
            seen.append(next(coming))
    assert [event["transaction"]["name"] for event in seen] == made
    assert [event["transaction"]["amount"]["minorUnits"] for event in seen] == ["1", "2", "3"]
    for number, event in enumerate([first, *seen[:-1]]):
        # A browser that comes back asks what it asked first, and says in a header where it was.
        stale = first["cursor"]
        for last_event_id, cursor in ((None, event["cursor"]), (event["cursor"], stale), (event["cursor"], "nonsense")):
            with events(stack, last_event_id, wallet=f"wallets/{wallet}", cursor=cursor) as again:
                transactions = again.transactions()
                assert [next(transactions)["transaction"]["name"] for _ in made[number:]] == made[number:]


def test_what_is_wrong_with_a_stream_is_told_as_for_any_call(stack: Stack) -> None:
    for query, reason in (("cursor=nonsense", "INVALID_CURSOR"), ("wallet=nobody", "INVALID_FIELD")):
        answer = stack.call("GET", f"/v1/transactions:watch?{query}")
        assert (answer.status, answer.body["details"][0]["reason"]) == (400, reason)


@pytest.mark.parametrize("last_event_id", ["", "nonsense", "x" * 10_000])
def test_a_last_event_that_nobody_has_sent(stack: Stack, last_event_id: str) -> None:
    answer = stack.call("GET", "/v1/transactions:watch?cursor=beginning", headers={"last-event-id": last_event_id})
    assert (answer.status, answer.body["details"][0]["reason"]) == (400, "INVALID_CURSOR")
    assert "the Last-Event-ID was not sent by WatchTransactions" in answer.body["message"]


def test_answers_that_are_no_streams_are_plain_json(stack: Stack) -> None:
    answer = stack.call("GET", "/v1/transactions")
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")


def test_a_grpc_stream_goes_through_as_well(stack: Stack) -> None:
    wallet = opened(stack)
    with grpc.insecure_channel(stack.grpc) as channel:
        service = stack.authorised(TransactionServiceStub(channel))
        call = service.WatchTransactions(WatchTransactionsRequest(wallet=f"wallets/{wallet}"))
        assert not next(call).HasField("transaction")
        made = deposited(stack, wallet, 1)
        assert next(call).transaction.name == made
        call.cancel()
        short = service.WatchTransactions(WatchTransactionsRequest(), timeout=0.5)
        with pytest.raises(grpc.RpcError) as error:
            list(short)
        assert error.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED


def test_streams_end_in_order_when_the_stack_stops() -> None:
    with running_stack() as stack, events(stack) as stream, grpc.insecure_channel(stack.grpc) as channel:
        wallet = opened(stack)
        call = stack.authorised(TransactionServiceStub(channel)).WatchTransactions(WatchTransactionsRequest())
        next(call)
        coming = stream.transactions()
        made = deposited(stack, wallet, 1)
        assert next(coming)["transaction"]["name"] == made
        assert stack.stop() == 0
        assert list(coming) == []
        with pytest.raises(grpc.RpcError) as error:
            list(call)
        assert error.value.code() == grpc.StatusCode.UNAVAILABLE
        assert "go on from the last cursor" in str(error.value.details())
