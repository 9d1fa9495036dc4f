"""The statements of the integrity check. Each is one statement, so one snapshot: what a commit changes together it sees
together, however much is posted meanwhile. None locks anything but the row that keeps what the check has found.

What they find comes as rows of check, subject, detail, in JSON.
"""

from typing import Final

from sqlalchemy import text

# One statement at a time over lists whose lengths the planner cannot know: with the wrong guess a join of two of them
# takes minutes. What is looked up row by row is a subquery, and so goes along an index all the same.
PLANNER: Final = """
SET LOCAL enable_seqscan = off; SET LOCAL enable_nestloop = off; SET LOCAL enable_mergejoin = off;
SET LOCAL enable_sort = off; SET LOCAL jit = off; SET LOCAL max_parallel_workers_per_gather = 0;
SET LOCAL work_mem = '32MB'
"""

TRY_LOCK: Final = "SELECT pg_try_advisory_xact_lock(hashtext('specie integrity check'))"

STATE: Final = text("""
SELECT now() AS now, until_xid, until_id, lap_began, lap_until::text, lap_account, lap_seq, lap_entries, lap_time,
    lap_seconds, findings,
    extract(epoch FROM lap_rest_until - now())::float8 AS rest_seconds,
    extract(epoch FROM now() - lap_time)::float8 + lap_seconds AS seconds_since_lap_began
FROM transactions.integrity
""")

CHECKED: Final = text("SELECT check_time, checked_entries, lap_time, lap_seconds, findings FROM transactions.integrity")

# Whether the money of an entry was moved by a transaction, at its time; null: there is none of that id. Only then the
# entry is in a record, and so in the audit chain. Index: transaction_pkey.
_IS_POSTED: Final = """(
    SELECT state = 1 AND kind NOT IN (6, 8, 9) AND decide_time = {entry}.post_time
    FROM transactions.transaction AS of_it WHERE of_it.id = {entry}.transaction_id)"""

# What an entry is that no transaction has posted. Of rows of transactions.entry.
_STRAY: Final = f"""
    SELECT DISTINCT ON (transaction_id) 'ENTRY_IS_POSTED' AS check, 'transactions/' || transaction_id AS subject,
        format('has entry %s of %s, and %s', seq,
            coalesce((SELECT name FROM transactions.account WHERE id = account_id), account_id::text),
            coalesce((
                SELECT CASE WHEN state <> 1 THEN 'is not posted' WHEN kind IN (6, 8, 9) THEN 'moves no money'
                    ELSE format('was decided at %s and not at %s', decide_time, post_time) END
                FROM transactions.transaction WHERE id = transaction_id), 'does not exist')) AS detail
    FROM {{entries}} AS stray WHERE {_IS_POSTED.format(entry="stray")} IS NOT TRUE
    LIMIT :findings_max"""  # noqa: S608 - our own text

