"""What the database itself keeps true of wallets, whoever writes."""

import asyncio
from typing import Any

import psycopg2
import pytest
from psycopg2 import errors
from pydantic import SecretStr

from service_kit.database import Database as Connections
from tests.kit.postgres import Database
from tests.kit.tokens import WALLET_IDENTITY
from tests.kit.wallets import new_wallet
from wallet_service.adapters.sql_store import SqlWalletStore
from wallet_service.settings import WalletSettings


@pytest.fixture(scope="module")
def alice(database: Database) -> Database:
    """A database with one wallet, CREATING."""
    connections = Connections(WalletSettings(database_dsn=SecretStr(database.wallet_dsn), **WALLET_IDENTITY), "test")
    asyncio.run(SqlWalletStore(connections).insert(new_wallet()))
    connections.close()
    return database


def execute(dsn: str, statement: str) -> list[tuple[Any, ...]]:
    connection = psycopg2.connect(dsn)
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []
    finally:
        connection.close()


FORBIDDEN = [
    "DELETE FROM wallets.wallet",
    "TRUNCATE wallets.wallet",
    "UPDATE wallets.wallet SET owner = 'thief'",
    "UPDATE wallets.wallet SET currency = 'EUR'",
    "UPDATE wallets.wallet SET name = 'wallets/bob'",
    "UPDATE wallets.wallet SET create_time = now()",
    "ALTER TABLE wallets.wallet ADD COLUMN more text",
    "CREATE TABLE wallets.more ()",
    "SELECT 1 FROM transactions.account",
    "SELECT 1 FROM wallets.alembic_version",
]


@pytest.mark.parametrize("statement", FORBIDDEN)
def test_the_service_s_role_may_not(alice: Database, statement: str) -> None:
    with pytest.raises(errors.InsufficientPrivilege):
        execute(alice.wallet_dsn, statement)


def test_the_other_service_s_role_sees_no_wallet(alice: Database) -> None:
    with pytest.raises(errors.InsufficientPrivilege):
        execute(alice.transaction_dsn, "SELECT 1 FROM wallets.wallet")


IMPOSSIBLE = [
    "owner = ''",
    "currency = 'usd'",
    "kind = 3",
    "state = 8",
    "labels = '[]'",
    "credit = -1",
    "limit_per_day = -1",
    "revision = 0",
    "name = 'wallets/Alice'",
    "due_time = NULL",
    "state = 2",  # settled, and still due
    "state = 6",  # closing, with no way back
    "state = 6, attempt_revision = 1, attempt_turned_down = false, attempt_back_to = 1",
    "state = 6, attempt_revision = 2, attempt_turned_down = false, attempt_back_to = 2",  # of a later revision
    "state = 6, attempt_revision = 1, attempt_back_to = 2",
    "state = 6, attempt_turned_down = false, attempt_back_to = 2",
    "state = 2, attempt_revision = 1, attempt_turned_down = false",
    "attempt_revision = 1, attempt_turned_down = false, attempt_particulars = '{}'",  # new limits while CREATING
    "refused_revision = 1",
]


@pytest.mark.parametrize("change", IMPOSSIBLE)
def test_what_cannot_be_is_not_stored(alice: Database, change: str) -> None:
    with pytest.raises(errors.CheckViolation):
        execute(alice.owner_dsn, f"UPDATE wallets.wallet SET {change}")  # noqa: S608 - our own words


LISTINGS = {
    "wallet_owner_name_idx": "owner = 'ann' AND name > 'wallets/a' ORDER BY name LIMIT 50",
    "wallet_state_name_idx": "state = 2 AND name > 'wallets/a' ORDER BY name LIMIT 50",
    "wallet_owner_state_name_idx": "owner = 'ann' AND state = 2 AND name > 'wallets/a' ORDER BY name LIMIT 50",
    "wallet_pkey": "name > 'wallets/a' ORDER BY name LIMIT 50",
    "wallet_due_time_idx": "due_time <= now() ORDER BY due_time LIMIT 100",
}


@pytest.mark.parametrize("index", LISTINGS)
def test_every_page_is_found_in_order_by_an_index(alice: Database, index: str) -> None:
    # So that a table of one row is read as one of millions would be.
    large = "SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off; SET LOCAL enable_sort = off"
    query = f"{large}; EXPLAIN SELECT * FROM wallets.wallet WHERE {LISTINGS[index]}"  # noqa: S608 - our own words
    plan = "\n".join(line for (line,) in execute(alice.owner_dsn, query))
    assert index in plan
    assert "Sort" not in plan
