"""The checks behind the guards: a forged book raises InvariantViolation."""

from collections.abc import Callable

import pytest

from tests.kit.builders import account, book, transfer
from transaction_service.domain.account import INT64_MAX, INT64_MIN
from transaction_service.domain.failure import InvariantViolation
from transaction_service.domain.ledger import Book, check_group, decide


def posted() -> tuple[Book, dict[str, int]]:
    """Two movements in a sound book, and the balances before."""
    accounts = [account("alice", 90), account("bob", 5), account("carol", 7)]
    before = {a.id: a.balance for a in accounts}
    group = book(accounts)
    decide(group, transfer("alice", "bob", 30))
    decide(group, transfer("bob", "alice", 5))
    return group, before


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


def _untouched(group: Book) -> None:
    group.changed["wallets/carol"] = group.accounts["wallets/carol"]
    group.changed["wallets/carol"].balance = 8


def test_a_sound_group_passes() -> None:
    check_group(*posted())
    check_group(book([]), {})


@pytest.mark.parametrize("forge", [_balance, _amount, _lost, _lost_pair, _doubled, _elsewhere, _untouched])
def test_a_forged_group_is_found(forge: Callable[[Book], None]) -> None:
    group, before = posted()
    forge(group)
    with pytest.raises(InvariantViolation, match=r"sum to 0|plus the entries"):
        check_group(group, before)


@pytest.mark.parametrize("amount", [0, -1, INT64_MIN, INT64_MAX + 1])
def test_an_amount_that_is_none_is_never_posted(amount: int) -> None:
    """The contract lets no such request in, so one that gets here is a bug; a negative one would move money back."""
    group = book([account("alice", INT64_MAX, credit=INT64_MAX), account("bob", -5, credit=10)])
    with pytest.raises(InvariantViolation, match="amount"):
        decide(group, transfer("alice", "bob", amount))
    assert group.entries == []


def test_posting_past_the_guards_is_caught_at_the_floor() -> None:
    alice, bob = account("alice", 9), account("bob")
    with pytest.raises(InvariantViolation, match="below its floor"):
        book([alice, bob]).post(transfer(amount=10), alice, bob)


@pytest.mark.parametrize(("source", "destination"), [(INT64_MIN, 0), (0, INT64_MAX)])
def test_posting_past_the_guards_is_caught_at_the_ends_of_int64(source: int, destination: int) -> None:
    alice, bob = account("alice", source, floor=None), account("bob", destination)
    with pytest.raises(InvariantViolation, match="leaves int64"):
        book([alice, bob]).post(transfer(amount=1), alice, bob)


def test_an_account_that_is_below_its_floor_already_can_be_paid() -> None:
    """A floor can rise only to what is available, but the check must not stand in the way of coming back up."""
    alice, bob = account("alice", 10), account("bob", -50)
    group = book([alice, bob])
    decide(group, transfer(amount=10))
    assert bob.balance == -40
