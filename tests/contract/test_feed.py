"""The feed, alike in PostgreSQL and in memory: everything once it is decided, in the order of commits, once."""

import asyncio

import pytest

from tests.kit.builders import transfer
from tests.kit.history import History, matches
from tests.kit.ledgers import Ledger, funded
from transaction_service.domain.movement import Manner, TransactionState, Work
from transaction_service.domain.terms import Terms


@pytest.mark.parametrize("page_size", [1, 2, 7, 1000])
@pytest.mark.parametrize("who", ["alice", "carol", "ghost", ""])
def test_everything_comes_once_in_the_order_of_commits(ledger: Ledger, page_size: int, who: str) -> None:
    before = asyncio.run(ledger.feed.end())
    history = History(ledger)
    account = getattr(history, who) if who else ""
    found, end = ledger.read_feed(before, page_size, account)
    expected = {t.movement.id: t for t in history.ours if not who or matches(t, {"account": account})}
    assert {t.movement.id: t for t in found} == expected
    assert len(found) == len(expected)
    times = [t.decide_time for t in found]
    assert times == sorted(times)
    assert end == asyncio.run(ledger.feed.end())
    assert ledger.read_feed(end, page_size, account) == ([], end)


def test_every_mark_is_a_place_to_go_on_from(ledger: Ledger) -> None:
    before = asyncio.run(ledger.feed.end())
    alice, bob = funded(ledger, 100, "alice", "bob")
    ledger.post(*[transfer(alice, bob, amount) for amount in (1, 2, 1000, 3)])
    stretch = asyncio.run(ledger.feed.read(before, 1000))
    marks = [mark for mark, _ in stretch.committed]
    assert len(marks) == 6
    for number, mark in enumerate([before, *marks, stretch.until]):
        found, end = ledger.read_feed(mark, 2)
        assert found == [t for _, t in stretch.committed[number:]]
        assert end == stretch.until


def test_the_beginning_is_before_everything(ledger: Ledger) -> None:
    alice, bob = funded(ledger, 100, "alice", "bob")
    ledger.post(transfer(alice, bob, 1))
    everything, _ = ledger.read_feed(ledger.feed.beginning, account=alice)
    assert [t.movement.amount for t in everything] == [100, 1]


def test_a_piece_that_has_nothing_for_an_account_still_goes_on(ledger: Ledger) -> None:
    alice, bob, carol = funded(ledger, 100, "alice", "bob", "carol")
    before = asyncio.run(ledger.feed.end())
    ledger.post(*[transfer(alice, bob, 1) for _ in range(10)])
    stretch = asyncio.run(ledger.feed.read(before, 1, carol))
    assert (stretch.committed, stretch.complete) == ([], False)
    assert before < stretch.until < asyncio.run(ledger.feed.end())


def test_what_was_pending_comes_again_when_it_is_decided_and_not_at_its_old_place(ledger: Ledger) -> None:
    alice, bob = funded(ledger, 100, "alice", "bob")
    before = asyncio.run(ledger.feed.end())
    good, bad = [transfer(alice, bob, amount, terms=Terms(deferred=True)) for amount in (1, 1000)]
    ledger.post(good, bad)
    pending, seen = ledger.read_feed(before, account=alice)
    assert [t.state for t in pending] == [TransactionState.PENDING] * 2
    ledger.work(Work([good, bad], Manner.DUE))
    settled, end = ledger.read_feed(seen, account=alice)
    assert {t.movement.id: t.state for t in settled} == {
        good.id: TransactionState.POSTED,
        bad.id: TransactionState.FAILED,
    }
    assert ledger.read_feed(end) == ([], end)
    assert ledger.read_feed(before, 1, account=alice) == (settled, end)
