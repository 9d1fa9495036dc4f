"""What was attempted and what it did to balances, on PostgreSQL.

The entries of a page are found by account and time, by halving as in history.py: an index of entries by transaction
would cost every posting, and only auditors would use it.
"""

from collections import defaultdict
from collections.abc import Sequence
from functools import partial
from typing import Final

from sqlalchemy import Connection, text

from service_kit.database import Database
from transaction_service.adapters.reader import conditions_of, find, walks_of
from transaction_service.adapters.walk import Page, page
from transaction_service.domain.identity import account_id
from transaction_service.domain.movement import Entry, Transaction, accounts_of
from transaction_service.ports import AccountChange, AuditRecord, Position, TransactionFilter

# For each account and time: the numbers of the last entry before that time and of the last one at it, in some twenty
# steps down the primary key for a million entries; then those in between, of which a group of postings has made many
# at one time. All entries of a transaction have its decide time.
CHANGES: Final = text("""
WITH RECURSIVE search (account_id, at, inclusive, low, high) AS (
    SELECT account.id, wanted.at, bound.inclusive, CAST(0 AS bigint), account.version
    FROM unnest(CAST(:accounts AS uuid[]), CAST(:times AS timestamptz[])) AS wanted (account_id, at)
        JOIN transactions.account ON account.id = wanted.account_id
        CROSS JOIN (VALUES (false), (true)) AS bound (inclusive)
    UNION ALL
    SELECT account_id, at, inclusive,
        CASE WHEN early THEN seq ELSE low END, CASE WHEN early THEN high ELSE seq - 1 END
    FROM search CROSS JOIN LATERAL (
        SELECT seq, post_time < at OR (inclusive AND post_time = at) AS early
        FROM transactions.entry WHERE entry.account_id = search.account_id AND seq = (low + high + 1) / 2
    ) AS middle
    WHERE low < high
), stretch AS (
    SELECT account_id, min(low) AS before, max(low) AS last FROM search WHERE low = high GROUP BY account_id, at
)
SELECT account.name, account.currency,
    made.account_id, made.seq, made.transaction_id, made.amount, made.balance, made.post_time
FROM stretch JOIN transactions.account ON account.id = stretch.account_id CROSS JOIN LATERAL (
    SELECT * FROM transactions.entry
    WHERE entry.account_id = stretch.account_id AND seq > before AND seq <= last ORDER BY seq LIMIT last - before
) AS made
WHERE made.transaction_id = ANY(CAST(:ids AS uuid[]))
ORDER BY account.name, made.seq
""")


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
    """By transaction."""
    changes: dict[str, list[AccountChange]] = defaultdict(list)
    if not transactions:
        return changes
    places = {(account_id(name), t.decide_time) for t in transactions for name in accounts_of(t.movement)}
    values = {
        "accounts": [account for account, _ in places],
        "times": [time for _, time in places],
        "ids": [transaction.movement.id for transaction in transactions],
    }
    for name, currency, *entry in connection.execute(CHANGES, values):
        change = AccountChange(name, currency, Entry(*entry))
        changes[change.entry.transaction_id].append(change)
    return changes
