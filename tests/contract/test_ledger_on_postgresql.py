"""What only PostgreSQL does: other sessions, lost connections, checks."""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import psycopg2
import psycopg2.errors
import psycopg2.extensions
import pytest

from service_kit.status import Refusal
from tests.kit.auditor import audit
from tests.kit.builders import account, code, deposit, transfer
from tests.kit.lanes import each
from tests.kit.ledgers import Ledger, funded, postgres_ledger, session
from tests.kit.postgres import Database
from transaction_service.adapters.posting_store import PostgresPostingStore
from transaction_service.domain.account import INT64_MAX
from transaction_service.domain.book import Book
from transaction_service.domain.failure import InvariantViolation
from transaction_service.domain.identity import account_id
from transaction_service.domain.ledger import decide
from transaction_service.domain.movement import Movement, Outcome, Work
from transaction_service.ports import Conflict, EntryFilter, LockTimeout, StoreUnavailable, TransactionFilter, Wanted

LOCK_ROW = "SELECT 1 FROM transactions.account WHERE id = %s FOR UPDATE"
WAIT_SECONDS_MAX = 30
LOOKS_MAX = 100_000
INSERT_KEY = """
    INSERT INTO transactions.transaction (id, kind, state, source, destination, amount, currency, description,
        external_reference, labels, principal, request_id, trace_id, fingerprint, failure_reason, create_time,
        decide_time)
    VALUES (%s, 1, 2, '', '', 1, '', '', '', '{}', '', '', '', gen_random_uuid(), 'X', now(), now())"""
NOTHING = Wanted((), ())


@pytest.fixture
def ledger(database: Database) -> Iterator[Ledger]:
    with postgres_ledger(database) as opened:
        yield opened


@pytest.fixture
def other(database: Database) -> Iterator[Ledger]:
    """Another process on the same database."""
    with postgres_ledger(database) as opened:
        yield opened


def locked(ledger: Ledger, *movements: Movement) -> Book:
    names = {m.source for m in movements} | {m.destination for m in movements}
    found = ledger.store.lock(Wanted(names, {m.id for m in movements}), patient=True)
    group = Book(found.accounts, found.known, found.now)
    for movement in movements:
        decide(group, movement)
    return group


def terminate(ledger: Ledger, database: Database) -> None:
    """The server ends the store's session."""
    assert isinstance(ledger.store, PostgresPostingStore)
    assert ledger.store._connection is not None
    pid = ledger.store._connection.info.backend_pid
    with session(database.transaction_dsn) as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s, 10000)", (pid,))
        assert cursor.fetchone() == (True,)


def usable(ledger: Ledger) -> None:
    """Nothing is begun, and the next group is posted."""
    assert isinstance(ledger.store, PostgresPostingStore)
    connection = ledger.store._connection
    if connection is not None:
        assert connection.info.transaction_status == psycopg2.extensions.TRANSACTION_STATUS_IDLE
    alice, bob = funded(ledger, 10, "alice", "bob")
    assert [code(a) for a in ledger.post(transfer(alice, bob, 1))] == ["POSTED"]


def wait_until_a_session_waits(database: Database) -> None:
    """For a lock, whichever session it is."""
    with session(database.owner_dsn) as cursor:
        cursor.connection.autocommit = True
        for _ in range(LOOKS_MAX):
            cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
            if cursor.fetchone() != (0,):
                return
    raise AssertionError("no session waits")


def test_a_key_that_another_session_has_stored_meanwhile_is_a_conflict(ledger: Ledger, other: Ledger) -> None:
    movement = transfer("wallets/nobody", "wallets/no-one")  # locks no row, so both get through the lock pass
    group = locked(ledger, movement)
    other.store.write(locked(other, movement))
    with pytest.raises(Conflict):
        ledger.store.write(group)
    [again] = ledger.post(movement)
    assert isinstance(again, Outcome)
    assert again.replayed
    usable(ledger)


def test_a_row_that_another_session_holds_is_a_lock_timeout(ledger: Ledger, database: Database) -> None:
    alice, bob = funded(ledger, 50, "alice", "bob")
    with session(database.transaction_dsn) as cursor:
        cursor.execute(LOCK_ROW, (account_id(alice),))
        for patient in (False, True):
            with pytest.raises(LockTimeout):
                ledger.store.lock(Wanted({alice, bob}, ()), patient=patient)
        [[answer]] = ledger.lane.post([Work([transfer(alice, bob)])])
        assert code(answer) == "Contention"
    usable(ledger)
    assert [code(a) for a in ledger.post(transfer(alice, bob))] == ["POSTED"]


