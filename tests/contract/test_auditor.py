"""The auditor finds each kind of damage, and none where there is none."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import psycopg2
import psycopg2.extensions
import pytest

from tests.kit.audit_rules import RULES
from tests.kit.auditor import UnsoundLedger, audit, findings
from tests.kit.builders import (
    FEES,
    account,
    capture,
    code,
    compound,
    deposit,
    expiry,
    fee,
    placing,
    release,
    reversal,
    transfer,
    withdrawal,
)
from tests.kit.ledgers import postgres_ledger, session
from tests.kit.postgres import Database
from tests.kit.tampering import set_guards
from transaction_service.domain.movement import Manner, Work
from transaction_service.domain.reversal import payout_reversal
from transaction_service.domain.terms import Fee, PayoutDestination, Terms

PAID = transfer("alice", "bob", 30)
WITH_FEE = transfer("alice", "bob", 40, terms=fee(4), labels={"trip": "7"})
SPLIT = compound(("alice", -6), ("bob", 1), ("bob", 2), ("carol", 3), ("erin", -5, "EUR"), ("euro", 5, "EUR"))
OPEN = placing("alice", "bob", 11, labels={"shop": "a", "till": "2"})
FINAL, FREED = placing("alice", "carol", 12), placing("alice", "bob", 13)
OVER = placing("bob", "alice", 14, ttl=timedelta(microseconds=1))
NEXT_CENTURY = datetime(2126, 1, 1, tzinfo=UTC)
WAITING = transfer("alice", "bob", 15, terms=Terms(deferred=True, execute_time=NEXT_CENTURY))
DUE = transfer("alice", "bob", 16, terms=Terms(deferred=True), labels={"trip": "7"})
CANCELLED = transfer("alice", "bob", 17, terms=Terms(deferred=True))
POOR = transfer("bob", "alice", 999)
PART_BACK, ALL_BACK = reversal(PAID, 10), reversal(WITH_FEE)
CAPTURED = capture(OPEN, 4)
FINALLY = capture(FINAL, 5, final=True)
BANK = PayoutDestination("bank", "DE89", "Dave")
PAID_OUT = withdrawal("dave", 10, terms=Terms(payout=BANK, fee=Fee(1, FEES, included=True)), description="wages")
BOUNCED = withdrawal("dave", 20, terms=Terms(payout=BANK, fee=Fee(2, FEES, included=False)))
TO_PAY = withdrawal("dave", 5, terms=Terms(payout=BANK))
GIVEN_BACK = payout_reversal(BOUNCED, 0)

EACH = [
    (deposit("alice", 500), "POSTED"),
    (deposit("bob", 20), "POSTED"),
    (deposit("erin", 50, currency="EUR"), "POSTED"),
    (PAID, "POSTED"),
    (WITH_FEE, "POSTED"),
    (SPLIT, "POSTED"),
    (POOR, "INSUFFICIENT_FUNDS"),
    (OPEN, "POSTED"),
    (FINAL, "POSTED"),
    (FREED, "POSTED"),
    (OVER, "POSTED"),
    (WAITING, "PENDING"),
    (DUE, "PENDING"),
    (CANCELLED, "PENDING"),
    (PART_BACK, "POSTED"),
    (ALL_BACK, "POSTED"),
    (CAPTURED, "POSTED"),
    (FINALLY, "POSTED"),
    (release(FREED), "POSTED"),
    (expiry(OVER), "POSTED"),
    (deposit("dave", 37), "POSTED"),
    (PAID_OUT, "POSTED"),
    (BOUNCED, "POSTED"),
    (TO_PAY, "POSTED"),
    (withdrawal("dave", 999, terms=Terms(payout=BANK)), "INSUFFICIENT_FUNDS"),
    (GIVEN_BACK, "POSTED"),
]
IDS = {
    "paid": PAID,
    "with_fee": WITH_FEE,
    "split": SPLIT,
    "poor": POOR,
    "open_hold": OPEN,
    "final_hold": FINAL,
    "freed_hold": FREED,
    "over_hold": OVER,
    "waiting": WAITING,
    "due": DUE,
    "part_back": PART_BACK,
    "all_back": ALL_BACK,
    "captured": CAPTURED,
    "finally": FINALLY,
    "paid_out": PAID_OUT,
    "bounced": BOUNCED,
    "to_pay": TO_PAY,
    "given_back": GIVEN_BACK,
}


@pytest.fixture(scope="module")
def acknowledged(database: Database) -> dict[str, str]:
    """A small sound ledger with some of everything, and what was told of it."""
    with postgres_ledger(database) as ledger:
        ledger.open(*[account(name) for name in ("alice", "bob", "carol", "dave", "empty")])
        ledger.open(*[account(name, currency="EUR") for name in ("erin", "euro")])
        told = {f"transactions/{movement.id}": code(ledger.post(movement)[0]) for movement, _ in EACH}
        assert list(told.values()) == [expected for _, expected in EACH]
        decided = [*ledger.work(Work([DUE], Manner.DUE)), *ledger.work(Work([CANCELLED], Manner.CANCEL, "ann"))]
        assert [code(answer) for answer in decided] == ["POSTED", "TRANSFER_CANCELLED"]
    with session(database.owner_dsn) as cursor:
        ended = "UPDATE transactions.payout SET next_time = NULL, state = %s, reversal = %s WHERE id = %s"
        cursor.execute(ended, (2, None, PAID_OUT.id))
        cursor.execute(ended, (4, GIVEN_BACK.id, BOUNCED.id))
        cursor.connection.commit()
    return told


@pytest.fixture
def owner(database: Database, acknowledged: dict[str, str]) -> Iterator[psycopg2.extensions.connection]:
    """A transaction of the owner without the tables' own checks and guards; it is never committed."""
    assert acknowledged
    connection = psycopg2.connect(database.owner_dsn)
    with connection.cursor() as cursor:
        cursor.execute("SET search_path = transactions")
        set_guards(cursor, "DISABLE")
        cursor.execute(
            "SELECT format('ALTER TABLE %I DROP CONSTRAINT %I', c.relname, k.conname) FROM pg_constraint k"
            " JOIN pg_class c ON c.oid = k.conrelid WHERE k.connamespace = 'transactions'::regnamespace"
            " AND k.contype IN ('c', 'p')"
        )
        for (statement,) in cursor.fetchall():
            cursor.execute(statement)
    yield connection
    connection.close()


