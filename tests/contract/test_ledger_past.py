"""What an account had at a time, and its statement between two times, alike in PostgreSQL and in memory."""

import asyncio
import threading
from datetime import UTC, datetime, timedelta

import pytest
from psycopg2.extensions import cursor as Cursor  # noqa: N812 - a class with a function's name

from service_kit.status import Refusal
from tests.kit.builders import account, compound, deposit, transfer
from tests.kit.ledgers import Ledger, funded, named, postgres_ledger, session
from tests.kit.postgres import Database
from tests.kit.service import wait_until
from transaction_service.domain.account import Account
from transaction_service.domain.identity import account_id
from transaction_service.ports import Line, PastBalance, Period

MICROSECOND = timedelta(microseconds=1)


def at(ledger: Ledger, name: str, time: datetime) -> PastBalance | None:
    return asyncio.run(ledger.reader.balance_at(ledger.account(name), time))


@pytest.fixture
def alice(ledger: Ledger) -> Account:
    """With several entries of one time, and of one transaction."""
    alice, bob = funded(ledger, 100, "alice", "bob")
    ledger.post(*[transfer(alice, bob, amount) for amount in (1, 2, 3)])
    ledger.post(transfer(alice, bob, 1000))
    ledger.post(compound((alice, 5), (bob, -12), (alice, 7)))
    ledger.post(transfer(bob, alice, 20), transfer(alice, bob, 10))
    return ledger.account(alice)


def test_the_balance_at_every_moment(ledger: Ledger, alice: Account) -> None:
    entries = [line.entry for line in ledger.entries(alice, newest_first=False)]
    assert [e.amount for e in entries] == [100, -1, -2, -3, 7, 5, 20, -10]
    times = sorted({e.post_time for e in entries})
    for time in (*times, *[time - MICROSECOND for time in times], *[time + MICROSECOND for time in times]):
        before = [e for e in entries if e.post_time <= time]
        expected = PastBalance(before[-1].balance, len(before)) if before else PastBalance(0, 0)
        assert at(ledger, alice.name, time) == expected
    assert at(ledger, alice.name, datetime(1, 1, 1, tzinfo=UTC)) == PastBalance(0, 0)


def test_the_balance_of_an_account_without_entries(ledger: Ledger) -> None:
    ledger.open(new := account(named("new")))
    [other] = funded(ledger, 1, "other")
    [line] = ledger.entries(ledger.account(other))
    assert at(ledger, new.name, line.entry.post_time) == PastBalance(0, 0)


def test_a_time_to_come_has_no_balance_yet(ledger: Ledger, alice: Account) -> None:
    for ahead in (timedelta(minutes=1), timedelta(days=1000)):
        later = max(datetime.now(UTC), ledger.entries(alice)[0].entry.post_time) + ahead
        assert at(ledger, alice.name, later) is None
    assert at(ledger, alice.name, datetime.max.replace(tzinfo=UTC)) is None


def test_the_statement_between_two_times(ledger: Ledger, alice: Account) -> None:
    entries = [line.entry for line in ledger.entries(alice, newest_first=False)]
    times = sorted({e.post_time for e in entries})
    bounds = [None, *times, *[time + MICROSECOND for time in times]]
    for start in bounds:
        for end in bounds:
            expected = [
                e for e in entries if (start is None or start <= e.post_time) and (end is None or e.post_time < end)
            ]
            for newest_first, page_size in ((True, 1000), (False, 2)):
                lines = ledger.entries(alice, page_size, newest_first=newest_first, start=start, end=end)
                assert [line.entry for line in lines] == expected[:: -1 if newest_first else 1]


def test_long_histories_are_halved_right(database: Database) -> None:
    """Each length has its own way of halving."""
    with postgres_ledger(database) as ledger:
        [alice] = funded(ledger, 1, "alice")
        for length in range(2, 35):
            ledger.post(deposit(alice, 1))
            entries = [line.entry for line in ledger.entries(ledger.account(alice))]
            assert len(entries) == length
            for entry in entries:
                assert at(ledger, alice, entry.post_time) == PastBalance(entry.balance, entry.seq)
                assert at(ledger, alice, entry.post_time - MICROSECOND) == PastBalance(entry.balance - 1, entry.seq - 1)


def test_a_past_balance_waits_for_a_posting_that_is_under_way(database: Database) -> None:
    """Its time is read already, and is before the one that is asked for."""
    with postgres_ledger(database) as ledger, session(database.owner_dsn) as posting:
        [alice] = funded(ledger, 100, "alice")
        posting.execute("SELECT id FROM transactions.account WHERE name = %s FOR UPDATE", (alice,))
        posting.execute("SELECT clock_timestamp()")
        [(post_time,)] = posting.fetchall()
        found: list[PastBalance | None] = []
        asking = threading.Thread(target=lambda: found.append(at(ledger, alice, post_time)))
        asking.start()
        with session(database.owner_dsn) as other:
            wait_until(lambda: _somebody_waits(other), "the question waits")
        posting.execute(
            "INSERT INTO transactions.entry VALUES (%s, 2, %s, -30, 70, %s)",
            (account_id(alice), transfer().id, post_time),
        )
        posting.connection.commit()
        asking.join()
        assert found == [PastBalance(70, 2)]