# Some transactions, `stretch`, with their entries and the accounts of these. An entry has the time at which its
# transaction was decided: `period` are those times. `stray` are entries of that period that none has posted; those of
# others that are decided then are looked up, up to a number.
#
# A plain transaction has two entries, out of its source and into its destination. Two that sum to 0, each of which is
# one of these, are both. With a fee or postings all are listed and compared; what the terms say is read so that
# nothing which somebody has written into them is an error.
#
# `unkept`: the rows of holds and payouts change, and are in no record; to whom they pay never does, and is.
# Indexes: entry_post_time_idx, account_pkey, hold_pkey, payout_pkey, transaction_pkey.
_OF_STRETCH: Final = """
    entered AS MATERIALIZED (
        SELECT e.account_id, e.seq, e.transaction_id, e.amount, e.balance, e.post_time,
            e.post_time = decide_time AS in_time, source, destination, t.amount AS asked, currency AS asked_currency,
            is_wide
        FROM transactions.entry e JOIN stretch t ON t.id = e.transaction_id
        WHERE e.post_time BETWEEN (SELECT first FROM period) AND (SELECT last FROM period)),
    touched AS MATERIALIZED (
        SELECT id AS account_id, name, currency, version, balance FROM transactions.account
        WHERE id = ANY (ARRAY(SELECT DISTINCT account_id FROM entered))),
    summed AS MATERIALIZED (
        SELECT transaction_id, currency, sum(amount) AS total, count(*) = 2 AND bool_and(currency = asked_currency
                AND ((name = source AND amount = -asked) OR (name = destination AND amount = asked))) AS is_plain
        FROM entered LEFT JOIN touched USING (account_id) GROUP BY transaction_id, currency),
    crooked AS (
        SELECT DISTINCT ON (t.id) 'SUM_IS_ZERO' AS check, 'transactions/' || t.id AS subject, CASE
                WHEN s.transaction_id IS NULL THEN 'moves money and has no entries'
                WHEN NOT (state = 1 AND kind NOT IN (6, 8, 9)) THEN 'moves no money and has entries'
                WHEN s.currency IS NULL THEN 'has an entry of an account that does not exist'
                ELSE format('its entries in %s sum to %s and not to 0', s.currency, s.total) END AS detail
        FROM stretch t LEFT JOIN summed s ON s.transaction_id = t.id
        WHERE CASE WHEN state = 1 AND kind NOT IN (6, 8, 9)
            THEN s.transaction_id IS NULL OR s.currency IS NULL OR s.total <> 0
            ELSE s.transaction_id IS NOT NULL END
        LIMIT :findings_max),
    unlike_plain AS (
        SELECT id FROM stretch t JOIN summed s ON s.transaction_id = t.id
        WHERE NOT is_wide AND state = 1 AND kind NOT IN (6, 8, 9) AND is_plain IS NOT TRUE),
    listed AS MATERIALIZED (
        SELECT transaction_id, jsonb_agg(posting ORDER BY posting) AS postings
        FROM entered LEFT JOIN touched USING (account_id), jsonb_build_array(name, amount, currency) AS posting
        WHERE is_wide GROUP BY transaction_id),
    wide AS MATERIALIZED (
        SELECT id, CASE
                WHEN jsonb_typeof(terms -> 'postings') = 'array' THEN terms -> 'postings'
                WHEN fee IS NOT NULL THEN jsonb_build_array(
                    jsonb_build_array(source, -amount - CASE WHEN is_included THEN 0 ELSE fee END, currency),
                    jsonb_build_array(destination, amount - CASE WHEN is_included THEN fee ELSE 0 END, currency),
                    jsonb_build_array(terms -> 'fee' -> 1, fee, currency))
                ELSE '[]' END AS postings
        FROM stretch,
            LATERAL (SELECT
                CASE WHEN jsonb_typeof(terms -> 'fee' -> 0) = 'number' THEN (terms -> 'fee' -> 0)::numeric END AS fee,
                terms -> 'fee' -> 2 = 'true' AS is_included) AS asked
        WHERE is_wide AND state = 1 AND kind NOT IN (6, 8, 9)),
    unlike_wide AS (
        SELECT id FROM wide JOIN listed ON transaction_id = id
        WHERE listed.postings IS DISTINCT FROM (
            SELECT jsonb_agg(posting ORDER BY posting) FROM jsonb_array_elements(wide.postings) AS posting)),
    unlike AS (
        SELECT 'ENTRIES_AS_ASKED' AS check, 'transactions/' || id AS subject,
            'its entries are not those that its accounts, amount, fee or postings ask for' AS detail
        FROM (SELECT id FROM unlike_plain UNION ALL SELECT id FROM unlike_wide) AS found
        LIMIT :findings_max),
    unkept AS (
        SELECT CASE kind WHEN 3 THEN 'PAYOUT_AS_ASKED' ELSE 'HOLD_AS_PLACED' END AS check,
            'transactions/' || id AS subject,
            CASE kind WHEN 3 THEN 'its payout is not to whom, or not of the amount, that it asks for'
                WHEN 6 THEN 'the hold that it placed is not as it was placed'
                ELSE 'it captures a hold for others than it was placed for' END AS detail
        FROM stretch t WHERE state = 1 AND CASE kind
            WHEN 3 THEN terms ? 'payout' AND (
                SELECT (wallet, p.currency, jsonb_build_array(provider, account, beneficiary))
                        = (t.source, t.currency, terms -> 'payout')
                    AND p.amount = t.amount - CASE WHEN terms -> 'fee' -> 2 = 'true'
                        AND jsonb_typeof(terms -> 'fee' -> 0) = 'number' THEN (terms -> 'fee' -> 0)::numeric ELSE 0 END
                FROM transactions.payout p WHERE p.id = t.id) IS NOT TRUE
            WHEN 6 THEN (
                SELECT (h.source, h.destination, h.amount, h.currency) = (t.source, t.destination, t.amount, t.currency)
                FROM transactions.hold h WHERE h.id = t.id) IS NOT TRUE
            WHEN 7 THEN (
                SELECT (placed.kind, placed.state, placed.source, placed.destination, placed.currency)
                    = (6, 1, t.source, t.destination, t.currency)
                FROM transactions.transaction placed WHERE placed.id = t.hold) IS NOT TRUE
            ELSE false END
        LIMIT :findings_max),
    untimely AS (SELECT account_id, seq, transaction_id, post_time FROM entered WHERE NOT in_time),
    elsewhere AS (
        SELECT account_id, seq, transaction_id, post_time FROM transactions.entry e
        WHERE e.post_time BETWEEN (SELECT first FROM period) AND (SELECT last FROM period)
            AND NOT EXISTS (SELECT FROM stretch WHERE stretch.id = e.transaction_id)
        LIMIT :looked_up_max)"""