# What is done to the ledger, and words of the line that tells it.
DAMAGE = [
    ("UPDATE account SET balance = balance + 1 WHERE id = %(empty)s", "sums to 0 over its balances"),
    ("UPDATE entry SET amount = amount + 1 WHERE account_id = %(bob)s AND seq = 1", "sums to 0 over its entries"),
    (
        "UPDATE entry SET amount = 29 WHERE transaction_id = %(paid)s AND amount = 30",
        "the entries of a transaction sum",
    ),
    ("UPDATE account SET currency = 'EUR' WHERE id = %(carol)s", "sum to 0 in each currency"),
    ("DELETE FROM entry WHERE transaction_id = %(paid)s AND amount > 0", "has two entries or more"),
    ("DELETE FROM entry WHERE transaction_id = %(split)s", "has two entries or more"),
    ("UPDATE transaction SET state = 2 WHERE id = %(paid)s", "any other none"),
    ("UPDATE transaction SET state = 3 WHERE id = %(paid)s", "any other none"),
    ("UPDATE entry SET transaction_id = %(open_hold)s WHERE transaction_id = %(captured)s", "any other none"),
    ("DELETE FROM transaction WHERE id = %(paid)s", "an entry belongs to a transaction and to an account"),
    ("DELETE FROM account WHERE id = %(bob)s", "an entry belongs to a transaction and to an account"),
    ("UPDATE transaction SET source = 'wallets/empty' WHERE id = %(paid)s", "the postings that it asked for"),
    ("UPDATE transaction SET amount = 29 WHERE id = %(paid)s", "the postings that it asked for"),
    ("UPDATE transaction SET currency = 'EUR' WHERE id = %(paid)s", "the postings that it asked for"),
    ("UPDATE transaction SET terms = NULL WHERE id = %(with_fee)s", "the postings that it asked for"),
    ("UPDATE transaction SET terms = jsonb_set(terms, '{fee,2}', 'true') WHERE id = %(with_fee)s", "asked for"),
    ("UPDATE transaction SET terms = jsonb_set(terms, '{fee,0}', '5') WHERE id = %(with_fee)s", "asked for"),
    ("UPDATE transaction SET terms = jsonb_set(terms, '{fee,1}', '\"wallets/bob\"') WHERE id = %(with_fee)s", "asked"),
    (
        "UPDATE transaction SET terms = jsonb_set(terms, '{postings,0,0}', '\"wallets/x\"') WHERE id = %(split)s",
        "asked",
    ),
    ("UPDATE transaction SET terms = terms #- '{postings,0}' WHERE id = %(split)s", "the postings that it asked for"),
    ("UPDATE entry SET post_time = post_time - interval '1 h' WHERE transaction_id = %(paid)s", "when its transaction"),
    ("UPDATE account SET balance = balance - 1 WHERE id = %(alice)s", "balance is the sum of its entries"),
    ("UPDATE entry SET balance = 74 WHERE account_id = %(alice)s AND seq = 3", "the one before plus its amount"),
    ("UPDATE account SET last_post_time = NULL WHERE id = %(alice)s", "are those of its last entry"),
    ("UPDATE entry SET balance = 1 WHERE account_id = %(carol)s AND seq = 2", "are those of its last entry"),
    ("UPDATE account SET version = 4 WHERE id = %(alice)s", "version is the number of its entries"),
    ("UPDATE entry SET seq = 99 WHERE account_id = %(alice)s AND seq = 1", "numbered 1, 2, 3"),
    ("UPDATE entry SET seq = 2 WHERE account_id = %(alice)s AND seq = 1", "numbered 1, 2, 3"),
    ("UPDATE entry SET seq = 0 WHERE account_id = %(alice)s AND seq = 3", "numbered 1, 2, 3"),
    ("UPDATE entry SET balance = 101 WHERE account_id = %(alice)s AND seq = 1", "the one before plus its amount"),
    ("UPDATE entry SET post_time = now() + interval '1 d' WHERE account_id = %(alice)s AND seq = 1", "never goes back"),
    ("UPDATE account SET floor = balance - held + 1 WHERE id = %(bob)s", "no account is below its floor"),
    ("UPDATE account SET held = balance + 1 WHERE id = %(bob)s", "no account is below its floor"),
    ("UPDATE account SET state = 3 WHERE id = %(alice)s", "a closed account is empty"),
    ("UPDATE account SET state = 3, held = 1, floor = -1 WHERE id = %(empty)s", "a closed account is empty"),
    ("UPDATE account SET held = held + 1 WHERE id = %(alice)s", "what is held of an account"),
    ("UPDATE account SET held = 1 WHERE id = %(empty)s", "what is held of an account"),
    ("UPDATE hold SET source = 'wallets/empty' WHERE id = %(open_hold)s", "what is held of an account"),
    ("UPDATE hold SET state = 1 WHERE id = %(freed_hold)s", "a hold's state and what is released"),
    ("INSERT INTO transaction SELECT * FROM transaction", "stand for one row"),
    ("INSERT INTO account SELECT * FROM account WHERE id = %(empty)s", "stand for one row"),
    ("INSERT INTO hold SELECT * FROM hold WHERE id = %(freed_hold)s", "stand for one row"),
    ("UPDATE transaction SET failure_reason = 'X' WHERE id = %(paid)s", "a FAILED transaction has a reason"),
    ("UPDATE transaction SET failure_reason = NULL WHERE id = %(poor)s", "a FAILED transaction has a reason"),
    ("UPDATE transaction SET failure_reason = 'X' WHERE id = %(waiting)s", "a FAILED transaction has a reason"),
    ("UPDATE transaction SET create_time = create_time - interval '1 s' WHERE id = %(poor)s", "unless it is deferred"),
    (
        "UPDATE transaction SET create_time = create_time - interval '1 s' WHERE id = %(waiting)s",
        "unless it is deferred",
    ),
    ("UPDATE transaction SET create_time = create_time + interval '1 h' WHERE id = %(due)s", "unless it is deferred"),
    ("UPDATE transaction SET state = 1 WHERE id = %(waiting)s", "not posted before its time"),
    ("DELETE FROM pending", "every PENDING transaction"),
    ("INSERT INTO pending VALUES (%(due)s, now(), NULL)", "every PENDING transaction"),
    ("INSERT INTO pending VALUES (gen_random_uuid(), now(), NULL)", "every PENDING transaction"),
    ("UPDATE pending SET execute_time = now()", "every PENDING transaction"),
    ("UPDATE transaction SET terms = NULL WHERE id = %(waiting)s", "every PENDING transaction"),
    ("UPDATE transaction SET reverses = gen_random_uuid() WHERE id = %(part_back)s", "reversals give back money"),
    ("UPDATE transaction SET reverses = %(part_back)s WHERE id = %(all_back)s", "reversals give back money"),
    ("UPDATE transaction SET reverses = %(open_hold)s WHERE id = %(all_back)s", "reversals give back money"),
    ("UPDATE transaction SET reverses = NULL WHERE id = %(all_back)s", "reversals give back money"),
    ("UPDATE transaction SET reverses = %(paid)s WHERE id = %(poor)s", "reversals give back money"),
    ("UPDATE transaction SET reverses = %(paid)s WHERE id = %(all_back)s", "never more than it moved"),
    ("UPDATE transaction SET kind = 5, reverses = %(with_fee)s WHERE id = %(due)s", "never more than it moved"),
    ("DELETE FROM hold WHERE id = %(freed_hold)s", "every hold was placed by"),
    ("UPDATE transaction SET state = 2, failure_reason = 'X' WHERE id = %(freed_hold)s", "every hold was placed by"),
    ("UPDATE hold SET amount = 10, released = 10 WHERE id = %(freed_hold)s", "every hold was placed by"),
    ("UPDATE hold SET destination = 'wallets/empty' WHERE id = %(freed_hold)s", "about its own two accounts"),
    ("UPDATE transaction SET hold = NULL WHERE id = %(captured)s", "about its own two accounts"),
    ("UPDATE transaction SET hold = %(open_hold)s WHERE id = %(paid)s", "about its own two accounts"),
    ("UPDATE hold SET captured = 5 WHERE id = %(open_hold)s", "the sum of its captures"),
    ("UPDATE transaction SET state = 2 WHERE id = %(captured)s", "the sum of its captures"),
    ("UPDATE hold SET state = 1, released = 6 WHERE id = %(final_hold)s", "a hold's state and what is released"),
    ("UPDATE hold SET state = 2 WHERE id = %(open_hold)s", "a hold's state and what is released"),
    ("UPDATE hold SET state = 3 WHERE id = %(over_hold)s", "a hold's state and what is released"),
    ("UPDATE hold SET state = 4 WHERE id = %(freed_hold)s", "a hold's state and what is released"),
    ("UPDATE hold SET released = 12 WHERE id = %(freed_hold)s", "a hold's state and what is released"),
    ("UPDATE transaction SET terms = NULL WHERE id = %(finally)s", "a hold's state and what is released"),
    ("UPDATE hold SET expire_time = create_time WHERE id = %(open_hold)s", "before its time is up"),
    ("UPDATE hold SET expire_time = now() + interval '1 h' WHERE id = %(over_hold)s", "expires after that"),
    ("UPDATE listing SET transaction_id = gen_random_uuid() WHERE key = %(bob)s", "what is listed is a transaction"),
    ("UPDATE listing SET decide_time = now() WHERE transaction_id = %(poor)s", "under the time of its decision"),
    ("DELETE FROM listing WHERE transaction_id = %(with_fee)s", "under each of its labels"),
    ("DELETE FROM listing WHERE transaction_id = %(poor)s AND key = %(bob)s", "each account that it names"),
    ("INSERT INTO listing SELECT key, decide_time, %(paid)s FROM listing LIMIT 1", "under each of its labels"),
    ("UPDATE listing SET key = gen_random_uuid() WHERE key = %(bob)s", "under the ids of its accounts"),
    ("UPDATE listing SET key = %(bob)s WHERE transaction_id = %(with_fee)s", "else under no account"),
    ("DELETE FROM payout WHERE id = %(paid_out)s", "that asked for a payout has one"),
    ("UPDATE payout SET amount = amount + 1 WHERE id = %(paid_out)s", "of what its destination got"),
    ("UPDATE payout SET account = 'DE90' WHERE id = %(to_pay)s", "that asked for a payout has one"),
    ("UPDATE payout SET wallet = 'wallets/empty' WHERE id = %(to_pay)s", "that asked for a payout has one"),
    ("UPDATE transaction SET terms = NULL WHERE id = %(to_pay)s", "and no other has one"),
    ("UPDATE payout SET id = gen_random_uuid() WHERE id = %(to_pay)s", "and no other has one"),
    ("UPDATE payout SET state = 2 WHERE id = %(bounced)s", "any other never"),
    ("UPDATE payout SET state = 5 WHERE id = %(bounced)s", "any other never"),
    ("UPDATE payout SET state = 4 WHERE id = %(to_pay)s", "was given back once"),
    ("UPDATE payout SET reversal = gen_random_uuid() WHERE id = %(bounced)s", "was given back once"),
    ("UPDATE transaction SET reverses = %(bounced)s WHERE id = %(all_back)s", "was given back once"),
    ("UPDATE entry SET amount = amount - 1 WHERE transaction_id = %(given_back)s AND amount > 0", "is all of it"),
    ("UPDATE account SET state = 3 WHERE id = %(dave)s", "has no payouts under way"),
    ("UPDATE account SET floor = 26 WHERE id = %(bob)s", "ever below its floor"),
    ("DELETE FROM transaction WHERE id = %(poor)s", "what was acknowledged is there"),
    ("UPDATE transaction SET failure_reason = 'SOURCE_FROZEN' WHERE id = %(poor)s", "with that outcome"),
    ("UPDATE transaction SET state = 2, failure_reason = 'X' WHERE id = %(paid)s", "with that outcome"),
    ("UPDATE transaction SET terms = NULL WHERE id = %(due)s", "with that outcome"),
    ("DELETE FROM transaction WHERE id = %(waiting)s", "what was acknowledged is there"),
]


