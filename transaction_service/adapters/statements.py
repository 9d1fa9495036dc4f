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
    "request_id, trace_id, fingerprint, failure_reason, failure_metadata, create_time, decide_time, terms, hold, "
    "reverses"
)

HOLD_COLUMNS: Final = (
    "id, state, source, destination, amount, captured, released, currency, expire_time, create_time, description, "
    "external_reference, labels"
)

SESSION: Final = """
SET search_path = pg_catalog;
SET timezone = 'UTC';
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

# The stored transactions that answer repeated requests, and those that are to be reversed. Index: primary key.
KNOWN: Final = f"""
PREPARE posting_known(uuid[]) AS SELECT {TRANSACTION_COLUMNS} FROM transactions.transaction WHERE id = ANY($1)
"""  # noqa: S608 - as above

# What is still to be posted, locked until it is: of several workers that took the same task one posts it. After the
# accounts' locks, in the order of the ids. Index: primary key.
PENDING: Final = """
PREPARE posting_pending(uuid[]) AS SELECT id FROM transactions.pending WHERE id = ANY($1) ORDER BY id FOR UPDATE
"""

# A statement of its own after the accounts' locks, so that it sees what the last holder of the lock has written. Holds
# change only under the lock of their source's account. Index: primary key.
HOLDS: Final = f"""
PREPARE posting_holds(uuid[]) AS SELECT {HOLD_COLUMNS} FROM transactions.hold WHERE id = ANY($1)
"""  # noqa: S608 - as above

# As HOLDS: a transaction is reversed only under the locks of its accounts. Index: transaction_reverses_idx.
REVERSED: Final = """
PREPARE posting_reversed(uuid[]) AS
SELECT reverses, count(*), sum(amount)::bigint, bool_or(terms IS NOT NULL) FROM transactions.transaction
WHERE reverses = ANY($1) AND reverses IS NOT NULL AND state = 1 GROUP BY reverses
"""

# In the order of the ids, so that two groups that race for the same new keys wait in one direction only.
INSERT_TRANSACTIONS: Final = """
PREPARE posting_transactions(uuid[], smallint[], text[], text[], bigint[], text[], text[], text[], text[], text[],
    text[], uuid[], timestamptz, smallint[], jsonb[], text[], jsonb[], jsonb[], uuid[], uuid[]) AS
INSERT INTO transactions.transaction (id, kind, source, destination, amount, currency, description, external_reference,
    principal, request_id, trace_id, fingerprint, create_time, decide_time, state, labels, failure_reason,
    failure_metadata, terms, hold, reverses)
SELECT id, kind, source, destination, amount, currency, description, external_reference, principal, request_id,
    trace_id, fingerprint, $13, $13, state, labels, failure_reason, failure_metadata, terms, hold, reverses
FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $14, $15, $16, $17, $18, $19, $20) AS new(id, kind,
    source, destination, amount, currency, description, external_reference, principal, request_id, trace_id,
    fingerprint, state, labels, failure_reason, failure_metadata, terms, hold, reverses)
"""

# As INSERT_TRANSACTIONS, for the usual ones: POSTED, without labels, terms, hold and reversal. Without eight arrays
# that say the same for all, PostgreSQL takes a tenth less for a transfer.
INSERT_USUAL_TRANSACTIONS: Final = """
PREPARE posting_usual_transactions(uuid[], smallint[], text[], text[], bigint[], text[], text[], text[], text[], text[],
    text[], uuid[], timestamptz) AS
INSERT INTO transactions.transaction (id, kind, state, source, destination, amount, currency, description,
    external_reference, labels, principal, request_id, trace_id, fingerprint, create_time, decide_time)
SELECT id, kind, 1, source, destination, amount, currency, description, external_reference, '{}', principal, request_id,
    trace_id, fingerprint, $13, $13
FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) AS new(id, kind, source, destination, amount, currency,
    description, external_reference, principal, request_id, trace_id, fingerprint)
