"""What was attempted and what it did to balances, on PostgreSQL.

The entries of a page are found by account and time, by halving as in history.py: an index of entries by transaction
would cost every posting, and only auditors would use it.
"""

from collections import defaultdict
from collections.abc import Collection, Sequence
from functools import partial
from itertools import starmap
from typing import Final

from sqlalchemy import Connection, select, text

from service_kit.database import Database
from transaction_service.adapters import columns
from transaction_service.adapters.conditions import any_of
from transaction_service.adapters.reader import conditions_of, find, walks_of
from transaction_service.adapters.tables import account
from transaction_service.adapters.walk import Page, page
from transaction_service.domain.identity import account_id
from transaction_service.domain.movement import Entry, Transaction, accounts_of
from transaction_service.ports import AccountChange, AuditRecord, Position, TransactionFilter

# For each account and time: the numbers of the last entry before that time and of the last one at it, in some twenty
# steps down the primary key for a million entries; then those in between, of which a group of postings has made many
# at one time. All entries of a transaction have its decide time. The LIMITs change nothing: without them the planner
# hashes all entries at every step.
CHANGES: Final = text("""
WITH RECURSIVE search (account_id, at, inclusive, low, high) AS (
    SELECT account_id, at, inclusive, CAST(0 AS bigint),
        (SELECT coalesce(max(seq), 0) FROM transactions.entry WHERE entry.account_id = wanted.account_id)
    FROM unnest(CAST(:accounts AS uuid[]), CAST(:times AS timestamptz[])) AS wanted (account_id, at)
        CROSS JOIN (VALUES (false), (true)) AS bound (inclusive)
    UNION ALL
    SELECT account_id, at, inclusive,
        CASE WHEN early THEN seq ELSE low END, CASE WHEN early THEN high ELSE seq - 1 END
    FROM search CROSS JOIN LATERAL (
        SELECT seq, post_time < at OR (inclusive AND post_time = at) AS early
        FROM transactions.entry WHERE entry.account_id = search.account_id AND seq = (low + high + 1) / 2 LIMIT 1
    ) AS middle
    WHERE low < high
), stretch AS (
    SELECT account_id, min(low) AS before, max(low) AS last FROM search WHERE low = high GROUP BY account_id, at
)
SELECT made.account_id, made.seq, made.transaction_id, made.amount, made.balance, made.post_time
FROM stretch CROSS JOIN LATERAL (
    SELECT * FROM transactions.entry
    WHERE entry.account_id = stretch.account_id AND seq > before AND seq <= last ORDER BY seq LIMIT last - before
) AS made
WHERE made.transaction_id = ANY(CAST(:ids AS uuid[]))
""").columns(*columns.ENTRY)


class SqlAuditRecords:
    """Fills transaction_service.ports.AuditRecords."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def page(
        self, wanted: TransactionFilter, after: Position | None, limit: int
    ) -> tuple[list[AuditRecord], Position | None]:
        walks, conditions = walks_of(wanted), conditions_of(wanted)

        def work(connection: Connection) -> Page[AuditRecord]:
            found, end = page(connection, walks, after, limit, partial(find, connection, conditions))
            changes = _changes(connection, [transaction for transaction in found if transaction.has_entries])
            return [AuditRecord(transaction, changes[transaction.movement.id]) for transaction in found], end

        return await self._database.run_on_snapshot(work)


def _changes(connection: Connection, transactions: Sequence[Transaction]) -> dict[str, list[AccountChange]]:
    """By transaction, in the order of the accounts' names."""
    changes: dict[str, list[AccountChange]] = defaultdict(list)
    if not transactions:
        return changes
    places = {(account_id(name), t.decide_time) for t in transactions for name in accounts_of(t.movement)}
    accounts = _named(connection, {id_ for id_, _ in places})
    values = {
        "accounts": [id_ for id_, _ in places],
        "times": [time for _, time in places],
        "ids": [transaction.movement.id for transaction in transactions],
    }
    for entry in starmap(Entry, connection.execute(CHANGES, values)):
        changes[entry.transaction_id].append(AccountChange(*accounts[entry.account_id], entry))
    for of_one in changes.values():
        of_one.sort(key=lambda change: (change.account, change.entry.seq))
    return changes


def _named(connection: Connection, ids: Collection[str]) -> dict[str, tuple[str, str]]:
    """Name and currency of those that exist."""
    found = select(account.c.id, account.c.name, account.c.currency).where(any_of(account.c.id, ids))
    return {id_: (name, currency) for id_, name, currency in connection.execute(found)}
