"""An independent auditor of the ledger in PostgreSQL: plain SQL as the owner, none of the service's code."""

from collections.abc import Mapping
from typing import Final

import psycopg2
import psycopg2.extensions
from psycopg2.extras import execute_values

# Each finds the rows that break one rule of the ledger, with the words to tell them by.
RULES: Final[Mapping[str, str]] = {
    "every currency sums to 0 over its balances": """
        SELECT currency, sum(balance) FROM transactions.account GROUP BY currency HAVING sum(balance) <> 0""",
    "every currency sums to 0 over its entries": """
        SELECT a.currency, sum(e.amount) FROM transactions.entry e JOIN transactions.account a ON a.id = e.account_id
        GROUP BY a.currency HAVING sum(e.amount) <> 0""",
    "the entries of a transaction sum to 0": """
        SELECT transaction_id, sum(amount) FROM transactions.entry GROUP BY transaction_id HAVING sum(amount) <> 0""",
    "a POSTED transaction has exactly two entries, a FAILED one none": """
        SELECT t.id, t.state, count(e.seq) FROM transactions.transaction t
        LEFT JOIN transactions.entry e ON e.transaction_id = t.id
        GROUP BY t.id, t.state HAVING count(e.seq) <> CASE t.state WHEN 1 THEN 2 ELSE 0 END""",
    "an entry belongs to a transaction and to an account": """
        SELECT e.account_id, e.seq FROM transactions.entry e LEFT JOIN transactions.account a ON a.id = e.account_id
        LEFT JOIN transactions.transaction t ON t.id = e.transaction_id WHERE a.id IS NULL OR t.id IS NULL""",
    "an entry is one side of its transaction: its account, amount, currency and time": """
        SELECT a.name, e.seq, e.amount FROM transactions.entry e JOIN transactions.account a ON a.id = e.account_id
        JOIN transactions.transaction t ON t.id = e.transaction_id
        WHERE e.post_time IS DISTINCT FROM t.post_time OR a.currency <> t.currency OR NOT (
            (a.name = t.source AND e.amount = -t.amount) OR (a.name = t.destination AND e.amount = t.amount))""",
    "an account's balance is the sum of its entries": """
        SELECT a.name, a.balance, coalesce(sum(e.amount), 0) FROM transactions.account a
        LEFT JOIN transactions.entry e ON e.account_id = a.id
        GROUP BY a.id, a.name, a.balance HAVING a.balance <> coalesce(sum(e.amount), 0)""",
    "an account's balance and last post time are those of its last entry": """
        SELECT a.name, a.balance, e.balance FROM transactions.account a
        LEFT JOIN transactions.entry e ON e.account_id = a.id AND e.seq = a.version
        WHERE a.balance <> coalesce(e.balance, 0) OR a.last_post_time IS DISTINCT FROM e.post_time""",
    "an account's version is the number of its entries": """
        SELECT a.name, a.version, count(e.seq) FROM transactions.account a
        LEFT JOIN transactions.entry e ON e.account_id = a.id
        GROUP BY a.id, a.name, a.version HAVING a.version <> count(e.seq)""",
    "an account's entries are numbered 1, 2, 3, ...": """
        SELECT account_id, min(seq), max(seq), count(*) FROM transactions.entry GROUP BY account_id
        HAVING min(seq) <> 1 OR max(seq) <> count(*) OR count(DISTINCT seq) <> count(*)""",
    "each entry's balance is the one before plus its amount": """
        SELECT account_id, seq, balance FROM (
            SELECT *, coalesce(lag(balance) OVER chain, 0) AS before FROM transactions.entry
            WINDOW chain AS (PARTITION BY account_id ORDER BY seq)) AS entries WHERE balance <> before + amount""",
    "post time never goes back": """
        SELECT account_id, seq, post_time FROM (
            SELECT *, lag(post_time) OVER chain AS before FROM transactions.entry
            WINDOW chain AS (PARTITION BY account_id ORDER BY seq)) AS entries WHERE post_time < before""",
    "no account is below its floor": """
        SELECT name, balance, held, floor FROM transactions.account WHERE balance - held < floor""",
    "a closed account is empty": """
        SELECT name, balance, held FROM transactions.account WHERE state = 3 AND (balance <> 0 OR held <> 0)""",
    "a POSTED transaction has a time and no failure, a FAILED one a failure and no time": """
        SELECT id, state FROM transactions.transaction
        WHERE (state = 1) <> (post_time IS NOT NULL) OR (state = 2) <> (failure_reason IS NOT NULL)""",
    "an id and a name stand for one row": """
        SELECT id::text FROM transactions.transaction GROUP BY id HAVING count(*) > 1
        UNION ALL SELECT name FROM transactions.account GROUP BY name HAVING count(*) > 1""",
}

# Where limits have never changed, no entry may ever have gone below today's floor.
ALWAYS_ABOVE_FLOOR: Final = """
    SELECT a.name, e.seq, e.balance, a.floor FROM transactions.entry e
    JOIN transactions.account a ON a.id = e.account_id WHERE e.balance < a.floor"""

ACKNOWLEDGED: Final = """
    SELECT said.id, said.outcome, coalesce(t.failure_reason, CASE t.state WHEN 1 THEN 'POSTED' END, 'missing')
    FROM acknowledged said LEFT JOIN transactions.transaction t ON t.id = said.id
    WHERE said.outcome IS DISTINCT FROM coalesce(t.failure_reason, CASE t.state WHEN 1 THEN 'POSTED' END)"""

SHOWN_MAX: Final = 5
"""Rows told of one broken rule."""


class UnsoundLedger(AssertionError):  # noqa: N818 - what it is
    """What the auditor found, a line each."""


def audit(owner_dsn: str, acknowledged: Mapping[str, str] | None = None, *, floors_never_changed: bool = False) -> None:
    """Raises UnsoundLedger. `acknowledged`: by transaction id (or name `transactions/{id}`) what callers were told:
    POSTED, or the reason of a FAILED one. Sees one moment, also while transfers run."""
    connection = psycopg2.connect(owner_dsn)
    try:
        connection.set_session(isolation_level="REPEATABLE READ")
        found = findings(connection, acknowledged, floors_never_changed=floors_never_changed)
    finally:
        connection.close()
    if found:
        raise UnsoundLedger("\n".join(found))


def findings(
    connection: psycopg2.extensions.connection,
    acknowledged: Mapping[str, str] | None = None,
    *,
    floors_never_changed: bool = False,
) -> list[str]:
    """In the connection's open transaction; one line for each broken rule."""
    rules = dict(RULES)
    if floors_never_changed:
        rules["no account was ever below its floor"] = ALWAYS_ABOVE_FLOOR
    if acknowledged:
        rules["what was acknowledged is there, with that outcome"] = ACKNOWLEDGED
    found = []
    with connection.cursor() as cursor:
        if acknowledged:
            cursor.execute("CREATE TEMPORARY TABLE acknowledged (id uuid, outcome text) ON COMMIT DROP")
            said = [(name.removeprefix("transactions/"), outcome) for name, outcome in acknowledged.items()]
            execute_values(cursor, "INSERT INTO acknowledged (id, outcome) VALUES %s", said)
        for rule, query in rules.items():
            cursor.execute(query)
            rows = cursor.fetchall()
            if rows:
                shown = "; ".join(", ".join(map(str, row)) for row in rows[:SHOWN_MAX])
                found.append(f"Broken {len(rows)} times: {rule} ({shown})")
    return found