def test_impatience_ends_with_its_transaction(ledger: Ledger) -> None:
    ledger.store.lock(NOTHING, patient=False)
    ledger.store.roll_back()
    assert isinstance(ledger.store, PostgresPostingStore)
    assert ledger.store._run("SHOW lock_timeout", ()) == [("1s",)]


def test_an_account_that_is_held_delays_only_its_own_callers(ledger: Ledger, database: Database) -> None:
    alice, bob, carol = funded(ledger, 50, "alice", "bob", "carol")
    with session(database.transaction_dsn) as cursor:
        cursor.execute(LOCK_ROW, (account_id(alice),))
        results = each(ledger.lane, transfer(bob, carol), transfer(alice, bob), transfer(carol, bob))
    assert [code(r) for r in results] == ["POSTED", "Contention", "POSTED"]


def test_a_lost_connection_is_unavailable_and_the_next_use_connects_again(ledger: Ledger, database: Database) -> None:
    usable(ledger)
    terminate(ledger, database)
    with pytest.raises(StoreUnavailable):
        ledger.store.lock(NOTHING, patient=True)
    usable(ledger)


def test_a_connection_lost_between_lock_and_write_writes_nothing(ledger: Ledger, database: Database) -> None:
    alice, bob = funded(ledger, 50, "alice", "bob")
    movement = transfer(alice, bob)
    group = locked(ledger, movement)
    terminate(ledger, database)
    with pytest.raises(StoreUnavailable):
        ledger.store.write(group)
    assert ledger.transaction(movement.id) is None
    assert [code(a) for a in ledger.post(movement)] == ["POSTED"]


def test_rolling_back_what_is_lost_already(ledger: Ledger, database: Database) -> None:
    locked(ledger, transfer("wallets/nobody"))
    terminate(ledger, database)
    ledger.store.roll_back()
    usable(ledger)
    ledger.store.close()
    ledger.store.roll_back()
    ledger.store.close()
    usable(ledger)


def test_the_lane_goes_on_after_a_lost_connection_without_telling_anyone(ledger: Ledger, database: Database) -> None:
    alice, bob = funded(ledger, 50, "alice", "bob")
    terminate(ledger, database)
    assert [code(a) for a in ledger.post(transfer(alice, bob))] == ["POSTED"]


def test_a_server_that_cannot_be_reached() -> None:
    store = PostgresPostingStore("postgresql://nobody@127.0.0.1:1/nothing", 1)
    for _ in range(2):
        with pytest.raises(StoreUnavailable, match=r"127\.0\.0\.1"):
            store.lock(NOTHING, patient=True)
    store.roll_back()
    store.close()


def test_tables_that_do_not_exist_yet(database: Database) -> None:
    store = PostgresPostingStore(database.transaction_dsn.rpartition("/")[0] + "/postgres", 1)
    with pytest.raises(StoreUnavailable, match=r"does not exist|permission denied"):
        store.lock(NOTHING, patient=True)


def test_a_value_that_cannot_be_sent_leaves_nothing_begun(ledger: Ledger) -> None:
    alice, bob = funded(ledger, 50, "alice", "bob")
    with pytest.raises(ValueError, match="NUL"):
        ledger.store.write(locked(ledger, transfer(alice, bob, description="\0")))
    usable(ledger)


def test_a_row_that_cannot_be_understood_leaves_nothing_begun(ledger: Ledger, database: Database) -> None:
    [alice] = funded(ledger, 50, "alice")
    with session(database.owner_dsn) as cursor:
        cursor.execute("UPDATE transactions.account SET kind = 99 WHERE id = %s", (account_id(alice),))
        cursor.connection.commit()
    with pytest.raises(KeyError):
        ledger.store.lock(Wanted({alice}, ()), patient=True)
    usable(ledger)


def _below_floor(group: Book) -> None:
    min(group.changed.values(), key=lambda a: a.balance).balance = -1


def _no_seq(group: Book) -> None:
    group.entries[0] = group.entries[0]._replace(seq=0)


