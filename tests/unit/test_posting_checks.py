"""The checks behind the guards: a forged book raises InvariantViolation."""

from collections.abc import Callable

import pytest

from tests.kit.builders import account, amounts, book, capture, placing, transfer
from transaction_service.domain.account import INT64_MAX, INT64_MIN
from transaction_service.domain.book import Amounts, Book, check_group
from transaction_service.domain.failure import InvariantViolation
from transaction_service.domain.hold import Hold
from transaction_service.domain.ledger import decide
from transaction_service.domain.terms import Posting


def posted() -> tuple[Book, dict[str, Amounts], dict[str, Hold]]:
    """A sound book of two movements, a new hold and a part of an older one captured, and what there was before."""
    placed = placing("carol", "bob", 5)
    group = book([account("alice", 90), account("bob", 5), account("carol", 7)])
    decide(group, placed)
    before = amounts(group.accounts.values())
    group = book(list(group.accounts.values()), holds=list(group.holds.values()))
    holds = dict(group.holds)
    for movement in (
        transfer("alice", "bob", 30),
        transfer("bob", "alice", 5),
        capture(placed, 2),
        placing("alice", "bob", 4),
    ):
        decide(group, movement)
    return group, before, holds


def _balance(group: Book) -> None:
    group.accounts["wallets/alice"].balance += 1


def _amount(group: Book) -> None:
    group.entries[0] = group.entries[0]._replace(amount=-29)


def _lost(group: Book) -> None:
    group.entries.pop()


def _lost_pair(group: Book) -> None:
    del group.entries[:2]


def _doubled(group: Book) -> None:
    group.entries.append(group.entries[-1])


def _elsewhere(group: Book) -> None:
    group.entries[0] = group.entries[0]._replace(transaction_id=transfer().id)


def _other_currency(group: Book) -> None:
    group.accounts["wallets/bob"].currency = "EUR"


def _held(group: Book) -> None:
    group.accounts["wallets/alice"].held += 1


def _lost_hold(group: Book) -> None:
    group.changed_holds.popitem()


def _wrong_hold(group: Book) -> None:
    hold = next(iter(group.changed_holds.values()))
    group.changed_holds[hold.id] = hold._replace(captured=hold.captured + 1)


def test_a_sound_group_passes() -> None:
    check_group(*posted())
    check_group(book([]), {}, {})


@pytest.mark.parametrize(
    "forge",
    [
        _balance,
        _amount,
        _lost,
        _lost_pair,
        _doubled,
        _elsewhere,
        _other_currency,
        _held,
        _lost_hold,
        _wrong_hold,
    ],
)
def test_a_forged_group_is_found(forge: Callable[[Book], None]) -> None:
    group, before, holds = posted()
    forge(group)
    with pytest.raises(InvariantViolation, match=r"sum to 0|plus what was moved"):
        check_group(group, before, holds)


def test_a_posting_of_0_is_never_entered() -> None:
    """The contract lets no such request in, so one that gets here is a bug."""
    group = book([account("alice", 90), account("bob")])
    with pytest.raises(InvariantViolation, match="a posting of 0"):
        decide(group, transfer("alice", "bob", 0))


def test_posting_past_the_guards_is_caught_at_the_floor() -> None:
    alice = account("alice", 9)
    with pytest.raises(InvariantViolation, match="below its floor after a debit"):
        book([alice]).post(transfer(amount=10), [Posting(alice.name, -10, "USD")])


def test_what_is_held_is_above_the_floor_too() -> None:
    alice = account("alice", 9, held=4)
    with pytest.raises(InvariantViolation, match="below its floor after a debit"):
        book([alice]).post(transfer(amount=6), [Posting(alice.name, -6, "USD")])


@pytest.mark.parametrize(("balance", "amount"), [(INT64_MIN, -1), (INT64_MAX, 1)])
def test_posting_past_the_guards_is_caught_at_the_ends_of_int64(balance: int, amount: int) -> None:
    alice = account("alice", balance, floor=None)
    with pytest.raises(InvariantViolation, match="leaves int64"):
        book([alice]).post(transfer(amount=1), [Posting(alice.name, amount, "USD")])


def test_reserving_past_the_guards_is_caught() -> None:
    alice = account("alice", 9, held=4)
    with pytest.raises(InvariantViolation, match="below its floor after a hold"):
        book([alice]).reserve(alice, 6)
    with pytest.raises(InvariantViolation, match="less than nothing is held"):
        book([alice]).reserve(alice, -11)


def test_an_account_that_is_below_its_floor_already_can_be_paid() -> None:
    """A floor can rise only to what is available, but the check must not stand in the way of coming back up."""
    alice, bob = account("alice", 10), account("bob", -50)
    group = book([alice, bob])
    decide(group, transfer(amount=10))
    assert bob.balance == -40