_STRETCH: Final = """
    stretch AS MATERIALIZED (
        SELECT xid, id, kind, state, source, destination, amount, currency, decide_time, terms, hold,
            terms IS NOT NULL AND (terms ? 'fee' OR terms ? 'postings') AS is_wide
        FROM transactions.transaction WHERE {which})"""

# What an entry says that its account had before, in full where 64 bits might not do. It must be what the entry before
# has left: that is new as well, or it is looked up.
_LINK_IS_BROKEN: Final = """
    CASE WHEN abs(e.balance::float8) < 4e18 AND abs(e.amount::float8) < 4e18
        THEN e.balance - e.amount IS DISTINCT FROM {found}
        ELSE e.balance::numeric - e.amount IS DISTINCT FROM {found} END"""
_FOUND: Final = """
    CASE WHEN before.seq IS NOT NULL THEN before.balance WHEN e.seq = 1 THEN 0 ELSE (
        SELECT b.balance FROM transactions.entry b
        WHERE b.account_id = e.account_id AND b.seq = e.seq - 1{and_so}) END"""
_FOUND_POSTED: Final = _FOUND.format(and_so=f" AND {_IS_POSTED.format(entry='b')}")

# An account's last entry may come later in the feed, and is looked at there, unless this is the end of it: then it is
# looked up. What was there before the new entries is also of a transaction, or somebody has put it in for them to be
# built on. Indexes: transaction_feed_idx, those of _OF_STRETCH, entry_pkey, transaction_pkey.
_BEHIND_MARK: Final = """
    (xid, id) > (:after_xid, :after_id) AND xid < pg_snapshot_xmin(pg_current_snapshot())::text::bigint
    ORDER BY xid, id LIMIT :limit"""