def _no_amount(group: Book) -> None:
    group.entries[0] = group.entries[0]._replace(amount=0)


@pytest.mark.parametrize("forge", [_below_floor, _no_seq, _no_amount])
def test_the_tables_refuse_what_the_core_would_never_ask(ledger: Ledger, forge: Callable[[Book], None]) -> None:
    alice, bob = funded(ledger, 50, "alice", "bob")
    movement = transfer(alice, bob)
    group = locked(ledger, movement)
    forge(group)
    with pytest.raises(InvariantViolation, match="check constraint"):
        ledger.store.write(group)
    assert ledger.transaction(movement.id) is None
    usable(ledger)


def test_an_amount_that_is_none_is_refused_by_the_tables_too(ledger: Ledger) -> None:
    with pytest.raises(InvariantViolation, match="transaction_amount"):
        ledger.store.write(locked(ledger, transfer("wallets/nobody", amount=0)))


def test_a_number_beyond_int64_is_an_error_of_its_own(ledger: Ledger) -> None:
    [alice] = funded(ledger, 50, "alice")
    group = locked(ledger, deposit(alice))
    group.changed[alice].balance = INT64_MAX + 1
    with pytest.raises(psycopg2.errors.NumericValueOutOfRange):
        ledger.store.write(group)
    usable(ledger)


def test_locks_are_taken_in_the_order_of_ids(ledger: Ledger, database: Database) -> None:
    """A session holds the middle one of three. The store, asked in any order, holds the first and not the last."""
    names = sorted(funded(ledger, 50, "a", "b", "c"), key=account_id)
    first, middle, last = names
    with session(database.transaction_dsn) as holder, session(database.transaction_dsn) as looker:
        holder.execute(LOCK_ROW, (account_id(middle),))
        results: list[object] = []

        def work() -> None:
            results.append(ledger.store.lock(Wanted([last, first, middle], ()), patient=True))
            ledger.store.roll_back()

        lane = threading.Thread(target=work)
        lane.start()
        wait_until_a_session_waits(database)
        looker.execute(LOCK_ROW + " NOWAIT", (account_id(last),))
        with pytest.raises(psycopg2.errors.LockNotAvailable):
            looker.execute(LOCK_ROW + " NOWAIT", (account_id(first),))
        looker.connection.rollback()
        holder.connection.rollback()
        lane.join(WAIT_SECONDS_MAX)
    assert len(results) == 1


def test_keys_are_written_in_the_order_of_ids(ledger: Ledger, database: Database) -> None:
    """A session has just written the lowest: a group that waits for it has not written the others yet."""
    low, *_, high = sorted([transfer("wallets/nobody") for _ in range(5)], key=lambda m: m.id)
    group = locked(ledger, high, low)
    with session(database.transaction_dsn) as cursor:
        cursor.execute("SET lock_timeout = '1s'")
        cursor.execute(INSERT_KEY, (low.id,))
        lane = threading.Thread(target=ledger.store.write, args=(group,))
        lane.start()
        wait_until_a_session_waits(database)
        cursor.execute(INSERT_KEY, (high.id,))
    lane.join(WAIT_SECONDS_MAX)
    assert [ledger.transaction(m.id) is not None for m in (low, high)] == [True, True]


