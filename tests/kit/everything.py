"""A small sound ledger in which there is something of everything, to be tampered with."""

from datetime import timedelta
from uuid import uuid4

from tests.kit.builders import (
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
from tests.kit.ledgers import postgres_ledger
from tests.kit.postgres import Database
from transaction_service.domain.identity import account_id
from transaction_service.domain.movement import Manner, Work
from transaction_service.domain.terms import PayoutDestination, Terms

DEFERRED = Terms(deferred=True)
PAID, WITH_FEE, POOR = transfer("alice", "bob", 30), transfer("alice", "bob", 40, terms=fee(4)), transfer("bob", "x", 9)
SPLIT = compound(("alice", -6), ("bob", 1), ("bob", 2), ("carol", 3), ("erin", -5, "EUR"), ("euro", 5, "EUR"))
OPEN, FINAL, FREED = placing("alice", "bob", 11), placing("alice", "carol", 12), placing("alice", "bob", 13)
OVER = placing("bob", "alice", 14, ttl=timedelta(microseconds=1))
CAPTURED, RELEASED = capture(OPEN, 4), release(FREED)
BANK = PayoutDestination("bank", "DE89 3704", "Ann")
PAID_OUT = withdrawal("alice", 9, terms=fee(2, included=True)._replace(payout=BANK))
WAITING, DUE = transfer("alice", "bob", 15, terms=DEFERRED), transfer("alice", "bob", 16, terms=DEFERRED)
POSTS = [
    (deposit("alice", 500), "POSTED"),
    (deposit("bob", 20), "POSTED"),
    (deposit("erin", 50, currency="EUR"), "POSTED"),
    (PAID, "POSTED"),
    (WITH_FEE, "POSTED"),
    (SPLIT, "POSTED"),
    (POOR, "DESTINATION_NOT_FOUND"),
    (OPEN, "POSTED"),
    (FINAL, "POSTED"),
    (FREED, "POSTED"),
    (OVER, "POSTED"),
    (WAITING, "PENDING"),
    (DUE, "PENDING"),
    (reversal(PAID, 10), "POSTED"),
    (reversal(WITH_FEE), "POSTED"),
    (CAPTURED, "POSTED"),
    (capture(FINAL, 5, final=True), "POSTED"),
    (RELEASED, "POSTED"),
    (expiry(OVER), "POSTED"),
    (withdrawal("bob", 3), "POSTED"),
    (PAID_OUT, "POSTED"),
]
VALUES = {name: account_id(f"wallets/{name}") for name in ("alice", "bob", "carol", "erin", "empty")} | {
    "paid": PAID.id,
    "split": SPLIT.id,
    "with_fee": WITH_FEE.id,
    "waiting": WAITING.id,
    "poor": POOR.id,
    "open": OPEN.id,
    "freed": FREED.id,
    "captured": CAPTURED.id,
    "paid_out": PAID_OUT.id,
    "nobody": str(uuid4()),
    "never": str(uuid4()),
}
"""What statements of tests may name."""


def post_something_of_everything(database: Database) -> None:
    """Into an empty one."""
    with postgres_ledger(database) as ledger:
        ledger.open(*[account(name) for name in ("alice", "bob", "carol", "empty")])
        ledger.open(*[account(name, currency="EUR") for name in ("erin", "euro")])
        assert [code(ledger.post(movement)[0]) for movement, _ in POSTS] == [expected for _, expected in POSTS]
        assert [code(answer) for answer in ledger.work(Work([DUE], Manner.DUE))] == ["POSTED"]
