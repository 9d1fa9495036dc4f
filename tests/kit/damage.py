"""What somebody may do to the ledger of tests.kit.everything, and what the integrity check says of it."""

from collections.abc import Mapping
from typing import Final

from tests.kit.everything import PAID, SPLIT, VALUES, WITH_FEE

ALICE, BOB = "wallets/alice", "wallets/bob"
OF_PAID = ("SUM_IS_ZERO", f"transactions/{PAID.id}")
OF_SPLIT = ("SUM_IS_ZERO", f"transactions/{SPLIT.id}")
NOT_AS_ASKED = "ENTRIES_AS_ASKED"
DAMAGE: Final[Mapping[str, tuple[str, set[tuple[str, str]]]]] = {
    "the amount of an entry": (
        "UPDATE entry SET amount = amount + 1 WHERE account_id = %(bob)s AND transaction_id = %(paid)s",
        {OF_PAID, ("BALANCE_IS_SUM", BOB)},
    ),
    "the amounts of a transaction, as if it were another one": (
        "UPDATE entry SET amount = amount + sign(amount) WHERE transaction_id = %(paid)s",
        {(NOT_AS_ASKED, f"transactions/{PAID.id}"), ("BALANCE_IS_SUM", ALICE), ("BALANCE_IS_SUM", BOB)},
    ),
    "what a transaction says that it moved": (
        "UPDATE transaction SET amount = amount + 1 WHERE id = %(paid)s",
        {(NOT_AS_ASKED, f"transactions/{PAID.id}")},
    ),
    "whom a transaction says that it paid": (
        "UPDATE transaction SET destination = 'wallets/carol' WHERE id = %(paid)s",
        {(NOT_AS_ASKED, f"transactions/{PAID.id}")},
    ),
    "what a transaction says of its fee": (
        "UPDATE transaction SET terms = jsonb_set(terms, '{fee,0}', '5') WHERE id = %(with_fee)s",
        {(NOT_AS_ASKED, f"transactions/{WITH_FEE.id}")},
    ),
    "whether a transaction says that its fee is included": (
        "UPDATE transaction SET terms = jsonb_set(terms, '{fee,2}', 'true') WHERE id = %(with_fee)s",
        {(NOT_AS_ASKED, f"transactions/{WITH_FEE.id}")},
    ),
    "that a transaction has a fee": (
        "UPDATE transaction SET terms = NULL WHERE id = %(with_fee)s",
        {(NOT_AS_ASKED, f"transactions/{WITH_FEE.id}")},
    ),
    "what a transaction says of its postings": (
        "UPDATE transaction SET terms = jsonb_set(terms, '{postings,1,1}', '2') WHERE id = %(split)s",
        {(NOT_AS_ASKED, f"transactions/{SPLIT.id}")},
    ),
    "terms that nobody can read": (
        """UPDATE transaction SET terms = '{"fee": {"x": "y"}}' WHERE id = %(with_fee)s""",
        {(NOT_AS_ASKED, f"transactions/{WITH_FEE.id}")},
    ),
    "terms that nobody can add up": (
        """UPDATE transaction SET terms = '{"postings": "x", "fee": ["4", null]}' WHERE id = %(split)s""",
        {(NOT_AS_ASKED, f"transactions/{SPLIT.id}")},
    ),
    "the name of an account": (
        "UPDATE account SET name = 'wallets/mallory' WHERE id = %(carol)s",
        {(NOT_AS_ASKED, f"transactions/{SPLIT.id}")},
    ),
    "the currency of all who were in it": (
        "UPDATE account SET currency = 'EUR' WHERE currency = 'USD'",
        {(NOT_AS_ASKED, f"transactions/{PAID.id}")},
    ),
    "the time of all entries of a transaction": (
        "UPDATE entry SET post_time = post_time + interval '1 microsecond' WHERE transaction_id = %(paid)s",
        {("ENTRY_IS_POSTED", f"transactions/{PAID.id}")},
    ),
    "the balance of an entry in the middle": (
        "UPDATE entry SET balance = balance + 1 WHERE account_id = %(alice)s AND seq = 3",
        {("BALANCE_IS_SUM", ALICE)},
    ),
    "the balance of the first entry": (
        "UPDATE entry SET balance = balance + 1 WHERE account_id = %(erin)s AND seq = 1",
        {("BALANCE_IS_SUM", "wallets/erin")},
    ),
    "an amount beyond all bounds": (
        "UPDATE entry SET amount = -9223372036854775808 WHERE account_id = %(bob)s AND transaction_id = %(paid)s",
        {OF_PAID, ("BALANCE_IS_SUM", BOB)},
    ),
    "an entry that is gone": (
        "DELETE FROM entry WHERE account_id = %(bob)s AND transaction_id = %(paid)s",
        {OF_PAID, ("NO_GAP", BOB)},
    ),
    "the first entry that is gone": (
        "DELETE FROM entry WHERE account_id = %(bob)s AND seq = 1",
        {("NO_GAP", BOB)},
    ),
    "the last entry that is gone": (
        "DELETE FROM entry USING account WHERE id = account_id AND seq = version AND id = %(alice)s",
        {("NO_GAP", ALICE)},
    ),
    "all entries of a transaction that are gone": (
        "DELETE FROM entry WHERE transaction_id = %(split)s",
        {OF_SPLIT, ("NO_GAP", ALICE), ("NO_GAP", BOB)},
    ),
    "an entry too many at the end": (
        """INSERT INTO entry SELECT a.id, version + 1, t.id, 5, balance + 5, decide_time FROM account a, transaction t
        WHERE a.id = %(carol)s AND t.id = %(paid)s""",
        {OF_PAID, ("NO_GAP", "wallets/carol")},
    ),
    "entries of one side only": (
        """UPDATE entry SET account_id = %(empty)s, seq = 1, balance = amount, amount = -amount
        WHERE transaction_id = %(paid)s AND account_id = %(bob)s""",
        {OF_PAID, ("NO_GAP", BOB), ("NO_GAP", "wallets/empty")},
    ),
    "entries in another currency": (
        "UPDATE account SET currency = 'EUR' WHERE id = %(carol)s",
        {OF_SPLIT},
    ),
    "entries of what was refused": (
        "UPDATE transaction SET state = 2, failure_reason = 'X' WHERE id = %(paid)s",
        {OF_PAID},
    ),
    "entries of what moves no money": (
        "UPDATE transaction SET kind = 8 WHERE id = %(paid)s",
        {OF_PAID},
    ),
    "entries of an account that is not there": (
        "DELETE FROM account WHERE id = %(erin)s",
        {OF_SPLIT},
    ),
    "the balance of an account": (
        "UPDATE account SET balance = balance + 1 WHERE id = %(alice)s",
        {("BALANCE_IS_SUM", ALICE)},
    ),
    "the version of an account, upwards": (
        "UPDATE account SET version = version + 1 WHERE id = %(alice)s",
        {("NO_GAP", ALICE)},
    ),
    "the version of an account, downwards": (
        "UPDATE account SET version = version - 1 WHERE id = %(alice)s",
        {("NO_GAP", ALICE)},
    ),
    "what is held of an account": (
        "UPDATE account SET held = held + 1 WHERE id = %(alice)s",
        {("HELD_IS_HOLDS", ALICE)},
    ),
    "what an open hold reserves": (
        "UPDATE hold SET amount = amount + 1 WHERE id = %(open)s",
        {("HELD_IS_HOLDS", ALICE)},
    ),
    "a hold that is open again": (
        "UPDATE hold SET state = 1, released = 0 WHERE id = %(freed)s",
        {("HELD_IS_HOLDS", ALICE)},
    ),
    "for whom a hold is": (
        "UPDATE hold SET destination = 'wallets/carol' WHERE id = %(open)s",
        {("HOLD_AS_PLACED", f"transactions/{VALUES['open']}")},
    ),
    "how much a hold was": (
        "UPDATE hold SET amount = amount + 1, released = released + 1 WHERE id = %(freed)s",
        {("HOLD_AS_PLACED", f"transactions/{VALUES['freed']}")},
    ),
    "for whom a hold is that was captured": (
        "UPDATE transaction SET destination = 'wallets/carol' WHERE id = %(open)s",
        {("HOLD_AS_PLACED", f"transactions/{VALUES['captured']}")},
    ),
    "to whom a payout goes": (
        "UPDATE payout SET account = 'DE00 mallory' WHERE id = %(paid_out)s",
        {("PAYOUT_AS_ASKED", f"transactions/{VALUES['paid_out']}")},
    ),
    "how much is paid out": (
        "UPDATE payout SET amount = amount + 1 WHERE id = %(paid_out)s",
        {("PAYOUT_AS_ASKED", f"transactions/{VALUES['paid_out']}")},
    ),
    "a payout that is gone": (
        "DELETE FROM payout WHERE id = %(paid_out)s",
        {("PAYOUT_AS_ASKED", f"transactions/{VALUES['paid_out']}")},
    ),
    "whose hold it is": (
        "UPDATE hold SET source = 'wallets/carol' WHERE id = %(open)s",
        {("HELD_IS_HOLDS", ALICE)},
    ),
    "a hold that is gone": (
        "DELETE FROM hold WHERE id = %(open)s",
        {("HELD_IS_HOLDS", ALICE)},
    ),
}
"""The statement; check and subject of what the next look says if it is new, and what a lap says."""
