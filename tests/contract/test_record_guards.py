"""Nobody changes or deletes what is on record: neither the services' roles nor the owner of the tables."""

from collections.abc import Iterator
from itertools import product
from uuid import uuid4

import psycopg2.errors
import pytest

from tests.kit.builders import account, code, deposit, transfer
from tests.kit.ledgers import Ledger, funded, postgres_ledger, session
from tests.kit.postgres import Database
from tests.kit.tampering import GUARDED, unguarded
from transaction_service.adapters import tables
from transaction_service.domain.terms import Terms

ROWS = [
    (
        "transactions",
        "INSERT INTO block SELECT 1, 1, gen_random_uuid(), '0123456789abcdef', md5('')::bytea, '', '', '', '', now()",
    ),
    ("transactions", "INSERT INTO seal_key VALUES ('k', '', now())"),
    ("transactions", "INSERT INTO act VALUES ('payouts/p', 1, 'RETRY', '{}', '{}', 'ann', '', '', now())"),
    ("wallets", "INSERT INTO act VALUES ('wallets/w', 1, 'CREATE', '{}', '{}', 'ann', '', '', now())"),
]
"""What posting does not write."""

TABLES = [(schema, table) for schema, tables in GUARDED.items() for table in tables]
REFUSED_TO_THE_ROLE = r"permission denied"
REFUSED_TO_THE_OWNER = r"is a record: nothing in it is changed or deleted"


@pytest.fixture(scope="module")
def ledger(database: Database) -> Iterator[Ledger]:
    """With a row at least in each of the tables; the only transaction is decided."""
    with postgres_ledger(database) as opened:
        funded(opened, 50, "alice")
        for schema, statement in ROWS:
            with unguarded(database.owner_dsn, schema) as cursor:
                cursor.execute(statement)
        yield opened


def service_dsn(database: Database, schema: str) -> str:
    return database.transaction_dsn if schema == "transactions" else database.wallet_dsn


def columns(database: Database, schema: str, table: str) -> list[str]:
    with session(database.owner_dsn) as cursor:
        cursor.execute(
            "SELECT quote_ident(column_name) FROM information_schema.columns"
            " WHERE table_schema = %s AND table_name = %s",
            (schema, table),
        )
        return [name for (name,) in cursor.fetchall()]


@pytest.mark.parametrize(("schema", "table"), TABLES)
@pytest.mark.usefixtures("ledger")
def test_nobody_changes_a_row_of_it(database: Database, schema: str, table: str) -> None:
    """Each column by itself."""
    for name in columns(database, schema, table):
        with session(database.owner_dsn) as cursor, pytest.raises(psycopg2.errors.Error, match=REFUSED_TO_THE_OWNER):
            cursor.execute(f"UPDATE {schema}.{table} SET {name} = {name}")  # noqa: S608 - our own words


@pytest.mark.parametrize(("place", "change"), list(product(TABLES, ("DELETE FROM {}", "TRUNCATE {}"))))
@pytest.mark.usefixtures("ledger")
def test_nobody_deletes_of_it(database: Database, place: tuple[str, str], change: str) -> None:
    statement = change.format(".".join(place))
    for dsn, words in (
        (service_dsn(database, place[0]), REFUSED_TO_THE_ROLE),
        (database.owner_dsn, REFUSED_TO_THE_OWNER),
    ):
        with session(dsn) as cursor, pytest.raises(psycopg2.errors.InsufficientPrivilege, match=words):
            cursor.execute(statement)


@pytest.mark.parametrize(("schema", "table"), [place for place in TABLES if place[1] != "transaction"])
@pytest.mark.usefixtures("ledger")
def test_the_services_role_changes_no_row_of_it(database: Database, schema: str, table: str) -> None:
    for name in columns(database, schema, table):
        with (
            session(service_dsn(database, schema)) as cursor,
            pytest.raises(psycopg2.errors.InsufficientPrivilege, match=REFUSED_TO_THE_ROLE),
        ):
            cursor.execute(f"UPDATE {schema}.{table} SET {name} = {name}")  # noqa: S608 - our own words


OUTCOME = {"state", "failure_reason", "failure_metadata", "decide_time", "xid"}
ASKED = [column.name for column in tables.transaction.columns if column.name not in OUTCOME]


@pytest.mark.parametrize("column", ASKED)
def test_what_a_pending_one_asks_for_is_not_changed_either(ledger: Ledger, database: Database, column: str) -> None:
    waiting = transfer("wallets/nobody", "wallets/no-one", terms=Terms(deferred=True))
    assert [code(answer) for answer in ledger.post(waiting)] == ["PENDING"]
    for dsn, words in (
        (database.transaction_dsn, REFUSED_TO_THE_ROLE),
        (database.owner_dsn, REFUSED_TO_THE_OWNER),
    ):
        with session(dsn) as cursor, pytest.raises(psycopg2.errors.InsufficientPrivilege, match=words):
            cursor.execute(f"UPDATE transactions.transaction SET {column} = {column} WHERE id = %s", (waiting.id,))  # noqa: S608 - our own words


@pytest.mark.parametrize("role", ["transaction_dsn", "owner_dsn"])
def test_what_is_pending_gets_its_outcome(ledger: Ledger, database: Database, role: str) -> None:
    waiting = transfer("wallets/nobody", "wallets/no-one", terms=Terms(deferred=True))
    assert [code(answer) for answer in ledger.post(waiting)] == ["PENDING"]
    with session(getattr(database, role)) as cursor:
        cursor.execute(
            "UPDATE transactions.transaction SET state = 2, failure_reason = 'TRANSFER_CANCELLED', decide_time = now(),"
            " failure_metadata = '{}', xid = pg_current_xact_id()::text::bigint WHERE id = %s",
            (waiting.id,),
        )
        assert cursor.rowcount == 1


def test_rows_are_added_beside(ledger: Ledger) -> None:
    name = f"wallets/{uuid4()}"
    ledger.open(account(name))
    assert [code(answer) for answer in ledger.post(deposit(name, 1))] == ["POSTED"]
