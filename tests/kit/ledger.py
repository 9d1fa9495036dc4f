"""The ledger's tables beside the service: counted, queried, locked, and PostgreSQL held still."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg2
from psycopg2 import sql

from tests.kit.ledgers import session
from tests.kit.postgres import Database, Server
from tests.kit.stalls import halted
from tests.kit.tampering import unguarded


@dataclass(frozen=True)
class Rows:
    """How many there are."""

    posted: int
    failed: int
    entries: int


class Ledger:
    """The tables, read and locked by their owner beside the service."""

    def __init__(self, database: Database) -> None:
        self._dsn = database.owner_dsn

    def query(self, text: str, *values: object) -> list[tuple[Any, ...]]:
        with self.session() as cursor:
            cursor.execute(text, values)
            found: list[tuple[Any, ...]] = cursor.fetchall()
        return found

    def rows(self) -> Rows:
        """What calls have made and answered. What the service decides by itself (an ASYNC transfer whose account was
        held, a hold that expires) may be another test's, and comes when it likes."""
        counted = self.query(
            "WITH answered AS MATERIALIZED ("
            " SELECT id, state FROM transactions.transaction WHERE kind <> 9"
            " AND (decide_time = create_time OR failure_reason = 'TRANSFER_CANCELLED'))"
            " SELECT count(*) FILTER (WHERE state = 1), count(*) FILTER (WHERE state = 2),"
            " (SELECT count(*) FROM transactions.entry WHERE transaction_id IN (SELECT id FROM answered)) FROM answered"
        )
        return Rows(*counted[0])

    def deadlocks(self) -> int:
        """That PostgreSQL has counted. The counters of a connection are all there once it has ended."""
        counted: int = self.query("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")[0][0]
        return counted

    @contextmanager
    def session(self) -> Iterator[Any]:
        """A cursor in one transaction, as `tests.kit.ledgers.session`."""
        with session(self._dsn) as cursor:
            yield cursor

    @contextmanager
    def unguarded(self) -> Iterator[Any]:
        """A cursor for which the record's guards are away; committed at the end."""
        with unguarded(self._dsn) as cursor:
            yield cursor

    @contextmanager
    def locked(self, *accounts: str) -> Iterator[None]:
        """Another session holds these accounts' rows."""
        with self.session() as cursor:
            cursor.execute("SELECT id FROM transactions.account WHERE name = ANY(%s) FOR UPDATE", (list(accounts),))
            assert len(cursor.fetchall()) == len(accounts)
            yield

    @contextmanager
    def lanes_halted(self) -> Iterator[None]:
        """PostgreSQL does not work on what the lanes send: it is under way for as long as a test likes, and no timeout
        runs. The lanes must have worked before."""
        found = self.query(
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name = %s",
            "specie posting lane",
        )
        with halted(pid for (pid,) in found):
            yield


@contextmanager
def unreachable(database: Database, server: Server) -> Iterator[None]:
    """The database takes no connections, and those that there were are gone."""
    name = database.owner_dsn.rpartition("/")[2]
    allow = sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS {}")
    connection = psycopg2.connect(server.postgres.superuser_dsn())
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(allow.format(sql.Identifier(name), sql.SQL("false")))
            try:
                cursor.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,))
                yield
            finally:
                cursor.execute(allow.format(sql.Identifier(name), sql.SQL("true")))
    finally:
        connection.close()
