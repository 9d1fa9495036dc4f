"""A PostgreSQL server for a test session, and fresh, migrated databases on it that cost some 50 ms each."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import psycopg2
from psycopg2 import sql

from specie_cli.stack.failure import StackError
from specie_cli.stack.postgres import DATABASE, OWNER, Postgres
from tests.kit.ports import free_port

START_ATTEMPTS = 3
WALLET_ROLE = "specie_wallet"
TRANSACTION_ROLE = "specie_transaction"


@dataclass(frozen=True)
class Database:
    """DSNs of one database, one for each role."""

    owner_dsn: str
    wallet_dsn: str
    transaction_dsn: str

    @property
    def environment(self) -> dict[str, str]:
        """What `python -m migrations` and the services take."""
        return {
            "SPECIE_OWNER_DSN": self.owner_dsn,
            "SPECIE_WALLET_DATABASE_DSN": self.wallet_dsn,
            "SPECIE_TRANSACTION_DATABASE_DSN": self.transaction_dsn,
        }


class Server:
    """A PostgreSQL server whose database `specie` is migrated and stays empty: the template of all others."""

    def __init__(self, postgres: Postgres) -> None:
        self.postgres = postgres
        self._numbers = count(1)

    def database(self, name: str = DATABASE) -> Database:
        return Database(*(self.postgres.dsn(role, name) for role in (OWNER, WALLET_ROLE, TRANSACTION_ROLE)))

    @contextmanager
    def fresh_database(self, template: str = DATABASE) -> Iterator[Database]:
        """A copy of the template, dropped at the end, whoever is still connected."""
        name = f"test_{next(self._numbers)}"
        self._execute("CREATE DATABASE {} TEMPLATE {} OWNER {}", name, template, OWNER)
        try:
            yield self.database(name)
        finally:
            self._execute("DROP DATABASE {} WITH (FORCE)", name)

    def _execute(self, statement: str, *names: str) -> None:
        connection = psycopg2.connect(self.postgres.superuser_dsn())
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))
        finally:
            connection.close()


@contextmanager
def running_server() -> Iterator[Server]:
    """A migrated server in a temporary directory."""
    folder = Path(tempfile.mkdtemp(prefix="specie-postgres-"))
    try:
        # Whoever runs PostgreSQL must be able to pass.
        folder.chmod(0o711)
        postgres = _started(folder)
        try:
            postgres.create_database()
            server = Server(postgres)
            migrate(server.database(), "roles")
            migrate(server.database(), "upgrade")
            yield server
        finally:
            postgres.stop()
    finally:
        shutil.rmtree(folder)


def migrate(database: Database, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`python -m migrations` on this database; raises with what it said when it fails."""
    result = run_migrations(database, *arguments)
    if result.returncode != 0:
        raise RuntimeError(f"migrations {' '.join(arguments)} failed:\n{result.stdout}{result.stderr}")
    return result


def run_migrations(database: Database, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "migrations", *arguments]
    environment = os.environ | database.environment
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def _started(folder: Path) -> Postgres:
    """Between finding a free port and listening on it somebody else may take it: then another one."""
    for attempt in range(1, START_ATTEMPTS + 1):
        postgres = Postgres(folder / "postgresql", folder / "secrets", free_port(), folder / "postgresql.log")
        try:
            postgres.start()
        except StackError:
            if attempt == START_ATTEMPTS:
                raise
        else:
            return postgres
    raise AssertionError
