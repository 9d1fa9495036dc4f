"""The records that the audit chain seals: one JSON text for each decided transaction, made by PostgreSQL of its rows.

It has every column of the transaction and of its entries: what is not in it could be changed without being found. Its
bytes are the same in every session: times are written in UTC, in the style ISO that psycopg2 sets, JSONB in
PostgreSQL's own form. What is NULL is left out. A column that is added later is to be written where it is not NULL, at
the end, so that what is sealed already keeps its record. docs/audit.md has the form.
"""

from typing import Final

PLANNING: Final = (
    "SET LOCAL enable_seqscan = off; SET LOCAL enable_nestloop = off; SET LOCAL jit = off; SET LOCAL work_mem = '64MB'"
)
"""For the transaction that makes records: statistics may be as old as one likes, or of empty tables, and a block's rows
have some 10 MB, which are to stay in memory."""

# The pieces are put together, not made of rows by row_to_json: that takes a microsecond more for a transfer. Numbers,
# ids and times need no quoting.
_ENTRY: Final = """concat('{"account_id":"', account_id, '","seq":', seq, ',"amount":', amount, ',"balance":', balance,
        ',"post_time":"', post_time AT TIME ZONE 'UTC', '"}')"""

_RECORD: Final = """concat('{"id":"', id, '","kind":', kind, ',"state":', state, ',"source":', to_json(source),
        ',"destination":', to_json(destination), ',"amount":', amount, ',"currency":', to_json(currency),
        ',"description":', to_json(description), ',"external_reference":', to_json(external_reference),
        ',"labels":', labels, ',"principal":', to_json(principal), ',"request_id":', to_json(request_id),
        ',"trace_id":', to_json(trace_id), ',"fingerprint":"', fingerprint, '"',
        ',"failure_reason":' || to_json(failure_reason)::text, ',"failure_metadata":' || failure_metadata::text,
        ',"create_time":"', create_time AT TIME ZONE 'UTC', '","decide_time":"', decide_time AT TIME ZONE 'UTC',
        '","xid":', xid, ',"terms":' || terms::text, ',"hold":"' || hold || '"', ',"reverses":"' || reverses || '"',
        ',"entries":[', entries, ']}')"""

# Of the CTE `decided`, which has rows of transactions.transaction, the CTE `record`: their xid, id and record.
#
# An entry has the time of its transaction, so the entries are found by time, through entry_post_time_idx, and there is
# no index by transaction on the table that grows most. Gaps of more than a minute are left out, up to seven: one
# transaction with a far time, of a clock that was wrong or of somebody who changed it, must not make this read years.
OF_DECIDED: Final = f"""
moment AS (SELECT DISTINCT decide_time AS time FROM decided),
gap AS (
    SELECT time AS last, next AS first
    FROM (SELECT time, lead(time) OVER (ORDER BY time) AS next FROM moment) AS pair
    WHERE next - time > interval '1 minute' ORDER BY next - time DESC LIMIT 7
),
beginning AS (SELECT min(time) AS first FROM moment UNION ALL SELECT first FROM gap),
ending AS (SELECT max(time) AS last FROM moment UNION ALL SELECT last FROM gap),
stretch AS MATERIALIZED (
    SELECT first, (SELECT min(last) FROM ending WHERE last >= first) AS last FROM beginning
),
moved AS (
    SELECT transaction_id, account_id, seq, amount, balance, post_time
    FROM stretch, LATERAL (SELECT * FROM transactions.entry WHERE post_time BETWEEN first AND last OFFSET 0) AS entry
),
joined AS (
    SELECT transaction_id, string_agg({_ENTRY}, ',' ORDER BY account_id, seq) AS entries
    FROM moved GROUP BY transaction_id
),
record AS (
    SELECT xid, id, {_RECORD} AS record
    FROM decided LEFT JOIN joined ON joined.transaction_id = decided.id
)"""  # noqa: S608 - our own words
