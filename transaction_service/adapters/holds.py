"""The hold reader on PostgreSQL. Every query is a walk along one index, of a bounded number of rows."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, select

from service_kit.database import Database
from transaction_service.adapters import columns
from transaction_service.adapters.conditions import any_of, owned
from transaction_service.adapters.rows import to_hold
from transaction_service.adapters.tables import hold
from transaction_service.adapters.walk import Page, page
from transaction_service.adapters.walks import TimeWalk
from transaction_service.domain.hold import Hold, HoldState
from transaction_service.ports import HoldFilter, Position

IS_OPEN = hold.c.state == HoldState.OPEN.value
"""The condition of the partial indexes."""


class SqlHoldReader:
    """Fills transaction_service.ports.HoldReader."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def hold(self, hold_id: str, bound_to: str = "") -> Hold | None:
        wanted = select(*columns.HOLD).where(hold.c.id == hold_id)

        def one(connection: Connection, query: Select[Any]) -> Hold | None:
            row = connection.execute(query).one_or_none()
            return None if row is None else to_hold(row)

        def work(connection: Connection) -> Hold | None:
            found = one(connection, wanted)
            if found is None or not bound_to:
                return found
            # The ids of its accounts come of their names, which never change.
            return one(connection, wanted.where(owned([found.source, found.destination], bound_to)))

        return await self._database.run(work)

    async def holds(
        self, account: str, state: HoldState | None, after: Position | None, limit: int
    ) -> tuple[list[Hold], Position | None]:
        # An account is one of the two, never both.
        keys = [(hold.c.source, account), (hold.c.destination, account)] if account else [None]
        # OPEN ones have indexes of their own; any other state is looked at when the hold is fetched.
        of_index = [IS_OPEN] if state is HoldState.OPEN else []
        walks = [TimeWalk(key, hold.c.create_time, hold.c.id, *of_index) for key in keys]
        conditions = [] if state is None else [hold.c.state == state.value]
        return await self._page(walks, conditions, after, limit)

    async def open_holds(self, wanted: HoldFilter, limit: int) -> list[Hold]:
        given = [
            (column, value)
            for column, value in (
                (hold.c.external_reference, wanted.external_reference),
                (hold.c.source, wanted.source),
                (hold.c.destination, wanted.destination),
            )
            if value
        ]
        # The walk goes by the first that is given, which leads to the fewest.
        key = given[0] if given else None
        walk = TimeWalk(key, hold.c.create_time, hold.c.id, IS_OPEN, end=wanted.placed_before, newest_first=False)
        conditions = [IS_OPEN, *(column == value for column, value in given)]
        found: list[Hold] = []
        after: Position | None = None
        while len(found) < limit:
            part, after = await self._page([walk], conditions, after, limit - len(found))
            found += part
            if after is None:
                break
        return found

    async def _page(
        self, walks: Sequence[TimeWalk], conditions: Sequence[ColumnElement[bool]], after: Position | None, limit: int
    ) -> Page[Hold]:
        def work(connection: Connection) -> Page[Hold]:
            return page(connection, walks, after, limit, partial(_find, connection, conditions))

        return await self._database.run_on_snapshot(work)


def _find(connection: Connection, conditions: Sequence[Any], ids: Sequence[str]) -> dict[str, Hold]:
    query = select(*columns.HOLD).where(any_of(hold.c.id, ids), *conditions)
    return {row[0]: to_hold(row) for row in connection.execute(query)}
