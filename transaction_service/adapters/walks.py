"""The walks that there are: down an index of times and ids, and down an account's entries."""

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, select, tuple_

from service_kit.pages import refused
from transaction_service.adapters.history import seq_before
from transaction_service.adapters.tables import entry
from transaction_service.adapters.walk import Step
from transaction_service.domain.account import INT64_MAX
from transaction_service.ports import Position

FIRST_ID: Final = "00000000-0000-0000-0000-000000000000"
"""Not after any id."""
LAST_ID: Final = "ffffffff-ffff-ffff-ffff-ffffffffffff"
"""Not before any id."""


class TimeWalk:
    """Along an index whose last columns are a time and an id. The conditions are on the columns before them, or are
    those of the index itself where it is a partial one."""

    def __init__(
        self,
        time: ColumnElement[datetime],
        id_: ColumnElement[str],
        *conditions: ColumnElement[bool],
        start: datetime | None = None,
        end: datetime | None = None,
        newest_first: bool = True,
    ) -> None:
        """The time range is [start, end)."""
        self._newest_first = newest_first
        self._place = tuple_(time, id_)
        order = (time.desc(), id_.desc()) if newest_first else (time, id_)
        self._query = select(time, id_).where(*conditions).order_by(*order)
        if start is not None:
            self._query = self._query.where(time >= start)
        if end is not None:
            self._query = self._query.where(time < end)

    def steps(self, connection: Connection, after: Position | None, limit: int) -> list[Step]:
        query = self._query.limit(limit)
        if after is not None:
            place = tuple_(*_time_and_id(after))
            query = query.where(self._place < place if self._newest_first else self._place > place)
        return [Step(time, id_, [_written(time), id_]) for time, id_ in connection.execute(query)]

    def before(self, first: Step) -> Position:
        return [_written(first.time), LAST_ID if self._newest_first else FIRST_ID]


class EntryWalk:
    """Down an account's entries, the newest first, by number: they have no index by time and need none."""

    def __init__(self, account: str, start: datetime | None, end: datetime | None) -> None:
        """`account` is an id. The time range is [start, end)."""
        self._query = select(entry.c.post_time, entry.c.transaction_id, entry.c.seq)
        self._query = self._query.where(entry.c.account_id == account).order_by(entry.c.seq.desc())
        if start is not None:
            self._query = self._query.where(entry.c.seq > seq_before(account, start))
        if end is not None:
            self._query = self._query.where(entry.c.seq <= seq_before(account, end))

    def steps(self, connection: Connection, after: Position | None, limit: int) -> list[Step]:
        query = self._query.limit(limit)
        if after is not None:
            query = query.where(entry.c.seq < seq_of(after[0]))
        return [Step(time, id_, [seq, id_]) for time, id_, seq in connection.execute(query)]

    def before(self, first: Step) -> Position:
        return [first.place[0] + 1, LAST_ID]


def seq_of(value: Any) -> int:  # noqa: ANN401 - positions come from outside and may be anything
    """Raises Refusal INVALID_PAGE_TOKEN."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= INT64_MAX:
        return value
    raise refused()


def _time_and_id(place: Position) -> tuple[datetime, str]:
    match place:
        case [str(time), str(id_)]:
            with suppress(ValueError):
                parsed = datetime.fromisoformat(time)
                if parsed.utcoffset() == timedelta(0):
                    return parsed, str(UUID(id_))
    raise refused()


def _written(time: datetime) -> str:
    """In UTC, whatever the zone of the database's session."""
    return time.astimezone(UTC).isoformat()
