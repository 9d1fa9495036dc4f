"""The database's own guards: what its tables refuse from anyone, and what the service's role may not do."""

from collections.abc import Iterator

import psycopg2.errors
import pytest

from tests.kit.ledgers import Ledger, funded, postgres_ledger, session
from tests.kit.postgres import Database
from transaction_service.domain.identity import account_id


@pytest.fixture
def ledger(database: Database) -> Iterator[Ledger]:
    with postgres_ledger(database) as opened:
        yield opened


CHECKS = [
    ("UPDATE transactions.account SET balance = floor - 1 WHERE id = %s", "account_floor"),
    ("UPDATE transactions.account SET held = balance - floor + 1 WHERE id = %s", "account_floor"),
    ("UPDATE transactions.account SET held = -1 WHERE id = %s", "account_held"),
    ("UPDATE transactions.account SET version = -1 WHERE id = %s", "account_version"),
    ("UPDATE transactions.account SET state = 3 WHERE id = %s", "account_closed_is_empty"),
]


@pytest.mark.parametrize(("statement", "check"), CHECKS)
def test_checks_hold_for_the_owner_too(ledger: Ledger, database: Database, statement: str, check: str) -> None:
    [alice] = funded(ledger, 50, "alice")
    with session(database.owner_dsn) as cursor, pytest.raises(psycopg2.errors.CheckViolation, match=f'"{check}"'):
        cursor.execute(statement, (account_id(alice),))


FORBIDDEN = [
    "UPDATE transactions.entry SET amount = 1",
    "DELETE FROM transactions.entry",
    "TRUNCATE transactions.entry",
    "UPDATE transactions.transaction SET state = 2",
    "DELETE FROM transactions.transaction",
    "DELETE FROM transactions.account",
    "TRUNCATE transactions.account",
    "DROP TABLE transactions.entry",
    "ALTER TABLE transactions.account DROP CONSTRAINT account_floor",
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
        pytest.raises(psycopg2.errors.InsufficientPrivilege, match=r"permission denied|must be owner"),
    ):
        cursor.execute(statement)
