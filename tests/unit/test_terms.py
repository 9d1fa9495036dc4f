"""What a movement asks for beyond one amount: how it is written down, and what it comes to as postings."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.kit.builders import account, capture, compound, fee, placing, release, reversal, transfer, wallet
from transaction_service.domain.account import INT64_MAX, INT64_MIN
from transaction_service.domain.movement import (
    Movement,
    Transaction,
    TransactionKind,
    TransactionState,
    accounts_of,
    postings_of,
)
from transaction_service.domain.reversal import reversal_terms
from transaction_service.domain.terms import PLAIN, Fee, PayoutDestination, Posting, Terms, read, written

AMOUNTS = st.integers(INT64_MIN, INT64_MAX)
TIMES = st.datetimes(timezones=st.just(UTC))
TEXTS = st.text(max_size=20)
MAYBE: dict[str, st.SearchStrategy[Any]] = {
    "fee": st.builds(Fee, AMOUNTS, TEXTS, st.booleans()),
    "expected_version": AMOUNTS,
    "minimum_after": AMOUNTS,
    "execute_time": TIMES,
    "expire_time": TIMES,
    "ttl_microseconds": AMOUNTS,
    "payout": st.builds(PayoutDestination, TEXTS, TEXTS, TEXTS),
}
TERMS = st.builds(
    Terms,
    postings=st.lists(st.builds(Posting, TEXTS, AMOUNTS, TEXTS), max_size=3).map(tuple),
    deferred=st.booleans(),
    final=st.booleans(),
    **{name: st.none() | strategy for name, strategy in MAYBE.items()},
)


@given(TERMS)
def test_what_is_written_is_read_as_it_was(terms: Terms) -> None:
    assert read(json.loads(json.dumps(written(terms)))) == terms


@given(TERMS, TERMS)
def test_two_terms_are_never_written_alike(one: Terms, other: Terms) -> None:
    assert (json.dumps(written(one), sort_keys=True) == json.dumps(written(other), sort_keys=True)) == (one == other)


def test_what_is_not_asked_for_is_not_written() -> None:
    assert written(PLAIN) == {}
    assert read({}) is PLAIN
    assert read(None) is PLAIN


def test_terms_of_a_later_version_are_named_as_such() -> None:
    with pytest.raises(ValueError, match=r"does not know: later, latest$"):
        read({"deferred": True, "later": 1, "latest": None})


NOON = datetime(2026, 3, 4, 12, tzinfo=UTC)
WRITTEN: list[tuple[Terms, dict[str, Any]]] = [
    (Terms(fee=Fee(5, "wallets/x", included=True)), {"fee": [5, "wallets/x", True]}),
    (
        Terms(postings=(Posting("a", -1, "USD"), Posting("b", 1, "USD"))),
        {"postings": [["a", -1, "USD"], ["b", 1, "USD"]]},
    ),
    (Terms(expected_version=0), {"expected_version": 0}),
    (Terms(minimum_after=-5), {"minimum_after": -5}),
    (Terms(ttl_microseconds=1), {"ttl_microseconds": 1}),
    (Terms(deferred=True, execute_time=NOON), {"deferred": True, "execute_time": "2026-03-04T12:00:00+00:00"}),
    (Terms(expire_time=NOON + timedelta(microseconds=1)), {"expire_time": "2026-03-04T12:00:00.000001+00:00"}),
    (Terms(final=True), {"final": True}),
    (Terms(payout=PayoutDestination("bank", "DE89 3704", "Ann")), {"payout": ["bank", "DE89 3704", "Ann"]}),
]


@pytest.mark.parametrize(("terms", "expected"), WRITTEN)
def test_it_stays_written_as_it_is(terms: Terms, expected: dict[str, Any]) -> None:
    """Stored rows and fingerprints carry it."""
    assert written(terms) == expected


POSTINGS = [
    # movement; its postings
    (transfer("a", "b", 10), "a-10 b+10"),
    (transfer("a", "b", 10, terms=fee(3, "c")), "a-13 b+10 c+3"),
    (transfer("a", "b", 10, terms=fee(3, "c", included=True)), "a-10 b+7 c+3"),
    (transfer("a", "b", 10, terms=fee(3, "b")), "a-13 b+10 b+3"),
    (placing("a", "b", 10), "a-10 b+10"),
    (capture(placing("a", "b", 10), 4, final=True), "a-4 b+4"),
    (compound(("a", 5), ("b", -2), ("c", -4), ("a", 1)), "b-2 c-4 a+5 a+1"),
    (reversal(transfer("a", "b", 10), 10), "b-10 a+10"),
    (reversal(transfer("a", "b", 10, terms=fee(3, "c"))), "b-10 c-3 a+13"),
    (reversal(compound(("a", 5), ("b", -2), ("c", -3))), "a-5 b+2 c+3"),
]


@pytest.mark.parametrize(("movement", "expected"), POSTINGS)
def test_what_a_movement_does_to_which_account_the_debits_first(movement: Movement, expected: str) -> None:
    shown = " ".join(f"{name.removeprefix('wallets/')}{amount:+d}" for name, amount, _ in postings_of(movement))
    assert shown == expected
    assert {currency for _, _, currency in postings_of(movement)} == {"USD"}


@pytest.mark.parametrize(
    ("movement", "expected"),
    [
        (transfer("a", "b"), "ab"),
        (transfer("a", "b", terms=fee(1, "c")), "abc"),
        (transfer("a", "b", terms=Terms(expected_version=1)), "ab"),
        (compound(("a", 1), ("c", -1), ("d", 0)), "acd"),
        (release(placing("a", "b")), "ab"),
        (reversal(transfer("a", "b", terms=fee(1, "c"))), "abc"),
        (reversal(compound(("a", 1), ("c", -1))), "ac"),
    ],
)
def test_a_movement_names_all_its_accounts(movement: Movement, expected: str) -> None:
    assert accounts_of(movement) == {wallet(letter) for letter in expected}


@pytest.mark.parametrize(
    ("original", "carried"),
    [
        (transfer("a", "b"), False),
        (capture(placing("a", "b"), 5), False),
        (transfer("a", "b", terms=Terms(expected_version=1)), False),
        (transfer("a", "b", terms=fee(1, "c")), True),
        (compound(("a", 1), ("b", -1)), True),
    ],
)
def test_a_reversal_carries_along_postings_that_are_others_than_source_to_destination(
    original: Movement, carried: bool
) -> None:
    assert bool(reversal_terms(original).postings) == carried
    assert carried or reversal_terms(original) is PLAIN


@pytest.mark.parametrize("state", list(TransactionState))
@pytest.mark.parametrize("kind", list(TransactionKind))
def test_only_what_is_posted_and_moves_money_has_entries(kind: TransactionKind, state: TransactionState) -> None:
    moves = kind.name not in ("HOLD", "RELEASE", "EXPIRY")
    transaction = Transaction(transfer(kind=kind), state, NOON, NOON)
    assert transaction.has_entries == (moves and state.name == "POSTED")


def test_a_hold_has_the_id_of_its_transaction_and_nothing_else_has_one_unless_told() -> None:
    placed = placing()
    assert placed.hold == placed.id
    assert (capture(placed).hold, release(placed).hold, transfer().hold) == (placed.id, placed.id, "")
    assert placed.kind is TransactionKind.HOLD
    assert account().held == 0
