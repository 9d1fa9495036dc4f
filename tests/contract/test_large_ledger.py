"""The large ledger that benchmarks and query plans are tried on is as sound as one that the service has posted."""

import pytest

from bench.large import load
from tests.kit.auditor import audit
from tests.kit.ledger import Ledger
from tests.kit.postgres import Database

ACCOUNTS, ENTRIES = 150, 6000


@pytest.fixture(scope="module")
def ledger(database: Database) -> Ledger:
    load(database.owner_dsn, ACCOUNTS, ENTRIES)
    return Ledger(database)


def test_its_books_are_sound(ledger: Ledger, database: Database) -> None:
    audit(database.owner_dsn, floors_never_changed=True)
    assert ledger.query("SELECT count(*) FROM transactions.account WHERE version > 0") == [(ACCOUNTS + 1,)]


def test_it_has_what_it_was_asked_for(ledger: Ledger) -> None:
    rows = ledger.rows()
    assert (rows.posted, rows.entries) == (ENTRIES // 2, ENTRIES)
    assert rows.failed == ENTRIES // 2 // 100


def test_its_groups_came_one_after_the_other(ledger: Ledger) -> None:
    """As the service's: one time and one commit each."""
    groups = ledger.query(
        "SELECT xid, min(decide_time), max(decide_time), count(*) FROM transactions.transaction"
        " GROUP BY xid ORDER BY xid"
    )
    assert [(count, first == last) for _, first, last, count in groups] == [(1010, True)] * 3
    times = [first for _, first, _, _ in groups]
    assert times == sorted(set(times))


def test_it_refuses_what_cannot_be_funded(database: Database) -> None:
    with pytest.raises(ValueError, match="too few"):
        load(database.owner_dsn, 10, 19)
