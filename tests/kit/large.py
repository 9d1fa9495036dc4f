"""A million transactions made by the database itself, in less than a minute, as crooked as an index can fear: one
wallet has every second of them, one label and one reference many, and what is looked for is far from where one looks
first: what is listed from the newest on is old, and the other way round.

Their amounts do not add up: this is for the plans of queries. What they read is in `bench.large`, which is sound.
"""

from datetime import UTC, datetime, timedelta
from hashlib import md5
from typing import Final
from uuid import UUID

import psycopg2
from psycopg2.extensions import cursor as Cursor  # noqa: N812 - a class with a function's name

from transaction_service.domain.identity import account_id, label_id

TRANSACTIONS: Final = 1_000_000
WALLETS: Final = 1000
HOLDS: Final = 200_000
HOT: Final = "wallets/hot"
ORDINARY: Final = "wallets/ordinary-1"
OWNER: Final = "ann"
"""Of all of them."""
REFERENCE: Final = "popular"
RARE_REFERENCE: Final = "ref-777"
LABEL: Final = ("team", "blue")
START: Final = datetime(2026, 1, 1, tzinfo=UTC)
"""Transaction n has this time and n milliseconds."""

FROZEN: Final = '{"wallet": "wallets/frozen"}'

# The commits must be of the past of any cluster: the first of its own transactions have higher numbers.
TRANSACTION_ROWS: Final = f"""
INSERT INTO transactions.transaction (id, kind, state, source, destination, amount, currency, description,
    external_reference, labels, principal, request_id, trace_id, fingerprint, failure_reason, failure_metadata,
    create_time, decide_time, xid)
SELECT md5('t' || n)::uuid, CASE WHEN n <= 10 THEN 5 ELSE 1 END, state,
    CASE n % 2 WHEN 0 THEN '{HOT}' ELSE 'wallets/ordinary-' || n % {WALLETS} END,
    'wallets/ordinary-' || (n * 7 + 1) % {WALLETS}, 1, 'USD', '',
    CASE WHEN n < {TRANSACTIONS // 2} AND n % 2 = 0 THEN '{REFERENCE}' WHEN n % 4 = 1 THEN 'ref-' || n ELSE '' END,
    CASE n % 4 WHEN 0 THEN '{{"{LABEL[0]}": "{LABEL[1]}"}}'::jsonb ELSE '{{}}' END, 'local', n::text, '',
    md5('f' || n)::uuid, CASE state WHEN 2 THEN 'SOURCE_FROZEN' END, CASE state WHEN 2 THEN '{FROZEN}'::jsonb END,
    time, time, 1 + n / 10000
FROM (
    SELECT n, CASE WHEN n % 5 = 0 THEN 2 WHEN n % 500 = 1 THEN 3 ELSE 1 END AS state,
        timestamptz '{START.isoformat()}' + n * interval '1 millisecond' AS time
    FROM generate_series(1, {TRANSACTIONS}) AS n
) AS numbered"""  # noqa: S608 - our own words

ENTRY_ROWS: Final = """
INSERT INTO transactions.entry (account_id, seq, transaction_id, amount, balance, post_time)
SELECT account.id, row_number() OVER (PARTITION BY account.id ORDER BY decide_time), t.id, side.amount, 0, decide_time
FROM transactions.transaction t, LATERAL (VALUES (t.source, -1), (t.destination, 1)) AS side(name, amount)
    JOIN transactions.account ON account.name = side.name
WHERE t.state = 1"""

LISTING_ROWS: Final = """
INSERT INTO transactions.listing (key, decide_time, transaction_id)
SELECT account.id, decide_time, t.id
FROM transactions.transaction t, LATERAL (VALUES (t.source), (t.destination)) AS side(name)
    JOIN transactions.account ON account.name = side.name
WHERE t.state <> 1
UNION ALL SELECT %s, decide_time, id FROM transactions.transaction WHERE labels <> '{}'"""

HOLD_ROWS: Final = f"""
INSERT INTO transactions.hold (id, state, source, destination, amount, captured, released, currency, expire_time,
    create_time, description, external_reference, labels)
SELECT md5('h' || n)::uuid, state, CASE n % 2 WHEN 0 THEN '{HOT}' ELSE 'wallets/ordinary-' || n % {WALLETS} END,
    'wallets/ordinary-' || (n * 7 + 1) % {WALLETS}, 2, CASE state WHEN 1 THEN 0 ELSE 1 END,
    CASE state WHEN 1 THEN 0 ELSE 1 END, 'USD', time + interval '7 days', time, '',
    CASE WHEN n > {HOLDS // 2} AND n % 2 = 0 THEN '{REFERENCE}' ELSE '' END, '{{}}'
FROM (
    SELECT n, CASE WHEN n <= 10 THEN 4 WHEN n % 3 = 0 THEN 1 ELSE 2 END AS state,
        timestamptz '{START.isoformat()}' + n * interval '1 second' AS time
    FROM generate_series(1, {HOLDS}) AS n
) AS numbered"""  # noqa: S608 - as above

PENDING_ROWS: Final = """
INSERT INTO transactions.pending (id, execute_time)
SELECT id, create_time FROM transactions.transaction WHERE state IN (2, 3)"""


INDEXES: Final = """
SELECT indexrelid::regclass::text, pg_get_indexdef(indexrelid) FROM pg_index
WHERE NOT indisunique AND indrelid IN (SELECT oid FROM pg_class WHERE relnamespace = 'transactions'::regnamespace)"""


def load(dsn: str) -> None:
    """Into empty tables of the owner with this DSN."""
    connection = psycopg2.connect(dsn)
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("SET synchronous_commit = off; SET work_mem = '256MB'; SET maintenance_work_mem = '256MB'")
            cursor.execute(INDEXES)
            indexes = cursor.fetchall()
            for name, _ in indexes:  # to make them of all rows at once takes half the time
                cursor.execute(f"DROP INDEX {name}")
            _fill(cursor)
            for _, definition in indexes:
                cursor.execute(definition)
            cursor.execute("VACUUM (ANALYZE)")
    finally:
        connection.close()


def _fill(cursor: Cursor) -> None:
    names = [HOT, *(f"wallets/ordinary-{n}" for n in range(WALLETS))]
    cursor.execute(
        "INSERT INTO transactions.account SELECT id, name, %s, 'USD', 1, 1, 0, 0, NULL, 0, 1, 0, 0, 0, 'UTC', 0, 0, 0,"
        " 0 FROM unnest(%s::uuid[], %s) AS wallet(id, name)",
        (OWNER, [account_id(name) for name in names], names),
    )
    cursor.execute(TRANSACTION_ROWS)
    cursor.execute(ENTRY_ROWS)
    cursor.execute(LISTING_ROWS, (label_id(*LABEL),))
    cursor.execute(HOLD_ROWS)
    cursor.execute(PENDING_ROWS)


def time_of(n: int) -> datetime:
    return START + timedelta(milliseconds=n)


def transaction_id(n: int) -> str:
    """Of transaction n: POSTED unless 5 divides it, which are FAILED, or it is one above a multiple of 500: PENDING."""
    return _md5(f"t{n}")


def hold_id(n: int) -> str:
    return _md5(f"h{n}")


def _md5(text: str) -> str:
    return str(UUID(md5(text.encode(), usedforsecurity=False).hexdigest()))
