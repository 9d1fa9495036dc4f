"""What falls due, shared among all processes by claims: pending transfers, and open holds whose time is up.

No claim holds a lock while the lane works on what was claimed: the lane writes these very rows. None waits for a lock
either, so it stands in nobody's way. A row that this version cannot read is left to others.
"""

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any, Final

import structlog
from sqlalchemy import Column, Connection, text

from service_kit.database import Database
from transaction_service.adapters import columns, statements
from transaction_service.adapters.rows import to_hold, to_transaction
from transaction_service.adapters.writes import array
from transaction_service.domain.hold_commands import expiry
from transaction_service.domain.movement import Movement
from transaction_service.ports import Backlog

log = structlog.stdlib.get_logger()

AGAIN_MIN: Final = timedelta(seconds=0.5)
AGAIN_MAX: Final = timedelta(seconds=15)
"""How long what was given back rests: half of the time that it has been overdue, within these. So each pause is half as
long again as the one before, and nobody has to count them."""

# Index: pending_execute_time_idx, then both primary keys. In the order in which they became due.
CLAIM_PENDING: Final = f"""
WITH due AS MATERIALIZED (
    SELECT id FROM transactions.pending
    WHERE execute_time <= now() AND (claimed_until IS NULL OR claimed_until <= now())
    ORDER BY execute_time, id LIMIT :limit FOR UPDATE SKIP LOCKED
), claimed AS (
    UPDATE transactions.pending SET claimed_until = now() + :lease
    WHERE id = ANY (ARRAY(SELECT id FROM due)) RETURNING id, execute_time
)
SELECT {statements.TRANSACTION_COLUMNS} FROM claimed JOIN transactions.transaction USING (id)
ORDER BY execute_time, id
"""  # noqa: S608 - column lists of our own

# Index: primary key.
GIVE_BACK_PENDING: Final = """
WITH mine AS MATERIALIZED (SELECT id FROM transactions.pending WHERE id = ANY (:ids) FOR UPDATE SKIP LOCKED)
UPDATE transactions.pending SET claimed_until = now() + least(:longest, greatest(:shortest, (now() - execute_time) / 2))
WHERE id = ANY (ARRAY(SELECT id FROM mine))
"""

# Index: pending_execute_time_idx.
PENDING_BACKLOG: Final = """
SELECT (SELECT count(*) FROM (SELECT FROM transactions.pending ORDER BY execute_time LIMIT :count_max) AS counted),
    (SELECT extract(epoch FROM now() - min(execute_time))::float8 FROM transactions.pending WHERE execute_time <= now())
"""

# Index: hold_open_expire_time_idx, then the primary key.
CLAIM_HOLDS: Final = f"""
WITH due AS MATERIALIZED (
    SELECT id FROM transactions.hold
    WHERE state = 1 AND expire_time <= now() AND (claimed_until IS NULL OR claimed_until <= now())
    ORDER BY expire_time, id LIMIT :limit FOR UPDATE SKIP LOCKED
)
UPDATE transactions.hold SET claimed_until = now() + :lease WHERE id = ANY (ARRAY(SELECT id FROM due))
RETURNING {statements.HOLD_COLUMNS}
"""  # noqa: S608 - as above

# Index: primary key.
GIVE_BACK_HOLDS: Final = """
WITH mine AS MATERIALIZED (SELECT id FROM transactions.hold WHERE id = ANY (:ids) FOR UPDATE SKIP LOCKED)
UPDATE transactions.hold SET claimed_until = now() + least(:longest, greatest(:shortest, (now() - expire_time) / 2))
WHERE id = ANY (ARRAY(SELECT id FROM mine))
"""

# Index: hold_open_expire_time_idx.
HOLDS_BACKLOG: Final = """
SELECT count(*), extract(epoch FROM now() - min(expire_time))::float8
FROM (
    SELECT expire_time FROM transactions.hold WHERE state = 1 AND expire_time <= now()
    ORDER BY expire_time, id LIMIT :count_max
) AS due
"""


class SqlPendingTransfers:
    """Fills transaction_service.ports.DueWork."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def claim(self, limit: int, lease_seconds: float) -> list[Movement]:
        rows = await _claimed(self._database, CLAIM_PENDING, columns.TRANSACTION, limit, lease_seconds)
        return _read(rows, lambda row: to_transaction(row).movement)

    async def give_back(self, movements: Sequence[Movement]) -> None:
        await _give_back(self._database, GIVE_BACK_PENDING, [movement.id for movement in movements])

    async def backlog(self, count_max: int) -> Backlog:
        """Counts also those whose time is still to come."""
        return await _backlog(self._database, PENDING_BACKLOG, count_max)


class SqlDueHolds:
    """Fills transaction_service.ports.DueWork: their expiries."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def claim(self, limit: int, lease_seconds: float) -> list[Movement]:
        rows = await _claimed(self._database, CLAIM_HOLDS, columns.HOLD, limit, lease_seconds)
        return _read(rows, lambda row: expiry(to_hold(row)))

    async def give_back(self, movements: Sequence[Movement]) -> None:
        await _give_back(self._database, GIVE_BACK_HOLDS, [movement.hold for movement in movements])

    async def backlog(self, count_max: int) -> Backlog:
        return await _backlog(self._database, HOLDS_BACKLOG, count_max)


async def _claimed(
    database: Database, sql: str, found: Sequence[Column[Any]], limit: int, lease_seconds: float
) -> Sequence[Any]:
    claim, values = text(sql).columns(*found), {"limit": limit, "lease": timedelta(seconds=lease_seconds)}

    def work(connection: Connection) -> Sequence[Any]:
        return connection.execute(claim, values).fetchall()

    return await database.run(work)


def _read(rows: Sequence[Any], movement_of: Callable[[Any], Movement]) -> list[Movement]:
    """One by one: what a later version has stored, while services are replaced, must not keep its neighbours from being
    posted. Its claim ends by itself."""
    movements: list[Movement] = []
    for row in rows:
        try:
            movements.append(movement_of(row))
        except Exception:
            log.exception("due_work_unreadable", transaction=row.id)
    return movements


async def _give_back(database: Database, sql: str, ids: Sequence[str]) -> None:
    values = {"ids": array(ids), "shortest": AGAIN_MIN, "longest": AGAIN_MAX}

    def work(connection: Connection) -> None:
        connection.execute(text(sql), values)

    await database.run(work)


async def _backlog(database: Database, sql: str, count_max: int) -> Backlog:
    def work(connection: Connection) -> Backlog:
        waiting, overdue = connection.execute(text(sql), {"count_max": count_max}).one()
        return Backlog(waiting, overdue or 0.0)

    return await database.run(work)
