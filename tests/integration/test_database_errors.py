"""What goes wrong in the database, as callers are told: real errors, and those that cannot be had at will."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import psycopg2
import pytest
from psycopg2 import errorcodes
from pydantic import SecretStr
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError, InterfaceError, InternalError, OperationalError, ProgrammingError

from service_kit import database as module
from service_kit.database import Database as Connections
from service_kit.status import Refusal
from tests.kit.ledger import Ledger, unreachable
from tests.kit.ports import free_port
from tests.kit.postgres import Database, Server
from tests.kit.wallets import asynchronous, wallet_settings


@asynccontextmanager
async def connected(database: Database, **settings: Any) -> AsyncIterator[Connections]:  # noqa: ANN401 - any setting
    connections = Connections(wallet_settings(database, 1, **settings), "test")
    try:
        yield connections
    finally:
        connections.close()


def executing(statement: str) -> Callable[[Connection], Any]:
    return lambda connection: connection.execute(text(statement)).all()


async def refused(running: Any) -> Refusal:  # noqa: ANN401 - any call
    with pytest.raises(Refusal) as raised:
        await running
    return raised.value


@asynchronous
async def test_what_takes_too_long_is_ended(database: Database) -> None:
    async with connected(database, statement_timeout_seconds=0.05) as connections:
        refusal = await refused(connections.run(executing("SELECT pg_sleep(60)")))
        assert refusal.reason == "DEADLINE_EXCEEDED"
        assert await connections.run(executing("SELECT 7")) == [(7,)]


@asynchronous
async def test_a_row_that_stays_locked_is_contention(database: Database) -> None:
    with Ledger(database).session() as cursor:
        cursor.execute("LOCK TABLE wallets.wallet IN ACCESS EXCLUSIVE MODE")
        async with connected(database, statement_timeout_seconds=1) as connections:
            refusal = await refused(connections.run(executing("SELECT count(*) FROM wallets.wallet")))
            assert (refusal.reason, refusal.retry_after_seconds) == ("CONTENTION", None)


@asynchronous
async def test_a_database_that_goes_away_and_comes_back(database: Database, postgres_server: Server) -> None:
    async with connected(database) as connections:
        await connections.ping()
        with unreachable(database, postgres_server):
            for calling in (connections.run(executing("SELECT 1")), connections.ping()):
                refusal = await refused(calling)
                assert refusal.reason == "UNAVAILABLE"
                assert refusal.retry_after_seconds
        await connections.ping()


@asynchronous
async def test_a_connection_that_is_lost_under_way(database: Database) -> None:
    async with connected(database) as connections:
        lost = executing("SELECT pg_terminate_backend(pg_backend_pid())")
        assert (await refused(connections.run(lost))).reason == "UNAVAILABLE"
        await connections.ping()


@asynchronous
async def test_nobody_listens(database: Database) -> None:
    port = free_port()
    here = urlsplit(database.wallet_dsn)
    nowhere = here._replace(netloc=here.netloc.replace(str(here.port), str(port))).geturl()
    async with connected(database, database_dsn=SecretStr(nowhere)) as connections:
        refusal = await refused(connections.ping())
        assert refusal.reason == "UNAVAILABLE"
        assert str(port) not in refusal.message


@asynchronous
async def test_a_bug_stays_one(database: Database) -> None:
    async with connected(database) as connections:
        with pytest.raises(ProgrammingError):
            await connections.run(executing("SELECT nothing_of_this_name"))
        with pytest.raises(DBAPIError, match="division by zero"):
            await connections.run(executing("SELECT 1 / 0"))


@asynchronous
async def test_two_transactions_that_wait_for_each_other_both_come_through(database: Database) -> None:
    """PostgreSQL ends one of them, which then is tried again."""
    both_hold_one = asyncio.Barrier(2)
    loop = asyncio.get_running_loop()
    tried: list[str] = []

    def crossing(name: str, first: int, second: int) -> Callable[[Connection], str]:
        def work(connection: Connection) -> str:
            tried.append(name)
            connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": first})
            if tried.count(name) == 1:
                asyncio.run_coroutine_threadsafe(_wait(both_hold_one), loop).result()
            connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": second})
            return name

        return work

    async with connected(database) as connections:
        done = await asyncio.gather(connections.run(crossing("a", 1, 2)), connections.run(crossing("b", 2, 1)))
    assert list(done) == ["a", "b"]
    assert len(tried) == 3


async def _wait(barrier: asyncio.Barrier) -> None:
    await barrier.wait()


class OddError(Exception):
    """An error of the driver with this SQLSTATE."""

    def __init__(self, state: str | None) -> None:
        super().__init__("inside words")
        self.pgcode = state


@pytest.mark.parametrize(
    ("error", "state", "reason"),
    [
        (OperationalError, "40001", "CONTENTION"),
        (OperationalError, "40P01", "CONTENTION"),
        (OperationalError, "55P03", "CONTENTION"),
        (OperationalError, "57014", "DEADLINE_EXCEEDED"),
        (OperationalError, "57P01", "UNAVAILABLE"),
        (OperationalError, "53100", "UNAVAILABLE"),
        (InternalError, "25006", "UNAVAILABLE"),
        (OperationalError, None, "UNAVAILABLE"),
        (InterfaceError, None, "UNAVAILABLE"),
    ],
)
def test_each_kind_of_error_has_its_reason(error: type[DBAPIError], state: str | None, reason: str) -> None:
    refusal = module._refusal(error("SELECT 1", {}, OddError(state)), state)
    assert isinstance(refusal, Refusal)
    assert refusal.reason == reason
    assert "inside" not in refusal.message


@asynchronous
async def test_a_read_only_server_is_an_outage_and_the_next_server_is_looked_for(database: Database) -> None:
    async with connected(database) as connections:

        def session(connection: Connection) -> int:
            return int(connection.execute(text("SELECT pg_backend_pid()")).scalar_one())

        before = await connections.run(session)

        def write(connection: Connection) -> None:
            connection.execute(text("SET TRANSACTION READ ONLY"))
            connection.execute(text("DELETE FROM wallets.wallet"))

        assert (await refused(connections.run(write))).reason == "UNAVAILABLE"
        assert await connections.run(session) != before


@asynchronous
async def test_what_stays_in_conflict_is_given_up(database: Database) -> None:
    tried = 0

    def conflict(_: Connection) -> None:
        nonlocal tried
        tried += 1
        raise OperationalError("SELECT 1", {}, OddError(errorcodes.SERIALIZATION_FAILURE))

    async with connected(database) as connections:
        assert (await refused(connections.run(conflict))).reason == "CONTENTION"
    assert tried == module.ATTEMPTS_MAX


@asynchronous
async def test_a_database_that_takes_no_writes_does_not_make_ready(database: Database) -> None:
    name = urlsplit(database.owner_dsn).path.removeprefix("/")
    owner = psycopg2.connect(database.owner_dsn)
    owner.autocommit = True
    async with connected(database) as connections:
        await connections.ping()
        with owner.cursor() as cursor:
            cursor.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
        connections.engine.dispose()
        assert (await refused(connections.ping())).reason == "UNAVAILABLE"
        with owner.cursor() as cursor:
            cursor.execute("SET transaction_read_only = off")
            cursor.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")
        await connections.ping()
    owner.close()
