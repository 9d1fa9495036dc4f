"""Postings of any number at once, all or none: judged by what they come to for each account."""

from collections.abc import Iterator

import pytest

from tests.kit.builders import NOON, account, amounts, book, code, compound, told, transfer
from tests.kit.tables import rows
from transaction_service.domain.account import INT64_MAX, Account, AccountState, Limits, Usage, day_of, hour_of
from transaction_service.domain.book import Book, check_group
from transaction_service.domain.ledger import decide
from transaction_service.domain.movement import Movement, Transaction

# One row an attempt, all of them one after the other. The expected code comes first; each posting is an account and an
# amount, in USD but for those of erin and emil.
ATTEMPTS = """
# key  expected                    postings
  1    POSTED                      alice:-30 bob:10 carol:20
  1    POSTED                      alice:-30 bob:10 carol:20
  1    REQUEST_ID_REUSED           alice:-30 carol:20 bob:10
  1    REQUEST_ID_REUSED           alice:-30 bob:11 carol:19
  2    INSUFFICIENT_FUNDS          alice:-71 bob:71
  3    POSTED                      alice:-200 alice:130 bob:70
  4    POSTED                      bob:80 alice:10 bob:-90
  5    INSUFFICIENT_FUNDS          alice:-5 alice:-6 bob:11
  6    POSTED                      alice:-5 alice:-5 bob:10
  7    INSUFFICIENT_FUNDS          alice:5 bob:-5 alice:-6 bob:6
  8    POSTED                      alice:6 bob:-6 alice:-5 bob:5
  9    POSTED                      alice:-1 bob:1 erin:-40 emil:40
  10   INSUFFICIENT_FUNDS          alice:1 bob:-1 erin:-11 emil:11
  11   INSUFFICIENT_FUNDS          bob:-11 alice:11 erin:-11 emil:11
  12   SOURCE_NOT_FOUND            alice:1 ghost:-1
  13   DESTINATION_NOT_FOUND       ghost:1 bob:-1
  14   SOURCE_NOT_FOUND            ghost:1 spirit:-1
  15   SOURCE_FROZEN               alice:1 frozen:-1
  16   POSTED                      bob:-1 frozen:1
  17   SOURCE_FROZEN               frozen:2 frozen:-1 bob:-1
  18   DESTINATION_CLOSED          bob:-1 closed:1
  19   SOURCE_CLOSED               bob:1 closed:-1
  20   SOURCE_CLOSED               frozen:-1 closed:-1 bob:2
  21   SOURCE_FROZEN               closed:1 frozen:-1
  22   SOURCE_CLOSED               closed:1 closed:-1 bob:1 bob:-1
  23   POSTED                      bob:1 bob:-1 alice:1 alice:-1
  24   BALANCE_OVERFLOW            bob:-1 full:1
  25   BALANCE_OVERFLOW            bob:-1 full:1 full:-1 alice:1
  26   POSTED                      bob:-1 full:-1 alice:2
  27   TRANSACTION_LIMIT_EXCEEDED  capped:-11 bob:11
  28   POSTED                      capped:-40 capped:30 bob:10
  29   DAILY_LIMIT_EXCEEDED        capped:-6 bob:6
  30   POSTED                      capped:-5 bob:5
  31   HOURLY_COUNT_EXCEEDED       capped:-1 bob:1
  32   POSTED                      capped:-10 capped:10 bob:1 bob:-1
  33   POSTED                      capped:-10 capped:11 bob:-1
  34   HOURLY_COUNT_EXCEEDED       daily:-6 capped:-1 bob:7
  35   TRANSACTION_LIMIT_EXCEEDED  capped:-1 daily:-11 bob:12
  36   DAILY_LIMIT_EXCEEDED        daily:-6 bob:6
  37   POSTED                      credit:-50 bob:50
  38   INSUFFICIENT_FUNDS          credit:-1 bob:1
  39   INSUFFICIENT_FUNDS          holder:-31 bob:31
  40   POSTED                      holder:-31 holder:1 bob:30
"""
EUROS = ("erin", "emil")


def standing() -> list[Account]:
    return [
        account("alice", 100),
        account("bob"),
        account("carol"),
        account("erin", 50, currency="EUR"),
        account("emil", currency="EUR"),
        account("frozen", 90, state=AccountState.FROZEN),
        account("closed", state=AccountState.CLOSED),
        account("full", INT64_MAX),
        account("capped", 100, limits=Limits(per_transaction=10, per_day=15, debits_per_hour=2)),
        account("daily", 100, limits=Limits(per_transaction=10, per_day=5)),
        account("credit", credit=50),
        account("holder", 90, held=60),
    ]


