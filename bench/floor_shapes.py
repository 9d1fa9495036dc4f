"""The tables that the floors write to, in schema `floor`, and the set-based floor's statements for them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

import psycopg2
from psycopg2.extras import execute_values

from bench.wallets import ACTIVE, FUNDS, wallet

FILLFACTOR: Final = 50
"""As the ledger's accounts."""

NARROW_TABLES: Final = f"""
CREATE TABLE floor.account (id bigint PRIMARY KEY, balance bigint NOT NULL, version bigint NOT NULL)
    WITH (fillfactor = {FILLFACTOR});
CREATE TABLE floor.transaction (id uuid PRIMARY KEY, source bigint, destination bigint, amount bigint,
    create_time timestamptz NOT NULL);
CREATE TABLE floor.entry (account_id bigint, seq bigint, transaction_id uuid, amount bigint, balance bigint,
    post_time timestamptz NOT NULL, PRIMARY KEY (account_id, seq));
"""
LEDGER_TABLES: Final = f"""
CREATE TABLE floor.ledger_account (LIKE transactions.account INCLUDING ALL) WITH (fillfactor = {FILLFACTOR});
CREATE TABLE floor.ledger_transaction (LIKE transactions.transaction INCLUDING ALL);
CREATE TABLE floor.ledger_entry (LIKE transactions.entry INCLUDING ALL);
"""

# Plans are made while the tables are empty; see docs/adr/0005.
_SESSION: Final = """
SET enable_seqscan = off;
SET enable_hashjoin = off;
SET enable_mergejoin = off;
SET plan_cache_mode = force_generic_plan;
"""
_NARROW: Final = """
PREPARE lock(bigint[]) AS
    SELECT id, balance, version FROM floor.account WHERE id = ANY($1) ORDER BY id FOR UPDATE;
PREPARE transactions(uuid[], bigint[], bigint[]) AS
    INSERT INTO floor.transaction SELECT id, source, destination, 1, now()
    FROM unnest($1, $2, $3) AS new(id, source, destination);
PREPARE entries(bigint[], bigint[], uuid[], bigint[], bigint[]) AS
    INSERT INTO floor.entry SELECT account_id, seq, transaction_id, amount, balance, now()
    FROM unnest($1, $2, $3, $4, $5) AS new(account_id, seq, transaction_id, amount, balance);
PREPARE accounts(bigint[], bigint[], bigint[]) AS
    UPDATE floor.account SET balance = new.balance, version = new.version
    FROM unnest($1, $2, $3) AS new(id, balance, version) WHERE account.id = new.id;
"""
_LEDGER: Final = """
PREPARE lock(uuid[]) AS
    SELECT id, balance, version FROM floor.ledger_account WHERE id = ANY($1) ORDER BY id FOR UPDATE;
PREPARE transactions(uuid[], text[], text[]) AS
    INSERT INTO floor.ledger_transaction (id, kind, state, source, destination, amount, currency, description,
        external_reference, labels, principal, request_id, trace_id, fingerprint, create_time, decide_time)
    SELECT id, 1, 1, source, destination, 1, 'USD', '', '', '{}', 'bench', id::text, '', id, now(), now()
    FROM unnest($1, $2, $3) AS new(id, source, destination);
PREPARE entries(uuid[], bigint[], uuid[], bigint[], bigint[]) AS
    INSERT INTO floor.ledger_entry SELECT account_id, seq, transaction_id, amount, balance, now()
    FROM unnest($1, $2, $3, $4, $5) AS new(account_id, seq, transaction_id, amount, balance);
PREPARE accounts(uuid[], bigint[], bigint[]) AS
    UPDATE floor.ledger_account SET balance = new.balance, version = new.version, last_post_time = now()
    FROM unnest($1, $2, $3) AS new(id, balance, version) WHERE ledger_account.id = new.id;
"""


@dataclass(frozen=True)
class Shape:
    keys: Sequence[Any]
    """The accounts' ids, as the driver reads them."""
    names: dict[Any, str] | None
    """What transactions call them by, if not by their ids."""
    prepare: str

    def named(self, keys: Iterable[Any]) -> Iterable[Any]:
        return keys if self.names is None else map(self.names.__getitem__, keys)


# 0 is the hot account of bench.floor.
_NUMBERS: Final = range(1, ACTIVE + 1)
_IDS: Final = [str(UUID(int=number << 64)) for number in _NUMBERS]
SHAPES: Final = {
    "narrow": Shape(_NUMBERS, None, _SESSION + _NARROW),
    "ledger": Shape(_IDS, dict(zip(_IDS, map(wallet, _NUMBERS), strict=True)), _SESSION + _LEDGER),
}


def prepare(dsn: str) -> None:
    """Makes the tables anew, with accounts that have funds. The ledger's own must be there, to be copied."""
    connection = psycopg2.connect(dsn)
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute("DROP SCHEMA IF EXISTS floor CASCADE; CREATE SCHEMA floor")
            cursor.execute(NARROW_TABLES + LEDGER_TABLES)
            cursor.execute(
                "INSERT INTO floor.account SELECT id, %s, 0 FROM generate_series(0, %s) AS id", (FUNDS, ACTIVE)
            )
            execute_values(
                cursor,
                "INSERT INTO floor.ledger_account (id, name, owner, currency, kind, state, balance, held, floor,"
                " version, revision, limit_per_transaction, limit_per_day, limit_debits_per_hour, time_zone, used_day,"
                " used_day_amount, used_hour, used_hour_count) VALUES %s",
                [
                    (id_, name, "bench", "USD", 1, 1, FUNDS, 0, 0, 0, 1, 0, 0, 0, "UTC", 0, 0, 0, 0)
                    for id_, name in (SHAPES["ledger"].names or {}).items()
                ],
            )
            cursor.execute("ANALYZE floor.account; ANALYZE floor.ledger_account")
    finally:
        connection.close()
