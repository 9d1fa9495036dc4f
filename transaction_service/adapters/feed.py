"""The feed on PostgreSQL: transactions along (xid, id), as far as no transaction of the database is under way.

Each row keeps the id of the database transaction that wrote its state. Below the oldest one that is still running
(`pg_snapshot_xmin`) nothing can come any more, so what was read there is complete; see docs/adr/0013.
"""

from typing import Final

from sqlalchemy import BigInteger, ColumnElement, Connection, Text, Tuple, cast, func, select, tuple_

from service_kit.database import Database
from transaction_service.adapters import columns
from transaction_service.adapters.conditions import names
from transaction_service.adapters.rows import to_transaction
from transaction_service.adapters.tables import transaction
from transaction_service.adapters.walks import FIRST_ID, LAST_ID
from transaction_service.ports import Mark, Stretch

WALKED_PER_FOUND: Final = 5
"""Who follows one account looks at so many times more transactions at once as it is given at the most."""
_HORIZON: Final = cast(cast(func.pg_snapshot_xmin(func.pg_current_snapshot()), Text), BigInteger)


class SqlFeed:
    """Fills transaction_service.ports.Feed."""

    beginning = Mark(0, FIRST_ID)

    def __init__(self, database: Database) -> None:
        self._database = database

    async def end(self) -> Mark:
        return await self._database.run(end_of_feed)

    async def read(self, after: Mark, limit: int, account: str = "") -> Stretch:
        return await self._database.run_on_snapshot(lambda connection: _read(connection, after, limit, account))


def end_of_feed(connection: Connection) -> Mark:
    """Behind everything that a statement that begins now can read, for good."""
    horizon: int = connection.execute(select(_HORIZON)).scalar_one()
    return Mark(horizon - 1, LAST_ID)


def _read(connection: Connection, after: Mark, limit: int, account: str) -> Stretch:
    """One snapshot for the horizon and for the rows below it."""
    end = end_of_feed(connection)
    if end <= after:
        return Stretch(after, (), after, complete=True)
    # How far the piece goes at the most is found before its rows are looked at, so that it is bounded for any account.
    walked = limit * WALKED_PER_FOUND if account else limit
    last = select(transaction.c.xid, transaction.c.id).where(_behind(after), _up_to(end))
    last = last.order_by(transaction.c.xid, transaction.c.id).offset(walked - 1).limit(1)
    found = connection.execute(last).one_or_none()
    until = end if found is None else Mark(*found)
    rows = select(transaction.c.xid, *columns.TRANSACTION).where(_behind(after), _up_to(until))
    if account:
        rows = rows.where(names(account))
    rows = rows.order_by(transaction.c.xid, transaction.c.id).limit(limit)
    committed = [(Mark(row[0], row[1]), to_transaction(row[1:])) for row in connection.execute(rows)]
    if len(committed) == limit:
        return Stretch(after, committed, committed[-1][0], complete=False)
    return Stretch(after, committed, until, complete=found is None)


def _behind(mark: Mark) -> ColumnElement[bool]:
    return _mark() > tuple_(*mark)


def _up_to(mark: Mark) -> ColumnElement[bool]:
    return _mark() <= tuple_(*mark)


def _mark() -> Tuple:
    return tuple_(transaction.c.xid, transaction.c.id)
