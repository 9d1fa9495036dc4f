"""Batches that are all or none, and what is deferred: stored as PENDING, then posted or cancelled."""

from collections.abc import Iterator, Sequence
from copy import deepcopy
from datetime import timedelta
from typing import Any

import pytest

from tests.kit.builders import (
    NOON,
    account,
    amounts,
    book,
    capture,
    cash_account,
    code,
    compound,
    deposit,
    fee,
    fees_account,
    placing,
    release,
    reversal,
    told,
    transfer,
)
from transaction_service.domain.account import Account, AccountState, Limits
from transaction_service.domain.book import Book, check_group
from transaction_service.domain.failure import InvariantViolation
from transaction_service.domain.ledger import decide, decide_work
from transaction_service.domain.movement import (
    Answer,
    Manner,
    Movement,
    Outcome,
    Refused,
    Transaction,
    TransactionState,
    Work,
)
from transaction_service.domain.terms import Terms

PLACED, PAID = placing("alice", "bob", 10), transfer("alice", "bob", 20)


def standing() -> list[Account]:
    return [
        account("alice", 100, limits=Limits(per_day=1000)),
        account("bob", 50),
        account("carol"),
        account("closed", state=AccountState.CLOSED),
        fees_account(),
        cash_account(),
    ]


def a_book() -> Book:
    """A hold and a payment have been decided in this group already."""
    group = book(standing())
    assert [code(decide(group, movement)) for movement in (PLACED, PAID)] == ["POSTED", "POSTED"]
    return group


def all_or_none(group: Book, *movements: Movement) -> list[Answer]:
    before, holds = amounts(group.accounts.values()), dict(group.holds)
    entries, changed_holds = len(group.entries), dict(group.changed_holds)
    answers = decide_work(group, Work(movements, Manner.ATOMIC))
    one = Book(group.accounts, group.known, group.now, entries=group.entries[entries:], changed=group.changed)
    one.changed_holds = {id_: h for id_, h in group.changed_holds.items() if changed_holds.get(id_) != h}
    check_group(one, before, holds)
    return answers


def replayed(answers: Sequence[Answer]) -> list[bool]:
    return [isinstance(answer, Outcome) and answer.replayed for answer in answers]


def test_all_are_posted() -> None:
    group = a_book()
    chain = [transfer("carol", "bob", 5), transfer("alice", "carol", 5)]
    assert [code(answer) for answer in all_or_none(group, *reversed(chain))] == ["POSTED", "POSTED"]
    assert group.accounts["wallets/bob"].balance == 75


EVERYTHING = [
    transfer("alice", "carol", 7),
    deposit("carol", 3),
    transfer("alice", "bob", 5, terms=fee(1)),
    compound(("alice", -2), ("bob", 1), ("carol", 1)),
    placing("alice", "carol", 4),
    capture(PLACED, 6),
    release(PLACED),
    reversal(PAID, 5),
    reversal(PAID),
    transfer("alice", "bob", 1, terms=Terms(deferred=True)),
]


def snapshot(group: Book) -> list[Any]:
    """All that a batch may change."""
    return deepcopy(
        [group.accounts, group.decided, group.entries, group.holds, group.changed_holds, group.reversed, group.changed]
    )


def test_everything_of_a_batch_that_stops_is_undone() -> None:
    """Balances, holds, versions, usage of limits, reversals: as if nothing of it had been tried."""
    group = a_book()
    before = snapshot(group)
    answers = all_or_none(group, *EVERYTHING, transfer("carol", "bob", 999))
    assert [code(answer) for answer in answers] == ["BATCH_STOPPED"] * len(EVERYTHING) + ["INSUFFICIENT_FUNDS"]
    recorded = {a.transaction.movement.id for a in answers if isinstance(a, Outcome)}
    assert recorded == {m.id for m in EVERYTHING} | {answers[-1].transaction.movement.id}  # type: ignore[union-attr]
    for id_ in recorded:
        assert group.decided.pop(id_).state is TransactionState.FAILED
    assert snapshot(group) == before


def test_what_follows_in_the_group_is_decided_as_if_it_had_not_been_tried() -> None:
    group = a_book()
    all_or_none(group, *EVERYTHING, transfer("carol", "bob", 999))
    assert [code(decide(group, m)) for m in (capture(PLACED, 10), reversal(PAID), transfer("carol", "bob"))] == [
        "POSTED",
        "POSTED",
        "INSUFFICIENT_FUNDS",
    ]
    seqs = [e.seq for e in group.entries if e.account_id == account("alice").id]
    assert seqs == [1, 2, 3]


