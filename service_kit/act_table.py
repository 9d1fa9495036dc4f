"""Acts in PostgreSQL: the one shape that the services' tables of them have, and how a page of them is read."""

from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ColumnElement,
    Connection,
    DateTime,
    Index,
    MetaData,
    Table,
    Text,
    select,
    text,
    tuple_,
)
from sqlalchemy.dialects.postgresql import JSONB

from service_kit.acts import Act, ActFilter, Position
from service_kit.database import Database
from service_kit.pages import refused

WALKED_MAX: Final = 5000
"""How many acts one page looks at: some milliseconds of the database, whatever the filters let through."""
INT64_MAX: Final = 2**63 - 1
EARLIEST: Final = datetime.min.replace(tzinfo=UTC)
LATEST: Final = datetime.max.replace(tzinfo=UTC)


def act_table(metadata: MetaData, subject: str, number: str) -> Table:
    """The schema's table `act`. `subject`, `number`: what these columns have, in words."""
    return Table(
        "act",
        metadata,
        # By bytes, so that the order of pages does not hang on the server's locale.
        Column("subject", Text(collation="C"), primary_key=True, comment=subject),
        Column("number", BigInteger, primary_key=True, autoincrement=False, comment=number),
        Column("act", Text, nullable=False),
        Column("before", JSONB, nullable=False, comment="by field, only what changed"),
        Column("after", JSONB, nullable=False, comment="as before"),
        Column("principal", Text, nullable=False),
        Column("request_id", Text, nullable=False),
        Column("trace_id", Text, nullable=False),
        Column("create_time", DateTime(timezone=True), nullable=False),
        CheckConstraint("number >= 1", name="number"),
        Index("act_create_time_idx", "create_time", "subject", "number"),
        Index("act_principal_idx", "principal", "create_time", "subject", "number"),
        Index(
            "act_trace_id_idx",
            "trace_id",
            "create_time",
            "subject",
            "number",
            postgresql_where=text("trace_id <> ''"),
        ),
    )


class SqlActs:
    """Fills service_kit.acts.Acts. A page goes down one index: of its subject, its trace id, its principal or, without
    any of them, of time alone. What the index does not see to is looked at in a bounded number of rows."""

    def __init__(self, database: Database, table: Table) -> None:
        self._database = database
        self._table = table

    async def page(self, wanted: ActFilter, after: Position | None, limit: int) -> tuple[list[Act], Position | None]:
        columns = self._table.c
        by_subject, conditions = bool(wanted.subject), _conditions(self._table, wanted)
        key, (first, end) = _key(self._table, wanted), _range(wanted)
        names = ["number"] if by_subject else ["create_time", "subject", "number"]
        place = tuple_(*key, *(columns[name] for name in names))
        behind = end if after is None else _read(after, by_subject)
        # One comparison of all columns, and so is the order: with `key = value` PostgreSQL might take the index by
        # time, hoping to meet the value soon.
        walk = (
            select(*(columns[name] for name in Act._fields))
            .where(place >= tuple_(*key.values(), *first), place < tuple_(*key.values(), *behind))
            .order_by(*(column.desc() for column in place.clauses))
        )
        if columns.trace_id in key:
            walk = walk.where(columns.trace_id != "")  # as its index says

        def work(connection: Connection) -> tuple[list[Act], Position | None]:
            edge: Sequence[Any] | None = None
            if conditions:
                steps = walk.with_only_columns(*(columns[name] for name in names)).offset(WALKED_MAX - 1).limit(1)
                edge = connection.execute(steps).one_or_none()
            query = walk.where(*conditions).limit(limit + 1)
            if edge is not None:
                query = query.where(place >= tuple_(*key.values(), *edge))
            found = [Act(*row) for row in connection.execute(query)]
            if len(found) > limit:
                last = found[limit - 1]
                return found[:limit], _written([getattr(last, name) for name in names])
            return found, None if edge is None else _written(edge)

        return await self._database.run_on_snapshot(work)


Place = Sequence[Any]
"""Values of what a walk is ordered by, behind its key: a number, or a time, a subject and a number."""


def _key(table: Table, wanted: ActFilter) -> dict[ColumnElement[str], str]:
    """What is the same all along the walk."""
    for name in ("subject", "trace_id", "principal"):
        if value := getattr(wanted, name):
            return {table.c[name]: value}
    return {}


def _range(wanted: ActFilter) -> tuple[Place, Place]:
    """From the first place to before the second."""
    if wanted.subject:
        return [0], [INT64_MAX]
    return [wanted.start or EARLIEST, "", 0], [wanted.end or LATEST, "", 0]


def _conditions(table: Table, wanted: ActFilter) -> list[ColumnElement[bool]]:
    """What the walk does not see to."""
    columns, key = table.c, _key(table, wanted)
    names = [name for name in ("act", "trace_id", "principal") if getattr(wanted, name) and columns[name] not in key]
    conditions = [columns[name] == getattr(wanted, name) for name in names]
    if wanted.subject and wanted.start is not None:
        conditions.append(columns.create_time >= wanted.start)
    if wanted.subject and wanted.end is not None:
        conditions.append(columns.create_time < wanted.end)
    return conditions


def _written(place: Place) -> Position:
    return [value.astimezone(UTC).isoformat() if isinstance(value, datetime) else value for value in place]


def _read(after: Position, by_subject: bool) -> Place:
    """Positions come from outside and may be anything. Raises Refusal INVALID_PAGE_TOKEN."""
    match after:
        case [number] if by_subject and _is_number(number):
            return [number]
        case [str(time), str(subject), number] if not by_subject and "\0" not in subject and _is_number(number):
            with suppress(ValueError):
                parsed = datetime.fromisoformat(time)
                if parsed.utcoffset() == timedelta(0):
                    return [parsed, subject, number]
    raise refused()


def _is_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= INT64_MAX
