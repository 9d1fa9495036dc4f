"""What may be set on an account."""

from dataclasses import replace
from typing import Any
from zoneinfo import ZoneInfoNotFoundError

import pytest

from tests.kit.builders import account
from transaction_service.domain.account import (
    INT64_MAX,
    Account,
    AccountKind,
    AccountState,
    Limits,
    Unchanged,
    Usage,
    cash,
    closes,
    payouts_under_way,
    same_identity,
    set_limits,
    set_state,
    system_account,
    zone,
)
from transaction_service.domain.failure import Failure, Reason
from transaction_service.domain.identity import account_id

OPEN, FROZEN, CLOSED = AccountState

# The account is at revision 7.
STATES = [
    # is       balance held wanted  revision  expected
    (OPEN, 0, 0, FROZEN, 8, "FROZEN at 8"),
    (OPEN, 5, 3, FROZEN, 8, "FROZEN at 8"),
    (OPEN, -5, 0, FROZEN, 7, "FROZEN at 7"),
    (FROZEN, 5, 0, OPEN, 9, "OPEN at 9"),
    (OPEN, 0, 0, CLOSED, 8, "CLOSED at 8"),
    (FROZEN, 0, 0, CLOSED, 8, "CLOSED at 8"),
    (OPEN, 1, 0, CLOSED, 8, "WALLET_NOT_EMPTY"),
    (OPEN, -1, 0, CLOSED, 8, "WALLET_NOT_EMPTY"),
    (FROZEN, 0, 1, CLOSED, 8, "WALLET_NOT_EMPTY"),
    (CLOSED, 0, 0, OPEN, 8, "WALLET_STATE"),
    (CLOSED, 0, 0, FROZEN, 8, "WALLET_STATE"),
    (OPEN, 0, 0, OPEN, 7, "unchanged"),
    (FROZEN, 0, 0, FROZEN, 7, "unchanged"),
    (CLOSED, 0, 0, CLOSED, 7, "unchanged"),
    (FROZEN, 0, 0, FROZEN, 8, "FROZEN at 8"),
    (CLOSED, 0, 0, CLOSED, 8, "CLOSED at 8"),
    (OPEN, 0, 0, FROZEN, 6, "STALE_REVISION"),
    (OPEN, 0, 0, OPEN, 6, "STALE_REVISION"),
    (OPEN, 1, 0, CLOSED, 6, "STALE_REVISION"),
    (CLOSED, 0, 0, OPEN, 6, "STALE_REVISION"),
]


@pytest.mark.parametrize(("state", "balance", "held", "wanted", "revision", "expected"), STATES)
def test_states(
    state: AccountState, balance: int, held: int, wanted: AccountState, revision: int, expected: str
) -> None:
    before = account(balance=balance, held=held, state=state, revision=7, credit=100)
    was = replace(before)
    change = set_state(before, wanted, revision)
    assert _told(change) == expected
    assert before == was
    if isinstance(change, Account):
        assert change == replace(before, state=wanted, revision=revision)


@pytest.mark.parametrize(
    ("was", "wanted", "expected"),
    [(OPEN, CLOSED, True), (FROZEN, CLOSED, True), (CLOSED, CLOSED, False), (OPEN, FROZEN, False)],
)
def test_what_closes_an_account(was: AccountState, wanted: AccountState, *, expected: bool) -> None:
    before = account(state=was, revision=7)
    assert closes(before, set_state(before, wanted, 8)) is expected


def test_what_is_refused_closes_nothing() -> None:
    before = account(balance=1, revision=7)
    assert not closes(before, set_state(before, CLOSED, 8))


def test_an_account_with_payouts_under_way_is_not_closed() -> None:
    failure = payouts_under_way(account("alice"), 3)
    assert failure == Failure(Reason.PAYOUTS_UNDER_WAY, {"wallet": "wallets/alice", "payouts": "3"})


