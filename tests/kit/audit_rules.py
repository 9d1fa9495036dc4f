"""The rules of a sound ledger, as queries in plain SQL that find what breaks them. They share nothing with the service.

States: 1 POSTED, 2 FAILED, 3 PENDING. Kinds: 1 TRANSFER, 2 DEPOSIT, 3 WITHDRAWAL, 4 COMPOUND, 5 REVERSAL, 6 HOLD, 7
CAPTURE, 8 RELEASE, 9 EXPIRY; 6, 8 and 9 move no money. States of holds: 1 OPEN, 2 CAPTURED, 3 RELEASED, 4 EXPIRED. Of
payouts: 1 PENDING, 2 PAID, 3 REFUSED, 4 REVERSED, 5 DEAD.
"""

from collections.abc import Mapping
from typing import Final

# What each transaction asks to be posted, as rows: what is spelled out in its terms, or else its amount from its source
# to its destination, with the fee. Sums of two numbers of 64 bits need more than 64.
POSTINGS: Final = """
    spelled AS (
        SELECT t.id, p ->> 0 AS account, (p ->> 1)::numeric AS amount, p ->> 2 AS currency
        FROM transactions.transaction t, jsonb_array_elements(t.terms -> 'postings') AS p),
    priced AS (
        SELECT id, source, destination, currency, amount::numeric, coalesce((terms -> 'fee' ->> 0)::numeric, 0) AS fee,
            terms -> 'fee' ->> 1 AS fee_account, coalesce((terms -> 'fee' ->> 2)::boolean, false) AS included
        FROM transactions.transaction WHERE terms -> 'postings' IS NULL AND kind NOT IN (6, 8, 9)),
    posting AS (
        SELECT * FROM spelled
        UNION ALL SELECT id, source, -amount - CASE WHEN included THEN 0 ELSE fee END, currency FROM priced
        UNION ALL SELECT id, destination, amount - CASE WHEN included THEN fee ELSE 0 END, currency FROM priced
        UNION ALL SELECT id, fee_account, fee, currency FROM priced WHERE fee_account IS NOT NULL)"""

# The accounts that each transaction names, whether they exist or not.
NAMED: Final = """
    named AS (
        SELECT id, source AS account FROM transactions.transaction
        UNION SELECT id, destination FROM transactions.transaction
        UNION SELECT id, terms -> 'fee' ->> 1 FROM transactions.transaction WHERE terms -> 'fee' IS NOT NULL
        UNION SELECT t.id, p ->> 0 FROM transactions.transaction t, jsonb_array_elements(t.terms -> 'postings') AS p)"""

MONEY: Final[Mapping[str, str]] = {
    "every currency sums to 0 over its balances": """
        SELECT currency, sum(balance) FROM transactions.account GROUP BY currency HAVING sum(balance) <> 0""",
    "every currency sums to 0 over its entries": """
        SELECT a.currency, sum(e.amount) FROM transactions.entry e JOIN transactions.account a ON a.id = e.account_id
        GROUP BY a.currency HAVING sum(e.amount) <> 0""",
    "the entries of a transaction sum to 0 in each currency": """
        SELECT e.transaction_id, a.currency, sum(e.amount) FROM transactions.entry e
        JOIN transactions.account a ON a.id = e.account_id
        GROUP BY e.transaction_id, a.currency HAVING sum(e.amount) <> 0""",
    "a POSTED transaction that moves money has two entries or more, any other none": """
        SELECT t.id, t.kind, t.state, count(e.seq) FROM transactions.transaction t
        LEFT JOIN transactions.entry e ON e.transaction_id = t.id GROUP BY t.id, t.kind, t.state
        HAVING CASE WHEN t.state = 1 AND t.kind NOT IN (6, 8, 9) THEN count(e.seq) < 2 ELSE count(e.seq) > 0 END""",
    "an entry belongs to a transaction and to an account": """
        SELECT e.account_id, e.seq FROM transactions.entry e LEFT JOIN transactions.account a ON a.id = e.account_id
        LEFT JOIN transactions.transaction t ON t.id = e.transaction_id WHERE a.id IS NULL OR t.id IS NULL""",
    "a POSTED transaction's entries are the postings that it asked for": f"""
        WITH {POSTINGS},
        asked AS (
            SELECT p.* FROM posting p JOIN transactions.transaction t ON t.id = p.id WHERE t.state = 1),
        entered AS (
            SELECT e.transaction_id, a.name, e.amount::numeric, a.currency FROM transactions.entry e
            JOIN transactions.account a ON a.id = e.account_id)
        (SELECT 'asked', * FROM (SELECT * FROM asked EXCEPT ALL SELECT * FROM entered) AS missing)
        UNION ALL (SELECT 'entered', * FROM (SELECT * FROM entered EXCEPT ALL SELECT * FROM asked) AS surplus)""",  # noqa: S608 - our own text
    "an entry was posted when its transaction was decided": """
        SELECT t.id, t.decide_time, e.post_time FROM transactions.entry e
        JOIN transactions.transaction t ON t.id = e.transaction_id WHERE e.post_time <> t.decide_time""",
}

