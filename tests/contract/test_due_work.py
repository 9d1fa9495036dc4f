"""Claims on PostgreSQL, of both kinds of work: in order, never the same to two, and given back for a while."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta

import pytest
import structlog
from pydantic import SecretStr

from service_kit.database import Database as Connections
from tests.kit.builders import code, placing, transfer
from tests.kit.ledgers import Ledger, funded, postgres_ledger, session
from tests.kit.postgres import Database, Server
from tests.kit.tampering import unguarded
from tests.kit.tokens import IDENTITY
from transaction_service.adapters.work import AGAIN_MAX, AGAIN_MIN, SqlDueHolds, SqlPendingTransfers
from transaction_service.domain.hold_commands import expiry
from transaction_service.domain.movement import Manner, Movement, Work
from transaction_service.domain.terms import Terms
from transaction_service.ports import Backlog, DueWork
from transaction_service.settings import TransactionSettings

LEASE_SECONDS = 60.0
AS_OF_A_LATER_VERSION = "UPDATE transactions.transaction SET terms = terms || '{\"later\": 1}' WHERE id = %s"


@dataclass
class Kind:
    """One kind of work. `made` gives what was stored and what a claim gives for it; `manner`: how that is posted."""

    due: DueWork
    ledger: Ledger
    dsn: str
    table: str
    time: str
    manner: Manner
    stored: Callable[[str, str], Movement]
    claimed: Callable[[Movement], Movement]

    def make(self, *seconds: float) -> list[Movement]:
        """What is to be claimed, due so many seconds ago."""
        alice, bob = funded(self.ledger, 1000, "alice", "bob")
        movements = [self.stored(alice, bob) for _ in seconds]
        answers = self.ledger.post(*movements)
        assert {code(answer) for answer in answers} <= {"POSTED", "PENDING"}
        for movement, ago in zip(movements, seconds, strict=True):
            self.change(f"{self.time} = now() - %s * interval '1 second'", ago, movement.id)
        return [self.claimed(movement) for movement in movements]

    def change(self, assignment: str, value: object, id_: str) -> None:
        """As the owner."""
        with session(self.dsn) as cursor:
            cursor.execute(f"UPDATE transactions.{self.table} SET {assignment} WHERE id = %s", (value, id_))  # noqa: S608
            cursor.connection.commit()

    def row(self, movement: Movement) -> str:
        return movement.hold or movement.id

    def claim(self, limit: int = 100) -> list[Movement]:
        return asyncio.run(self.due.claim(limit, LEASE_SECONDS))

    def give_back(self, movements: Sequence[Movement]) -> None:
        asyncio.run(self.due.give_back(movements))

    def backlog(self, count_max: int = 100) -> Backlog:
        return asyncio.run(self.due.backlog(count_max))

    def rests(self, movement: Movement) -> timedelta:
        """For how long nobody can claim it."""
        with session(self.dsn) as cursor:
            cursor.execute(
                f"SELECT claimed_until - now() FROM transactions.{self.table} WHERE id = %s",  # noqa: S608 - ours
                (self.row(movement),),
            )
            [(rest,)] = cursor.fetchall()
        assert isinstance(rest, timedelta)
        return rest


def deferred(source: str, destination: str) -> Movement:
    return transfer(source, destination, 1, terms=Terms(deferred=True))


def as_it_is(movement: Movement) -> Movement:
    return movement


def reserved(source: str, destination: str) -> Movement:
    return placing(source, destination, 1)


@pytest.fixture(params=["pending", "hold"])
def kind(request: pytest.FixtureRequest, postgres_server: Server) -> Iterator[Kind]:
    """Over a database of its own: what a test leaves would be due in the next one."""
    with postgres_server.fresh_database() as database, postgres_ledger(database) as ledger:
        connections = _connections(database)
        dsn = database.owner_dsn

        def expiry_of(placed: Movement) -> Movement:
            hold = asyncio.run(ledger.holds.hold(placed.id))
            assert hold is not None
            return expiry(hold)

        try:
            if request.param == "pending":
                pending = SqlPendingTransfers(connections)
                yield Kind(pending, ledger, dsn, "pending", "execute_time", Manner.DUE, deferred, as_it_is)
            else:
                holds = SqlDueHolds(connections)
                yield Kind(holds, ledger, dsn, "hold", "expire_time", Manner.EACH, reserved, expiry_of)
        finally:
            connections.close()


def _connections(database: Database) -> Connections:
    return Connections(TransactionSettings(database_dsn=SecretStr(database.transaction_dsn), **IDENTITY), "test")


def ids(movements: Sequence[Movement]) -> set[str]:
    return {movement.id for movement in movements}


def test_what_is_due_is_claimed_in_the_order_in_which_it_became_due(kind: Kind) -> None:
    first, second, third, _ = kind.make(30, 20, 10, -3600)
    assert ids(kind.claim(2)) == ids([first, second])
    assert kind.claim(2) == [third]
    assert kind.claim(2) == []


def test_pending_transfers_are_handed_on_in_that_order(kind: Kind) -> None:
    made = kind.make(*range(20, 0, -1))
    claimed = kind.claim()
    assert (claimed if kind.table == "pending" else sorted(claimed, key=made.index)) == made


@pytest.mark.parametrize("kind", ["pending"], indirect=True)
def test_what_this_version_cannot_read_is_told_and_left_to_another(kind: Kind) -> None:
    first, broken, last = kind.make(30, 20, 10)
    with unguarded(kind.dsn) as cursor:
        cursor.execute(AS_OF_A_LATER_VERSION, (broken.id,))
    with structlog.testing.capture_logs() as logs:
        assert ids(kind.claim()) == ids([first, last])
    assert [(log["event"], log["transaction"]) for log in logs] == [("due_work_unreadable", broken.id)]
    assert kind.claim() == []


def test_two_that_claim_at_once_never_get_the_same(kind: Kind) -> None:
    made = kind.make(*[10] * 60)

    async def both() -> list[list[Movement]]:
        return await asyncio.gather(*[kind.due.claim(10, LEASE_SECONDS) for _ in range(8)])

    claimed = [movement for part in asyncio.run(both()) for movement in part]
    assert len(claimed) == 60
    assert ids(claimed) == ids(made)


def test_what_somebody_works_on_is_passed_over_and_nobody_waits(kind: Kind) -> None:
    first, second = kind.make(20, 10)
    with session(kind.dsn) as cursor:
        cursor.execute(f"SELECT FROM transactions.{kind.table} WHERE id = %s FOR UPDATE", (kind.row(first),))
        assert kind.claim() == [second]
        kind.give_back([first, second])
        assert kind.rests(second) < timedelta(seconds=LEASE_SECONDS / 2)
    assert kind.claim() == [first]


def test_it_is_claimed_again_when_the_lease_is_over(kind: Kind) -> None:
    [movement] = kind.make(10)
    assert kind.claim() == [movement]
    assert kind.claim() == []
    kind.change("claimed_until = now() - %s * interval '1 second'", 0, kind.row(movement))
    assert kind.claim() == [movement]


@pytest.mark.parametrize(
    ("overdue_seconds", "least", "most"),
    [
        (0.0, timedelta(0), timedelta(seconds=10)),
        (20.0, timedelta(seconds=5), AGAIN_MAX),
        (10**6, AGAIN_MAX - timedelta(seconds=5), AGAIN_MAX),
    ],
)
def test_what_is_given_back_rests_the_longer_the_more_overdue_it_is(
    kind: Kind, overdue_seconds: float, least: timedelta, most: timedelta
) -> None:
    movements = kind.make(overdue_seconds, overdue_seconds)
    claimed = kind.claim()
    assert ids(claimed) == ids(movements)
    kind.give_back(claimed[:1])
    assert least <= kind.rests(claimed[0]) <= most
    assert kind.rests(claimed[1]) > AGAIN_MAX


def test_it_rests_a_little_at_least(kind: Kind) -> None:
    [movement] = kind.make(0)
    kind.claim()
    kind.change(f"{kind.time} = now() + %s * interval '1 second'", 3600, kind.row(movement))
    kind.give_back([movement])
    assert timedelta(0) < kind.rests(movement) <= AGAIN_MIN


def test_what_was_posted_is_not_claimed_again(kind: Kind) -> None:
    made = kind.make(10, 10)
    claimed = kind.claim()
    answers = kind.ledger.work(Work(claimed, kind.manner))
    assert [code(answer) for answer in answers] == ["POSTED"] * len(made)
    kind.give_back(claimed)
    for movement in claimed:
        if kind.table == "hold":
            kind.change("claimed_until = %s", None, kind.row(movement))
    assert kind.claim() == []
    assert kind.backlog() == Backlog(0, 0.0)


def test_the_backlog_is_counted_to_a_maximum_and_tells_for_how_long_the_oldest_is_due(kind: Kind) -> None:
    assert kind.backlog() == Backlog(0, 0.0)
    kind.make(1000, 10, 10, -3600)
    waiting = 4 if kind.table == "pending" else 3  # pending ones count before they are due
    found = kind.backlog()
    assert found.waiting == waiting
    assert 1000 <= found.overdue_seconds < 2000
    kind.claim()
    assert kind.backlog().waiting == waiting
    assert kind.backlog(2).waiting == 2
