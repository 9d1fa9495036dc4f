"""Fees are postings of what they are for; conditions are looked at when it is posted."""

from dataclasses import replace
from typing import Any

import pytest

from tests.kit.builders import (
    FEES,
    account,
    amounts,
    book,
    cash_account,
    code,
    fee,
    fees_account,
    told,
    transfer,
    wallet,
    withdrawal,
)
from tests.kit.tables import rows
from transaction_service.domain.account import INT64_MAX, Account, AccountKind, AccountState, Limits
from transaction_service.domain.book import check_group
from transaction_service.domain.ledger import decide
from transaction_service.domain.movement import Movement
from transaction_service.domain.terms import Terms, fee_of

# One row an attempt, all of them one after the other, and what the four have afterwards. Alice begins with 100.
ATTEMPTS = """
# key  source  destination  amount  fee  paid-to  mode      expected                alice  bob  carol  fees
  1    alice   bob          50      5    fees     on-top    POSTED                  45     50   0      5
  2    alice   bob          41      5    fees     on-top    INSUFFICIENT_FUNDS      45     50   0      5
  3    alice   bob          40      5    fees     on-top    POSTED                  0      90   0      10
  1    alice   bob          50      5    fees     on-top    POSTED                  0      90   0      10
  1    alice   bob          50      6    fees     on-top    REQUEST_ID_REUSED       0      90   0      10
  1    alice   bob          50      5    carol    on-top    REQUEST_ID_REUSED       0      90   0      10
  1    alice   bob          50      5    fees     included  REQUEST_ID_REUSED       0      90   0      10
  1    alice   bob          50      -    -        -         REQUEST_ID_REUSED       0      90   0      10
  4    bob     alice        91      1    fees     included  INSUFFICIENT_FUNDS      0      90   0      10
  5    bob     alice        90      1    fees     included  POSTED                  89     0    0      11
  6    alice   bob          10      10   carol    on-top    POSTED                  69     10   10     11
  7    alice   bob          10      9    carol    included  POSTED                  59     11   19     11
  8    alice   bob          10      2    bob      on-top    POSTED                  47     23   19     11
  9    alice   bob          10      2    bob      included  POSTED                  37     33   19     11
  10   alice   bob          1       1    ghost    on-top    DESTINATION_NOT_FOUND   37     33   19     11
  11   ghost   bob          1       1    spirit   on-top    SOURCE_NOT_FOUND        37     33   19     11
  12   alice   bob          1       1    erin     on-top    CURRENCY_MISMATCH       37     33   19     11
  13   alice   bob          1       1    closed   on-top    DESTINATION_CLOSED      37     33   19     11
  14   alice   bob          1       1    frozen   on-top    POSTED                  35     34   19     11
  15   frozen  bob          1       1    closed   on-top    SOURCE_FROZEN           35     34   19     11
  16   alice   bob          2       2    full     on-top    BALANCE_OVERFLOW        35     34   19     11
  17   alice   full         3       1    carol    included  BALANCE_OVERFLOW        35     34   19     11
  18   alice   full         2       1    bob      included  POSTED                  33     35   19     11
  19   capped  bob          9       2    fees     on-top    TRANSACTION_LIMIT_EXCEEDED  33  35  19      11
  20   capped  bob          8       2    fees     on-top    POSTED                  33     43   19     13
  21   capped  bob          10      2    fees     included  DAILY_LIMIT_EXCEEDED    33     43   19     13
  22   capped  bob          5       2    fees     included  POSTED                  33     46   19     15
"""


def standing() -> list[Account]:
    return [
        account("alice", 100),
        account("bob"),
        account("carol"),
        account("erin", currency="EUR"),
        account("frozen", 90, state=AccountState.FROZEN),
        account("closed", state=AccountState.CLOSED),
        account("full", INT64_MAX - 1),
        account("capped", 100, limits=Limits(per_transaction=10, per_day=15)),
        fees_account(),
    ]


def movement(key: str, source: str, destination: str, amount: str, charged: str, paid_to: str, mode: str) -> Movement:
    if charged == "-":
        return transfer(source, destination, int(amount), f"key-{key}")
    payee = FEES if paid_to == "fees" else paid_to
    terms = fee(int(charged), payee, included=mode == "included")
    return transfer(source, destination, int(amount), f"key-{key}", terms=terms)


def test_every_attempt_of_the_table_gets_its_code_and_moves_what_it_says() -> None:
    group = book(standing())
    before = amounts(group.accounts.values())
    for *asked, expected, alice, bob, carol, fees in rows(ATTEMPTS):
        answer = code(decide(group, movement(*asked)))
        has = [group.accounts[name].balance for name in (*map(wallet, ("alice", "bob", "carol")), FEES)]
        assert (answer, has) == (expected, [int(alice), int(bob), int(carol), int(fees)]), asked
    check_group(group, before, {})