LOOK_AT_NEW: Final = text(f"""
WITH {_STRETCH.format(which=_BEHIND_MARK)},
    period AS (SELECT min(decide_time) AS first, max(decide_time) AS last FROM stretch WHERE state <> 3),
    {_OF_STRETCH},
    suspect AS MATERIALIZED (
        SELECT e.account_id, name, e.seq, e.balance::numeric - e.amount AS before, {_FOUND.format(and_so="")} AS found,
            e.balance, version, t.balance AS account_balance
        FROM entered e JOIN touched t USING (account_id)
            LEFT JOIN entered before ON before.account_id = e.account_id AND before.seq = e.seq - 1
        WHERE e.seq > version OR (e.seq = version AND e.balance <> t.balance)
            OR {_LINK_IS_BROKEN.format(found=_FOUND_POSTED)}),
    loose AS (
        SELECT DISTINCT ON (1, 2) CASE WHEN found IS NULL THEN 'NO_GAP' ELSE 'BALANCE_IS_SUM' END AS check,
            name AS subject, CASE WHEN found IS NULL THEN format('has no entry %s but has %s', seq - 1, seq)
                ELSE format('entry %s found %s, entry %s has left %s', seq, before, seq - 1, found) END AS detail
        FROM suspect WHERE before IS DISTINCT FROM found
        ORDER BY 1, 2, seq LIMIT :findings_max),
    behind AS (
        SELECT CASE WHEN seq > version THEN 'NO_GAP' ELSE 'BALANCE_IS_SUM' END AS check, name AS subject,
            CASE WHEN seq > version THEN format('its version is %s, it has an entry %s', version, seq)
                ELSE format('its balance is %s, its last entry has left %s', account_balance, balance) END AS detail
        FROM suspect WHERE seq >= version AND (seq > version OR balance <> account_balance)
        LIMIT :findings_max),
    ended AS MATERIALIZED (
        SELECT account_id, name, version, balance, (
                SELECT ARRAY[e.seq, e.balance] FROM transactions.entry e
                WHERE e.account_id = touched.account_id ORDER BY e.seq DESC LIMIT 1) AS last
        FROM touched JOIN (SELECT account_id, max(seq) AS seq FROM entered GROUP BY account_id) AS newest
            USING (account_id)
        WHERE version > newest.seq AND (SELECT count(*) FROM stretch) < :limit),
    ahead AS (
        SELECT CASE WHEN version <> last[1] THEN 'NO_GAP' ELSE 'BALANCE_IS_SUM' END AS check, name AS subject,
            CASE WHEN version <> last[1] THEN format('its version is %s, its last entry is %s', version, last[1])
                ELSE format('its balance is %s, its last entry has left %s', balance, last[2]) END AS detail
        FROM ended WHERE version <> last[1] OR balance <> last[2]
        LIMIT :findings_max),
    built_on AS (
        SELECT b.account_id, b.seq, b.transaction_id, b.post_time
        FROM (SELECT account_id, seq - 1 AS seq FROM suspect UNION SELECT account_id, last[1] FROM ended) AS place,
            LATERAL (
                SELECT * FROM transactions.entry e WHERE e.account_id = place.account_id AND e.seq = place.seq
                OFFSET 0) AS b),
    stray AS ({_STRAY.format(entries="(TABLE untimely UNION ALL TABLE elsewhere UNION ALL TABLE built_on)")})
SELECT (SELECT count(*) FROM stretch) AS transactions, (SELECT count(*) FROM entered) AS entries,
    (SELECT jsonb_build_array(xid, id) FROM stretch ORDER BY xid DESC, id DESC LIMIT 1) AS until,
    ARRAY(SELECT DISTINCT source FROM stretch WHERE state = 1 AND kind IN (6, 7, 8, 9)) AS held_of,
    (SELECT coalesce(jsonb_agg(jsonb_build_array(f.check, subject, detail)), '[]') FROM (
        TABLE crooked UNION ALL TABLE unlike UNION ALL TABLE unkept UNION ALL TABLE stray UNION ALL TABLE loose
        UNION ALL TABLE behind UNION ALL TABLE ahead) AS f) AS found
""")  # noqa: S608 - our own text

# Of accounts with no more than so many open holds; the others are the lap's. Indexes: account_pkey,
# hold_open_source_idx.
LOOK_AT_HELD: Final = text("""
SELECT coalesce(jsonb_agg(jsonb_build_array('HELD_IS_HOLDS', name,
    format('%s is held, its open holds reserve %s', held, reserved))), '[]')
FROM transactions.account, LATERAL (
    SELECT count(*) AS holds, coalesce(sum(rest), 0) AS reserved FROM (
        SELECT amount - captured - released AS rest FROM transactions.hold
        WHERE source = account.name AND state = 1 LIMIT :holds_max + 1) AS open) AS held_by
WHERE id = ANY (CAST(:ids AS uuid[])) AND holds <= :holds_max AND reserved <> held
""")

LOOKED_AT_NEW: Final = text("""
UPDATE transactions.integrity SET until_xid = :xid, until_id = :id, checked_entries = checked_entries + :entries,
    check_time = now(), findings = CAST(:findings AS jsonb)
""")

# For how long what comes next has been there: it may be beyond the horizon, and that may be stuck. Index:
# transaction_feed_idx.
LAG: Final = text("""
SELECT greatest(0, extract(epoch FROM now() - decide_time))::float8 FROM transactions.transaction
WHERE (xid, id) > (:xid, :id) ORDER BY xid, id LIMIT 1
""")

