"""The walks that there are: down an index of times and ids, down an account's entries, and to one transaction."""

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, Tuple, select, tuple_

from service_kit.pages import refused
from transaction_service.adapters.history import seq_before
from transaction_service.adapters.tables import entry, transaction
from transaction_service.adapters.walk import Step
from transaction_service.domain.account import INT64_MAX
from transaction_service.ports import Position

FIRST_ID: Final = "00000000-0000-0000-0000-000000000000"
"""Not after any id."""
LAST_ID: Final = "ffffffff-ffff-ffff-ffff-ffffffffffff"
"""Not before any id."""


EARLIEST: Final = datetime.min.replace(tzinfo=UTC)
LATEST: Final = datetime.max.replace(tzinfo=UTC)

Key = tuple[ColumnElement[Any], str]
"""A column and the value that is wanted in it."""


class TimeWalk:
    """Along an index whose columns are a key, a time and an id, or without a key.

    Its range is written as one comparison of all columns, and so is its order. With `key = value` PostgreSQL might take
    an index by time instead, hoping to meet the value soon: where that is old or rare it would walk all there is.
    """

    def __init__(
        self,
        key: Key | None,
        time: ColumnElement[datetime],
        id_: ColumnElement[str],
        *conditions: ColumnElement[bool],
        start: datetime | None = None,
        end: datetime | None = None,
        newest_first: bool = True,
    ) -> None:
        """`conditions`: those of the index itself, where it is a partial one. The time range is [start, end)."""
        columns: list[ColumnElement[Any]] = [time, id_] if key is None else [key[0], time, id_]
        self._value = [] if key is None else [key[1]]
        self._place = tuple_(*columns)
        self._newest_first = newest_first
        self._query = (
            select(time, id_)
            .where(*conditions, self._place >= self._at(start or EARLIEST, FIRST_ID))
            .where(self._place < self._at(end or LATEST, FIRST_ID))
            .order_by(*[column.desc() if newest_first else column for column in columns])
        )

    def steps(self, connection: Connection, after: Position | None, limit: int) -> list[Step]:
        query = self._query.limit(limit)
        if after is not None:
            place = self._at(*_time_and_id(after))
            query = query.where(self._place < place if self._newest_first else self._place > place)
        return [Step(time, id_, [_written(time), id_]) for time, id_ in connection.execute(query)]

    def before(self, first: Step) -> Position:
        return [_written(first.time), LAST_ID if self._newest_first else FIRST_ID]

    def _at(self, time: datetime, id_: str) -> Tuple:
        return tuple_(*self._value, time, id_)


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


class SingleWalk:
    """To one transaction, if it is there and was decided in [start, end)."""

    def __init__(self, id_: str, start: datetime | None, end: datetime | None) -> None:
        time = transaction.c.decide_time
        self._query = select(time, transaction.c.id).where(
            transaction.c.id == id_, time >= (start or EARLIEST), time < (end or LATEST)
        )

    def steps(self, connection: Connection, after: Position | None, limit: int) -> list[Step]:
        if after is not None or limit < 1:
            return []
        return [Step(time, id_, [_written(time), id_]) for time, id_ in connection.execute(self._query)]

    def before(self, first: Step) -> Position:
        return [_written(first.time), LAST_ID]


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
