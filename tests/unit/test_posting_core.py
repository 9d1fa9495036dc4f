"""What the core answers: the table of attempts, the order of precedence, the same request again."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from tests.kit.builders import NOON, account, amounts, book, cash_account, code, deposit, told, transfer, withdrawal
from tests.kit.tables import pairs, rows
from transaction_service.domain.account import (
    INT64_MAX,
    INT64_MIN,
    Account,
    AccountKind,
    AccountState,
    Limits,
    Usage,
    day_of,
    hour_of,
)
from transaction_service.domain.book import Book, check_group
from transaction_service.domain.failure import Reason
from transaction_service.domain.ledger import decide
from transaction_service.domain.movement import (
    Movement,
    Outcome,
    Refused,
    Transaction,
    TransactionKind,
    TransactionState,
)
from transaction_service.domain.terms import PLAIN, Terms

# One row an attempt; all of them one after the other on the same accounts. A key that stands twice is a key used twice.
ATTEMPTS = """
# key  source    destination  amount               currency  expected
  1    alice     bob          10                   USD       POSTED
  2    alice     bob          81                   USD       INSUFFICIENT_FUNDS
  3    alice     bob          80                   USD       POSTED
  4    alice     bob          1                    USD       INSUFFICIENT_FUNDS
  5    bob       alice        90                   USD       POSTED
  6    alice     alice        1                    USD       SAME_WALLET
  7    ghost     ghost        1                    USD       SAME_WALLET
  1    alice     bob          10                   USD       POSTED
  1    alice     bob          11                   USD       REQUEST_ID_REUSED
  1    bob       alice        10                   USD       REQUEST_ID_REUSED
  1    alice     bob          10                   EUR       REQUEST_ID_REUSED
  2    alice     bob          81                   USD       INSUFFICIENT_FUNDS
  2    alice     bob          1                    USD       REQUEST_ID_REUSED
  8    ghost     bob          1                    USD       SOURCE_NOT_FOUND
  9    alice     ghost        1                    USD       DESTINATION_NOT_FOUND
  10   ghost     spirit       1                    USD       SOURCE_NOT_FOUND
  11   alice     erin         1                    USD       CURRENCY_MISMATCH
  12   erin      alice        1                    USD       CURRENCY_MISMATCH
  13   alice     bob          1                    EUR       CURRENCY_MISMATCH
  14   frozen    bob          1                    USD       SOURCE_FROZEN
  15   alice     frozen       1                    USD       POSTED
  16   closed    bob          1                    USD       SOURCE_CLOSED
  17   alice     closed       1                    USD       DESTINATION_CLOSED
  18   credit    bob          51                   USD       INSUFFICIENT_FUNDS
  19   credit    bob          50                   USD       POSTED
  20   credit    bob          1                    USD       INSUFFICIENT_FUNDS
  21   bob       credit       20                   USD       POSTED
  22   credit    bob          20                   USD       POSTED
  23   holder    bob          31                   USD       INSUFFICIENT_FUNDS
  24   holder    bob          30                   USD       POSTED
  25   alice     full         1                    USD       BALANCE_OVERFLOW
  26   full      bob          9223372036854775807  USD       BALANCE_OVERFLOW
  27   full      vault        9223372036854775807  USD       POSTED
  28   alice     full         1                    USD       POSTED
  29   vault     full         9223372036854775806  USD       POSTED
  30   alice     bob          9223372036854775807  USD       INSUFFICIENT_FUNDS
  31   deepest   vault        1                    USD       BALANCE_OVERFLOW
  32   deep      vault        2                    USD       BALANCE_OVERFLOW
  33   deep      vault        1                    USD       POSTED
  34   deep      vault        1                    USD       BALANCE_OVERFLOW
