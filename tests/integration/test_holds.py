"""Holds through the real service: what they reserve, how they end, and what is refused afterwards."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from specie.transaction.v1 import (
    AccountState,
    CaptureHoldRequest,
    GetBalanceRequest,
    GetHoldRequest,
    Hold,
    HoldState,
    TransactionKind,
    TransactionState,
)
from specie.type.v1 import Limits

from tests.kit.calls import Client, connected, failed, key, usd, wallet_name
from tests.kit.ledger import Ledger, Rows
from tests.kit.wallets import asynchronous

OPEN, CAPTURED, RELEASED = HoldState.HOLD_STATE_OPEN, HoldState.HOLD_STATE_CAPTURED, HoldState.HOLD_STATE_RELEASED
EXPIRED = HoldState.HOLD_STATE_EXPIRED
FROZEN, CLOSED = AccountState.ACCOUNT_STATE_FROZEN, AccountState.ACCOUNT_STATE_CLOSED
AT_ONCE = Duration(nanos=1_000)
"""A hold of one microsecond is over before anybody can do something with it."""
UNKNOWN = "holds/00000000-0000-0000-0000-000000000000"


async def reserved(client: Client, balance: int = 100, amount: int = 60) -> tuple[str, str, Hold]:
    """Two wallets and a hold from the first for the second."""
    alice, bob = await client.open(balance), await client.open()
    return alice, bob, (await client.place_hold(alice, bob, amount)).hold


async def amounts(client: Client, wallet: str) -> tuple[int, int, int]:
    """What is posted, held and available."""
    answer = await client.transactions.GetBalance(GetBalanceRequest(wallet=wallet))
    balance = answer.balance
    return balance.posted.minor_units, balance.held.minor_units, balance.available.minor_units


async def now(client: Client, hold: Hold) -> Hold:
    found: Hold = (await client.transactions.GetHold(GetHoldRequest(name=hold.name))).hold
    return found


def parts(hold: Hold) -> tuple[HoldState.ValueType, int, int, int]:
    """Its state, its amount, what was captured and what was released of it."""
    return hold.state, hold.amount.minor_units, hold.captured.minor_units, hold.released.minor_units


@asynchronous
async def test_a_hold_reserves_money_and_moves_none(target: str, ledger: Ledger) -> None:
    async with connected(target) as client:
        alice, bob = await client.open(100), await client.open()
        before = ledger.rows()
        answer = await client.place_hold(
            alice, bob, 60, description="two nights", external_reference="booking 7", labels={"hotel": "ritz"}
        )
        hold = answer.hold
        assert not answer.replayed
        assert parts(hold) == (OPEN, 60, 0, 0)
        assert (hold.source, hold.destination) == (alice, bob)
        assert (hold.description, hold.external_reference) == ("two nights", "booking 7")
        assert dict(hold.labels) == {"hotel": "ritz"}
        assert await amounts(client, alice) == (100, 60, 40)
        assert await amounts(client, bob) == (0, 0, 0)
        assert ledger.rows() == Rows(before.posted + 1, before.failed, before.entries)
        assert await now(client, hold) == hold
        [transaction] = await client.listed(wallet=bob)
        assert transaction.kind == TransactionKind.TRANSACTION_KIND_HOLD
        assert transaction.state == TransactionState.TRANSACTION_STATE_POSTED
        assert (transaction.name.partition("/")[2], transaction.hold) == (hold.name.partition("/")[2], hold.name)


@asynchronous
async def test_it_lasts_as_long_as_its_caller_says_or_seven_days(target: str) -> None:
    async with connected(target) as client:
        alice, bob = await client.open(100), await client.open()
        for ttl in (timedelta(days=7), timedelta(hours=1), timedelta(days=366)):
            asked: dict[str, Any] = (
                {} if ttl == timedelta(days=7) else {"ttl": Duration(seconds=int(ttl.total_seconds()))}
            )
            hold = (await client.place_hold(alice, bob, 1, **asked)).hold
            assert hold.expire_time.ToDatetime() - hold.create_time.ToDatetime() == ttl
        time = Timestamp()
        time.FromDatetime(datetime(2999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC))
        assert (await client.place_hold(alice, bob, 1, expire_time=time)).hold.expire_time == time


@asynchronous
async def test_all_of_it_is_captured_when_no_amount_is_named(target: str, ledger: Ledger) -> None:
    async with connected(target) as client:
        alice, bob, hold = await reserved(client)
        before = ledger.rows()
        answer = await client.capture(hold.name, description="the stay", external_reference="bill 1")
        assert parts(answer.hold) == (CAPTURED, 60, 60, 0)
        told = answer.transaction
        assert told.kind == TransactionKind.TRANSACTION_KIND_CAPTURE
        assert (told.source, told.destination, told.amount, told.hold) == (alice, bob, usd(60), hold.name)
        assert (told.description, told.external_reference) == ("the stay", "bill 1")
        assert (await amounts(client, alice), await amounts(client, bob)) == ((40, 0, 40), (60, 0, 60))
        assert ledger.rows() == Rows(before.posted + 1, before.failed, before.entries + 2)
        assert await now(client, hold) == answer.hold


@asynchronous
async def test_it_is_captured_in_parts_until_nothing_is_left(target: str) -> None:
    async with connected(target) as client:
        alice, bob, hold = await reserved(client)
        for captured in (10, 20, 30):
            answer = await client.capture(hold.name, 10)
            assert parts(answer.hold) == (OPEN, 60, captured, 0)
            assert await amounts(client, alice) == (100 - captured, 60 - captured, 40)
        assert parts((await client.capture(hold.name, 30)).hold) == (CAPTURED, 60, 60, 0)
        assert (await amounts(client, alice), await amounts(client, bob)) == ((40, 0, 40), (60, 0, 60))


@asynchronous
async def test_a_final_capture_frees_the_rest(target: str) -> None:
    async with connected(target) as client:
        alice, bob, hold = await reserved(client)
        await client.capture(hold.name, 10)
        assert parts((await client.capture(hold.name, 25, final=True)).hold) == (CAPTURED, 60, 35, 25)
        assert (await amounts(client, alice), await amounts(client, bob)) == ((65, 0, 65), (35, 0, 35))
        _, _, other = await reserved(client)
        assert parts((await client.capture(other.name, final=True)).hold) == (CAPTURED, 60, 60, 0)


@asynchronous
async def test_a_release_frees_what_is_left(target: str, ledger: Ledger) -> None:
    async with connected(target) as client:
        alice, bob, hold = await reserved(client)
        await client.capture(hold.name, 10)
        before = ledger.rows()
        assert parts((await client.release(hold.name, description="left early")).hold) == (RELEASED, 60, 10, 50)
        assert (await amounts(client, alice), await amounts(client, bob)) == ((90, 0, 90), (10, 0, 10))
        assert ledger.rows() == Rows(before.posted + 1, before.failed, before.entries)
        newest = (await client.listed(wallet=alice))[0]
        assert newest.kind == TransactionKind.TRANSACTION_KIND_RELEASE
        assert (newest.amount, newest.description, newest.hold) == (usd(50), "left early", hold.name)


async def captured(client: Client, alice: str, bob: str) -> str:
    hold: str = (await client.place_hold(alice, bob, 60)).hold.name
    await client.capture(hold, 10, final=True)
    return hold


async def released(client: Client, alice: str, bob: str) -> str:
    hold: str = (await client.place_hold(alice, bob, 60)).hold.name
    await client.release(hold)
    return hold


async def expired(client: Client, alice: str, bob: str) -> str:
    """Whether or not that was noticed yet."""
    hold: str = (await client.place_hold(alice, bob, 60, ttl=AT_ONCE)).hold.name
    return hold


@pytest.mark.parametrize(
    ("end", "reason"), [(captured, "HOLD_CAPTURED"), (released, "HOLD_RELEASED"), (expired, "HOLD_EXPIRED")]
)
@asynchronous
async def test_what_has_ended_is_neither_captured_nor_released(
    target: str, ledger: Ledger, end: Callable[[Client, str, str], Awaitable[str]], reason: str
) -> None:
    async with connected(target) as client:
        alice, bob = await client.open(100), await client.open()
        hold = await end(client, alice, bob)
        balances = await amounts(client, bob)
        for attempt in (client.capture(hold, 5), client.capture(hold), client.release(hold)):
            answer = await failed(attempt)
            assert (answer.code, answer.reason) == ("FAILED_PRECONDITION", reason)
            assert (answer.metadata["hold"], answer.metadata["replayed"]) == (hold, "false")
            [stored] = ledger.query(
                "SELECT failure_reason, hold::text FROM transactions.transaction WHERE id = %s",
                answer.metadata["transaction"].partition("/")[2],
            )
            assert stored == (reason, hold.partition("/")[2])
        assert await amounts(client, bob) == balances


@asynchronous
async def test_no_more_is_captured_than_it_reserves(target: str) -> None:
    async with connected(target) as client:
        alice, bob, hold = await reserved(client)
        await client.capture(hold.name, 10)
        answer = await failed(client.capture(hold.name, 51))
        assert (answer.code, answer.reason) == ("FAILED_PRECONDITION", "CAPTURE_ABOVE_HOLD")
        assert (answer.metadata["remaining"], answer.metadata["amount"]) == ("50", "51")
        assert (await amounts(client, alice), await amounts(client, bob)) == ((90, 50, 40), (10, 0, 10))


@asynchronous
async def test_holds_count_against_the_floor(target: str) -> None:
    async with connected(target) as client:
        alice, bob, hold = await reserved(client, balance=100, amount=60)
        for attempt in (client.transfer(alice, bob, 41), client.withdraw(alice, 41), client.place_hold(alice, bob, 41)):
            answer = await failed(attempt)
            assert (answer.reason, answer.metadata["available"]) == ("INSUFFICIENT_FUNDS", "40")
        await client.transfer(alice, bob, 40)
        assert await amounts(client, alice) == (60, 60, 0)
        # What is reserved is there for its capture, and for nothing else.
        assert (await failed(client.place_hold(alice, bob, 1))).reason == "INSUFFICIENT_FUNDS"
        await client.capture(hold.name, 60)
        assert (await amounts(client, alice), await amounts(client, bob)) == ((0, 0, 0), (100, 0, 100))


@asynchronous
async def test_a_credit_line_can_be_reserved(target: str) -> None:
    async with connected(target) as client:
        alice, bob = await client.open(limits=Limits(credit_minor_units=50)), await client.open()
        hold = (await client.place_hold(alice, bob, 50)).hold
        assert await amounts(client, alice) == (0, 50, -50)
        assert (await failed(client.transfer(alice, bob, 1))).reason == "INSUFFICIENT_FUNDS"
        await client.capture(hold.name)
        assert await amounts(client, alice) == (-50, 0, -50)


@asynchronous
async def test_it_counts_against_limits_when_it_is_placed_and_not_again(target: str) -> None:
    async with connected(target) as client:
        limits = Limits(max_minor_units_per_day=100, max_minor_units_per_transaction=70)
        alice, bob = await client.open(1_000, limits=limits), await client.open()
        assert (await failed(client.place_hold(alice, bob, 71))).reason == "TRANSACTION_LIMIT_EXCEEDED"
        hold = (await client.place_hold(alice, bob, 70)).hold
        await client.capture(hold.name, 70)
        answer = await failed(client.place_hold(alice, bob, 31))
        assert (answer.reason, answer.metadata["used"]) == ("DAILY_LIMIT_EXCEEDED", "70")
        await client.transfer(alice, bob, 30)


@asynchronous
async def test_a_frozen_wallet_reserves_and_pays_nothing_and_can_be_released(target: str) -> None:
    async with connected(target) as client:
        alice, bob, hold = await reserved(client)
        other = (await client.place_hold(alice, bob, 10)).hold
        await client.set_state(alice, FROZEN, 2)
        assert (await failed(client.place_hold(alice, bob, 1))).reason == "SOURCE_FROZEN"
        assert (await failed(client.capture(hold.name, 10))).reason == "SOURCE_FROZEN"
        assert parts((await client.release(other.name)).hold) == (RELEASED, 10, 0, 10)
        await client.set_state(alice, AccountState.ACCOUNT_STATE_OPEN, 3)
        assert parts((await client.capture(hold.name, 10)).hold) == (OPEN, 60, 10, 0)


@asynchronous
async def test_a_wallet_with_holds_cannot_be_closed(target: str) -> None:
    async with connected(target) as client:
        alice, bob = await client.open(limits=Limits(credit_minor_units=50)), await client.open()
        hold = (await client.place_hold(alice, bob, 50)).hold
        answer = await failed(client.set_state(alice, CLOSED, 2))
        assert (answer.reason, answer.metadata["posted"], answer.metadata["held"]) == ("WALLET_NOT_EMPTY", "0", "50")
        await client.release(hold.name)
        await client.set_state(alice, CLOSED, 2)
        assert (await failed(client.place_hold(alice, bob, 1))).reason == "SOURCE_CLOSED"


@asynchronous
async def test_a_hold_for_a_closed_wallet_can_only_be_released(target: str) -> None:
    async with connected(target) as client:
        alice, bob, hold = await reserved(client)
        await client.set_state(bob, CLOSED, 2)
        assert (await failed(client.capture(hold.name))).reason == "DESTINATION_CLOSED"
        assert (await failed(client.place_hold(alice, bob, 1))).reason == "DESTINATION_CLOSED"
        await client.release(hold.name)
        assert await amounts(client, alice) == (100, 0, 100)


@asynchronous
async def test_wallets_that_do_not_fit_are_refused_as_for_a_transfer(target: str) -> None:
    async with connected(target) as client:
        alice, euros = await client.open(100), await client.open(100, "EUR")
        for source, destination, reason in (
            (wallet_name(), alice, "SOURCE_NOT_FOUND"),
            (alice, wallet_name(), "DESTINATION_NOT_FOUND"),
            (euros, alice, "CURRENCY_MISMATCH"),
            (alice, euros, "CURRENCY_MISMATCH"),
            (alice, alice, "SAME_WALLET"),
        ):
            assert (await failed(client.place_hold(source, destination, 1))).reason == reason


@asynchronous
async def test_a_capture_must_be_in_the_currency_of_the_hold(target: str, ledger: Ledger) -> None:
    async with connected(target) as client:
        alice, _, hold = await reserved(client)

        def capture(currency: str) -> Awaitable[object]:
            request = CaptureHoldRequest(name=hold.name, amount=usd(1, currency), request_id=key())
            call: Awaitable[object] = client.transactions.CaptureHold(request)
            return call

        answer = await failed(capture("EUR"))
        assert (answer.reason, answer.metadata["wallet"]) == ("CURRENCY_MISMATCH", alice)
        before = ledger.rows()
        assert (await failed(capture("XXY"))).reason == "UNKNOWN_CURRENCY"
        assert ledger.rows() == before


@asynchronous
async def test_the_same_request_is_answered_again_with_the_hold_as_it_is_now(target: str, ledger: Ledger) -> None:
    async with connected(target) as client:
        alice, bob = await client.open(100), await client.open()
        place, capture, release = key(), key(), key()
        hold = (await client.place_hold(alice, bob, 60, place)).hold
        first = await client.capture(hold.name, 20, capture)
        await client.release(hold.name, release)
        before = ledger.rows()

        placed = await client.place_hold(alice, bob, 60, place)
        again = await client.capture(hold.name, 20, capture)
        freed = await client.release(hold.name, release)
        assert (placed.replayed, again.replayed, freed.replayed) == (True, True, True)
        assert again.transaction == first.transaction
        for answer in (placed, again, freed):
            assert parts(answer.hold) == (RELEASED, 60, 20, 40)
        assert ledger.rows() == before
        assert (await amounts(client, alice), await amounts(client, bob)) == ((80, 0, 80), (20, 0, 20))


@asynchronous
async def test_a_refused_capture_is_refused_again_alike(target: str, ledger: Ledger) -> None:
    async with connected(target) as client:
        _, _, hold = await reserved(client)
        request_id = key()
        first = await failed(client.capture(hold.name, 61, request_id))
        before = ledger.rows()
        again = await failed(client.capture(hold.name, 61, request_id))
        assert again == first
        assert again.metadata == first.metadata | {"replayed": "true"}
        assert ledger.rows() == before


@asynchronous
async def test_another_request_with_the_same_key_is_refused_without_effect(target: str, ledger: Ledger) -> None:
    async with connected(target) as client:
        alice, bob, hold = await reserved(client)
        _, _, other = await reserved(client)
        place, capture = key(), key()
        await client.place_hold(alice, bob, 1, place)
        await client.capture(hold.name, 1, capture)
        before = ledger.rows()
        for attempt in (
            client.place_hold(alice, bob, 2, place),
            client.place_hold(alice, bob, 1, place, ttl=Duration(seconds=60)),
            client.transfer(alice, bob, 1, place),
            client.capture(hold.name, 2, capture),
            client.capture(hold.name, 1, capture, final=True),
            client.capture(other.name, 1, capture),
            client.release(hold.name, capture),
        ):
            answer = await failed(attempt)
            assert (answer.code, answer.reason) == ("ALREADY_EXISTS", "REQUEST_ID_REUSED")
        assert ledger.rows() == before


@asynchronous
async def test_what_cannot_be_meant_is_refused_and_not_stored(target: str, ledger: Ledger) -> None:
    async with connected(target) as client:
        alice, bob, hold = await reserved(client)
        past = Timestamp(seconds=int((datetime.now(UTC) - timedelta(days=1)).timestamp()))
        before = ledger.rows()
        for attempt, reason, field in (
            (client.place_hold(alice, bob, 1, expire_time=past), "EXPIRE_TIME_PASSED", ""),
            (client.place_hold(alice, bob, 1, expire_time=Timestamp(seconds=2**40)), "INVALID_FIELD", "expire_time"),
            (client.place_hold(alice, bob, 1, ttl=Duration()), "INVALID_FIELD", "ttl"),
            (client.place_hold(alice, bob, 1, ttl=Duration(seconds=-1)), "INVALID_FIELD", "ttl"),
            (client.place_hold(alice, bob, 1, ttl=Duration(seconds=366 * 86_400 + 1)), "INVALID_FIELD", "ttl"),
            (client.place_hold(alice, bob, 0), "INVALID_FIELD", "amount"),
            (client.place_hold(alice, bob, -1), "INVALID_FIELD", "amount"),
            (client.capture(hold.name, -1), "INVALID_FIELD", "amount"),
            (client.capture("holds/7"), "INVALID_FIELD", "name"),
            (client.release("holds/7"), "INVALID_FIELD", "name"),
        ):
            answer = await failed(attempt)
            assert (answer.code, answer.reason) == ("INVALID_ARGUMENT", reason)
            assert set(answer.fields) == ({field} if field else set())
        assert ledger.rows() == before


@asynchronous
async def test_an_unknown_hold_is_told_before_anything_else(target: str, ledger: Ledger) -> None:
    async with connected(target) as client:
        before = ledger.rows()
        request = CaptureHoldRequest(name=UNKNOWN, amount=usd(1, "XXY"), request_id=key())
        for attempt in (client.transactions.CaptureHold(request), client.release(UNKNOWN)):
            answer = await failed(attempt)
            assert (answer.code, answer.reason, answer.metadata) == ("NOT_FOUND", "HOLD_NOT_FOUND", {"hold": UNKNOWN})
        assert ledger.rows() == before
