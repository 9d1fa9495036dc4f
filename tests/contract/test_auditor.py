"""The auditor finds each kind of damage, and none where there is none."""

from collections.abc import Iterator

import psycopg2
import psycopg2.extensions
import pytest

from tests.kit.auditor import UnsoundLedger, audit, findings
from tests.kit.builders import account, code, deposit, transfer
from tests.kit.ledgers import postgres_ledger
from tests.kit.postgres import Database


@pytest.fixture(scope="module")
def acknowledged(database: Database) -> dict[str, str]:
    """A small sound ledger, and what was told of it."""
    movements = [
        deposit("alice", 100),
        transfer("alice", "bob", 30),
        transfer("bob", "alice", 31),
        transfer("bob", "alice", 5),
    ]
    with postgres_ledger(database) as ledger:
        ledger.open(account("alice"), account("bob"), account("empty"))
        answers = [code(ledger.post(movement)[0]) for movement in movements]
    assert answers == ["POSTED", "POSTED", "INSUFFICIENT_FUNDS", "POSTED"]
    return {f"transactions/{m.id}": answer for m, answer in zip(movements, answers, strict=True)}


@pytest.fixture
def owner(database: Database, acknowledged: dict[str, str]) -> Iterator[psycopg2.extensions.connection]:
    """A transaction of the owner without the tables' own checks; it is never committed."""
    assert acknowledged
    connection = psycopg2.connect(database.owner_dsn)
    with connection.cursor() as cursor:
        cursor.execute("SET search_path = transactions")
        for table, checks in {
            "account": ("floor", "closed_is_empty", "pkey"),
            "transaction": ("posted_has_time", "failed_has_reason", "pkey"),
            "entry": ("seq", "pkey"),
        }.items():
            for check in checks:
                cursor.execute(f"ALTER TABLE {table} DROP CONSTRAINT {table}_{check}")
    yield connection
    connection.close()


# What is done to the ledger, and words of the line that tells it.
DAMAGE = [
    ("UPDATE account SET balance = balance + 1 WHERE id = %(empty)s", "sums to 0 over its balances"),
    ("UPDATE entry SET amount = amount + 1 WHERE account_id = %(bob)s AND seq = 1", "sums to 0 over its entries"),
    ("UPDATE entry SET amount = 29 WHERE account_id = %(bob)s AND seq = 1", "the entries of a transaction sum to 0"),
    ("DELETE FROM entry WHERE account_id = %(bob)s AND seq = 2", "has exactly two entries"),
    ("UPDATE transaction SET state = 2 WHERE amount = 30", "a FAILED one none"),
    ("DELETE FROM transaction WHERE amount = 30", "an entry belongs to a transaction and to an account"),
    ("DELETE FROM account WHERE id = %(bob)s", "an entry belongs to a transaction and to an account"),
    ("UPDATE transaction SET source = 'wallets/empty' WHERE amount = 30", "one side of its transaction"),
    ("UPDATE transaction SET amount = 29 WHERE amount = 30", "one side of its transaction"),
    ("UPDATE transaction SET currency = 'EUR' WHERE amount = 30", "one side of its transaction"),
    ("UPDATE transaction SET post_time = post_time - interval '1 h' WHERE amount = 30", "one side of its transaction"),
    ("UPDATE account SET balance = 76 WHERE id = %(alice)s", "balance is the sum of its entries"),
    ("UPDATE entry SET balance = 74 WHERE account_id = %(alice)s AND seq = 3", "are those of its last entry"),
    ("UPDATE account SET last_post_time = NULL WHERE id = %(alice)s", "are those of its last entry"),
    ("UPDATE account SET version = 4 WHERE id = %(alice)s", "version is the number of its entries"),
    ("UPDATE entry SET seq = 9 WHERE account_id = %(alice)s AND seq = 1", "numbered 1, 2, 3"),
    ("UPDATE entry SET seq = 2 WHERE account_id = %(alice)s AND seq = 1", "numbered 1, 2, 3"),
    ("UPDATE entry SET seq = 0 WHERE account_id = %(alice)s AND seq = 3", "numbered 1, 2, 3"),
    ("UPDATE entry SET balance = 101 WHERE account_id = %(alice)s AND seq = 1", "the one before plus its amount"),
    ("UPDATE entry SET post_time = now() + interval '1 d' WHERE account_id = %(alice)s AND seq = 1", "never goes back"),
    ("UPDATE account SET floor = 26 WHERE id = %(bob)s", "no account is below its floor"),
    ("UPDATE account SET held = 26 WHERE id = %(bob)s", "no account is below its floor"),
    ("UPDATE account SET state = 3 WHERE id = %(alice)s", "a closed account is empty"),
    ("UPDATE account SET state = 3, held = 1, floor = -1 WHERE id = %(empty)s", "a closed account is empty"),
    ("UPDATE transaction SET failure_reason = 'X' WHERE amount = 30", "a time and no failure"),
    ("UPDATE transaction SET post_time = create_time WHERE state = 2", "a failure and no time"),
    ("INSERT INTO transaction SELECT * FROM transaction", "stand for one row"),
    ("INSERT INTO account SELECT * FROM account WHERE id = %(empty)s", "stand for one row"),
    ("UPDATE account SET floor = 26 WHERE id = %(bob)s", "ever below its floor"),
    ("DELETE FROM transaction WHERE amount = 31", "what was acknowledged is there"),
    ("UPDATE transaction SET failure_reason = 'SOURCE_FROZEN' WHERE amount = 31", "with that outcome"),
    ("UPDATE transaction SET state = 2, failure_reason = 'X' WHERE amount = 30", "with that outcome"),
]


def test_a_sound_ledger_is_found_sound(database: Database, acknowledged: dict[str, str]) -> None:
    audit(database.owner_dsn, acknowledged, floors_never_changed=True)
    audit(database.owner_dsn)


@pytest.mark.parametrize(("damage", "finding"), DAMAGE)
def test_damage_is_found(
    owner: psycopg2.extensions.connection, acknowledged: dict[str, str], damage: str, finding: str
) -> None:
    with owner.cursor() as cursor:
        cursor.execute(damage, {name: account(name).id for name in ("alice", "bob", "empty")})
    found = findings(owner, acknowledged, floors_never_changed=True)
    assert any(finding in line for line in found), found


def test_what_was_told_and_never_stored_is_a_finding_that_raises(
    database: Database, acknowledged: dict[str, str]
) -> None:
    never = {f"transactions/{transfer().id}": "POSTED"}
    with pytest.raises(UnsoundLedger, match=r"Broken 1 times: what was acknowledged is there.*POSTED, missing"):
        audit(database.owner_dsn, acknowledged | never)
