"""Sealing and reading back look at what they need only: by the index of entries by time, also on a ledger that nobody
has vacuumed, where PostgreSQL itself has put nothing into that index yet."""

import asyncio
from collections.abc import Iterator
from urllib.parse import quote

import psycopg2
import pytest

from bench import large
from tests.kit.plans import Plan, caught, explain
from tests.kit.postgres import Database
from tests.kit.sealing import Chain, chain_of
from tests.kit.tampering import unguarded

ENTRIES = 400_000
BLOCK = 1000
RANGE_PAGES = 128
PAGES_MAX = 4 * RANGE_PAGES + BLOCK
"""The ranges in which the entries of a block begin and end, with what is not in the index yet, and one for each
transaction. Whole, the table of entries has some 4,300 pages."""
WANTED = frozenset({"Bitmap Heap Scan", "Bitmap Index Scan"})
PLANNED_AS = "-c enable_seqscan=off -c enable_nestloop=off -c jit=off"


@pytest.fixture(scope="module")
def loaded(database: Database) -> Database:
    large.load(database.owner_dsn, accounts=1000, entries=ENTRIES)
    return database


@pytest.fixture
def chain(loaded: Database, monkeypatch: pytest.MonkeyPatch) -> Iterator[Chain]:
    monkeypatch.setattr("transaction_service.sealing.sealer.TRANSACTIONS_MAX", BLOCK)
    with chain_of(loaded) as opened:
        yield opened


def forget_index(database: Database) -> None:
    """As if all entries had just been appended."""
    connection = psycopg2.connect(database.owner_dsn)
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(
                "SELECT brin_desummarize_range('transactions.entry_post_time_idx', page) FROM generate_series(0,"
                " pg_relation_size('transactions.entry') / 8192 - 1, %s) AS page",
                (RANGE_PAGES,),
            )
    finally:
        connection.close()


def plans(database: Database, statements: list[str]) -> list[Plan]:
    """Of those that make records, planned as they are there."""
    dsn = f"{database.transaction_dsn}?options={quote(PLANNED_AS)}"
    return [explain(dsn, statement) for statement in statements if "decided AS MATERIALIZED" in statement]


def test_a_block_is_made_of_its_own_rows(loaded: Database, chain: Chain) -> None:
    forget_index(loaded)
    with caught() as statements:
        done = chain.seal()
    assert done.transactions == BLOCK
    [plan] = plans(loaded, statements)
    assert plan.nodes >= WANTED
    assert plan.blocks <= PAGES_MAX


def test_a_far_time_in_a_block_makes_it_read_no_more(loaded: Database, chain: Chain) -> None:
    sealed = sum(len(block.ids) for block in chain.all())
    with unguarded(loaded.owner_dsn) as cursor:
        cursor.execute(
            "UPDATE transaction SET decide_time = decide_time + interval '10 years'"
            " WHERE id = (SELECT id FROM transaction ORDER BY xid, id OFFSET %s LIMIT 1)",
            (sealed,),
        )
        assert cursor.rowcount == 1
    with caught() as statements:
        assert chain.seal().transactions == BLOCK
    [plan] = plans(loaded, statements)
    assert plan.nodes >= WANTED
    assert plan.blocks <= PAGES_MAX


def test_a_block_is_read_back_by_its_own_rows(loaded: Database, chain: Chain) -> None:
    forget_index(loaded)
    for _ in range(20):
        chain.seal()
    sealed = chain.all()[-1]
    with caught() as statements:
        assert len(chain.records(sealed)) == BLOCK
    for plan in plans(loaded, statements):
        assert plan.nodes >= WANTED
        assert plan.blocks <= PAGES_MAX


def test_a_record_is_read_for_its_proof_by_its_own_rows(loaded: Database, chain: Chain) -> None:
    chain.seal()
    [transaction_id, *_] = chain.all()[-1].ids
    with caught() as statements:
        asyncio.run(chain.blocks.proof(transaction_id))
    [plan] = plans(loaded, statements)
    assert plan.nodes >= WANTED
    assert plan.blocks <= PAGES_MAX


def test_what_waits_is_found_at_once_where_nothing_waits(loaded: Database, chain: Chain) -> None:
    connection = psycopg2.connect(loaded.owner_dsn)
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute("SELECT pg_current_xact_id()")  # so that the horizon is behind the last commit
    finally:
        connection.close()
    while chain.seal().block is not None:
        pass
    with caught() as statements:
        assert chain.seal().transactions == 0
    [plan] = plans(loaded, statements)
    assert plan.rows == 0
    assert plan.blocks < 20
