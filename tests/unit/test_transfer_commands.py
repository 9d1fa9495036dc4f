"""Requests as commands: what a request asks for, what a fee comes to, and what is impossible from the start."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st
from specie.transaction.v1 import (
    DepositRequest,
    Fee,
    FeeMode,
    PayoutDestination,
    PostTransactionRequest,
    ReverseTransactionRequest,
    TransferMode,
    TransferRequest,
    WithdrawRequest,
)

from service_kit.call import Call
from service_kit.caller import Caller
from service_kit.status import Refusal
from tests.kit import builders
from tests.kit.calls import posting, usd
from transaction_service.domain import terms
from transaction_service.domain.movement import Movement, TransactionKind, postings_of
from transaction_service.domain.terms import PLAIN, Posting, Terms, fee_of
from transaction_service.rpc import commands

INT64_MAX = 2**63 - 1
ASYNC = TransferMode.TRANSFER_MODE_ASYNC
INCLUDED = FeeMode.FEE_MODE_INCLUDED
EACH_FEE_MODE = [FeeMode.FEE_MODE_UNSPECIFIED, FeeMode.FEE_MODE_ON_TOP, INCLUDED]
NOBODY: Any = None

CALL = Call("/method", b"", NOBODY, NOBODY, {}, caller=Caller("ann"), trace_id="trace")


def transfer(amount: int = 100, currency: str = "USD", **changed: Any) -> Movement:  # noqa: ANN401 - any field
    values: dict[str, Any] = {
        "source": "wallets/a",
        "destination": "wallets/b",
        "amount": usd(amount, currency),
        "request_id": "key",
    }
    return commands.transfer(TransferRequest(**(values | changed)), CALL)


def violations(command: Callable[[], Movement]) -> dict[str, str]:
    """Of the refusal: field to rule."""
    with pytest.raises(Refusal) as refused:
        command()
    return {violation.field: violation.rule for violation in refused.value.violations} or {refused.value.reason: ""}


def test_a_plain_transfer_has_plain_terms() -> None:
    command = transfer(labels={"k": "v"}, description="d", external_reference="e", mode=TransferMode.TRANSFER_MODE_SYNC)
    assert command.terms is PLAIN
    assert (command.kind, command.source, command.destination) == (TransactionKind.TRANSFER, "wallets/a", "wallets/b")
    assert (command.amount, command.currency) == (100, "USD")
    assert (command.description, command.external_reference, command.labels) == ("d", "e", {"k": "v"})
    assert (command.principal, command.request_id, command.trace_id) == ("ann", "key", "trace")


def test_what_is_asked_for_stands_in_the_terms() -> None:
    late = Timestamp(seconds=1_800_000_000, nanos=123_456_789)
    command = transfer(expected_version=0, minimum_balance_after=0, mode=ASYNC, execute_time=late)
    time = datetime.fromtimestamp(1_800_000_000, UTC) + timedelta(microseconds=123_456)
    assert command.terms == Terms(expected_version=0, minimum_after=0, deferred=True, execute_time=time)


def test_each_thing_asked_for_makes_another_request() -> None:
    asked: list[dict[str, Any]] = [
        {},
        {"expected_version": 0},
        {"minimum_balance_after": 0},
        {"minimum_balance_after": -1},
        {"mode": ASYNC},
        {"mode": ASYNC, "execute_time": Timestamp(seconds=5)},
        {"fee": Fee(minor_units=1)},
        {"fee": Fee(minor_units=1, mode=INCLUDED)},
        {"fee": Fee(minor_units=1, destination="wallets/f")},
    ]
    made = [transfer(**fields) for fields in asked]
    assert len({command.fingerprint for command in made}) == len(asked)
    assert len({command.id for command in made}) == 1


# Amount, basis points, what they come to: halves go to the even side.
HALVES = [
    (100, 50, 0),
    (300, 50, 2),
    (500, 50, 2),
    (700, 50, 4),
    (1, 5_000, 0),
    (3, 5_000, 2),
    (5, 5_000, 2),
    (7, 5_000, 4),
    (10_000, 1, 1),
    (4_999, 1, 0),
    (5_000, 1, 0),
    (5_001, 1, 1),
    (15_000, 1, 2),
    (25_000, 1, 2),
    (99, 100, 1),
    (149, 100, 1),
    (150, 100, 2),
    (250, 100, 2),
    (1, 10_000, 1),
    (INT64_MAX, 1, 922_337_203_685_478),
    (INT64_MAX, 5_000, 2**62),
    (INT64_MAX, 10_000, INT64_MAX),
]


@pytest.mark.parametrize(("amount", "basis_points", "fee"), HALVES)
def test_a_fee_in_basis_points_is_rounded_half_to_even(amount: int, basis_points: int, fee: int) -> None:
    assert fee_of(amount, basis_points) == fee


@given(st.integers(1, INT64_MAX), st.integers(1, 10_000))
def test_a_fee_is_never_further_off_than_half_a_minor_unit(amount: int, basis_points: int) -> None:
    exact = Fraction(amount * basis_points, 10_000)
    fee = fee_of(amount, basis_points)
    assert abs(fee - exact) <= Fraction(1, 2)
    assert abs(fee - exact) < Fraction(1, 2) or fee % 2 == 0
    assert 0 <= fee <= amount


@pytest.mark.parametrize("mode", EACH_FEE_MODE)
@pytest.mark.parametrize("price", [{"minor_units": 3}, {"basis_points": 300}])
def test_a_fee_is_a_posting_of_its_transaction(price: dict[str, int], mode: FeeMode.ValueType) -> None:
    command = transfer(100, fee=Fee(destination="wallets/f", mode=mode, **price))
    paid, received = (-100, 97) if mode == INCLUDED else (-103, 100)
    assert list(postings_of(command)) == [
        Posting("wallets/a", paid, "USD"),
        Posting("wallets/b", received, "USD"),
        Posting("wallets/f", 3, "USD"),
    ]


def test_a_fee_for_nobody_named_goes_to_the_house() -> None:
    assert transfer(fee=Fee(minor_units=3)).terms.fee == terms.Fee(3, "system/fees-usd", included=False)


@pytest.mark.parametrize("mode", EACH_FEE_MODE)
def test_a_fee_that_comes_to_nothing_is_none(mode: FeeMode.ValueType) -> None:
    assert transfer(100, fee=Fee(basis_points=50, mode=mode)) == transfer(100)


@pytest.mark.parametrize(
    ("amount", "fee", "wrong"),
    [
        (100, Fee(minor_units=101), {"fee.minor_units": "fee.amount"}),
        (100, Fee(minor_units=101, mode=INCLUDED), {"fee.minor_units": "fee.amount"}),
        (100, Fee(minor_units=100, mode=INCLUDED), {"fee.minor_units": "fee.amount"}),
        (100, Fee(basis_points=10_000, mode=INCLUDED), {"fee.basis_points": "fee.amount"}),
        (1, Fee(basis_points=9_999, mode=INCLUDED), {"fee.basis_points": "fee.amount"}),
        (INT64_MAX, Fee(minor_units=1), {"fee.minor_units": "fee.range"}),
        (INT64_MAX, Fee(basis_points=1), {"fee.basis_points": "fee.range"}),
        (100, Fee(minor_units=1, destination="wallets/a"), {"fee.destination": "fee.destination"}),
        (1, Fee(basis_points=1, destination="wallets/a"), {"fee.destination": "fee.destination"}),
    ],
)
def test_a_fee_that_cannot_be_paid_is_refused(amount: int, fee: Fee, wrong: dict[str, str]) -> None:
    assert violations(lambda: transfer(amount, fee=fee)) == wrong
    withdraw = WithdrawRequest(wallet="wallets/a", amount=usd(amount), request_id="key", fee=fee)
    assert violations(lambda: commands.withdrawal(withdraw, CALL)) == wrong


@pytest.mark.parametrize(
    ("amount", "fee"),
    [
        (100, Fee(minor_units=100)),
        (100, Fee(basis_points=10_000)),
        (100, Fee(minor_units=99, mode=INCLUDED)),
        (INT64_MAX - 1, Fee(minor_units=1)),
        (INT64_MAX, Fee(minor_units=INT64_MAX - 1, mode=INCLUDED)),
        (100, Fee(minor_units=1, destination="wallets/b")),
    ],
)
def test_a_fee_up_to_its_bounds_is_taken(amount: int, fee: Fee) -> None:
    assert sum(posting.amount for posting in postings_of(transfer(amount, fee=fee))) == 0


def test_a_withdrawal_with_a_payout_is_another_request_for_another_account() -> None:
    def asked(**destination: str) -> Movement:
        payout = PayoutDestination(**({"provider": "bank", "account": "DE89", "beneficiary": "Ann"} | destination))
        withdraw = WithdrawRequest(wallet="wallets/a", amount=usd(100), request_id="key", payout=payout)
        return commands.withdrawal(withdraw, CALL)

    assert asked().terms == Terms(payout=terms.PayoutDestination("bank", "DE89", "Ann"))
    others = [asked(provider="other"), asked(account="DE90"), asked(beneficiary="")]
    assert {movement.id for movement in others} == {asked().id}
    assert len({movement.fingerprint for movement in (asked(), *others)}) == 4
    plain = commands.withdrawal(WithdrawRequest(wallet="wallets/a", amount=usd(100), request_id="key"), CALL)
    assert plain.terms is PLAIN


def test_a_withdrawal_has_a_fee_and_a_deposit_a_provider() -> None:
    withdraw = WithdrawRequest(wallet="wallets/a", amount=usd(100), request_id="key", fee=Fee(minor_units=2))
    out = commands.withdrawal(withdraw, CALL)
    assert (out.source, out.destination, out.provider) == ("wallets/a", "system/cash-usd", "")
    assert out.terms.fee == terms.Fee(2, "system/fees-usd", included=False)
    deposit = DepositRequest(wallet="wallets/a", amount=usd(100), request_id="key", provider="wallets/bank")
    came = commands.deposit(deposit, CALL)
    assert (came.source, came.destination, came.provider) == ("wallets/bank", "wallets/a", "wallets/bank")


def test_a_currency_that_nobody_knows_is_refused() -> None:
    unknown = usd(1, "ZZZ")
    two = [posting("wallets/a", -1, "ZZZ"), posting("wallets/b", 1, "ZZZ")]
    made: list[Callable[[], Movement]] = [
        lambda: transfer(currency="ZZZ"),
        lambda: commands.deposit(DepositRequest(wallet="wallets/a", amount=unknown), CALL),
        lambda: commands.withdrawal(WithdrawRequest(wallet="wallets/a", amount=unknown), CALL),
        lambda: commands.compound(PostTransactionRequest(postings=two), CALL),
        lambda: commands.reversal(ReverseTransactionRequest(amount=unknown), builders.transfer(), CALL),
    ]
    assert [violations(command) for command in made] == [{"UNKNOWN_CURRENCY": ""}] * len(made)


@pytest.mark.parametrize("seconds", [-62_135_596_801, 253_402_300_800])
def test_a_time_beyond_the_calendar_is_refused(seconds: int) -> None:
    late = Timestamp(seconds=seconds)
    assert violations(lambda: transfer(mode=ASYNC, execute_time=late)) == {"execute_time": "timestamp"}


def test_a_compound_transaction_is_only_its_postings() -> None:
    asked = [
        posting("wallets/a", -100),
        posting("wallets/x", 100),
        posting("wallets/x", -90, "EUR"),
        posting("wallets/a", 90, "EUR"),
    ]
    command = commands.compound(PostTransactionRequest(postings=asked, request_id="key"), CALL)
    assert (command.kind, command.source, command.destination) == (TransactionKind.COMPOUND, "", "")
    assert (command.amount, command.currency) == (0, "")
    assert command.terms.postings == (
        Posting("wallets/a", -100, "USD"),
        Posting("wallets/x", 100, "USD"),
        Posting("wallets/x", -90, "EUR"),
        Posting("wallets/a", 90, "EUR"),
    )


@pytest.mark.parametrize(
    ("asked", "wrong"),
    [
        ([posting("wallets/a", -1), posting("wallets/b", 2)], {"postings": "postings.balanced"}),
        ([posting("wallets/a", -1), posting("wallets/b", 1, "EUR")], {"postings": "postings.balanced"}),
        (
            [posting("wallets/a", INT64_MAX), posting("wallets/b", INT64_MAX), posting("wallets/c", 2)],
            {"postings": "postings.balanced"},
        ),
        (
            [posting("wallets/a", -(2**63)), posting("wallets/b", INT64_MAX), posting("wallets/c", 1)],
            {"postings[0].amount": "amount.range"},
        ),
    ],
)
def test_postings_that_do_not_sum_to_0_are_refused(asked: list[Any], wrong: dict[str, str]) -> None:
    assert violations(lambda: commands.compound(PostTransactionRequest(postings=asked), CALL)) == wrong


def test_a_reversal_goes_the_other_way() -> None:
    original = builders.transfer("alice", "bob", 10)
    whole = commands.reversal(ReverseTransactionRequest(request_id="key"), original, CALL)
    assert (whole.kind, whole.source, whole.destination) == (TransactionKind.REVERSAL, "wallets/bob", "wallets/alice")
    assert (whole.amount, whole.currency, whole.reverses, whole.terms) == (0, "USD", original.id, PLAIN)
    part = commands.reversal(ReverseTransactionRequest(request_id="key", amount=usd(3, "EUR")), original, CALL)
    assert (part.amount, part.currency) == (3, "EUR")
    assert part.fingerprint != whole.fingerprint


def test_a_reversal_knows_the_accounts_of_a_fee() -> None:
    original = transfer(100, fee=Fee(minor_units=5, destination="wallets/f"))
    command = commands.reversal(ReverseTransactionRequest(request_id="back"), original, CALL)
    assert command.terms.postings == (
        Posting("wallets/a", 105, "USD"),
        Posting("wallets/b", -100, "USD"),
        Posting("wallets/f", -5, "USD"),
    )