"""

# What was PENDING. Its row in `pending` is locked by this very transaction. Index: primary key.
UPDATE_TRANSACTIONS: Final = """
PREPARE posting_settled(uuid[], smallint[], text[], jsonb[], timestamptz) AS
UPDATE transactions.transaction SET state = new.state, failure_reason = new.reason, failure_metadata = new.metadata,
    decide_time = $5, xid = pg_current_xact_id()::text::bigint
FROM unnest($1, $2, $3, $4) AS new(id, state, reason, metadata) WHERE transaction.id = new.id AND transaction.state = 3
"""

INSERT_PENDING: Final = """
PREPARE posting_pend(uuid[], timestamptz[]) AS
INSERT INTO transactions.pending (id, execute_time) SELECT id, execute_time FROM unnest($1, $2) AS new(id, execute_time)
"""

# The rows are locked by this very transaction. Index: primary key.
DELETE_PENDING: Final = """
PREPARE posting_unpend(uuid[]) AS DELETE FROM transactions.pending WHERE id = ANY($1)
"""

INSERT_LISTING: Final = """
PREPARE posting_list(uuid[], uuid[], timestamptz) AS
INSERT INTO transactions.listing (key, decide_time, transaction_id)
SELECT key, $3, transaction_id FROM unnest($1, $2) AS new(key, transaction_id)
"""

# Of what was PENDING, which is listed under its create time. Index: primary key.
DELETE_LISTING: Final = """
PREPARE posting_unlist(uuid[], timestamptz[], uuid[]) AS
DELETE FROM transactions.listing USING unnest($1, $2, $3) AS old(key, time, id)
WHERE listing.key = old.key AND listing.decide_time = old.time AND listing.transaction_id = old.id
"""

INSERT_HOLDS: Final = f"""
PREPARE posting_place(uuid[], smallint[], text[], text[], bigint[], bigint[], bigint[], text[], timestamptz[],
    timestamptz[], text[], text[], jsonb[]) AS
INSERT INTO transactions.hold ({HOLD_COLUMNS}) SELECT * FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12,
    $13)
"""  # noqa: S608 - as above

# Guarded by the locks of their sources' accounts. Index: primary key.
UPDATE_HOLDS: Final = """
PREPARE posting_change_holds(uuid[], smallint[], bigint[], bigint[]) AS
UPDATE transactions.hold SET state = new.state, captured = new.captured, released = new.released
FROM unnest($1, $2, $3, $4) AS new(id, state, captured, released) WHERE hold.id = new.id
"""

# The outbox: what is to be paid out, due at once, in the commit of its withdrawal.
INSERT_PAYOUTS: Final = """
PREPARE posting_payouts(uuid[], text[], text[], text[], text[], text[], bigint[], text[], timestamptz) AS
INSERT INTO transactions.payout (id, state, wallet, provider, account, beneficiary, reference, amount, currency,
    attempts, failures, taken, next_time, provider_reference, last_error, reversal_attempts, deaths, create_time,
    update_time)
SELECT id, 1, wallet, provider, account, beneficiary, reference, amount, currency, 0, 0, false, $9, '', '', 0, 0, $9, $9
FROM unnest($1, $2, $3, $4, $5, $6, $7, $8) AS new(id, wallet, provider, account, beneficiary, reference, amount,
    currency)
"""

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

# As UPDATE_ACCOUNTS, for a group that changes what is held. One statement, because neither a balance nor what is held
# may change alone where they change together: the row's CHECK looks at both. Without an entry the time stays.
UPDATE_HELD_ACCOUNTS: Final = """
PREPARE posting_held_accounts(uuid[], bigint[], bigint[], timestamptz, bigint[]) AS
UPDATE transactions.account SET balance = new.balance, version = new.version, held = new.held,
    last_post_time = CASE WHEN account.version = new.version THEN account.last_post_time ELSE $4 END
