"""Reading the ledger, alike in PostgreSQL and in memory: statements, lists by every filter, pages."""

import asyncio
from typing import Any

import pytest

from service_kit.status import Refusal
from tests.kit.builders import account, transfer
from tests.kit.history import History, matches
from tests.kit.ledgers import Ledger, funded, named, postgres_ledger
from tests.kit.postgres import Database
from transaction_service.adapters import walk, walks
from transaction_service.domain.identity import account_id
from transaction_service.domain.movement import TransactionKind, TransactionState
from transaction_service.ports import EntryFilter, TransactionFilter


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


def test_which_of_some_ids_are_of_transactions(ledger: Ledger) -> None:
    alice, bob = funded(ledger, 100, "alice", "bob")
    posted, failed, other = transfer(alice, bob, 1), transfer(alice, bob, 1000), transfer(alice, bob, 1)
    ledger.post(posted, failed)
    assert asyncio.run(ledger.reader.known({posted.id, failed.id, other.id})) == {posted.id, failed.id}
    assert asyncio.run(ledger.reader.known([])) == set()


POSTED, FAILED, PENDING = TransactionState.POSTED, TransactionState.FAILED, TransactionState.PENDING
FILTERS: list[Any] = [
    {},
    *[{"state": state} for state in TransactionState],
    *[{"kind": kind} for kind in TransactionKind if kind is not TransactionKind.EXPIRY],
    *[{"kind": kind, "state": POSTED} for kind in (TransactionKind.DEPOSIT, TransactionKind.HOLD)],
    *[{"kind": kind, "state": FAILED} for kind in (TransactionKind.REVERSAL, TransactionKind.RELEASE)],
    {"external_reference": "ours"},
    {"external_reference": "ours", "state": FAILED},
    {"label": "ours"},
    {"label": "another"},
    *[{"label": "ours", "state": state} for state in TransactionState],
    {"label": "ours", "external_reference": "ours", "start": 4},
    {"start": 4},
    {"end": 4},
    {"start": 4, "end": 6},
    {"start": 5, "end": 5},
    {"start": 9, "end": 16, "label": "ours"},
    {"start": 4, "end": 7, "state": POSTED, "kind": TransactionKind.TRANSFER},
]


@pytest.mark.parametrize("filters", FILTERS, ids=str)
@pytest.mark.parametrize("who", ["alice", "ghost", ""])
def test_transactions_by_every_filter_in_pages(ledger: Ledger, filters: dict[str, object], who: str) -> None:
    history = History(ledger)
    wanted = dict(filters)
    if who:
        wanted["account"] = getattr(history, who)
    if "external_reference" in wanted:
        wanted["external_reference"] = history.reference
    if "label" in wanted:
        wanted["label"] = ("order", history.order) if wanted["label"] == "ours" else ("team", history.order)
    for end in ("start", "end"):
        if end in wanted:
            wanted[end] = history.times[int(str(wanted[end]))]
    if not who and not {"start", "external_reference", "label"} & set(wanted):
        wanted["start"] = history.times[0]  # other tests' transactions are there too
    expected = {t.movement.id: t for t in history.ours if matches(t, wanted)}
    for page_size in (1, 3, 4, 1000):
        found = ledger.transactions(page_size, **wanted)
        assert {t.movement.id: t for t in found} == expected
        assert len(found) == len(expected)
        times = [t.decide_time for t in found]
        assert times == sorted(times, reverse=True)


def test_where_filters_let_little_through_pages_come_short_and_go_on(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No query and no page walks further than that, however much there is of what is not wanted."""
    monkeypatch.setattr(walk, "STEPS_MAX", 3)
    monkeypatch.setattr(walk, "WALKED_MAX", 4)
    with postgres_ledger(database) as ledger:
        history = History(ledger)
        wanted = TransactionFilter(account=history.alice, label=("order", history.order))
        filters = {"account": wanted.account, "label": wanted.label}
        expected = {t.movement.id for t in history.ours if matches(t, filters)}
        found: list[str] = []
        sizes: list[int] = []
        after = None
        while True:
            part, after = asyncio.run(ledger.reader.transactions(wanted, after, 2))
            found += [t.movement.id for t in part]
            sizes.append(len(part))
            if after is None:
                break
    assert (set(found), len(found)) == (expected, len(expected))
    assert {0, 1} & set(sizes[:-1])


POSITIONS: list[Any] = [
    *[[], {}, 0, "x", [[]], [[], [], []]],
    *[[[1, 2, 3], []], [[True, "x"], []], [[-1, "x"], []], [[2**63, "x"], []], [[{}, "x"], []]],
    *[[[], [1, 1]], [[], [None, None]], [[], ["no time", walks.LAST_ID]]],
    *[[[], ["2026-01-01T00:00:00", walks.LAST_ID]], [[], ["2026-01-01T00:00:00+00:00", "no id"]]],
]


@pytest.mark.parametrize("position", POSITIONS, ids=str)
def test_a_position_that_no_page_has_had(database: Database, position: Any) -> None:  # noqa: ANN401 - any JSON
    """Positions travel through callers, and their seals are no secret."""
    with postgres_ledger(database) as ledger:
        [alice] = funded(ledger, 1, "alice")
        of_alice = ledger.reader.transactions(TransactionFilter(account=alice), position, 1)
        with pytest.raises(Refusal, match="page token"):
            asyncio.run(of_alice)
        with pytest.raises(Refusal, match="page token"):
            asyncio.run(ledger.reader.entries(ledger.account(alice), EntryFilter(), position, 1))
        with pytest.raises(Refusal, match="page token"):
            asyncio.run(ledger.holds.holds(alice, None, position, 1))


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
