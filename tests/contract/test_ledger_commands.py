"""Every command is stored and read back alike, in PostgreSQL and in memory: holds, fees, postings, reversals, and what
is deferred."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.kit.builders import (
    FEES,
    account,
    capture,
    code,
    compound,
    deposit,
    expiry,
    fee,
    placing,
    release,
    reversal,
    transfer,
    withdrawal,
)
from tests.kit.ledgers import Ledger, funded, named
from transaction_service.domain.account import INT64_MAX, Limits
from transaction_service.domain.book import Reversed
from transaction_service.domain.hold import Hold, HoldState
from transaction_service.domain.movement import Manner, Movement, Outcome, Transaction, TransactionState, Work
from transaction_service.domain.terms import Terms
from transaction_service.ports import Wanted

DEFERRED = Terms(deferred=True)


def outcomes(ledger: Ledger, *movements: Movement) -> list[Outcome]:
    """Each in a group of its own."""
    found = [ledger.post(movement)[0] for movement in movements]
    assert all(isinstance(answer, Outcome) for answer in found), list(map(code, found))
    return found  # type: ignore[return-value] # as was just asserted


def stored(ledger: Ledger, movement: Movement) -> Transaction:
    found = ledger.transaction(movement.id)
    assert found is not None
    return found


def hold_of(ledger: Ledger, placed: Movement) -> Hold:
    found = asyncio.run(ledger.holds.hold(placed.id))
    assert found is not None
    return found


def every_command(alice: str, bob: str) -> list[Movement]:
    """In an order in which most of them succeed."""
    placed, paid = placing(alice, bob, 20, ttl=timedelta(hours=1)), transfer(alice, bob, 10, terms=fee(2))
    other, over = placing(alice, bob, 5), placing(alice, bob, 6, ttl=timedelta(microseconds=1))
    split = compound((alice, -3), (bob, 1), (bob, 2), (alice, -2), (bob, 2))
    return [
        deposit(alice, 100),
        paid,
        transfer(alice, bob, 10, terms=fee(2, included=True)),
        withdrawal(alice, 10, terms=fee(1, bob)),
        transfer(alice, bob, 1, terms=Terms(expected_version=99)),
        transfer(alice, bob, 1, terms=Terms(minimum_after=-5)),
        split,
        compound((bob, -999), (alice, 999)),
        placed,
        capture(placed, 5),
        capture(placed, 50),
        capture(placed, final=True),
        capture(placed),
        other,
        release(other, labels={"a": "b"}),
        release(other),
        over,
        expiry(over),
        capture(over),
        placing(alice, bob, 10**6),
        reversal(paid, 3),
        reversal(paid),
        reversal(paid),
        reversal(split),
        reversal(split, 1),
        transfer(alice, bob, 1, terms=DEFERRED),
        transfer(alice, bob, 1, terms=Terms(deferred=True, execute_time=datetime(2126, 1, 1, 0, 0, 0, 1, UTC))),
    ]


def test_every_command_is_read_back_as_it_was_decided(ledger: Ledger) -> None:
    alice, bob = funded(ledger, 100, "alice", "bob")
    commands = every_command(alice, bob)
    decided = outcomes(ledger, *commands)
    assert [code(answer) for answer in decided] == [
        *["POSTED"] * 4,
        "VERSION_MISMATCH",
        *["POSTED"] * 2,
        "INSUFFICIENT_FUNDS",
        *["POSTED"] * 2,
        "CAPTURE_ABOVE_HOLD",
        "POSTED",
        "HOLD_CAPTURED",
        *["POSTED"] * 2,
        "HOLD_RELEASED",
        *["POSTED"] * 2,
        "HOLD_EXPIRED",
        "INSUFFICIENT_FUNDS",
        *["POSTED"] * 2,
        "ALREADY_REVERSED",
        "POSTED",
        "NOT_DIVISIBLE",
        *["PENDING"] * 2,
    ]
    assert [stored(ledger, movement) for movement in commands] == [answer.transaction for answer in decided]
    last = {answer.hold.id: answer.hold for answer in decided if answer.hold is not None}
    assert {id_: asyncio.run(ledger.holds.hold(id_)) for id_ in last} == last


def test_every_command_that_is_repeated_is_answered_as_before(ledger: Ledger) -> None:
    alice, bob = funded(ledger, 100, "alice", "bob")
    commands = every_command(alice, bob)
    first = outcomes(ledger, *commands)
    has = [(a.balance, a.held, a.version) for a in ledger.get([alice, bob])]
    again = ledger.post(*commands)
    assert again == [Outcome(answer.transaction, replayed=True) for answer in first]
    assert [(a.balance, a.held, a.version) for a in ledger.get([alice, bob])] == has


def test_a_hold_is_kept_with_every_word_and_time(ledger: Ledger) -> None:
    alice, bob = funded(ledger, INT64_MAX // 8, "alice", "bob")
    said: dict[str, Any] = {
        "description": 'a "b" \\ {c}\n',
        "external_reference": "NULL",
        "labels": {"k": "{}", "l": ""},
    }
    far = datetime(9999, 12, 31, 23, 59, 59, 999_999, UTC)
    placed = placing(alice, bob, INT64_MAX // 8, expire_time=far, **said)
    [answer] = outcomes(ledger, placed)
    hold = hold_of(ledger, placed)
    assert hold == answer.hold
    assert (hold.expire_time, hold.amount, hold.state) == (far, INT64_MAX // 8, HoldState.OPEN)
    assert (hold.description, hold.external_reference, hold.labels) == tuple(said.values())
    assert ledger.account(alice).held == INT64_MAX // 8


def test_no_more_is_held_than_can_be_told(ledger: Ledger) -> None:
    """Both a balance and a credit line are as long as an int64."""
    alice, lender = named("alice"), named("lender")
    ledger.open(account(alice, credit=INT64_MAX), account(lender, credit=INT64_MAX))
    asked = [transfer(lender, alice, INT64_MAX), placing(alice, lender, INT64_MAX), placing(alice, lender, 1)]
    assert [code(answer) for answer in ledger.post(*asked)] == ["POSTED", "POSTED", "BALANCE_OVERFLOW"]
    assert ledger.account(alice).held == INT64_MAX


def test_the_lock_pass_finds_holds_and_what_was_given_back(ledger: Ledger) -> None:
    alice, bob = funded(ledger, 100, "alice", "bob")
    placed, paid, untouched = placing(alice, bob, 10), transfer(alice, bob, 30), transfer(alice, bob, 3)
    poor = transfer(bob, alice, 999)
    outcomes(ledger, placed, capture(placed, 4), paid, untouched, reversal(paid, 10), reversal(paid, 5), poor)
    outcomes(ledger, reversal(paid, 16), reversal(untouched, 4))  # above what is left
    nothing = transfer().id
    ids = {placed.id, nothing}
    gone_back = {paid.id, untouched.id, poor.id, nothing}
    locked = ledger.store.lock(Wanted({alice, bob}, gone_back, ids, gone_back), patient=True)
    ledger.store.roll_back()
    assert locked.holds == {placed.id: hold_of(ledger, placed)}
    assert locked.holds[placed.id].remaining == 6
    assert locked.reversed == {paid.id: Reversed(2, 15)}
    assert locked.known == {m.id: stored(ledger, m) for m in (paid, untouched, poor)}


@pytest.mark.parametrize("included", [False, True])
def test_a_fee_goes_back_last_and_once(ledger: Ledger, included: bool) -> None:
    alice, bob = funded(ledger, 100, "alice", "bob")
    paid = transfer(alice, bob, 30, terms=fee(6, included=included))
    received = 24 if included else 30
    parts = [reversal(paid, 4), reversal(paid, received - 4), reversal(paid), reversal(paid)]
    told = [code(answer) for answer in outcomes(ledger, paid, *parts)]
    assert told == ["POSTED"] * 4 + ["ALREADY_REVERSED"]
    assert [a.balance for a in ledger.get([alice, bob])] == [100, 100]
    locked = ledger.store.lock(Wanted({alice}, {paid.id}, (), {paid.id}), patient=True)
    ledger.store.roll_back()
    assert locked.reversed == {paid.id: Reversed(3, received, whole=True)}


def test_what_is_held_and_paid_at_once(ledger: Ledger) -> None:
    """At the floor, where neither may change without the other."""
    alice, bob = funded(ledger, 100, "alice", "bob")
    placed, other = placing(alice, bob, 100), placing(alice, bob, 90)
    answers = ledger.post(placed, capture(placed, 10, final=True), other, transfer(bob, alice, 5), capture(other, 85))
    assert [code(answer) for answer in answers] == ["POSTED"] * 5
    found = ledger.account(alice)
    assert (found.balance, found.held, found.available) == (10, 5, 5)


def test_what_only_reserves_money_makes_no_entry(ledger: Ledger) -> None:
    alice, bob = funded(ledger, 100, "alice", "bob")
    placed = placing(alice, bob, 10)
    outcomes(ledger, placed)
    outcomes(ledger, release(placed))
    assert [line.entry.seq for line in ledger.entries(ledger.account(alice))] == [1]
    assert ledger.account(alice).version == 1


def test_limits_are_used_by_holds_and_not_by_their_captures(ledger: Ledger) -> None:
    alice, bob = named("alice"), named("bob")
    ledger.open(account(alice, limits=Limits(per_day=50)), account(bob))
    placed = placing(alice, bob, 40)
    outcomes(ledger, deposit(alice, 100), placed, capture(placed), transfer(alice, bob, 10))
    [answer] = outcomes(ledger, transfer(alice, bob, 1))
    assert code(answer) == "DAILY_LIMIT_EXCEEDED"
    assert ledger.account(alice).usage.day_amount == 50


def test_what_is_deferred_is_posted_or_cancelled_once(ledger: Ledger) -> None:
    alice, bob = funded(ledger, 100, "alice", "bob")
    due, cancelled = (transfer(alice, bob, amount, labels={"a": "b"}, terms=DEFERRED) for amount in (10, 20))
    pending = outcomes(ledger, due, cancelled)
    assert [code(answer) for answer in pending] == ["PENDING", "PENDING"]
    answers = [
        *ledger.work(Work([due], Manner.DUE)),
        *ledger.work(Work([cancelled], Manner.CANCEL, "ann")),
        *ledger.work(Work([cancelled, due], Manner.DUE)),
        *ledger.post(due, cancelled),
    ]
    assert [code(answer) for answer in answers] == [
        "POSTED",
        "TRANSFER_CANCELLED",
        "TRANSFER_CANCELLED",
        "POSTED",
        "POSTED",
        "TRANSFER_CANCELLED",
    ]
    assert [isinstance(answer, Outcome) and answer.replayed for answer in answers] == [False, False] + [True] * 4
    posted = stored(ledger, due)
    assert (posted.state, posted.movement) == (TransactionState.POSTED, due)
    assert posted.create_time == pending[0].transaction.create_time <= posted.decide_time
    assert ledger.account(bob).balance == 110
    listed = [t.movement.id for t in ledger.transactions(account=alice)]
    assert listed.count(due.id) == listed.count(cancelled.id) == 1


def test_a_stopped_batch_is_stored_as_failed_and_nothing_else(ledger: Ledger) -> None:
    alice, bob = funded(ledger, 100, "alice", "bob")
    batch = [transfer(alice, bob, 60), placing(alice, bob, 10), transfer(alice, bob, 60)]
    answers = ledger.work(Work(batch, Manner.ATOMIC))
    assert [code(answer) for answer in answers] == ["BATCH_STOPPED", "BATCH_STOPPED", "INSUFFICIENT_FUNDS"]
    assert {stored(ledger, movement).state for movement in batch} == {TransactionState.FAILED}
    found = ledger.account(alice)
    assert (found.balance, found.held, found.version) == (100, 0, 1)
    assert asyncio.run(ledger.holds.hold(batch[1].id)) is None
    assert ledger.work(Work(batch, Manner.ATOMIC)) == [
        Outcome(answer.transaction, replayed=True) for answer in answers if isinstance(answer, Outcome)
    ]


def test_a_fee_opens_its_account_on_first_use(ledger: Ledger) -> None:
    alice, bob = funded(ledger, 100, "alice", "bob")
    before = {a.name: a.balance for a in ledger.get([FEES])}
    outcomes(ledger, transfer(alice, bob, 10, terms=fee(4)))
    assert ledger.account(FEES).balance == before.get(FEES, 0) + 4