def _somebody_waits(cursor: Cursor) -> bool:
    cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
    [(waiting,)] = cursor.fetchall()
    return bool(waiting)


def test_a_past_balance_behind_which_there_are_entries_waits_for_nobody(database: Database) -> None:
    with postgres_ledger(database) as ledger, session(database.owner_dsn) as posting:
        [alice] = funded(ledger, 100, "alice")
        ledger.post(deposit(alice, 1))
        first = ledger.entries(ledger.account(alice))[-1].entry
        posting.execute("SELECT id FROM transactions.account WHERE name = %s FOR UPDATE", (alice,))
        assert at(ledger, alice, first.post_time) == PastBalance(100, 1)
        last = ledger.entries(ledger.account(alice))[0].entry
        with pytest.raises(Refusal) as refused:
            at(ledger, alice, last.post_time)
        assert refused.value.reason == "CONTENTION"


def period(ledger: Ledger, wallet: Account, start: datetime | None, end: datetime | None) -> Period:
    found = asyncio.run(ledger.reader.period(wallet, start, end))
    assert found is not None
    return found


def lines(ledger: Ledger, wallet: Account, found: Period) -> list[Line]:
    return asyncio.run(ledger.reader.lines(wallet, found.opening.version, found.closing.version))


def test_a_period_has_the_entries_of_its_range_and_the_balances_around_them(ledger: Ledger, alice: Account) -> None:
    all_lines = ledger.entries(alice, newest_first=False)
    times = sorted({line.entry.post_time for line in all_lines})
    bounds = [*times, *[time + MICROSECOND for time in times]]
    wait_until(lambda: at(ledger, alice.name, bounds[-1]) is not None, "the last bound is past")
    for start in (None, *bounds):
        for end in bounds:
            if start is not None and start >= end:
                continue
            found = period(ledger, alice, start, end)
            within = lines(ledger, alice, found)
            assert within == ledger.entries(alice, newest_first=False, start=start, end=end)
            assert found.closing.amount == found.opening.amount + sum(line.entry.amount for line in within)
            assert found.end == end
            before = [line.entry for line in all_lines if start is not None and line.entry.post_time < start]
            assert found.opening == (PastBalance(before[-1].balance, len(before)) if before else PastBalance(0, 0))
    assert lines(ledger, alice, Period(PastBalance(0, 2), PastBalance(0, 5), times[0])) == all_lines[2:5]


def test_a_period_without_an_end_ends_now_and_stays_as_it_is(ledger: Ledger, alice: Account) -> None:
    last = ledger.entries(alice)[0].entry
    wait_until(lambda: period(ledger, alice, None, None).end > last.post_time, "the last entry is past")
    found = period(ledger, alice, None, None)
    assert found == Period(PastBalance(0, 0), PastBalance(last.balance, last.seq), found.end)
    [bob] = funded(ledger, 10, "bob")
    ledger.post(transfer(bob, alice.name, 5))
    assert ledger.entries(alice)[0].entry.post_time >= found.end
    assert period(ledger, alice, None, found.end) == found


def test_a_period_of_an_account_without_entries_and_one_to_come(ledger: Ledger, alice: Account) -> None:
    ledger.open(new := account(named("new")))
    found = period(ledger, new, None, None)
    assert (found.opening, found.closing, lines(ledger, new, found)) == (PastBalance(), PastBalance(), [])
    later = datetime.now(UTC) + timedelta(days=1000)
    assert asyncio.run(ledger.reader.period(alice, None, later)) is None


def test_a_period_waits_for_a_posting_that_is_under_way(database: Database) -> None:
    """Else the same range would have one entry more a moment later."""
    with postgres_ledger(database) as ledger, session(database.owner_dsn) as posting:
        [alice] = funded(ledger, 100, "alice")
        posting.execute("SELECT id FROM transactions.account WHERE name = %s FOR UPDATE", (alice,))
        posting.execute("SELECT clock_timestamp()")
        [(post_time,)] = posting.fetchall()
        found: list[Period] = []
        asking = threading.Thread(target=lambda: found.append(period(ledger, ledger.account(alice), None, None)))
        asking.start()
        with session(database.owner_dsn) as other:
            wait_until(lambda: _somebody_waits(other), "the question waits")
        posting.execute(
            "INSERT INTO transactions.entry VALUES (%s, 2, %s, -30, 70, %s)",
            (account_id(alice), transfer().id, post_time),
        )
        posting.connection.commit()
        asking.join()
        assert [each.closing for each in found] == [PastBalance(70, 2)]