def test_a_sound_ledger_is_found_sound(database: Database, acknowledged: dict[str, str]) -> None:
    audit(database.owner_dsn, acknowledged, floors_never_changed=True)
    audit(database.owner_dsn)


@pytest.mark.parametrize(("damage", "finding"), DAMAGE)
def test_damage_is_found(
    owner: psycopg2.extensions.connection, acknowledged: dict[str, str], damage: str, finding: str
) -> None:
    names = {name: account(name).id for name in ("alice", "bob", "carol", "dave", "empty")}
    with owner.cursor() as cursor:
        cursor.execute(damage, names | {name: movement.id for name, movement in IDS.items()})
        assert cursor.rowcount > 0
    found = findings(owner, acknowledged, floors_never_changed=True)
    assert any(finding in line for line in found), found


def test_every_rule_is_broken_once() -> None:
    for rule in RULES:
        assert any(finding in rule for _, finding in DAMAGE), rule


def test_what_was_told_and_never_stored_is_a_finding_that_raises(
    database: Database, acknowledged: dict[str, str]
) -> None:
    never = {f"transactions/{transfer().id}": "POSTED"}
    with pytest.raises(UnsoundLedger, match=r"Broken 1 times: what was acknowledged is there.*POSTED, None"):
        audit(database.owner_dsn, acknowledged | never)