# Reads every account.
LOOK_AT_SUMS: Final = text("""
SELECT coalesce(jsonb_agg(jsonb_build_array('SUM_IS_ZERO', currency,
    format('its balances sum to %s and not to 0', total))), '[]')
FROM (SELECT currency, sum(balance) AS total FROM transactions.account GROUP BY currency) AS of_currency
WHERE total <> 0
""")

BEGIN_LAP: Final = text("""
UPDATE transactions.integrity SET lap_began = now(), lap_until = '-infinity', lap_account = NULL, lap_seq = 0,
    lap_entries = 0, lap_rest_until = clock_timestamp() + :rest_per_work * (clock_timestamp() - now()),
    findings = CAST(:findings AS jsonb)
RETURNING extract(epoch FROM lap_rest_until - now())::float8
""")

# Transactions and entries of one period, of so many transactions that are decided one after the other, and more if more
# have its last time; the last period has no end. So each is looked at by its own time, and an entry without its
# transaction is found without looking each of them up. Indexes: transaction_decide_time_idx, those of _OF_STRETCH.
_DECIDED_IN_PERIOD: Final = """
    decide_time >= (SELECT first FROM period) AND decide_time <= (SELECT last FROM period) AND state <> 3"""
LAP_THROUGH_TIME: Final = text(f"""
WITH period AS MATERIALIZED (
        SELECT CAST(:until AS timestamptz) + interval '1 microsecond' AS first, coalesce((
            SELECT decide_time FROM transactions.transaction WHERE decide_time > CAST(:until AS timestamptz)
            ORDER BY decide_time, id OFFSET :limit - 1 LIMIT 1), 'infinity') AS last),
    {_STRETCH.format(which=_DECIDED_IN_PERIOD)},
    {_OF_STRETCH},
    stray AS ({_STRAY.format(entries="(TABLE untimely UNION ALL TABLE elsewhere)")})
SELECT last::text AS until, last = 'infinity' AS is_over,
    (SELECT coalesce(jsonb_agg(jsonb_build_array(f.check, subject, detail)), '[]') FROM (
        TABLE crooked UNION ALL TABLE unlike UNION ALL TABLE unkept UNION ALL TABLE stray) AS f) AS found
FROM period
""")  # noqa: S608 - our own text

WENT_THROUGH_TIME: Final = text("""
UPDATE transactions.integrity SET lap_until = CAST(:until AS timestamptz), lap_account = CAST(:account AS uuid),
    lap_rest_until = clock_timestamp() + :rest_per_work * (clock_timestamp() - now()),
    findings = CAST(:findings AS jsonb)
RETURNING extract(epoch FROM lap_rest_until - now())::float8
""")