def test_all_of_it_is_told_which_item_stopped_it_and_why() -> None:
    first, culprit, last = transfer("alice", "bob", 1), transfer("alice", "closed", 1), transfer("bob", "carol", 1)
    answers = all_or_none(a_book(), first, culprit, last)
    stopped = {"item": "1", "stopped_by": f"transactions/{culprit.id}", "reason": "DESTINATION_CLOSED"}
    assert [(code(answer), told(answer)) for answer in answers] == [
        ("BATCH_STOPPED", stopped),
        ("DESTINATION_CLOSED", {"wallet": "wallets/closed"}),
        ("BATCH_STOPPED", stopped),
    ]


def test_asked_again_a_stopped_batch_is_answered_alike() -> None:
    """In the same group and later, though it could be posted by then; also each of its items alone."""
    group = a_book()
    batch = [transfer("alice", "bob", 1), transfer("carol", "bob", 1), transfer("bob", "carol", 1)]
    first = all_or_none(group, *batch)
    again = all_or_none(group, *batch)
    later = book([account("alice", 100), account("bob", 100), account("carol", 100)], list(group.decided.values()))
    for answers in (again, all_or_none(later, *batch), [decide(later, movement) for movement in batch]):
        assert [code(answer) for answer in answers] == ["BATCH_STOPPED", "INSUFFICIENT_FUNDS", "BATCH_STOPPED"]
        assert replayed(answers) == [True, True, True]
        assert [told(answer) for answer in answers] == [told(answer) for answer in first]
    assert later.entries == []


def test_a_posted_batch_is_answered_alike_too() -> None:
    group, batch = a_book(), [transfer("alice", "bob", 1), transfer("bob", "carol", 2)]
    assert replayed(all_or_none(group, *batch)) == [False, False]
    entries = len(group.entries)
    assert replayed(all_or_none(group, *batch)) == [True, True]
    assert len(group.entries) == entries


@pytest.mark.parametrize("reason", ["SAME_WALLET", "REQUEST_ID_REUSED"])
def test_what_the_request_alone_decides_stops_a_batch_without_a_trace(reason: str) -> None:
    group = a_book()
    before = snapshot(group)
    wrong = transfer("bob", "bob") if reason == "SAME_WALLET" else transfer("bob", "carol", 1, PAID.request_id)
    first = transfer("alice", "bob", 1)
    answers = all_or_none(group, first, wrong, transfer("bob", "carol", 1))
    assert [code(answer) for answer in answers] == ["BATCH_STOPPED", reason, "BATCH_STOPPED"]
    assert all(isinstance(answer, Refused) for answer in answers)
    assert snapshot(group) == before
    assert code(decide(group, first)) == "POSTED"


def test_items_that_were_decided_before_keep_their_answers() -> None:
    """A batch that names what is posted already and stops does not take that back."""
    group = a_book()
    new = transfer("alice", "bob", 1)
    answers = all_or_none(group, PAID, new, transfer("carol", "bob", 999))
    assert [code(answer) for answer in answers] == ["POSTED", "BATCH_STOPPED", "INSUFFICIENT_FUNDS"]
    assert replayed(answers) == [True, False, False]


def test_an_item_that_had_failed_before_stops_its_batch() -> None:
    group, poor = a_book(), transfer("carol", "bob", 999)
    decide(group, poor)
    answers = all_or_none(group, transfer("alice", "bob", 1), poor)
    assert [code(answer) for answer in answers] == ["BATCH_STOPPED", "INSUFFICIENT_FUNDS"]
    assert replayed(answers) == [False, True]


def test_the_same_key_twice_in_a_batch() -> None:
    group, one = a_book(), transfer("alice", "bob", 1)
    answers = all_or_none(group, one, one)
    assert ([code(answer) for answer in answers], replayed(answers)) == (["POSTED", "POSTED"], [False, True])
    two = transfer("alice", "bob", 2)
    answers = all_or_none(group, two, two, transfer("carol", "bob", 999))
    assert [code(answer) for answer in answers] == ["BATCH_STOPPED", "BATCH_STOPPED", "INSUFFICIENT_FUNDS"]
    assert replayed(answers) == [False, True, False]