ACCOUNTS: Final[Mapping[str, str]] = {
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
    "what is held of an account is what its OPEN holds still reserve": """
        SELECT a.name, a.held, coalesce(sum(h.amount::numeric - h.captured - h.released), 0) FROM transactions.account a
        LEFT JOIN transactions.hold h ON h.source = a.name AND h.state = 1
        GROUP BY a.id, a.name, a.held
        HAVING a.held <> coalesce(sum(h.amount::numeric - h.captured - h.released), 0)""",
    "an id and a name stand for one row": """
        SELECT id::text FROM transactions.transaction GROUP BY id HAVING count(*) > 1
        UNION ALL SELECT id::text FROM transactions.hold GROUP BY id HAVING count(*) > 1
        UNION ALL SELECT name FROM transactions.account GROUP BY name HAVING count(*) > 1""",
}

TRANSACTIONS: Final[Mapping[str, str]] = {
    "a FAILED transaction has a reason, and no other has": """
        SELECT id, state FROM transactions.transaction WHERE (state = 2) <> (failure_reason IS NOT NULL)""",
    "a transaction is decided when it is created, unless it is deferred": """
        SELECT id, create_time, decide_time FROM transactions.transaction
        WHERE CASE WHEN terms -> 'deferred' IS NULL OR state = 3 THEN decide_time <> create_time
            ELSE decide_time < create_time END""",
    "a deferred transaction is not posted before its time": """
        SELECT id, decide_time, terms ->> 'execute_time' FROM transactions.transaction
        WHERE state = 1 AND decide_time < (terms ->> 'execute_time')::timestamptz""",
    "every PENDING transaction is deferred and waits for its time, and no other": """
        SELECT t.id, t.state, p.id, p.execute_time FROM transactions.transaction t
        FULL JOIN transactions.pending p ON p.id = t.id
        WHERE (p.id IS NULL) <> (t.state <> 3) OR t.id IS NULL OR (t.state = 3 AND terms -> 'deferred' IS NULL)
            OR p.execute_time <> coalesce((t.terms ->> 'execute_time')::timestamptz, t.create_time)""",
    "reversals give back money of a POSTED transaction that is none itself": """
        SELECT r.id, r.kind, o.id, o.kind, o.state FROM transactions.transaction r
        LEFT JOIN transactions.transaction o ON o.id = r.reverses
        WHERE (r.kind = 5) <> (r.reverses IS NOT NULL)
            OR (r.kind = 5 AND r.state = 1 AND (o.state = 1 AND o.kind IN (1, 2, 3, 4, 7)) IS NOT TRUE)""",
    "what is given back of a transaction is never more than it moved, account by account": """
        WITH net AS (
            SELECT transaction_id, account_id, sum(amount) AS amount FROM transactions.entry GROUP BY 1, 2),
        back AS (
            SELECT r.reverses, n.account_id, n.amount FROM transactions.transaction r
            JOIN net n ON n.transaction_id = r.id WHERE r.reverses IS NOT NULL AND n.amount <> 0)
        SELECT b.reverses, b.account_id, o.amount, sum(b.amount) FROM back b
        LEFT JOIN net o ON o.transaction_id = b.reverses AND o.account_id = b.account_id
        GROUP BY b.reverses, b.account_id, o.amount
        HAVING (bool_and(sign(b.amount) = -sign(o.amount)) AND abs(sum(b.amount)) <= abs(o.amount)) IS NOT TRUE""",
}