def attempts() -> Iterator[tuple[Movement, str]]:
    for key, expected, *postings in rows(ATTEMPTS):
        made = [posting.split(":") for posting in postings]
        yield (
            compound(
                *[(name, int(amount), "EUR" if name in EUROS else "USD") for name, amount in made],
                request_id=f"key-{key}",
            ),
            expected,
        )


@pytest.mark.parametrize("group_size", [1, 3, 1000])
def test_every_attempt_of_the_table_gets_its_code(group_size: int) -> None:
    """However the attempts fall into groups."""
    accounts, asked = {a.name: a for a in standing()}, list(attempts())
    total = sum(a.balance for a in accounts.values())
    known: dict[str, Transaction] = {}
    answered: list[str] = []
    for start in range(0, len(asked), group_size):
        group = Book(accounts, dict(known), NOON)
        before = amounts(accounts.values())
        answered += [code(decide(group, movement)) for movement, _ in asked[start : start + group_size]]
        check_group(group, before, {})
        known |= group.decided
    assert answered == [expected for _, expected in asked]
    assert sum(a.balance for a in accounts.values()) == total


def test_each_posting_is_an_entry_and_what_comes_in_is_entered_first() -> None:
    """So that no entry's balance is below the floor on the way."""
    alice, bob = account("alice", 10), account("bob")
    group, movement = book([alice, bob]), compound(("alice", -100), ("bob", -5), ("alice", 90), ("bob", 15))
    assert code(decide(group, movement)) == "POSTED"
    assert [(e.account_id, e.seq, e.amount, e.balance) for e in group.entries] == [
        (bob.id, 1, 15, 15),
        (alice.id, 1, 90, 100),
        (bob.id, 2, -5, 10),
        (alice.id, 2, -100, 0),
    ]
    assert {e.transaction_id for e in group.entries} == {movement.id}
    assert group.changed == {alice.name: alice, bob.name: bob}


def test_an_account_is_judged_by_the_sum_of_its_postings_and_told_so() -> None:
    group = book([account("alice", 10), account("bob")])
    answer = decide(group, compound(("alice", -30), ("alice", 5), ("alice", -1), ("bob", 26)))
    assert told(answer) == {"wallet": "wallets/alice", "available": "10", "amount": "26"}
    assert (group.entries, group.changed) == ([], {})


@pytest.mark.parametrize(
    ("postings", "used"),
    [
        ((("alice", -9), ("bob", 9)), (9, 1)),
        ((("alice", -9), ("alice", 4), ("bob", 5)), (5, 1)),
        ((("alice", -9), ("alice", 9), ("bob", -1), ("bob", 1)), (0, 0)),
        ((("alice", -9), ("alice", 10), ("bob", -1)), (0, 0)),
    ],
)
def test_what_it_comes_to_counts_as_one_debit(postings: tuple[tuple[str, int], ...], used: tuple[int, int]) -> None:
    alice = account("alice", 100, limits=Limits(per_day=100))
    assert code(decide(book([alice, account("bob", 10)]), compound(*postings))) == "POSTED"
    assert (alice.usage.day_amount, alice.usage.hour_count) == used


def test_every_payer_s_limits_are_used() -> None:
    payers = [account(name, 100, limits=Limits(per_day=100)) for name in ("alice", "carol")]
    decide(book([*payers, account("bob")]), compound(("alice", -3), ("carol", -4), ("bob", 7)))
    assert [payer.usage for payer in payers] == [
        Usage(day_of(NOON, "UTC"), amount, hour_of(NOON), 1) for amount in (3, 4)
    ]


def test_more_than_int64_may_pass_through_an_account() -> None:
    """One posting cannot be more, the sum of several can; what counts is what they come to."""
    group = book([account("alice", INT64_MAX, credit=INT64_MAX), account("bob"), account("carol")])
    both = compound(("alice", -INT64_MAX), ("alice", -INT64_MAX), ("bob", INT64_MAX), ("carol", INT64_MAX))
    assert code(decide(group, both)) == "POSTED"
    assert [a.balance for a in group.accounts.values()] == [-INT64_MAX, INT64_MAX, INT64_MAX]


def test_a_hundred_postings_over_a_hundred_accounts() -> None:
    payees = [account(f"n{number}") for number in range(99)]
    group = book([account("alice", 99), *payees])
    assert code(decide(group, compound(("alice", -99), *[(payee.name, 1) for payee in payees]))) == "POSTED"
    assert [payee.balance for payee in payees] == [1] * 99
    assert len(group.entries) == 100


def test_the_same_key_as_a_transfer_is_another_request() -> None:
    group = book([account("alice", 100), account("bob")])
    decide(group, transfer("alice", "bob", 10, "k"))
    assert code(decide(group, compound(("alice", -10), ("bob", 10), request_id="k"))) == "REQUEST_ID_REUSED"
