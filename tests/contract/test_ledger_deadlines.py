"""PostgreSQL works no longer on a group than its callers wait, and is not interrupted while it commits."""

from collections.abc import Iterator

import pytest

from tests.kit.builders import code, transfer
from tests.kit.ledgers import STATEMENT_TIMEOUT_SECONDS, Ledger, funded, postgres_ledger, session
from tests.kit.postgres import Database
from transaction_service.adapters.posting_store import LOCK_TIMEOUT_MS, PostgresPostingStore
from transaction_service.domain.book import Book
from transaction_service.domain.identity import account_id
from transaction_service.domain.ledger import decide
from transaction_service.domain.movement import Outcome
from transaction_service.ports import LockTimeout, Wanted

LOCK_ROW = "SELECT 1 FROM transactions.account WHERE id = %s FOR UPDATE"
NOTHING = Wanted((), ())
USUAL = (STATEMENT_TIMEOUT_SECONDS * 1000, LOCK_TIMEOUT_MS)


@pytest.fixture
def ledger(database: Database) -> Iterator[Ledger]:
    with postgres_ledger(database) as opened:
        yield opened


def limits(ledger: Ledger) -> tuple[int, int]:
    """The time limits of a statement and of a wait for a lock, in ms."""
    assert isinstance(ledger.store, PostgresPostingStore)
    asked = "SELECT setting::int FROM pg_settings WHERE name = %s"
    [[statement]], [[lock]] = (ledger.store._run(asked, (name,)) for name in ("statement_timeout", "lock_timeout"))
    return statement, lock


def within(ledger: Ledger, seconds: float) -> tuple[int, int]:
    ledger.store.lock(NOTHING, patient=True, seconds_left=seconds)
    found = limits(ledger)
    ledger.store.roll_back()
    return found


def test_a_group_has_what_its_callers_have_left_and_the_next_has_the_usual_time(ledger: Ledger) -> None:
    assert within(ledger, float("inf")) == USUAL
    assert within(ledger, STATEMENT_TIMEOUT_SECONDS) == USUAL
    assert within(ledger, 2) == (2000, LOCK_TIMEOUT_MS)
    assert within(ledger, 0.25) == (250, 250)
    assert within(ledger, 0) == (1, 1)  # 0 would be no limit at all
    assert limits(ledger) == USUAL


def test_a_wait_for_an_account_ends_when_nobody_waits_for_the_group_any_more(
    ledger: Ledger, database: Database
) -> None:
    alice, bob = funded(ledger, 50, "alice", "bob")
    with session(database.transaction_dsn) as cursor:
        cursor.execute(LOCK_ROW, (account_id(alice),))
        with pytest.raises(LockTimeout):
            ledger.store.lock(Wanted({alice, bob}, ()), patient=True, seconds_left=0.05)
    assert [code(answer) for answer in ledger.post(transfer(alice, bob))] == ["POSTED"]


def test_a_group_with_little_time_commits_whole(ledger: Ledger) -> None:
    alice, bob = funded(ledger, 50, "alice", "bob")
    movement = transfer(alice, bob)
    locked = ledger.store.lock(Wanted({alice, bob}, {movement.id}), patient=True, seconds_left=1)
    book = Book(locked.accounts, locked.known, locked.now, locked.holds, locked.reversed)
    decide(book, movement)
    ledger.store.write(book)
    assert limits(ledger) == USUAL
    [again] = ledger.post(movement)
    assert isinstance(again, Outcome)
    assert again.replayed