HOLDS: Final[Mapping[str, str]] = {
    "every hold was placed by a POSTED transaction of its id, and each such has placed one": """
        SELECT h.id, t.id FROM transactions.hold h
        FULL JOIN (SELECT * FROM transactions.transaction WHERE kind = 6 AND state = 1) t ON t.id = h.id
        WHERE (t.hold = h.id AND t.source = h.source AND t.destination = h.destination AND t.amount = h.amount
            AND t.currency = h.currency AND t.create_time = h.create_time) IS NOT TRUE""",
    "what captures, releases or lets expire a hold is about its own two accounts": """
        SELECT t.id, h.id FROM transactions.transaction t LEFT JOIN transactions.hold h ON h.id = t.hold
        WHERE CASE WHEN t.kind IN (7, 8, 9) THEN (t.source = h.source AND t.destination = h.destination) IS NOT TRUE
            ELSE (t.kind = 6) <> (t.hold IS NOT NULL) END""",
    "what is captured of a hold is the sum of its captures": """
        SELECT h.id, h.captured, coalesce(sum(t.amount), 0) FROM transactions.hold h
        LEFT JOIN transactions.transaction t ON t.hold = h.id AND t.kind = 7 AND t.state = 1
        GROUP BY h.id, h.captured HAVING h.captured <> coalesce(sum(t.amount), 0)""",
    "a hold's state and what is released of it are what was done with it": """
        WITH done AS (
            SELECT hold, count(*) FILTER (WHERE kind = 8) AS releases, count(*) FILTER (WHERE kind = 9) AS expiries,
                count(*) FILTER (WHERE kind = 7 AND (terms ->> 'final')::boolean) AS finals,
                sum(amount) FILTER (WHERE kind IN (8, 9)) AS freed
            FROM transactions.transaction WHERE state = 1 AND kind IN (6, 7, 8, 9) GROUP BY hold)
        SELECT id, state, amount, captured, released, releases, expiries, finals
        FROM transactions.hold LEFT JOIN done ON done.hold = hold.id WHERE NOT CASE state
            WHEN 1 THEN captured < amount AND released = 0 AND releases + expiries + finals = 0
            WHEN 2 THEN captured + released = amount AND releases + expiries = 0 AND finals <= 1
                AND (released = 0 OR finals = 1)
            WHEN 3 THEN captured + released = amount AND released = freed AND releases = 1 AND expiries + finals = 0
            WHEN 4 THEN captured + released = amount AND released = freed AND expiries = 1 AND releases + finals = 0
            ELSE false END""",
    "a hold is captured and released before its time is up, and expires after that": """
        SELECT h.id, h.expire_time, t.kind, t.decide_time FROM transactions.hold h
        JOIN transactions.transaction t ON t.hold = h.id AND t.state = 1
        WHERE (t.kind = 9) <> (t.decide_time >= h.expire_time)""",
}

LISTING: Final[Mapping[str, str]] = {
    "what is listed is a transaction, under the time of its decision": """
        SELECT l.key, l.transaction_id, l.decide_time, t.decide_time FROM transactions.listing l
        LEFT JOIN transactions.transaction t ON t.id = l.transaction_id
        WHERE l.decide_time IS DISTINCT FROM t.decide_time""",
    "a transaction is listed under each of its labels and, without entries, each account that it names": f"""
        WITH {NAMED},
        expected AS (
            SELECT t.id, (SELECT count(*) FROM jsonb_object_keys(t.labels)) + CASE WHEN t.state = 1
                AND t.kind NOT IN (6, 8, 9) THEN 0 ELSE count(n.account) END AS rows
            FROM transactions.transaction t LEFT JOIN named n ON n.id = t.id AND n.account <> ''
            GROUP BY t.id, t.labels, t.state, t.kind),
        listed AS (SELECT transaction_id, count(*) AS rows FROM transactions.listing GROUP BY transaction_id)
        SELECT e.id, e.rows, l.rows FROM expected e LEFT JOIN listed l ON l.transaction_id = e.id
        WHERE e.rows <> coalesce(l.rows, 0)""",  # noqa: S608 - as above
    "without entries it is listed under the ids of its accounts, else under no account": f"""
        WITH {NAMED},
        expected AS (
            SELECT n.id, a.id AS key FROM named n JOIN transactions.account a ON a.name = n.account
            JOIN transactions.transaction t ON t.id = n.id WHERE t.state <> 1 OR t.kind IN (6, 8, 9)),
        listed AS (
            SELECT l.transaction_id, l.key FROM transactions.listing l JOIN transactions.account a ON a.id = l.key)
        (SELECT 'expected', * FROM (SELECT * FROM expected EXCEPT SELECT * FROM listed) AS missing)
        UNION ALL (SELECT 'listed', * FROM (SELECT * FROM listed EXCEPT SELECT * FROM expected) AS surplus)""",  # noqa: S608 - as above
}