FROM unnest($1, $2, $3, $5) AS new(id, balance, version, held) WHERE account.id = new.id
"""

# As UPDATE_ACCOUNTS, for the few accounts that have limits.
UPDATE_USAGE: Final = """
PREPARE posting_usage(uuid[], integer[], bigint[], integer[], bigint[]) AS
UPDATE transactions.account SET used_day = new.day, used_day_amount = new.day_amount, used_hour = new.hour,
    used_hour_count = new.hour_count
FROM unnest($1, $2, $3, $4, $5) AS new(id, day, day_amount, hour, hour_count) WHERE account.id = new.id
"""

# Which of these accounts another session holds: those that are there and are not found. Index: primary key.
FREE: Final = "SELECT name FROM transactions.account WHERE id = ANY(%s::uuid[]) FOR UPDATE SKIP LOCKED"
THERE: Final = "SELECT name FROM transactions.account WHERE id = ANY(%s::uuid[])"

PREPARED: Final = (
    SESSION,
    LOCK,
    KNOWN,
    PENDING,
    HOLDS,
    REVERSED,
    INSERT_TRANSACTIONS,
    INSERT_USUAL_TRANSACTIONS,
    UPDATE_TRANSACTIONS,
    INSERT_PENDING,
    DELETE_PENDING,
    INSERT_LISTING,
    DELETE_LISTING,
    INSERT_HOLDS,
    UPDATE_HOLDS,
    INSERT_PAYOUTS,
    INSERT_ENTRIES,
    UPDATE_ACCOUNTS,
    UPDATE_HELD_ACCOUNTS,
    UPDATE_USAGE,
)

OPEN_SYSTEM_ACCOUNT: Final = f"""
INSERT INTO transactions.account ({ACCOUNT_COLUMNS})
VALUES (%s, %s, %s, %s, %s, %s, 0, 0, NULL, 0, 0, 0, 0, 0, 'UTC', 0, 0, 0, 0) ON CONFLICT (id) DO NOTHING
"""  # noqa: S608 - as above

BEGIN_LOCK: Final = "BEGIN; EXECUTE posting_lock(%s, %s)"
# What it sets ends with the transaction. A commit is never interrupted: PostgreSQL ends the time limit of a statement
# before it begins to commit.
BEGIN_LOCK_LIMITED: Final = (
    "BEGIN; SET LOCAL statement_timeout = {statement_ms}; SET LOCAL lock_timeout = {lock_ms}; "
    "EXECUTE posting_lock(%s, %s)"
)
EXECUTE_KNOWN: Final = "EXECUTE posting_known(%s)"
EXECUTE_PENDING: Final = "EXECUTE posting_pending(%s)"
EXECUTE_HOLDS: Final = "EXECUTE posting_holds(%s)"
EXECUTE_REVERSED: Final = "EXECUTE posting_reversed(%s)"


def _execute(name: str, values: int) -> str:
    return f"EXECUTE posting_{name}(" + ", ".join(["%s"] * values) + ")"


WRITE_TRANSACTIONS: Final = _execute("transactions", 20)
WRITE_USUAL_TRANSACTIONS: Final = _execute("usual_transactions", 13)
WRITE_SETTLED: Final = _execute("settled", 5)
WRITE_PENDING: Final = _execute("pend", 2)
WRITE_UNPENDING: Final = _execute("unpend", 1)
WRITE_LISTING: Final = _execute("list", 3)
WRITE_UNLISTING: Final = _execute("unlist", 3)
WRITE_HOLDS: Final = _execute("place", 13)
WRITE_CHANGED_HOLDS: Final = _execute("change_holds", 4)
WRITE_PAYOUTS: Final = _execute("payouts", 9)
WRITE_ENTRIES: Final = _execute("entries", 6)
WRITE_ACCOUNTS: Final = _execute("accounts", 4)
WRITE_HELD_ACCOUNTS: Final = _execute("held_accounts", 5)
WRITE_USAGE: Final = _execute("usage", 5)
