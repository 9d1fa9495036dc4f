"""The posting path's SQL, all of it. Each statement is prepared once per connection.

Sequential scans and joins other than by index are switched off for these connections: the tables may have been empty
when the plans were made.
"""

from typing import Final

ACCOUNT_COLUMNS: Final = (
    "id, name, owner, currency, kind, state, balance, held, floor, version, revision, limit_per_transaction, "
    "limit_per_day, limit_debits_per_hour, time_zone, used_day, used_day_amount, used_hour, used_hour_count"
)
_ACCOUNT_NULLS: Final = ", ".join("NULL" for _ in ACCOUNT_COLUMNS.split(",")[1:])

TRANSACTION_COLUMNS: Final = (
    "id, kind, state, source, destination, amount, currency, description, external_reference, labels, principal, "
    "request_id, trace_id, fingerprint, failure_reason, failure_metadata, create_time, post_time"
)

SESSION: Final = """
SET search_path = pg_catalog;
SET synchronous_commit = on;
SET enable_seqscan = off;
SET enable_hashjoin = off;
SET enable_mergejoin = off;
SET plan_cache_mode = force_generic_plan;
"""

# Locks the accounts' rows in the order of their ids, so that two groups can never wait for each other. Index: both
# primary keys. One statement, so that it is one round trip: accounts, then known transactions (id only), then the time,
# which is read after the last lock was taken and is never before the last entry of any of the accounts.
LOCK: Final = f"""
PREPARE posting_lock(uuid[], uuid[]) AS
WITH locked AS MATERIALIZED (
    SELECT {ACCOUNT_COLUMNS}, last_post_time FROM transactions.account WHERE id = ANY($1) ORDER BY id FOR UPDATE
)
SELECT {ACCOUNT_COLUMNS}, NULL::timestamptz AS now FROM locked
UNION ALL
SELECT id, {_ACCOUNT_NULLS}, NULL FROM transactions.transaction WHERE id = ANY($2)
UNION ALL
SELECT NULL, {_ACCOUNT_NULLS}, greatest(clock_timestamp(), (SELECT max(last_post_time) FROM locked))
"""  # noqa: S608 - column lists of our own

# The stored transactions that answer repeated requests. No lock: they never change. Index: primary key.
KNOWN: Final = f"""
PREPARE posting_known(uuid[]) AS SELECT {TRANSACTION_COLUMNS} FROM transactions.transaction WHERE id = ANY($1)
"""  # noqa: S608 - as above

# In the order of the ids, so that two groups that race for the same new keys wait in one direction only.
INSERT_TRANSACTIONS: Final = f"""
PREPARE posting_transactions(uuid[], smallint[], smallint[], text[], text[], bigint[], text[], text[], text[], jsonb[],
    text[], text[], text[], uuid[], text[], jsonb[], timestamptz) AS
INSERT INTO transactions.transaction ({TRANSACTION_COLUMNS})
SELECT id, kind, state, source, destination, amount, currency, description, external_reference, labels, principal,
    request_id, trace_id, fingerprint, failure_reason, failure_metadata, $17, CASE WHEN state = 1 THEN $17 END
FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16) AS new(id, kind, state, source,
    destination, amount, currency, description, external_reference, labels, principal, request_id, trace_id,
    fingerprint, failure_reason, failure_metadata)
"""  # noqa: S608 - as above

INSERT_ENTRIES: Final = """
PREPARE posting_entries(uuid[], bigint[], uuid[], bigint[], bigint[], timestamptz) AS
INSERT INTO transactions.entry (account_id, seq, transaction_id, amount, balance, post_time)
SELECT account_id, seq, transaction_id, amount, balance, $6
FROM unnest($1, $2, $3, $4, $5) AS new(account_id, seq, transaction_id, amount, balance)
"""

# The rows are locked by this very transaction. HOT: no changed column is indexed. Index: primary key.
UPDATE_ACCOUNTS: Final = """
PREPARE posting_accounts(uuid[], bigint[], bigint[], timestamptz) AS
UPDATE transactions.account SET balance = new.balance, version = new.version, last_post_time = $4
FROM unnest($1, $2, $3) AS new(id, balance, version) WHERE account.id = new.id
"""

# As UPDATE_ACCOUNTS, for the few accounts that have limits.
UPDATE_USAGE: Final = """
PREPARE posting_usage(uuid[], integer[], bigint[], integer[], bigint[]) AS
UPDATE transactions.account SET used_day = new.day, used_day_amount = new.day_amount, used_hour = new.hour,
    used_hour_count = new.hour_count
FROM unnest($1, $2, $3, $4, $5) AS new(id, day, day_amount, hour, hour_count) WHERE account.id = new.id
"""

PREPARED: Final = (
    SESSION,
    LOCK,
    KNOWN,
    INSERT_TRANSACTIONS,
    INSERT_ENTRIES,
    UPDATE_ACCOUNTS,
    UPDATE_USAGE,
)

OPEN_SYSTEM_ACCOUNT: Final = f"""
INSERT INTO transactions.account ({ACCOUNT_COLUMNS})
VALUES (%s, %s, %s, %s, %s, %s, 0, 0, NULL, 0, 0, 0, 0, 0, 'UTC', 0, 0, 0, 0) ON CONFLICT (id) DO NOTHING
"""  # noqa: S608 - as above

BEGIN_LOCK: Final = "BEGIN; EXECUTE posting_lock(%s, %s)"
BEGIN_LOCK_IMPATIENT: Final = "BEGIN; SET LOCAL lock_timeout = {milliseconds}; EXECUTE posting_lock(%s, %s)"
EXECUTE_KNOWN: Final = "EXECUTE posting_known(%s)"
WRITE_TRANSACTIONS: Final = "EXECUTE posting_transactions(" + ", ".join(["%s"] * 17) + ")"
WRITE_ENTRIES: Final = "EXECUTE posting_entries(%s, %s, %s, %s, %s, %s)"
WRITE_ACCOUNTS: Final = "EXECUTE posting_accounts(%s, %s, %s, %s)"
WRITE_USAGE: Final = "EXECUTE posting_usage(%s, %s, %s, %s, %s)"
