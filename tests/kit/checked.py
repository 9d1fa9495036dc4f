"""The integrity check over a test's database, a piece at a time and without an event loop."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from pydantic import SecretStr

from service_kit.database import Database as Connections
from tests.kit.postgres import Database
from tests.kit.tokens import IDENTITY
from transaction_service.adapters.integrity_check import SqlChecks, SqlSoundness
from transaction_service.integrity.findings import Broken, Finding
from transaction_service.integrity.ports import Checked, Lap, Page, Step
from transaction_service.settings import TransactionSettings

STEP = 1000


@dataclass
class Books:
    """One who checks. He must not be alone: what others are at he is told as None."""

    checks: SqlChecks
    soundness: SqlSoundness

    def look(self, limit: int = STEP) -> Step | None:
        return asyncio.run(self.checks.look_at_new(limit))

    def go_on(self, every_seconds: float = 0) -> Page | None:
        """With the lap, without a rest."""
        return asyncio.run(self.checks.go_on_with_lap(every_seconds, rest_per_work=0))

    def look_at_all_new(self, limit: int = STEP) -> list[Finding]:
        """Alone; what is found for the first time."""
        found: list[Finding] = []
        while True:
            step = self.look(limit)
            assert step is not None
            found += step.new
            if not step.more:
                return found

    def lap(self) -> tuple[list[Finding], Lap]:
        """Alone, to the end of a whole one; what is found for the first time."""
        found: list[Finding] = []
        while True:
            page = self.go_on()
            assert page is not None
            found += page.new
            if page.ended is not None:
                return found, page.ended

    def checked(self) -> Checked:
        return asyncio.run(self.soundness.checked())

    def of_account(self, name: str) -> list[Broken]:
        return asyncio.run(self.soundness.of_account(name))


@contextmanager
def books(database: Database, timeout_seconds: float = 10) -> Iterator[Books]:
    settings = TransactionSettings(
        database_dsn=SecretStr(database.transaction_dsn),
        read_threads=1,
        statement_timeout_seconds=timeout_seconds,
        **IDENTITY,
    )
    connections = Connections(settings, "test of the books")
    try:
        yield Books(SqlChecks(connections), SqlSoundness(connections))
    finally:
        connections.close()