def test_opposite_transfers_of_two_processes_never_deadlock(ledger: Ledger, other: Ledger, database: Database) -> None:
    names = funded(ledger, 1000, "a", "b", "c")
    rounds, start = 40, threading.Barrier(2)
    told: dict[str, str] = {}

    def work(on: Ledger, order: list[str]) -> None:
        start.wait(WAIT_SECONDS_MAX)
        for _ in range(rounds):
            group = [
                transfer(source, destination, 1) for source in order for destination in order if source != destination
            ]
            told.update(zip([m.id for m in group], [code(r) for r in each(on.lane, *group)], strict=True))

    lanes = [threading.Thread(target=work, args=pair) for pair in ((ledger, names), (other, names[::-1]))]
    for lane in lanes:
        lane.start()
    for lane in lanes:
        lane.join(WAIT_SECONDS_MAX)
    assert list(told.values()) == ["POSTED"] * rounds * 6 * 2
    assert sum(a.balance for a in ledger.get(names)) == 3000
    with session(database.owner_dsn) as cursor:
        cursor.execute("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
        assert cursor.fetchone() == (0,)
    audit(database.owner_dsn, told)


def test_one_key_in_two_processes_has_one_effect(ledger: Ledger, other: Ledger) -> None:
    alice, bob = funded(ledger, 1000, "alice", "bob")
    movements = [transfer(alice, bob, 1) for _ in range(20)]
    start = threading.Barrier(2)
    results: list[Any] = []

    def work(on: Ledger, order: list[Movement]) -> None:
        start.wait(WAIT_SECONDS_MAX)
        for movement in order:
            results.extend(on.post(movement))

    lanes = [threading.Thread(target=work, args=pair) for pair in ((ledger, movements), (other, movements))]
    for lane in lanes:
        lane.start()
    for lane in lanes:
        lane.join(WAIT_SECONDS_MAX)
    assert ledger.account(bob).balance == 1020
    assert sorted(r.replayed for r in results) == [False] * 20 + [True] * 20
    answers: dict[str, set[str]] = {}
    for result in results:
        answers.setdefault(result.transaction.movement.id, set()).add(repr(result.transaction))
    assert all(len(told) == 1 for told in answers.values())


def test_the_groups_time_is_not_before_the_last_entry_though_the_clock_is(ledger: Ledger, database: Database) -> None:
    alice, bob = funded(ledger, 50, "alice", "bob")
    with session(database.owner_dsn) as cursor:
        later = "UPDATE transactions.account SET last_post_time = now() + interval '1 hour' WHERE id = %s"
        cursor.execute(later + " RETURNING last_post_time", (account_id(alice),))
        row = cursor.fetchone()
        assert row is not None
        cursor.connection.commit()
    [answer] = ledger.post(transfer(alice, bob))
    assert isinstance(answer, Outcome)
    assert answer.transaction.decide_time == row[0]


STRANGE_POSITIONS: list[Any] = [
    [],
    [1, 2, 3],
    ["x"],
    [None],
    [True],
    [-1],
    [INT64_MAX + 1],
    [1.5],
    ["2026-03-04T00:00:00", "x"],
    ["2026-03-04T00:00:00", "00000000-0000-0000-0000-000000000000"],
    [5, ["not a time", "00000000-0000-0000-0000-000000000000"]],
    {"a": 1},
    "text",
    7,
]


@pytest.mark.parametrize("position", STRANGE_POSITIONS)
def test_a_made_up_position_is_refused(ledger: Ledger, position: Any) -> None:  # noqa: ANN401 - anything
    alice, reader = account("alice"), ledger.reader
    pages: list[Coroutine[Any, Any, object]] = [
        reader.entries(alice, EntryFilter(newest_first=True), position, 5),
        reader.transactions(TransactionFilter(), position, 5),
        reader.transactions(TransactionFilter(account=alice.name), position, 5),
    ]
    for page in pages:
        with pytest.raises(Refusal, match="page token"):
            asyncio.run(page)


def test_a_read_only_server_is_an_outage_and_the_next_server_is_looked_for(ledger: Ledger, database: Database) -> None:
    """As after a failover, while the address still leads to the old primary."""
    alice, bob = funded(ledger, 100, "alice", "bob")
    name = psycopg2.extensions.parse_dsn(database.owner_dsn)["dbname"]
    with session(database.owner_dsn) as owner:
        owner.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
        owner.connection.commit()
        terminate(ledger, database)
        [[result]] = ledger.lane.post([Work([transfer(alice, bob, 1)])])
        owner.execute("SET transaction_read_only = off")
        owner.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")
        owner.connection.commit()
    assert code(result) == "LedgerUnavailable"
    assert [code(answer) for answer in ledger.post(transfer(alice, bob, 1))] == ["POSTED"]


def test_an_entry_ahead_of_its_account_is_a_broken_ledger_and_no_race(ledger: Ledger, database: Database) -> None:
    alice, bob = funded(ledger, 100, "alice", "bob")
    with session(database.owner_dsn) as owner:
        owner.execute(
            "INSERT INTO transactions.entry VALUES (%s, 2, gen_random_uuid(), 1, 1, now())", (account_id(alice),)
        )
        owner.connection.commit()
    [[result]] = ledger.lane.post([Work([transfer(alice, bob, 1)])])
    assert isinstance(result, InvariantViolation)
