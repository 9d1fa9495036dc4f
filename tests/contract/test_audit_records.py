"""Every attempt is on record with what it changed, on PostgreSQL; its filters agree with the ledger's own."""

import asyncio
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest

from service_kit.database import Database as Connections
from tests.kit.builders import capture, code, compound, deposit, fee, placing, reversal, transfer
from tests.kit.ledgers import Ledger, funded, postgres_ledger
from tests.kit.postgres import Database
from tests.kit.tokens import IDENTITY
from transaction_service.adapters.audit_records import SqlAuditRecords
from transaction_service.domain.movement import TransactionKind, TransactionState
from transaction_service.domain.terms import Terms
from transaction_service.ports import AuditRecord, Position, TransactionFilter
from transaction_service.settings import TransactionSettings

Told = list[tuple[str, int, int, int]]


@pytest.fixture
def ledger(database: Database) -> Iterator[Ledger]:
    with postgres_ledger(database) as opened:
        yield opened


@pytest.fixture(scope="module")
def records(database: Database) -> Iterator[SqlAuditRecords]:
    connections = connections_to(database)
    yield SqlAuditRecords(connections)
    connections.close()


def connections_to(database: Database) -> Connections:
    return Connections(TransactionSettings(database_dsn=database.transaction_dsn, **IDENTITY), "test")


def listed(records: SqlAuditRecords, page_size: int = 1000, **wanted: object) -> list[AuditRecord]:
    """All pages."""
    found: list[AuditRecord] = []
    after: Position | None = None
    while True:
        page, after = asyncio.run(records.page(TransactionFilter(**wanted), after, page_size))  # type: ignore[arg-type]
        found += page
        if after is None:
            return found


def told(record: AuditRecord) -> Told:
    """Account, number, before and after of each change."""
    return [(c.account, c.entry.seq, c.entry.balance - c.entry.amount, c.entry.balance) for c in record.changes]


def one(records: SqlAuditRecords, id_: str) -> AuditRecord:
    [record] = listed(records, id=id_)
    return record


def test_a_transfer_has_changed_two_accounts(ledger: Ledger, records: SqlAuditRecords) -> None:
    alice, bob = funded(ledger, 50, "alice", "bob")
    paid = transfer(alice, bob, 20)
    ledger.post(paid)
    assert told(one(records, paid.id)) == [(alice, 2, 50, 30), (bob, 2, 50, 70)]


def test_a_fee_a_compound_and_a_reversal_name_each_account(ledger: Ledger, records: SqlAuditRecords) -> None:
    alice, bob, carol = funded(ledger, 100, "alice", "bob", "carol")
    with_fee = transfer(alice, bob, 10, terms=fee(3, carol))
    split = compound((alice, -7), (bob, 3), (carol, 4))
    back = reversal(with_fee)
    assert [code(answer) for answer in ledger.post(with_fee, split, back)] == ["POSTED"] * 3
    assert told(one(records, with_fee.id)) == [(alice, 2, 100, 87), (bob, 2, 100, 110), (carol, 2, 100, 103)]
    assert told(one(records, split.id)) == [(alice, 3, 87, 80), (bob, 3, 110, 113), (carol, 3, 103, 107)]
    assert told(one(records, back.id)) == [(alice, 4, 80, 93), (bob, 4, 113, 103), (carol, 4, 107, 104)]


def test_what_moves_nothing_has_changed_nothing(ledger: Ledger, records: SqlAuditRecords) -> None:
    alice, bob = funded(ledger, 50, "alice", "bob")
    poor, placed = transfer(alice, bob, 51), placing(alice, bob, 20)
    waiting = transfer(alice, bob, 1, terms=Terms(deferred=True))
    answers = [code(answer) for answer in ledger.post(poor, placed, waiting)]
    assert answers == ["INSUFFICIENT_FUNDS", "POSTED", "PENDING"]
    for movement in (poor, placed, waiting):
        assert told(one(records, movement.id)) == []
    captured = capture(placed, 5)
    ledger.post(captured)
    assert told(one(records, captured.id)) == [(alice, 2, 50, 45), (bob, 2, 50, 55)]


def test_many_of_one_moment_are_told_apart(ledger: Ledger, records: SqlAuditRecords) -> None:
    """A group has one time: there the entries of an account differ by number only."""
    alice, bob = funded(ledger, 1000, "alice", "bob")
    ledger.post(*[transfer(alice, bob, amount) for amount in range(1, 31)])
    found = listed(records, account=alice, state=TransactionState.POSTED)
    assert {(record.transaction.decide_time) for record in found[:30]} == {found[0].transaction.decide_time}
    for record in found[:30]:
        amount = record.transaction.movement.amount
        changes = told(record)
        assert [name for name, *_ in changes] == [alice, bob]
        assert [after - before for _, _, before, after in changes] == [-amount, amount]
    of_alice = sorted(told(record)[0] for record in found[:30])
    assert all(now[2] == then[3] for then, now in pairwise(of_alice))


def test_a_page_has_the_transactions_that_the_ledger_lists(ledger: Ledger, records: SqlAuditRecords) -> None:
    alice, bob = funded(ledger, 50, "alice", "bob")
    for amount in (10, 60, 5, 70):
        ledger.post(transfer(alice, bob, amount, principal="ben" if amount > 50 else "ann", trace_id=f"t-{amount}"))
    for wanted in (
        {"account": alice},
        {"account": alice, "state": TransactionState.FAILED},
        {"account": alice, "kind": TransactionKind.DEPOSIT},
        {"account": bob, "principal": "ben"},
        {"trace_id": "t-5", "account": bob},
    ):
        expected = ledger.transactions(**wanted)
        assert expected
        for page_size in (1, 2, 1000):
            assert [record.transaction for record in listed(records, page_size, **wanted)] == expected


@pytest.mark.parametrize(
    ("other", "found"),
    [
        ({}, True),
        ({"principal": "ann"}, True),
        ({"principal": "ben"}, False),
        ({"trace_id": "t"}, True),
        ({"trace_id": "u"}, False),
        ({"state": TransactionState.FAILED}, False),
        ({"kind": TransactionKind.TRANSFER}, True),
        ({"account": "wallets/somebody"}, False),
        ({"account": "system/cash-usd"}, False),
    ],
)
def test_one_is_found_by_its_id_if_the_other_filters_match(
    ledger: Ledger, records: SqlAuditRecords, other: dict[str, Any], found: bool
) -> None:
    alice, bob = funded(ledger, 50, "alice", "bob")
    paid = transfer(alice, bob, 1, principal="ann", trace_id="t")
    ledger.post(paid)
    assert [r.transaction.movement.id for r in listed(records, id=paid.id, **other)] == [paid.id] * found
    assert len(listed(records, id=paid.id, account=alice)) == 1


def test_deposits_are_of_the_outside_world(ledger: Ledger, records: SqlAuditRecords) -> None:
    [alice] = funded(ledger, 5, "alice")
    paid_in = deposit(alice, 7)
    ledger.post(paid_in)
    [cash, own] = told(one(records, paid_in.id))
    assert (cash[0], own) == ("system/cash-usd", (alice, 2, 5, 12))
    assert cash[3] - cash[2] == -7
