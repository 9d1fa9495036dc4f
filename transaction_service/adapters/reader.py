"""The ledger reader on PostgreSQL. Every query is a walk along one index.

The transactions of one account are two walks merged: the posted ones along the account's entries, and the others along
the partial indexes of unposted transactions.
"""

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, Select, select, tuple_, union_all

from service_kit.database import Database
from service_kit.pages import refused
from transaction_service.adapters import statements
from transaction_service.adapters.rows import to_transaction
from transaction_service.adapters.tables import entry, transaction
from transaction_service.domain.account import INT64_MAX, Account
from transaction_service.domain.identity import account_id
from transaction_service.domain.movement import Entry, Transaction, TransactionState
from transaction_service.ports import Line, Position, TransactionFilter

_COLUMNS = [transaction.c[name.strip()] for name in statements.TRANSACTION_COLUMNS.split(",")]
_ENTRY_COLUMNS = [entry.c[name] for name in Entry._fields]
_OF_ENTRY = entry.join(transaction, transaction.c.id == entry.c.transaction_id)

LAST_ID = "ffffffff-ffff-ffff-ffff-ffffffffffff"
"""Not before any id."""

Page = tuple[list[Transaction], Position | None]


class SqlLedgerReader:
    """Fills transaction_service.ports.LedgerReader."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def transaction(self, transaction_id: str) -> Transaction | None:
        wanted = select(*_COLUMNS).where(transaction.c.id == transaction_id)

        def work(connection: Connection) -> Transaction | None:
            row = connection.execute(wanted).one_or_none()
            return None if row is None else to_transaction(row)

        return await self._database.run(work)

    async def transactions(self, wanted: TransactionFilter, after: Position | None, limit: int) -> Page:
        page = _of_account if wanted.account else _of_all
        return await self._database.run(lambda connection: page(connection, wanted, after, limit))

    async def entries(
        self, account: Account, after: Position | None, limit: int, *, newest_first: bool
    ) -> tuple[list[Line], Position | None]:
        wanted = select(*_ENTRY_COLUMNS, *_COLUMNS).select_from(_OF_ENTRY)
        wanted = wanted.where(entry.c.account_id == account.id)
        if after is not None:
            seq = _seq(after)
            wanted = wanted.where(entry.c.seq < seq if newest_first else entry.c.seq > seq)
        wanted = wanted.order_by(entry.c.seq.desc() if newest_first else entry.c.seq).limit(limit + 1)

        def work(connection: Connection) -> list[Line]:
            width = len(_ENTRY_COLUMNS)
            return [Line(Entry(*row[:width]), to_transaction(row[width:])) for row in connection.execute(wanted)]

        lines = await self._database.run(work)
        more = len(lines) > limit
        return lines[:limit], [lines[limit - 1].entry.seq] if more else None


def _of_all(connection: Connection, wanted: TransactionFilter, after: Position | None, limit: int) -> Page:
    """Along (create_time, id), or along (external_reference, create_time, id)."""
    query = _newest_first(select(*_COLUMNS).where(*_conditions(wanted)), after).limit(limit + 1)
    found = [to_transaction(row) for row in connection.execute(query)]
    return found[:limit], _place(found[limit - 1]) if len(found) > limit else None


def _of_account(connection: Connection, wanted: TransactionFilter, after: Position | None, limit: int) -> Page:
    """The position is the last seq taken of the posted walk and the last place taken of the other."""
    match after:
        case None:
            seq_before, unposted_after = INT64_MAX, None
        case [seq, unposted_after]:
            seq_before = _seq([seq])
        case _:
            raise refused()
    posted = _posted(connection, wanted, seq_before, limit)
    unposted = _unposted(connection, wanted, unposted_after, limit)
    taken: list[Transaction] = []
    while len(taken) < limit and (posted or unposted):
        if posted and (not unposted or posted[0][1].create_time >= unposted[0].create_time):
            seq_before, newest = posted.pop(0)
        else:
            newest = unposted.pop(0)
            unposted_after = _place(newest)
        taken.append(newest)
    if not (posted or unposted):
        return taken, None
    # A walk that gave nothing yet goes on from here all the same: what was written since is newer than this page.
    if seq_before == INT64_MAX:
        seq_before = posted[0][0] + 1 if posted else 0
    if unposted_after is None:
        unposted_after = [_time(taken[-1]), LAST_ID]
    return taken, [seq_before, unposted_after]


def _posted(
    connection: Connection, wanted: TransactionFilter, seq_before: int, limit: int
) -> list[tuple[int, Transaction]]:
    if wanted.state not in (None, TransactionState.POSTED):
        return []
    query = select(entry.c.seq, *_COLUMNS).select_from(_OF_ENTRY)
    query = query.where(entry.c.account_id == account_id(wanted.account), entry.c.seq < seq_before)
    query = query.where(*_conditions(wanted)).order_by(entry.c.seq.desc()).limit(limit + 1)
    return [(row[0], to_transaction(row[1:])) for row in connection.execute(query)]


def _unposted(
    connection: Connection, wanted: TransactionFilter, after: Position | None, limit: int
) -> list[Transaction]:
    if wanted.state is TransactionState.POSTED:
        return []
    unposted = transaction.c.state != TransactionState.POSTED.value
    sides = [
        _newest_first(select(*_COLUMNS).where(unposted, side == wanted.account, *_conditions(wanted)), after)
        .limit(limit + 1)
        .subquery()
        for side in (transaction.c.source, transaction.c.destination)
    ]
    both = union_all(*[select(side) for side in sides]).subquery()
    query = select(both).order_by(both.c.create_time.desc(), both.c.id.desc()).limit(limit + 1)
    return [to_transaction(row) for row in connection.execute(query)]


def _conditions(wanted: TransactionFilter) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if wanted.state is not None:
        conditions.append(transaction.c.state == wanted.state.value)
    if wanted.kind is not None:
        conditions.append(transaction.c.kind == wanted.kind.value)
    if wanted.start is not None:
        conditions.append(transaction.c.create_time >= wanted.start)
    if wanted.end is not None:
        conditions.append(transaction.c.create_time < wanted.end)
    if wanted.external_reference:
        conditions.append(transaction.c.external_reference == wanted.external_reference)
        conditions.append(transaction.c.external_reference != "")  # lets the partial index be used
    return conditions


def _newest_first(query: Select[Any], after: Position | None) -> Select[Any]:
    place = tuple_(transaction.c.create_time, transaction.c.id)
    if after is not None:
        query = query.where(place < tuple_(*_time_and_id(after)))
    return query.order_by(transaction.c.create_time.desc(), transaction.c.id.desc())


def _place(found: Transaction) -> Position:
    return [_time(found), found.movement.id]


def _time(found: Transaction) -> str:
    """In UTC, whatever the zone of the database's session."""
    return found.create_time.astimezone(UTC).isoformat()


def _seq(position: Position) -> int:
    """The place after an entry. Positions come from outside and may be anything."""
    match position:
        case [int(seq)] if not isinstance(seq, bool) and 0 <= seq <= INT64_MAX:
            return seq
    raise refused()


def _time_and_id(position: Position) -> tuple[datetime, str]:
    """The place after a transaction, as `_place` gives it."""
    match position:
        case [str(time), str(id_)]:
            with suppress(ValueError):
                parsed = datetime.fromisoformat(time)
                if parsed.utcoffset() == timedelta(0):
                    return parsed, str(UUID(id_))
    raise refused()
