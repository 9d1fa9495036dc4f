"""The ledger reader on PostgreSQL. Every query is a walk along one index, of a bounded number of rows.

What has no entries (failed, pending, holds) is found through `listing`, and so are labels; see docs/adr/0014.
"""

from collections.abc import Collection, Sequence
from datetime import datetime
from functools import partial
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Select, select

from service_kit.database import Database
from service_kit.pages import refused
from transaction_service.adapters import columns
from transaction_service.adapters.conditions import any_of, names, seen_by, shows
from transaction_service.adapters.history import balance_at, period, seq_before
from transaction_service.adapters.rows import to_transaction
from transaction_service.adapters.tables import entry, listing, transaction
from transaction_service.adapters.walk import Page, Walk, page
from transaction_service.adapters.walks import EntryWalk, SingleWalk, TimeWalk, seq_of
from transaction_service.domain.account import Account
from transaction_service.domain.identity import account_id, label_id
from transaction_service.domain.movement import (
    WITHOUT_ENTRIES,
    Entry,
    Transaction,
    TransactionKind,
    TransactionState,
    accounts_of,
)
from transaction_service.ports import EntryFilter, Line, PastBalance, Period, Position, TransactionFilter

LISTED_THOUGH_POSTED: Final = WITHOUT_ENTRIES | {TransactionKind.REVERSAL}
"""Of a reversal those are listed whom it names and gives nothing: when only a fee was left to go back."""


class SqlLedgerReader:
    """Fills transaction_service.ports.LedgerReader."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def transaction(self, transaction_id: str, bound_to: str = "") -> Transaction | None:
        wanted = select(*columns.TRANSACTION).where(transaction.c.id == transaction_id)

        def one(connection: Connection, query: Select[Any]) -> Transaction | None:
            row = connection.execute(query).one_or_none()
            return None if row is None else to_transaction(row)

        def work(connection: Connection) -> Transaction | None:
            found = one(connection, wanted)
            if found is None or not bound_to:
                return found
            # The ids of the accounts that it names come of their names; which these are never changes.
            movement = found.movement
            return one(connection, wanted.where(seen_by(bound_to, movement.source, accounts_of(movement))))

        return await self._database.run(work)

    async def known(self, ids: Collection[str]) -> set[str]:
        wanted = select(transaction.c.id).where(any_of(transaction.c.id, ids))
        return await self._database.run(lambda connection: set(connection.execute(wanted).scalars()))

    async def transactions(
        self, wanted: TransactionFilter, after: Position | None, limit: int
    ) -> tuple[list[Transaction], Position | None]:
        walks, conditions = walks_of(wanted), conditions_of(wanted)

        def work(connection: Connection) -> Page[Transaction]:
            return page(connection, walks, after, limit, partial(find, connection, conditions))

        return await self._database.run_on_snapshot(work)

    async def entries(
        self, account: Account, wanted: EntryFilter, after: Position | None, limit: int
    ) -> tuple[list[Line], Position | None]:
        seq, query = entry.c.seq, _lines_of(account)
        if wanted.start is not None:
            query = query.where(seq > seq_before(account.id, wanted.start))
        if wanted.end is not None:
            query = query.where(seq <= seq_before(account.id, wanted.end))
        if after is not None:
            last = _only_seq(after)
            query = query.where(seq < last if wanted.newest_first else seq > last)
        query = query.order_by(seq.desc() if wanted.newest_first else seq).limit(limit + 1)

        lines = await self._database.run(partial(_read, query))
        more = len(lines) > limit
        return lines[:limit], [lines[limit - 1].entry.seq] if more else None

    async def balance_at(self, account: Account, time: datetime) -> PastBalance | None:
        return await self._database.run(lambda connection: balance_at(connection, account.id, time))

    async def period(self, account: Account, start: datetime | None, end: datetime | None) -> Period | None:
        return await self._database.run(lambda connection: period(connection, account.id, start, end))

    async def lines(self, account: Account, after: int, until: int) -> list[Line]:
        query = _lines_of(account).where(entry.c.seq > after, entry.c.seq <= until).order_by(entry.c.seq)
        query = query.limit(until - after)  # there are no more; without it the planner hashes all transactions
        return await self._database.run(partial(_read, query))


def _lines_of(account: Account) -> Select[Any]:
    query = select(*columns.ENTRY, *columns.TRANSACTION).where(entry.c.account_id == account.id)
    return query.select_from(entry.join(transaction, transaction.c.id == entry.c.transaction_id))


def _read(lines: Select[Any], connection: Connection) -> list[Line]:
    width = len(columns.ENTRY)
    return [Line(Entry(*row[:width]), to_transaction(row[width:])) for row in connection.execute(lines)]


def _only_seq(after: Position) -> int:
    match after:
        case [value]:
            return seq_of(value)
    raise refused()


def walks_of(wanted: TransactionFilter) -> list[Walk]:
    """Along the index that leads to the fewest: by id, by reference, by account, by label, or by time alone."""
    start, end = wanted.start, wanted.end
    time, id_ = transaction.c.decide_time, transaction.c.id
    if wanted.id:
        return [SingleWalk(wanted.id, start, end)]
    if wanted.external_reference:
        reference = transaction.c.external_reference
        return [TimeWalk((reference, wanted.external_reference), time, id_, reference != "", start=start, end=end)]
    if wanted.account:
        return _walks_of_account(wanted)
    if wanted.label is not None:
        return [_listed(label_id(*wanted.label), start, end)]
    return [TimeWalk(None, time, id_, start=start, end=end)]


def _walks_of_account(wanted: TransactionFilter) -> list[Walk]:
    """The two kinds of places where an account's transactions are, without one where none of the wanted can be."""
    account = account_id(wanted.account)
    posted = wanted.state in (None, TransactionState.POSTED)
    walks: list[Walk] = []
    if posted and wanted.kind not in WITHOUT_ENTRIES:
        walks.append(EntryWalk(account, wanted.start, wanted.end))
    if wanted.state is not TransactionState.POSTED or wanted.kind in (None, *LISTED_THOUGH_POSTED):
        walks.append(_listed(account, wanted.start, wanted.end))
    return walks


def _listed(key: str, start: datetime | None, end: datetime | None) -> TimeWalk:
    return TimeWalk((listing.c.key, key), listing.c.decide_time, listing.c.transaction_id, start=start, end=end)


def conditions_of(wanted: TransactionFilter) -> list[ColumnElement[bool]]:
    """What the walks do not see to."""
    conditions: list[ColumnElement[bool]] = []
    if wanted.state is not None:
        conditions.append(transaction.c.state == wanted.state.value)
    if wanted.kind is not None:
        conditions.append(transaction.c.kind == wanted.kind.value)
    if wanted.principal:
        conditions.append(transaction.c.principal == wanted.principal)
    if wanted.trace_id:
        conditions.append(transaction.c.trace_id == wanted.trace_id)
    if wanted.account and (wanted.external_reference or wanted.id):
        conditions.append(names(wanted.account))
    if wanted.shown_to:
        conditions.append(shows(wanted.account, wanted.shown_to))
    if wanted.label is not None:
        key, value = wanted.label
        conditions.append(transaction.c.labels.contains({key: value}))
    return conditions


def find(
    connection: Connection, conditions: Sequence[ColumnElement[bool]], ids: Sequence[str]
) -> dict[str, Transaction]:
    query = select(*columns.TRANSACTION).where(any_of(transaction.c.id, ids), *conditions)
    return {row[0]: to_transaction(row) for row in connection.execute(query)}
