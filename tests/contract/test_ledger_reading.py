"""Reading the ledger, alike in PostgreSQL and in memory: statements, lists by every filter, pages."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from tests.kit.builders import account, transfer, withdrawal
from tests.kit.ledgers import Ledger, funded, named
from transaction_service.domain.identity import account_id
from transaction_service.domain.movement import Outcome, Transaction, TransactionKind, TransactionState
from transaction_service.ports import TransactionFilter


@pytest.mark.parametrize("page_size", [1, 2, 3, 7, 8, 1000])
@pytest.mark.parametrize("newest_first", [True, False])
def test_entries_in_pages(ledger: Ledger, page_size: int, newest_first: bool) -> None:
    alice, bob = funded(ledger, 100, "alice", "bob")
    ledger.post(*[transfer(alice, bob, n) for n in range(1, 7)], transfer(bob, alice, 1000))
    [*lines] = ledger.entries(ledger.account(alice), page_size, newest_first=newest_first)
    amounts = [100, -1, -2, -3, -4, -5, -6]
    balances = [100, 99, 97, 94, 90, 85, 79]
    order = slice(None, None, -1 if newest_first else 1)
    assert [(e.amount, e.balance) for e, _ in lines] == list(zip(amounts, balances, strict=True))[order]
    assert all(e.transaction_id == t.movement.id and e.account_id == account_id(alice) for e, t in lines)


def test_an_account_without_entries_has_an_empty_statement(ledger: Ledger) -> None:
    ledger.open(new := account(named("new")))
    assert ledger.entries(new) == []


def test_a_transaction_that_does_not_exist(ledger: Ledger) -> None:
    assert ledger.transaction(transfer().id) is None


class History:
    """Groups of posted and failed movements of alice and others; the transactions of a group share their time."""

    def __init__(self, ledger: Ledger) -> None:
        self.alice, self.bob, self.carol = funded(ledger, 1000, "alice", "bob", "carol")
        self.reference = f"ref-{uuid4()}"
        self.ghost = named("ghost")
        bad, good = 10_000, 1
        groups = [
            [transfer(self.alice, self.bob, bad), transfer(self.bob, self.alice, good)],
            [transfer(self.alice, self.bob, amount) for amount in (good, bad, good, bad, good)],
            [transfer(self.bob, self.carol, good, external_reference=self.reference)],
            [transfer(self.bob, self.alice, bad), transfer(self.ghost, self.alice), transfer(self.alice, self.ghost)],
            [withdrawal(self.alice, bad, external_reference=self.reference), withdrawal(self.alice, good)],
            [transfer(self.alice, self.carol, good, external_reference=self.reference)],
            [transfer(self.alice, self.bob, bad) for _ in range(3)],
        ]
        self.ours = [t for name in (self.alice, self.bob, self.carol) for t in ledger.transactions(account=name)]
        for group in groups:
            for answer in ledger.post(*group):
                assert isinstance(answer, Outcome)
                self.ours.append(answer.transaction)
        self.times = sorted({t.create_time for t in self.ours})


FILTERS: list[dict[str, object]] = [
    {},
    {"state": TransactionState.POSTED},
    {"state": TransactionState.FAILED},
    {"kind": TransactionKind.WITHDRAWAL},
    {"kind": TransactionKind.DEPOSIT, "state": TransactionState.POSTED},
    {"external_reference": "ours"},
    {"external_reference": "ours", "state": TransactionState.FAILED},
    {"start": 4},
    {"end": 4},
    {"start": 4, "end": 6},
    {"start": 5, "end": 5},
    {"start": 4, "end": 7, "state": TransactionState.POSTED, "kind": TransactionKind.TRANSFER},
]


@pytest.mark.parametrize("filters", FILTERS)
@pytest.mark.parametrize("who", ["alice", "ghost", ""])
def test_transactions_by_every_filter_in_pages(ledger: Ledger, filters: dict[str, object], who: str) -> None:
    history = History(ledger)
    wanted = dict(filters)
    if who:
        wanted["account"] = getattr(history, who)
    if "external_reference" in wanted:
        wanted["external_reference"] = history.reference
    for end in ("start", "end"):
        if end in wanted:
            wanted[end] = history.times[int(str(wanted[end]))]
    if not who and not {"start", "external_reference"} & set(wanted):
        wanted["start"] = history.times[0]  # other tests' transactions are there too
    expected = {t.movement.id: t for t in history.ours if _matches(t, wanted)}
    for page_size in (1, 3, 4, 1000):
        found = ledger.transactions(page_size, **wanted)
        assert {t.movement.id: t for t in found} == expected
        assert len(found) == len(expected)
        times = [t.create_time for t in found]
        assert times == sorted(times, reverse=True)


def _matches(transaction: Transaction, wanted: dict[str, Any]) -> bool:
    movement, time = transaction.movement, transaction.create_time
    shown: dict[str, Sequence[object]] = {
        "account": (movement.source, movement.destination),
        "state": (transaction.state,),
        "kind": (movement.kind,),
        "external_reference": (movement.external_reference,),
    }
    in_time = wanted.get("start", time) <= time < wanted.get("end", time + timedelta(1))
    return in_time and all(wanted[name] in values for name, values in shown.items() if name in wanted)


def test_pages_of_one_moment_are_complete(ledger: Ledger) -> None:
    """All of a group have one time: the page's end must not be found by time alone."""
    alice, bob = funded(ledger, 100, "alice", "bob")
    group = [transfer(alice, bob, amount) for amount in (1, 1000) * 10]
    ledger.post(*group)
    for page_size in (1, 7, 20):
        found = ledger.transactions(page_size, account=alice)
        assert len(found) == 21
        assert {t.movement.id for t in found[:20]} == {m.id for m in group}


@pytest.mark.parametrize("first", ["posted", "failed"])
@pytest.mark.parametrize("of_one", [True, False])
def test_what_is_written_between_two_pages_is_on_none_of_the_later_ones(
    ledger: Ledger, first: str, of_one: bool
) -> None:
    """Also where one of the two kinds has given nothing to the first page."""
    alice, bob = funded(ledger, 100, "alice", "bob")
    good, bad = [transfer(alice, bob, 1) for _ in range(3)], [transfer(alice, bob, 1000) for _ in range(3)]
    for movement in (*bad, *good) if first == "posted" else (*good, *bad):
        ledger.post(movement)
    wanted = TransactionFilter(
        account=alice if of_one else "", start=ledger.transactions(account=alice)[-1].create_time
    )
    before = [t.movement.id for t in ledger.transactions(start=wanted.start, account=wanted.account)]

    seen: list[str] = []
    after = None
    while True:
        page, after = asyncio.run(ledger.reader.transactions(wanted, after, 2))
        seen += [t.movement.id for t in page]
        if after is None:
            break
        ledger.post(transfer(alice, bob, 1), transfer(alice, bob, 1000))
    assert seen == before