"""


def standing() -> list[Account]:
    deep: dict[str, Any] = {"kind": AccountKind.SYSTEM, "floor": None}
    return [
        account("alice", 90),
        account("bob"),
        account("erin", 90, currency="EUR"),
        account("frozen", 90, state=AccountState.FROZEN),
        account("closed", state=AccountState.CLOSED),
        account("credit", credit=50),
        account("holder", 90, held=60),
        account("full", INT64_MAX),
        account("vault"),
        account("deepest", INT64_MIN, **deep),
        account("deep", INT64_MIN + 1, **deep),
    ]


def attempts() -> Iterator[tuple[Movement, str]]:
    for key, source, destination, amount, currency, expected in rows(ATTEMPTS):
        yield transfer(source, destination, int(amount), f"key-{key}", currency=currency), expected


@pytest.mark.parametrize("group_size", [1, 2, 7, 1000])
def test_every_attempt_of_the_table_gets_its_code(group_size: int) -> None:
    """However the attempts fall into groups."""
    table = list(attempts())
    accounts = {a.name: a for a in standing()}
    known: dict[str, Transaction] = {}
    answered: list[str] = []
    for start in range(0, len(table), group_size):
        group = Book(accounts, dict(known), NOON)
        before = amounts(accounts.values())
        answered += [code(decide(group, movement)) for movement, _ in table[start : start + group_size]]
        check_group(group, before, {})
        known |= group.decided
    assert answered == [expected for _, expected in table]


def test_the_table_leaves_out_only_what_tests_of_its_own_have() -> None:
    elsewhere = {
        Reason.NOT_A_PROVIDER,
        Reason.TRANSACTION_LIMIT_EXCEEDED,
        Reason.HOURLY_COUNT_EXCEEDED,
        Reason.DAILY_LIMIT_EXCEEDED,
        Reason.EXPIRE_TIME_PASSED,
        Reason.VERSION_MISMATCH,
        Reason.BALANCE_BELOW_MINIMUM,
    }
    assert {expected for _, expected in attempts()} == {
        "POSTED",
        *(reason.value for reason in set(PRECEDENCE) - elsewhere),
    }


class Situation:
    """A transfer or a hold of 10 that would be posted, until flaws are added."""

    def __init__(self, kind: TransactionKind = TransactionKind.HOLD) -> None:
        self.kind, self.terms = kind, Terms()
        self.source = account("alice", 100)
        self.destination = account("bob", 100)
        self.missing: set[str] = set()
        self.known: list[Transaction] = []
        self.asked = {"destination": "wallets/bob", "currency": "USD", "provider": ""}

    def limit(self, **limits: Any) -> None:  # noqa: ANN401 - any of them
        self.source.limits = replace(self.source.limits, **limits)

    def answer(self) -> str:
        terms = PLAIN if self.terms == PLAIN else self.terms
        movement = transfer("alice", amount=10, request_id="the key", kind=self.kind, terms=terms, **self.asked)
        accounts = [a for a in (self.source, self.destination) if a.name not in self.missing]
        return code(decide(book(accounts, self.known), movement))


def _used_key(it: Situation) -> None:
    other = transfer("alice", "bob", 999, "the key")
    it.known = [Transaction(other, TransactionState.POSTED, NOON, NOON)]


def _too_late(it: Situation) -> None:
    it.terms = it.terms._replace(expire_time=NOON)


def _other_version(it: Situation) -> None:
    it.terms = it.terms._replace(expected_version=7)


def _high_minimum(it: Situation) -> None:
    it.terms = it.terms._replace(minimum_after=INT64_MAX)


def _used_hour(it: Situation) -> None:
    it.limit(debits_per_hour=1)
    it.source.usage = Usage(day_of(NOON, "UTC"), 0, hour_of(NOON), 1)


FLAWS: dict[Reason, Callable[[Situation], object]] = {
    Reason.SAME_WALLET: lambda it: it.asked.update(destination="wallets/alice"),
    Reason.REQUEST_ID_REUSED: _used_key,
    Reason.EXPIRE_TIME_PASSED: _too_late,
    Reason.SOURCE_NOT_FOUND: lambda it: it.missing.add("wallets/alice"),
    Reason.DESTINATION_NOT_FOUND: lambda it: it.missing.add("wallets/bob"),
    Reason.NOT_A_PROVIDER: lambda it: it.asked.update(provider="wallets/alice"),
    Reason.CURRENCY_MISMATCH: lambda it: it.asked.update(currency="EUR"),
    Reason.SOURCE_CLOSED: lambda it: setattr(it.source, "state", AccountState.CLOSED),
    Reason.SOURCE_FROZEN: lambda it: setattr(it.source, "state", AccountState.FROZEN),
    Reason.DESTINATION_CLOSED: lambda it: setattr(it.destination, "state", AccountState.CLOSED),
    Reason.VERSION_MISMATCH: _other_version,
    Reason.TRANSACTION_LIMIT_EXCEEDED: lambda it: it.limit(per_transaction=9),
    Reason.HOURLY_COUNT_EXCEEDED: _used_hour,
    Reason.DAILY_LIMIT_EXCEEDED: lambda it: it.limit(per_day=9),
    Reason.INSUFFICIENT_FUNDS: lambda it: setattr(it.source, "balance", 9),
    Reason.BALANCE_BELOW_MINIMUM: _high_minimum,
    Reason.BALANCE_OVERFLOW: lambda it: setattr(it.destination, "balance", INT64_MAX),
}
PRECEDENCE = list(FLAWS)


def test_the_flaws_stand_in_the_order_that_the_reasons_document() -> None:
    assert [reason for reason in Reason if reason in FLAWS] == PRECEDENCE


KINDS = [TransactionKind.TRANSFER, TransactionKind.HOLD]


@pytest.mark.parametrize("kind", KINDS)
def test_without_a_flaw_it_is_posted(kind: TransactionKind) -> None:
    assert Situation(kind).answer() == "POSTED"


OF_HOLDS_ONLY = Reason.EXPIRE_TIME_PASSED
FLAWED = [
    (kind, flaws)
    for kind in KINDS
    for flaws in [*[(reason,) for reason in FLAWS], *pairs(FLAWS)]
    if kind is TransactionKind.HOLD or OF_HOLDS_ONLY not in flaws
]


@pytest.mark.parametrize(("kind", "flaws"), FLAWED)
def test_of_its_flaws_the_earliest_is_told(kind: TransactionKind, flaws: Sequence[Reason]) -> None:
    it = Situation(kind)
    # An account has one state: the earlier flaw comes last, so that it stands.
    for reason in reversed(flaws):
        FLAWS[reason](it)
    assert it.answer() == flaws[0].value


@pytest.mark.parametrize("first", range(len(PRECEDENCE)))
def test_of_all_flaws_from_one_on_that_one_is_named(first: int) -> None:
    it = Situation()
    for reason in reversed(PRECEDENCE[first:]):
        FLAWS[reason](it)
    assert it.answer() == PRECEDENCE[first].value


@pytest.mark.parametrize(
    ("movement", "expected"),
    [
        (deposit("alice", provider="wallets/bank"), "POSTED"),
        (withdrawal("alice", provider="wallets/bank"), "POSTED"),
        (deposit("alice", provider="wallets/bob"), "NOT_A_PROVIDER"),
        (withdrawal("alice", provider="wallets/bob"), "NOT_A_PROVIDER"),
        (deposit("alice", provider="wallets/ghost"), "SOURCE_NOT_FOUND"),
        (withdrawal("alice", provider="wallets/ghost"), "DESTINATION_NOT_FOUND"),
        (deposit("alice", 101, provider="wallets/bank"), "INSUFFICIENT_FUNDS"),
        (deposit("alice", INT64_MAX - 300), "POSTED"),
        (deposit("alice"), "POSTED"),
        (withdrawal("alice"), "POSTED"),
        (withdrawal("alice", 101), "INSUFFICIENT_FUNDS"),
        (transfer("bank", "alice"), "POSTED"),
    ],
)
def test_providers_and_cash(movement: Movement, expected: str) -> None:
    bank = account("bank", 100, kind=AccountKind.PROVIDER)
    accounts = [account("alice", 100), account("bob", 100), bank, cash_account(balance=-300)]
    assert code(decide(book(accounts), movement)) == expected


def test_a_posted_movement_has_two_entries_and_both_balances() -> None:
    alice, bob = account("alice", 90, version=7), account("bob", 5, version=0)
    group, movement = book([alice, bob]), transfer("alice", "bob", 30)
    answer = decide(group, movement)
    assert answer == Outcome(Transaction(movement, TransactionState.POSTED, NOON, NOON), replayed=False)
    assert [tuple(entry) for entry in group.entries] == [
        (bob.id, 1, movement.id, 30, 35, NOON),
        (alice.id, 8, movement.id, -30, 60, NOON),
    ]
    assert group.changed == {"wallets/alice": alice, "wallets/bob": bob}
    assert ((alice.balance, alice.version), (bob.balance, bob.version)) == ((60, 8), (35, 1))


def test_a_failed_movement_is_recorded_and_moves_nothing() -> None:
    alice = account("alice", 9)
    group, movement = book([alice, account("bob")]), transfer("alice", "bob", 10)
    answer = decide(group, movement)
    assert isinstance(answer, Outcome)
    assert group.decided == {movement.id: answer.transaction}
    assert (answer.transaction.state, answer.transaction.decide_time) == (TransactionState.FAILED, NOON)
    assert told(answer) == {"wallet": "wallets/alice", "available": "9", "amount": "10"}
    assert (group.entries, group.changed, alice.balance) == ([], {}, 9)


def test_what_the_request_alone_decides_leaves_no_trace() -> None:
    first = transfer(request_id="k")
    group = book([account("alice", 90), account("bob")])
    decide(group, first)
    decided = dict(group.decided)
    same, other = transfer("alice", "alice"), transfer(amount=11, request_id="k")
    for movement, expected in [
        (same, {"wallet": "wallets/alice"}),
        (other, {"request_id": "k", "transaction": f"transactions/{other.id}"}),
    ]:
        answer = decide(group, movement)
        assert isinstance(answer, Refused)
        assert told(answer) == expected
    assert group.decided == decided


@pytest.mark.parametrize("amount", [10, 91])
def test_the_same_request_gets_the_stored_answer(amount: int) -> None:
    """Posted or failed, in the same group or from an earlier one, whatever has become of the accounts since."""
    alice, bob = account("alice", 90), account("bob")
    first = transfer(amount=amount, request_id="k", trace_id="one")
    group = book([alice, bob])
    original = decide(group, first)
    assert isinstance(original, Outcome)
    entries = len(group.entries)
    again = first._replace(trace_id="another")
    expected = Outcome(original.transaction, replayed=True)
    alice.state, alice.balance = AccountState.CLOSED, 0
    assert decide(group, again) == expected
    assert len(group.entries) == entries
    later = book([], [original.transaction], NOON + timedelta(days=1))
    assert decide(later, again) == expected
    assert (later.decided, later.entries) == ({}, [])


def test_another_principal_may_use_the_same_request_id() -> None:
    group = book([account("alice", 90), account("bob")])
    answers = [decide(group, transfer(request_id="k", principal=principal)) for principal in ("local", "shop")]
    assert [code(answer) for answer in answers] == ["POSTED", "POSTED"]
    assert len(group.decided) == 2


def test_money_that_came_in_can_go_on_within_the_group() -> None:
    group = book([account("alice", 10), account("bob"), account("carol")])
    chain = [transfer("bob", "carol"), transfer("alice", "bob"), transfer("bob", "carol"), transfer("carol", "alice")]
    assert [code(decide(group, movement)) for movement in chain] == ["INSUFFICIENT_FUNDS", "POSTED", "POSTED", "POSTED"]
    assert [entry.seq for entry in group.entries if entry.account_id == group.accounts["wallets/bob"].id] == [1, 2]


def test_each_mismatch_names_the_wallet_and_both_currencies() -> None:
    group = book([account("alice", 90), account("erin", 90, currency="EUR")])
    for movement in (transfer("alice", "erin"), transfer("erin", "alice")):
        assert told(decide(group, movement)) == {"wallet": "wallets/erin", "wallet_currency": "EUR", "currency": "USD"}


def test_the_credit_line_counts_as_available() -> None:
    group = book([account("alice", -20, credit=50), account("bob")])
    assert told(decide(group, transfer(amount=31)))["available"] == "30"
    assert code(decide(group, transfer(amount=30))) == "POSTED"
    assert group.accounts["wallets/alice"].spendable == 0


def test_what_has_no_floor_has_no_end_to_spend() -> None:
    assert cash_account(balance=-5).spendable is None


def test_the_overflowing_side_is_named() -> None:
    lowest = cash_account(balance=INT64_MIN)
    group = book([lowest, account("alice", INT64_MAX), account("bob")])
    assert told(decide(group, deposit("bob", 1))) == {"wallet": "system/cash-usd"}
    assert told(decide(group, deposit("alice", 1))) == {"wallet": "system/cash-usd"}
    assert code(decide(group, transfer("alice", "bob", INT64_MAX))) == "POSTED"
    lowest.balance = 0
    assert told(decide(group, deposit("bob", 1))) == {"wallet": "wallets/bob"}


def test_limits_do_not_bind_what_comes_in() -> None:
    capped = account("bob", limits=Limits(per_transaction=1, per_day=1, debits_per_hour=1))
    group = book([account("alice", 90), capped])
    assert [code(decide(group, transfer("alice", "bob"))) for _ in range(3)] == ["POSTED"] * 3
    assert capped.usage == Usage()