# The account has 30 of which 10 are held, a credit line of 50, and is at revision 7.
LIMITS = [
    # state  available  limits  revision  expected
    (OPEN, 20, Limits(1, 2, 3, "Asia/Tokyo", 4), 8, "OPEN at 8"),
    (OPEN, 20, Limits(), 7, "OPEN at 7"),
    (FROZEN, 20, Limits(per_day=1), 8, "FROZEN at 8"),
    (OPEN, -50, Limits(credit=50), 8, "OPEN at 8"),
    (OPEN, -50, Limits(credit=49), 8, "FLOOR_ABOVE_BALANCE"),
    (OPEN, -1, Limits(), 8, "FLOOR_ABOVE_BALANCE"),
    (OPEN, 0, Limits(), 8, "OPEN at 8"),
    (OPEN, -50, Limits(credit=INT64_MAX), 8, "OPEN at 8"),
    (CLOSED, 0, Limits(), 8, "WALLET_STATE"),
    (CLOSED, 0, Limits(credit=50), 7, "WALLET_STATE"),
    (OPEN, 20, Limits(credit=50), 7, "unchanged"),
    (OPEN, 20, Limits(credit=50), 8, "OPEN at 8"),
    (OPEN, 20, Limits(), 6, "STALE_REVISION"),
    (OPEN, 20, Limits(credit=50), 6, "STALE_REVISION"),
    (CLOSED, 0, Limits(), 6, "STALE_REVISION"),
]


@pytest.mark.parametrize(("state", "available", "limits", "revision", "expected"), LIMITS)
def test_limits(state: AccountState, available: int, limits: Limits, revision: int, expected: str) -> None:
    before = account(balance=available + 10, held=10, state=state, revision=7, credit=50)
    was = replace(before)
    change = set_limits(before, limits, revision)
    assert _told(change) == expected
    assert before == was
    if isinstance(change, Account):
        assert change == replace(before, limits=limits, floor=-limits.credit, revision=revision)


def test_what_was_used_stays_used_unless_the_days_become_others() -> None:
    before = account(limits=Limits(per_day=100), usage=Usage(5, 60, 7, 8))
    same = set_limits(before, Limits(per_day=50), 1)
    assert isinstance(same, Account)
    assert same.usage == before.usage
    other = set_limits(before, Limits(per_day=50, time_zone="Asia/Tokyo"), 1)
    assert isinstance(other, Account)
    assert other.usage == Usage(0, 0, 7, 8)


def test_refusals_tell_why() -> None:
    assert _metadata(set_state(account(revision=7), FROZEN, 6)) == {"account": "wallets/alice", "revision": "7"}
    assert _metadata(set_state(account(state=CLOSED), OPEN, 1)) == {"wallet": "wallets/alice", "state": "CLOSED"}
    not_empty = _metadata(set_state(account(balance=5, held=3), CLOSED, 1))
    assert not_empty == {"wallet": "wallets/alice", "posted": "5", "held": "3"}
    too_low = _metadata(set_limits(account(balance=-5, held=3, credit=10), Limits(credit=7), 1))
    assert too_low == {"wallet": "wallets/alice", "available": "-8", "credit": "7"}
    assert _metadata(set_limits(account(state=CLOSED), Limits(), 1)) == {"wallet": "wallets/alice", "state": "CLOSED"}


@pytest.mark.parametrize(
    ("other", "same"),
    [
        ({}, True),
        ({"balance": 5, "version": 3, "state": FROZEN, "revision": 9, "credit": 7}, True),
        ({"limits": Limits(per_day=5)}, True),
        ({"owner": "thief"}, False),
        ({"currency": "EUR"}, False),
        ({"kind": AccountKind.PROVIDER}, False),
    ],
)
def test_same_identity(other: dict[str, Any], same: bool) -> None:
    assert same_identity(account(), account(**other)) is same


def test_a_system_account_has_the_currency_of_its_name_and_no_floor() -> None:
    opened = system_account(cash("USD"), account_id("system/cash-usd"))
    expected = account("system/cash-usd", owner="system", kind=AccountKind.SYSTEM, floor=None)
    assert opened == expected


@pytest.mark.parametrize("name", ["Mars/Olympus", "../etc/passwd", ""])
def test_unknown_zones_are_refused(name: str) -> None:
    with pytest.raises((ZoneInfoNotFoundError, ValueError)):
        zone(name)


def _told(change: object) -> str:
    match change:
        case Account():
            return f"{change.state.name} at {change.revision}"
        case Failure():
            return change.reason.value
        case Unchanged.UNCHANGED:
            return "unchanged"
    raise AssertionError(change)


def _metadata(change: object) -> dict[str, str]:
    assert isinstance(change, Failure)
    return change.metadata