PAYOUTS: Final[Mapping[str, str]] = {
    "every POSTED withdrawal that asked for a payout has one of what its destination got, and no other has one": """
        SELECT p.id, p.amount, t.id, t.amount FROM transactions.payout p FULL JOIN (
            SELECT *, CASE WHEN (terms -> 'fee' ->> 2)::boolean THEN (terms -> 'fee' ->> 0)::bigint ELSE 0 END AS kept
            FROM transactions.transaction WHERE kind = 3 AND state = 1 AND terms -> 'payout' IS NOT NULL) t
        ON t.id = p.id
        WHERE (p.wallet = t.source AND p.amount = t.amount - t.kept AND p.currency = t.currency
            AND jsonb_build_array(p.provider, p.account, p.beneficiary) = t.terms -> 'payout'
            AND p.reference = t.description AND p.create_time = t.create_time) IS NOT TRUE""",
    "a payout that is REVERSED was given back once, one that is REFUSED so often at the most, any other never": """
        SELECT p.id, p.state, p.reversal, r.ids FROM transactions.payout p LEFT JOIN (
            SELECT reverses, array_agg(id) AS ids FROM transactions.transaction
            WHERE state = 1 AND reverses IS NOT NULL GROUP BY reverses) r ON r.reverses = p.id
        WHERE (CASE p.state WHEN 4 THEN r.ids = ARRAY[p.reversal] WHEN 3 THEN coalesce(cardinality(r.ids), 0) <= 1
            ELSE r.ids IS NULL END) IS NOT TRUE""",
    "what is given back of a withdrawal with a payout is all of it": """
        SELECT p.id, e.account_id, sum(e.amount) FROM transactions.payout p
        JOIN transactions.transaction r ON r.reverses = p.id AND r.state = 1
        JOIN transactions.entry e ON e.transaction_id IN (p.id, r.id)
        GROUP BY p.id, e.account_id HAVING sum(e.amount) <> 0""",
    "a closed account has no payouts under way": """
        SELECT a.name, p.id, p.state FROM transactions.account a JOIN transactions.payout p ON p.wallet = a.name
        WHERE a.state = 3 AND p.state IN (1, 3, 5)""",
}

RULES: Final[Mapping[str, str]] = {**MONEY, **ACCOUNTS, **TRANSACTIONS, **HOLDS, **LISTING, **PAYOUTS}

# Where limits have never changed, no entry may ever have gone below today's floor.
ALWAYS_ABOVE_FLOOR: Final = """
    SELECT a.name, e.seq, e.balance, a.floor FROM transactions.entry e
    JOIN transactions.account a ON a.id = e.account_id WHERE e.balance < a.floor"""

# What was PENDING when it was acknowledged may have been decided since.
ACKNOWLEDGED: Final = """
    SELECT said.id, said.outcome, found.outcome FROM acknowledged said LEFT JOIN (
        SELECT id, terms, coalesce(failure_reason, CASE state WHEN 1 THEN 'POSTED' WHEN 3 THEN 'PENDING' END) AS outcome
        FROM transactions.transaction) found ON found.id = said.id
    WHERE found.id IS NULL OR CASE said.outcome
        WHEN 'PENDING' THEN found.terms -> 'deferred' IS NULL ELSE said.outcome <> found.outcome END"""