def test_a_fee_is_an_entry_of_the_same_transaction() -> None:
    group = book(standing())
    paid = transfer("alice", "bob", 50, terms=fee(5, "carol"))
    decide(group, paid)
    names = {account.id: account.name for account in group.accounts.values()}
    shown = [(names[e.account_id], e.seq, e.transaction_id, e.amount, e.balance) for e in group.entries]
    assert shown == [
        ("wallets/carol", 1, paid.id, 5, 5),
        ("wallets/bob", 1, paid.id, 50, 50),
        ("wallets/alice", 1, paid.id, -55, 45),
    ]


def test_what_is_needed_is_told_with_the_fee() -> None:
    answer = decide(book(standing()), transfer("alice", "bob", 99, terms=fee(2)))
    assert told(answer) == {"wallet": "wallets/alice", "available": "100", "amount": "101"}


def test_a_withdrawal_has_a_fee_too() -> None:
    bank = account("bank", kind=AccountKind.PROVIDER)
    group = book([*standing(), bank, cash_account()])
    for provider in ("", "wallets/bank"):
        assert code(decide(group, withdrawal("alice", 10, provider=provider, terms=fee(3)))) == "POSTED"
    has = [group.accounts[name].balance for name in ("wallets/alice", "wallets/bank", "system/cash-usd", FEES)]
    assert has == [74, 10, 10, 6]


# IEEE 754 roundTiesToEven: what lies exactly between two units becomes the even one.
ROUNDED = """
# amount               basis-points  fee
  100                  250           2
  100                  350           4
  100                  251           3
  100                  249           2
  1                    5000          0
  3                    5000          2
  1                    5001          1
  1                    10000         1
  199                  1             0
  9223372036854775807  10000         9223372036854775807
  9223372036854775807  5000          4611686018427387904
  9223372036854775805  5000          4611686018427387902
  9223372036854775807  1             922337203685478
"""


def test_fees_in_basis_points_are_rounded_half_to_even() -> None:
    for amount, basis_points, expected in rows(ROUNDED):
        assert fee_of(int(amount), int(basis_points)) == int(expected), (amount, basis_points)


# Alice has 100, of which 20 are held, at version 7.
CONDITIONS = [
    # terms, amount, expected
    ({"expected_version": 7}, 10, "POSTED"),
    ({"expected_version": 6}, 10, "VERSION_MISMATCH"),
    ({"expected_version": 8}, 10, "VERSION_MISMATCH"),
    ({"expected_version": 0}, 10, "VERSION_MISMATCH"),
    ({"minimum_after": 70}, 10, "POSTED"),
    ({"minimum_after": 71}, 10, "BALANCE_BELOW_MINIMUM"),
    ({"minimum_after": 0}, 80, "POSTED"),
    ({"minimum_after": 0}, 81, "INSUFFICIENT_FUNDS"),
    ({"minimum_after": -100}, 81, "INSUFFICIENT_FUNDS"),
    ({"minimum_after": 71, "expected_version": 6}, 10, "VERSION_MISMATCH"),
    ({"minimum_after": 70, "fee": fee(1).fee}, 10, "BALANCE_BELOW_MINIMUM"),
    ({"minimum_after": 70, "fee": fee(1, included=True).fee}, 10, "POSTED"),
]


@pytest.mark.parametrize(("conditions", "amount", "expected"), CONDITIONS)
def test_conditions(conditions: dict[str, Any], amount: int, expected: str) -> None:
    alice = account("alice", 100, held=20, version=7)
    group = book([alice, account("bob"), fees_account()])
    answer = decide(group, transfer("alice", "bob", amount, terms=Terms(**conditions)))
    assert code(answer) == expected
    if expected == "VERSION_MISMATCH":
        version = str(conditions["expected_version"])
        assert told(answer) == {"wallet": "wallets/alice", "version": "7", "expected_version": version}


def test_below_the_minimum_it_is_told_what_would_be_left() -> None:
    group = book([account("alice", 100, held=20), account("bob")])
    answer = decide(group, transfer("alice", "bob", 30, terms=Terms(minimum_after=51)))
    assert told(answer) == {"wallet": "wallets/alice", "available": "50", "minimum": "51"}


def test_the_minimum_may_lie_within_the_credit_line() -> None:
    group = book([account("alice", 10, credit=100), account("bob")])
    terms = Terms(minimum_after=-50)
    assert code(decide(group, transfer("alice", "bob", 61, terms=terms))) == "BALANCE_BELOW_MINIMUM"
    assert code(decide(group, transfer("alice", "bob", 60, terms=terms))) == "POSTED"


def test_the_version_counts_entries_of_the_same_group() -> None:
    group = book([account("alice", 100), account("bob")])
    first, second = Terms(expected_version=0), Terms(expected_version=1)
    answers = [code(decide(group, transfer(terms=terms))) for terms in (first, first, second)]
    assert answers == ["POSTED", "VERSION_MISMATCH", "POSTED"]


def test_a_condition_that_failed_is_answered_so_for_ever() -> None:
    alice = account("alice", 100, version=1)
    group, asked = book([alice, account("bob")]), transfer(terms=Terms(expected_version=0))
    assert code(decide(group, asked)) == "VERSION_MISMATCH"
    later = book([replace(alice, version=0), account("bob")], list(group.decided.values()))
    assert code(decide(later, asked)) == "VERSION_MISMATCH"
