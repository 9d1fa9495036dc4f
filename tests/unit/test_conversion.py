"""Transactions and entries as callers see them."""

from datetime import timedelta

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from specie.transaction.v1 import Posting, TransactionKind, TransactionState
from specie.type.v1 import Money

from tests.kit.builders import FEES, NOON, account, capture, compound, fee, placing, reversal, transfer
from tests.kit.calls import usd
from transaction_service.domain.failure import Failure, Reason
from transaction_service.domain.movement import Entry, Movement, Transaction
from transaction_service.domain.movement import TransactionState as State
from transaction_service.domain.terms import Terms
from transaction_service.ports import Line
from transaction_service.rpc.convert import entry_message, transaction_message

LATER = NOON + timedelta(hours=1)


def at(time: object) -> Timestamp:
    message = Timestamp()
    message.FromDatetime(time)  # type: ignore[arg-type] # a datetime
    return message


def posted(movement: Movement) -> Transaction:
    return Transaction(movement, State.POSTED, NOON, LATER)


def postings(*pairs: tuple[str, int]) -> list[Posting]:
    return [Posting(account=name, amount=usd(amount)) for name, amount in pairs]


def test_a_plain_one_has_nothing_of_what_others_have() -> None:
    message = transaction_message(posted(transfer(labels={"a": "b"})))
    told = {field.name for field, _ in message.ListFields()}
    assert told == {
        *("name", "kind", "state", "source", "destination", "amount", "labels", "principal", "request_id"),
        *("create_time", "decide_time", "post_time"),
    }
    assert message.name == f"transactions/{transfer(request_id=message.request_id).id}"
    assert (message.create_time, message.decide_time, message.post_time) == (at(NOON), at(LATER), at(LATER))


def test_times_tell_what_became_of_it() -> None:
    movement = transfer(terms=Terms(deferred=True))
    pending = transaction_message(Transaction(movement, State.PENDING, NOON, NOON))
    assert pending.state == TransactionState.TRANSACTION_STATE_PENDING
    assert not pending.HasField("decide_time")
    assert not pending.HasField("post_time")
    assert pending.execute_time == at(NOON)
    failure = Failure(Reason.SOURCE_FROZEN, {"wallet": "wallets/alice"})
    failed = transaction_message(Transaction(movement, State.FAILED, NOON, LATER, failure))
    assert failed.decide_time == at(LATER)
    assert not failed.HasField("post_time")
    assert failed.error.message == "wallets/alice is frozen and cannot pay; unfreeze it first"


def test_a_scheduled_one_tells_when_it_is_due() -> None:
    movement = transfer(terms=Terms(deferred=True, execute_time=LATER))
    assert transaction_message(Transaction(movement, State.PENDING, NOON, NOON)).execute_time == at(LATER)


@pytest.mark.parametrize(("included", "paid", "received"), [(False, 103, 100), (True, 100, 97)])
def test_a_fee_is_told_with_all_postings(included: bool, paid: int, received: int) -> None:
    message = transaction_message(posted(transfer(amount=100, terms=fee(3, included=included))))
    assert (message.amount, message.fee, message.fee_destination) == (usd(100), usd(3), FEES)
    expected = postings(("wallets/alice", -paid), ("wallets/bob", received), (FEES, 3))
    assert list(message.postings) == expected


def test_a_compound_one_is_its_postings() -> None:
    movement = compound(("alice", -5), ("bob", 2), ("carol", 3), ("dave", -7, "EUR"), ("erin", 7, "EUR"))
    message = transaction_message(posted(movement))
    assert (message.source, message.destination, message.HasField("amount")) == ("", "", False)
    assert {(p.account, p.amount.minor_units, p.amount.currency_code) for p in message.postings} == {
        *(("wallets/alice", -5, "USD"), ("wallets/bob", 2, "USD"), ("wallets/carol", 3, "USD")),
        *(("wallets/dave", -7, "EUR"), ("wallets/erin", 7, "EUR")),
    }
    back = transaction_message(posted(reversal(movement)))
    assert {p.amount.minor_units for p in back.postings} == {5, -2, -3, 7, -7}
    assert back.reverses == message.name


def test_reversals_and_holds_name_what_they_are_about() -> None:
    original = transfer()
    back = transaction_message(posted(reversal(original, 4)))
    assert (back.kind, back.reverses) == (
        TransactionKind.TRANSACTION_KIND_REVERSAL,
        f"transactions/{original.id}",
    )
    assert (back.amount, list(back.postings), back.hold) == (Money(currency_code="USD", minor_units=4), [], "")
    placed = placing()
    for movement in (placed, capture(placed, 1)):
        message = transaction_message(posted(movement))
        assert (message.hold, message.reverses) == (f"holds/{placed.id}", "")


PAID = transfer(amount=100, terms=fee(3, "house"))
SIDES = [
    (transfer(), "alice", -10, "wallets/bob"),
    (transfer(), "bob", 10, "wallets/alice"),
    (PAID, "alice", -103, "wallets/bob"),
    (PAID, "bob", 100, "wallets/alice"),
    (PAID, "house", 3, "wallets/alice"),
    (reversal(PAID), "bob", -100, "wallets/alice"),
    (reversal(PAID), "alice", 103, "wallets/bob"),
    (reversal(PAID), "house", -3, "wallets/alice"),
    (compound(("alice", -1), ("bob", 1)), "alice", -1, ""),
    (reversal(compound(("alice", -1), ("bob", 1))), "alice", 1, ""),
]


@pytest.mark.parametrize(("movement", "of", "amount", "expected"), SIDES)
def test_the_other_side_of_an_entry(movement: Movement, of: str, amount: int, expected: str) -> None:
    mine = account(of)
    line = Line(Entry(mine.id, 7, movement.id, amount, 50, LATER), posted(movement))
    message = entry_message(line, mine)
    assert (message.wallet, message.counterparty, message.sequence) == (f"wallets/{of}", expected, 7)
    assert (message.amount, message.balance, message.post_time) == (usd(amount), usd(50), at(LATER))
    assert message.transaction == f"transactions/{movement.id}"
