"""The feed while several write at once: no gap, nothing twice, whoever commits when."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest

from tests.kit.builders import transfer
from tests.kit.ledgers import Ledger, funded, postgres_ledger, session
from tests.kit.postgres import Database
from tests.kit.writers import write
from transaction_service.domain.book import Book
from transaction_service.domain.movement import TransactionState

WRITERS = 4
GROUPS = 40
PAGE_SIZES = (1, 7, 1000)
"""Of the readers."""


@pytest.fixture
def ledger(database: Database) -> Iterator[Ledger]:
    with postgres_ledger(database) as opened:
        yield opened


@contextmanager
def held_open(database: Database, post: Callable[[Ledger], object]) -> Iterator[Callable[[], None]]:
    """Another process posts, and has everything done but its commit. What is given lets it commit, and waits for it."""
    begun, go_on = threading.Event(), threading.Event()
    with postgres_ledger(database) as other:
        write = other.store.write

        def hesitant(book: Book) -> None:
            begun.set()
            assert go_on.wait(30)
            write(book)

        other.store.write = hesitant  # type: ignore[method-assign] # the same, later
        thread = threading.Thread(target=post, args=(other,))

        def commit() -> None:
            go_on.set()
            thread.join()

        thread.start()
        try:
            assert begun.wait(30)
            yield commit
        finally:
            commit()


def test_who_commits_late_is_not_missed(ledger: Ledger, database: Database) -> None:
    alice, bob, carol, dave = funded(ledger, 100, "alice", "bob", "carol", "dave")
    start = asyncio.run(ledger.feed.end())
    late, early = [transfer(alice, bob, 1) for _ in range(3)], [transfer(carol, dave, 1) for _ in range(3)]
    with held_open(database, lambda other: other.post(*late)) as commit:
        ledger.post(*early)
        found, seen = ledger.read_feed(start)
        assert found == [], "what is committed already waits for what began before it"
        assert seen >= start
        commit()
        found, _ = ledger.read_feed(seen)
    assert [t.movement.id for t in found] == [m.id for m in sorted(late) + sorted(early)]


def test_who_rolls_back_holds_nothing_up_for_ever(ledger: Ledger, database: Database) -> None:
    alice, bob = funded(ledger, 100, "alice", "bob")
    start = asyncio.run(ledger.feed.end())
    with session(database.owner_dsn) as other:
        other.execute("SELECT pg_current_xact_id()")
        ledger.post(transfer(alice, bob, 1))
        assert ledger.read_feed(start)[0] == []
        other.connection.rollback()
        assert len(ledger.read_feed(start)[0]) == 1


def test_who_only_reads_holds_nothing_up(ledger: Ledger, database: Database) -> None:
    alice, bob = funded(ledger, 100, "alice", "bob")
    start = asyncio.run(ledger.feed.end())
    with session(database.owner_dsn) as other:
        other.connection.set_session(isolation_level="REPEATABLE READ")
        other.execute("SELECT count(*) FROM transactions.transaction")
        ledger.post(transfer(alice, bob, 1))
        assert len(ledger.read_feed(start)[0]) == 1


class Crowd:
    """Writers and readers in threads, each with connections of its own."""

    def __init__(self, ledger: Ledger) -> None:
        self._wallets = funded(ledger, 1000, *["wallet"] * 6)
        self._start = asyncio.run(ledger.feed.end())
        self._barrier = threading.Barrier(WRITERS + len(PAGE_SIZES))
        self._done = threading.Event()
        self.written: dict[str, TransactionState] = {}
        self.read: list[list[tuple[str, TransactionState]]] = [[] for _ in PAGE_SIZES]

    def run(self, database: Database) -> None:
        with ExitStack() as opened:
            ledgers = [opened.enter_context(postgres_ledger(database)) for _ in range(self._barrier.parties)]
            writers = [threading.Thread(target=self._write, args=(ledgers[n], n)) for n in range(WRITERS)]
            readers = [threading.Thread(target=self._follow, args=(ledgers[~n], n)) for n in range(len(PAGE_SIZES))]
            for thread in (*writers, *readers):
                thread.start()
            for thread in writers:
                thread.join()
            self._done.set()
            for thread in readers:
                thread.join()

    def _write(self, ledger: Ledger, number: int) -> None:
        self._barrier.wait()
        write(ledger, self._wallets, number, GROUPS, self.written)

    def _follow(self, ledger: Ledger, number: int) -> None:
        mark = self._start
        self._barrier.wait()
        while True:
            last_look = self._done.is_set()
            found, mark = ledger.read_feed(mark, PAGE_SIZES[number])
            self.read[number] += [(t.movement.id, t.state) for t in found]
            if last_look:
                return


def test_many_writers_and_readers_that_read_along(ledger: Ledger, database: Database) -> None:
    """Each reader sees each decided transaction once, in one order, however the commits fall."""
    crowd = Crowd(ledger)
    crowd.run(database)
    assert len(crowd.written) > WRITERS * GROUPS * 3
    decided = [[one for one in of_one if one[1] is not TransactionState.PENDING] for of_one in crowd.read]
    for of_one in decided:
        assert dict(of_one) == crowd.written
        assert len(of_one) == len(crowd.written)
        assert of_one == decided[0]
