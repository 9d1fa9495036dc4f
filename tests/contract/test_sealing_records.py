"""The record of a transaction: all of it, the same in every session, and another one when anything is changed."""

import asyncio
import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import psycopg2
import pytest
from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor  # noqa: N812 - a class with a function's name
from sqlalchemy import Column, DateTime, Integer, Table, Uuid
from sqlalchemy.dialects.postgresql import JSONB

from tests.kit.builders import capture, fee, placing, reversal, transfer
from tests.kit.ledgers import Ledger, funded, postgres_ledger
from tests.kit.postgres import Database
from tests.kit.sealing import Chain, SealedBlock, chain_of
from tests.kit.tampering import unguarded
from transaction_service.adapters.tables import entry, transaction
from transaction_service.domain.movement import Movement
from transaction_service.sealing.ports import Proven

ODD = 'quote " backslash \\ line\nfeed ünïcode \u2028 \U0001f4b6 \x1b {"a":1}'
FORMS = [("timezone", "Asia/Kathmandu"), ("datestyle", "SQL, DMY")]


@pytest.fixture(scope="module")
def ledger(database: Database) -> Iterator[Ledger]:
    with postgres_ledger(database) as opened:
        yield opened


@pytest.fixture(scope="module")
def chain(database: Database) -> Iterator[Chain]:
    with chain_of(database) as opened:
        yield opened


@pytest.fixture(scope="module")
def rich(ledger: Ledger, chain: Chain) -> Movement:
    """A sealed transaction with something in every column that one may have, but what only a FAILED one has."""
    alice, bob, shop = funded(ledger, 1000, "alice", "bob", "shop")
    placed = placing(alice, bob, 100)
    ledger.post(placed)
    captured = capture(
        placed,
        amount=60,
        terms=fee(5, shop),
        description=ODD,
        labels={"order": ODD, "a": "b"},
        external_reference=ODD,
        trace_id=ODD,
        principal=ODD,
        request_id=ODD,
    )
    ledger.post(captured)
    chain.seal_all()
    return captured


def proven(chain: Chain, transaction_id: str) -> Proven:
    found = asyncio.run(chain.blocks.proof(transaction_id))
    assert isinstance(found, Proven)
    return found


def record_of(chain: Chain, transaction_id: str) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads(proven(chain, transaction_id).record)
    return facts


def block_of(chain: Chain, movement: Movement) -> SealedBlock:
    return next(block for block in chain.all() if movement.id in block.ids)


def row(cursor: Cursor, table: str, key: str, value: str) -> dict[str, Any]:
    query = sql.SQL("SELECT to_jsonb(found) FROM transactions.{} AS found WHERE {} = %s ORDER BY 1::text LIMIT 1")
    cursor.execute(query.format(sql.Identifier(table), sql.Identifier(key)), (value,))
    [[found]] = cursor.fetchall()
    assert isinstance(found, dict)
    return found


def test_every_column_is_in_the_record(ledger: Ledger, chain: Chain, rich: Movement) -> None:
    failed = transfer("wallets/nobody", rich.source or "wallets/x", 1)
    back = reversal(rich)
    ledger.post(failed, back)
    chain.seal_all()
    records = [record_of(chain, movement.id) for movement in (rich, failed, back)]
    assert {name for record in records for name in record} == {*transaction.c.keys(), "entries"}
    assert {name for record in records for each in record["entries"] for name in each} == {*entry.c.keys()} - {
        "transaction_id"
    }, "whose entries they are the record says already"


def test_the_record_says_what_the_rows_say(database: Database, chain: Chain, rich: Movement) -> None:
    record = record_of(chain, rich.id)
    with unguarded(database.owner_dsn) as cursor:
        cursor.execute("SET timezone = 'UTC'")
        stored = row(cursor, "transaction", "id", rich.id)
    for name, value in stored.items():
        if name.endswith("_time"):
            assert record[name].replace(" ", "T") == value.removesuffix("+00:00")
        elif value is None:
            assert name not in record
        else:
            assert record[name] == value
    assert [(each["account_id"], each["seq"]) for each in record["entries"]] == sorted(
        (each["account_id"], each["seq"]) for each in record["entries"]
    )
    assert sum(each["amount"] for each in record["entries"]) == 0


@pytest.mark.parametrize(("setting", "value"), FORMS)
def test_no_setting_of_the_database_changes_a_byte(
    database: Database, chain: Chain, rich: Movement, setting: str, value: str
) -> None:
    before = proven(chain, rich.id).record
    owner = psycopg2.connect(database.owner_dsn)
    try:
        owner.autocommit = True
        with owner.cursor() as cursor:
            names = sql.Identifier(owner.info.dbname), sql.Identifier(setting)
            cursor.execute(sql.SQL("ALTER DATABASE {} SET {} TO {}").format(*names, sql.Literal(value)))
            with chain_of(database) as other:
                assert proven(other, rich.id).record == before
            cursor.execute(sql.SQL("ALTER DATABASE {} RESET {}").format(*names))
    finally:
        owner.close()


def changed_to(column: Column[Any], value: Any) -> Any:  # noqa: ANN401 - a value of any column
    """Another value for this column."""
    match column.type:
        case DateTime():
            return value + timedelta(microseconds=1)
        case Integer():
            return value + 1000
        case JSONB():
            return json.dumps({**(value or {}), "x": "y"})
        case Uuid():
            return "00000000-0000-0000-0000-0000000000ff"
    return (value or "") + " "


COLUMNS = [(table, column) for table in (transaction, entry) for column in table.c]


@pytest.mark.parametrize(("table", "column"), COLUMNS, ids=lambda it: getattr(it, "name", ""))
def test_a_change_of_any_column_is_seen(
    database: Database, chain: Chain, rich: Movement, table: Table, column: Column[Any]
) -> None:
    sealed = block_of(chain, rich)
    assert chain.is_as_sealed(sealed)
    key = "id" if table is transaction else "transaction_id"
    with unguarded(database.owner_dsn) as cursor:
        names = sql.Identifier(table.name), sql.Identifier(column.name), sql.Identifier(key)
        find = sql.SQL("SELECT ctid::text, {1} FROM {0} WHERE {2} = %s ORDER BY 1 LIMIT 1").format(*names)
        cursor.execute(find, (rich.id,))
        [[place, value]] = cursor.fetchall()
        drop_checks(cursor, table)
        change = sql.SQL("UPDATE {0} SET {1} = %s WHERE ctid = %s RETURNING ctid::text").format(*names)
        cursor.execute(change, (changed_to(column, value), place))
        [[place]] = cursor.fetchall()
        cursor.connection.commit()
        assert not chain.is_as_sealed(sealed), f"{table.name}.{column.name}"
        restored = json.dumps(value) if isinstance(value, dict) else value
        cursor.execute(change, (restored, place))
        cursor.connection.commit()
    assert chain.is_as_sealed(sealed)


def drop_checks(cursor: Cursor, table: Table) -> None:
    """Of the table: who can do everything can do that, too."""
    cursor.execute(
        "SELECT conname FROM pg_constraint WHERE contype = 'c' AND conrelid = %s::regclass",
        (f"transactions.{table.name}",),
    )
    for (name,) in cursor.fetchall():
        cursor.execute(
            sql.SQL("ALTER TABLE {} DROP CONSTRAINT {}").format(sql.Identifier(table.name), sql.Identifier(name))
        )