def test_each_on_its_own_touches_no_other() -> None:
    group = a_book()
    batch = [
        transfer("carol", "bob", 1),
        transfer("alice", "carol", 1),
        transfer("bob", "bob"),
        transfer("carol", "bob", 1),
    ]
    answers = decide_work(group, Work(batch))
    assert [code(answer) for answer in answers] == ["INSUFFICIENT_FUNDS", "POSTED", "SAME_WALLET", "POSTED"]


LATER = transfer("alice", "bob", 30, terms=Terms(deferred=True, minimum_after=0))
AN_HOUR = timedelta(hours=1)


def pended(*movements: Movement) -> Iterator[Transaction]:
    for answer in decide_work(book([]), Work(movements)):
        assert isinstance(answer, Outcome)
        assert answer.transaction.state is TransactionState.PENDING
        yield answer.transaction


def due(group: Book, *movements: Movement) -> list[Answer]:
    return decide_work(group, Work(movements, Manner.DUE))


def cancel(group: Book, *movements: Movement) -> list[Answer]:
    return decide_work(group, Work(movements, Manner.CANCEL, "ann"))


def test_what_is_deferred_is_stored_and_looks_at_no_account() -> None:
    group = book([])
    answers = [decide(group, LATER) for _ in range(2)]
    transaction = Transaction(LATER, TransactionState.PENDING, NOON, NOON)
    assert answers == [Outcome(transaction, replayed=False), Outcome(transaction, replayed=True)]
    assert (group.entries, group.changed) == ([], {})
    other = transfer("alice", "bob", 31, LATER.request_id, terms=LATER.terms)
    assert code(decide(group, other)) == "REQUEST_ID_REUSED"
    assert code(decide(group, transfer("bob", "bob", terms=LATER.terms))) == "SAME_WALLET"


@pytest.mark.parametrize(("balance", "expected"), [(30, "POSTED"), (29, "INSUFFICIENT_FUNDS")])
def test_when_it_is_due_it_is_decided_like_any_other(balance: int, expected: str) -> None:
    group = book([account("alice", balance), account("bob")], list(pended(LATER)), NOON + AN_HOUR)
    [answer] = due(group, LATER)
    assert isinstance(answer, Outcome)
    assert (code(answer), answer.replayed) == (expected, False)
    assert (answer.transaction.create_time, answer.transaction.decide_time) == (NOON, NOON + AN_HOUR)
    assert group.accounts["wallets/bob"].balance == (30 if expected == "POSTED" else 0)


def test_it_is_decided_once() -> None:
    """By whichever worker comes first; whoever asks afterwards is told."""
    group = book([account("alice", 100), account("bob")], list(pended(LATER)))
    answers = [*due(group, LATER, LATER), *cancel(group, LATER), decide(group, LATER)]
    assert [code(answer) for answer in answers] == ["POSTED"] * 4
    assert replayed(answers) == [False, True, True, True]
    assert group.accounts["wallets/bob"].balance == 30
    later = book([account("alice", 100), account("bob")], list(group.decided.values()))
    assert replayed([*due(later, LATER), *cancel(later, LATER)]) == [True, True]
    assert (later.decided, later.entries) == ({}, [])


def test_what_is_cancelled_is_never_posted() -> None:
    group = book([account("alice", 100), account("bob")], list(pended(LATER)), NOON + AN_HOUR)
    answers = [*cancel(group, LATER, LATER), *due(group, LATER), decide(group, LATER)]
    assert [code(answer) for answer in answers] == ["TRANSFER_CANCELLED"] * 4
    assert replayed(answers) == [False, True, True, True]
    assert isinstance(answers[0], Outcome)
    assert told(answers[0]) == {"cancelled_by": "ann"}
    assert answers[0].transaction.create_time == NOON
    assert group.entries == []


@pytest.mark.parametrize("manner", [Manner.DUE, Manner.CANCEL])
def test_what_was_never_deferred_cannot_be_due(manner: Manner) -> None:
    with pytest.raises(InvariantViolation, match="was pending, and is not there"):
        decide_work(book([account("alice", 100), account("bob")]), Work([LATER], manner))


def test_due_ones_may_pay_each_other() -> None:
    first = transfer("alice", "bob", 30, terms=Terms(deferred=True))
    second = transfer("bob", "carol", 30, terms=Terms(deferred=True))
    accounts = [account("alice", 30), account("bob"), account("carol")]
    group = book(accounts, list(pended(first, second)))
    before = amounts(accounts)
    assert [code(answer) for answer in due(group, second, first)] == ["INSUFFICIENT_FUNDS", "POSTED"]
    check_group(group, before, {})
