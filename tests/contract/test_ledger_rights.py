"""The database's own guards: what its tables refuse from anyone, and what the service's role may not do."""

from collections.abc import Iterator

import psycopg2.errors
import pytest

from tests.kit.builders import code, deposit, placing, transfer
from tests.kit.ledgers import Ledger, funded, postgres_ledger, session
from tests.kit.postgres import Database
from tests.kit.tampering import unguarded
from transaction_service.domain.identity import account_id
from transaction_service.domain.terms import Terms


@pytest.fixture
def ledger(database: Database) -> Iterator[Ledger]:
    with postgres_ledger(database) as opened:
        yield opened


CHECKS = [
    ("UPDATE transactions.account SET balance = floor - 1 WHERE id = %(alice)s", "account_floor"),
    ("UPDATE transactions.account SET held = balance - floor + 1 WHERE id = %(alice)s", "account_floor"),
    ("UPDATE transactions.account SET held = -1 WHERE id = %(alice)s", "account_held"),
    ("UPDATE transactions.account SET version = -1 WHERE id = %(alice)s", "account_version"),
    ("UPDATE transactions.account SET state = 3 WHERE id = %(alice)s", "account_closed_is_empty"),
    ("UPDATE transactions.transaction SET amount = 0 WHERE id = %(hold)s", "transaction_amount"),
    ("UPDATE transactions.transaction SET amount = -1, kind = 4 WHERE id = %(hold)s", "transaction_amount"),
    ("UPDATE transactions.transaction SET failure_reason = 'X' WHERE id = %(hold)s", "transaction_failed_has_reason"),
    ("UPDATE transactions.transaction SET state = 2 WHERE id = %(hold)s", "transaction_failed_has_reason"),
    ("UPDATE transactions.entry SET amount = 0 WHERE account_id = %(alice)s", "entry_amount"),
    ("UPDATE transactions.entry SET seq = 0 WHERE account_id = %(alice)s", "entry_seq"),
    ("UPDATE transactions.hold SET amount = 0 WHERE id = %(hold)s", "hold_amounts"),
    ("UPDATE transactions.hold SET captured = -1 WHERE id = %(hold)s", "hold_amounts"),
    ("UPDATE transactions.hold SET released = -1 WHERE id = %(hold)s", "hold_amounts"),
    ("UPDATE transactions.hold SET captured = amount, released = 1, state = 2 WHERE id = %(hold)s", "hold_never_above"),
    ("UPDATE transactions.hold SET state = 3 WHERE id = %(hold)s", "hold_open_has_rest"),
    ("UPDATE transactions.hold SET captured = amount WHERE id = %(hold)s", "hold_open_has_rest"),
]


@pytest.mark.parametrize(("statement", "check"), CHECKS)
def test_checks_hold_for_the_owner_too(ledger: Ledger, database: Database, statement: str, check: str) -> None:
    [alice] = funded(ledger, 50, "alice")
    placed = placing(alice, "system/cash-usd", 20)
    assert [code(answer) for answer in ledger.post(placed)] == ["POSTED"]
    with (
        pytest.raises(psycopg2.errors.CheckViolation, match=f'"{check}"'),
        unguarded(database.owner_dsn) as cursor,
    ):
        cursor.execute(statement, {"alice": account_id(alice), "hold": placed.id})


FORBIDDEN = [
    "UPDATE transactions.entry SET amount = 1",
    "DELETE FROM transactions.entry",
    "TRUNCATE transactions.entry",
    "UPDATE transactions.transaction SET amount = 1",
    "UPDATE transactions.transaction SET source = ''",
    "UPDATE transactions.transaction SET fingerprint = id",
    "UPDATE transactions.transaction SET terms = NULL",
    "UPDATE transactions.transaction SET reverses = NULL",
    "DELETE FROM transactions.transaction",
    "TRUNCATE transactions.transaction",
    "DELETE FROM transactions.account",
    "TRUNCATE transactions.account",
    "DELETE FROM transactions.hold",
    "TRUNCATE transactions.hold",
    "UPDATE transactions.hold SET amount = 1",
    "UPDATE transactions.hold SET source = ''",
    "UPDATE transactions.hold SET expire_time = now()",
    "UPDATE transactions.pending SET execute_time = now()",
    "UPDATE transactions.listing SET decide_time = now()",
    "DROP TABLE transactions.entry",
    "ALTER TABLE transactions.account DROP CONSTRAINT account_floor",
    "ALTER TABLE transactions.transaction DISABLE ROW LEVEL SECURITY",
    "DROP POLICY pending_are_decided ON transactions.transaction",
    "SET row_security = off; UPDATE transactions.transaction SET state = 1",
    "CREATE TABLE transactions.mine (id int)",
    "SELECT * FROM wallets.wallet",
    "INSERT INTO wallets.wallet DEFAULT VALUES",
    "CREATE TABLE wallets.mine (id int)",
    "SET ROLE specie_owner",
    "SET ROLE specie_wallet",
]


@pytest.mark.parametrize("statement", FORBIDDEN)
def test_the_services_role_may_not(database: Database, statement: str) -> None:
    with (
        session(database.transaction_dsn) as cursor,
        pytest.raises(
            psycopg2.errors.InsufficientPrivilege, match=r"permission denied|must be owner|row-level security"
        ),
    ):
        cursor.execute(statement)


@pytest.mark.parametrize(
    "change",
    [
        "state = 2, failure_reason = 'TRANSFER_CANCELLED'",
        "state = 3",
        "failure_metadata = '{}'",
        "decide_time = now()",
        "xid = 0",
    ],
)
def test_the_services_role_decides_what_is_pending_and_changes_nothing_that_is_decided(
    ledger: Ledger, database: Database, change: str
) -> None:
    failed, pending = (
        transfer("wallets/nobody", "wallets/no-one"),
        transfer("wallets/nobody", "wallets/no-one", terms=Terms(deferred=True)),
    )
    [alice] = funded(ledger, 5, "alice")
    posted = deposit(alice, 5)
    assert [code(a) for a in ledger.post(posted, failed, pending)] == ["POSTED", "SOURCE_NOT_FOUND", "PENDING"]
    with session(database.transaction_dsn) as cursor:
        for movement, changed in ((posted, 0), (failed, 0), (pending, 1)):
            cursor.execute(f"UPDATE transactions.transaction SET {change} WHERE id = %s", (movement.id,))  # noqa: S608 - our text
            assert cursor.rowcount == changed