# A page of accounts from one on, up to another, with their entries, those of the first one from a number on: that one
# is there for the next one's sake. A page that is full of entries ends within an account, whose last entry and holds
# are then the next page's; `next` is where that begins, null if this one has come to the end. Each entry's
# transaction is looked up only if one asks for it: the lap has been through them by their time. Indexes: account_pkey,
# entry_pkey, hold_open_source_idx, transaction_pkey.
LOOK_AT_ACCOUNTS: Final = text(f"""
WITH listed AS MATERIALIZED (
        SELECT id, name, version, balance, held FROM transactions.account
        WHERE id BETWEEN :account AND :until_account ORDER BY id LIMIT :accounts),
    edge AS MATERIALIZED (
        SELECT CASE WHEN (SELECT count(*) FROM listed) = :accounts
            THEN (SELECT id FROM listed ORDER BY id DESC LIMIT 1) ELSE :until_account END AS id),
    chained AS MATERIALIZED (
        SELECT account_id, seq, transaction_id, post_time, balance, balance - amount::numeric AS before,
            lag(seq) OVER chain AS seq_before, lag(balance) OVER chain AS balance_before,
            lead(seq) OVER chain IS NULL AS is_last
        FROM (
            SELECT * FROM transactions.entry
            WHERE (account_id, seq) >= (:account, :seq) AND account_id <= (SELECT id FROM edge)
            ORDER BY account_id, seq LIMIT :entries) AS page
        WINDOW chain AS (PARTITION BY account_id ORDER BY seq)),
    cut AS MATERIALIZED (
        SELECT account_id, seq FROM chained WHERE (SELECT count(*) FROM chained) = :entries
        ORDER BY account_id DESC, seq DESC LIMIT 1),
    loose AS (
        SELECT DISTINCT ON (account_id) CASE WHEN seq_before = seq - 1 THEN 'BALANCE_IS_SUM' WHEN seq = 1
                AND seq_before IS NULL THEN 'BALANCE_IS_SUM' ELSE 'NO_GAP' END AS check,
            coalesce(name, 'transactions/' || transaction_id) AS subject, CASE
                WHEN seq_before = seq - 1 THEN
                    format('entry %s found %s, entry %s has left %s', seq, before, seq_before, balance_before)
                WHEN seq = 1 AND seq_before IS NULL THEN format('entry 1 found %s and not 0', before)
                WHEN seq_before IS NULL THEN format('has no entry %s but has %s', seq - 1, seq)
                ELSE format('has no entry between %s and %s', seq_before, seq) END AS detail
        FROM chained LEFT JOIN listed ON listed.id = account_id
        WHERE (account_id, seq) <> (:account, :seq) AND before IS DISTINCT FROM
            CASE WHEN seq_before = seq - 1 THEN balance_before WHEN seq = 1 AND seq_before IS NULL THEN 0 END
        ORDER BY account_id, seq LIMIT :findings_max),
    complete AS MATERIALIZED (
        SELECT listed.*, coalesce(c.seq, 0) AS last_seq, coalesce(c.balance, 0) AS last_balance
        FROM listed LEFT JOIN chained c ON c.account_id = listed.id AND c.is_last
        WHERE listed.id < ALL (SELECT account_id FROM cut)),
    behind AS (
        SELECT CASE WHEN version <> last_seq THEN 'NO_GAP' ELSE 'BALANCE_IS_SUM' END AS check, name AS subject,
            CASE WHEN version <> last_seq THEN format('its version is %s, its last entry is %s', version, last_seq)
                ELSE format('its balance is %s, its last entry has left %s', balance, last_balance) END AS detail
        FROM complete WHERE version <> last_seq OR balance <> last_balance
        LIMIT :findings_max),
    reserved AS MATERIALIZED (
        SELECT name, held, (
            SELECT coalesce(sum(amount - captured - released), 0) FROM transactions.hold
            WHERE source = complete.name AND state = 1) AS reserved
        FROM complete),
    held AS (
        SELECT 'HELD_IS_HOLDS' AS check, name AS subject,
            format('%s is held, its open holds reserve %s', held, reserved) AS detail
        FROM reserved WHERE held <> reserved
        LIMIT :findings_max),
    nobodys AS (
        SELECT DISTINCT ON (transaction_id) 'NO_GAP' AS check, 'transactions/' || transaction_id AS subject,
            'has an entry of an account that does not exist' AS detail
        FROM chained LEFT JOIN listed ON listed.id = account_id WHERE listed.id IS NULL
        LIMIT :findings_max),
    stray AS ({_STRAY.format(entries="(SELECT * FROM chained WHERE :with_transactions)")})
SELECT (SELECT count(*) FROM chained WHERE (account_id, seq) <> (:account, :seq)) AS entries,
    coalesce(
        (SELECT jsonb_build_array(account_id, seq) FROM cut),
        (SELECT jsonb_build_array(id, NULL) FROM edge WHERE id < :until_account)) AS next,
    (SELECT coalesce(jsonb_agg(jsonb_build_array(f.check, subject, detail)), '[]') FROM (
        TABLE loose UNION ALL TABLE behind UNION ALL TABLE held UNION ALL TABLE nobodys UNION ALL TABLE stray)
        AS f) AS found
""")  # noqa: S608 - our own text

WENT_THROUGH_ACCOUNTS: Final = text("""
UPDATE transactions.integrity SET lap_account = :account, lap_seq = :seq, lap_entries = lap_entries + :entries,
    lap_rest_until = clock_timestamp() + :rest_per_work * (clock_timestamp() - now()),
    findings = CAST(:findings AS jsonb)
RETURNING extract(epoch FROM lap_rest_until - now())::float8
""")

END_LAP: Final = text("""
UPDATE transactions.integrity SET lap_began = NULL, lap_account = NULL, lap_seq = 0,
    lap_entries = lap_entries + :entries, lap_rest_until = NULL, lap_time = now(),
    lap_seconds = extract(epoch FROM now() - lap_began), findings = CAST(:findings AS jsonb)
RETURNING lap_entries, lap_seconds
""")
