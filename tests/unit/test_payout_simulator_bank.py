"""The simulator's book: a payment is made once for its key, whatever comes, and what is settled stays."""

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest

from payout_simulator.bank import FILE, Bank, Order, OtherContentError, Payment, State, Verdict
from tests.kit.service import wait_until

YES = Verdict()
NO = Verdict(refusal="the account is closed")
ANN = Order(str(uuid4()), "EUR", 1_250, "DE02120300000000202051", "Ann", "rent")


@pytest.fixture
def bank(tmp_path: Path) -> Iterator[Bank]:
    with closing(Bank(tmp_path)) as opened:
        yield opened


def test_an_order_is_paid(bank: Bank) -> None:
    before = time.time()
    payment = bank.pay(ANN, YES)
    assert (payment.order, payment.state, payment.refusal) == (ANN, State.PAID, "")
    assert payment.settle_time is not None
    assert before <= payment.settle_time <= time.time()
    assert bank.find(ANN.key) == payment


def test_an_order_is_refused_for_good(bank: Bank) -> None:
    payment = bank.pay(ANN, NO)
    assert (payment.state, payment.refusal) == (State.REFUSED, "the account is closed")
    assert bank.pay(ANN, YES) == payment


def test_what_was_paid_is_not_refused_later(bank: Bank) -> None:
    payment = bank.pay(ANN, YES)
    assert bank.pay(ANN, NO) == payment == bank.pay(ANN, Verdict(after_seconds=60))


@pytest.mark.parametrize(
    "other",
    [
        {"currency": "USD"},
        {"minor_units": 1_251},
        {"account": "DE00"},
        {"beneficiary": "Bob"},
        {"reference": "food"},
    ],
)
def test_a_key_has_one_content(bank: Bank, other: dict[str, str]) -> None:
    payment = bank.pay(ANN, YES)
    with pytest.raises(OtherContentError):
        bank.pay(replace(ANN, **other), YES)  # type: ignore[arg-type] # one field of it
    assert bank.find(ANN.key) == payment


def test_nobody_has_heard_of_an_order_that_has_not_come(bank: Bank) -> None:
    assert bank.find(ANN.key) is None


@pytest.mark.parametrize(("verdict", "end"), [("", State.PAID), ("no such account", State.REFUSED)])
def test_a_payment_that_takes_a_while_settles_as_was_decided(bank: Bank, verdict: str, end: State) -> None:
    taken = bank.pay(ANN, Verdict(refusal=verdict, after_seconds=0.02))
    assert taken == Payment(ANN, State.PENDING)
    assert bank.pay(ANN, YES) == taken == bank.find(ANN.key)

    def settled() -> Payment | None:
        bank.settle()
        found = bank.find(ANN.key)
        return found if found and found.state is not State.PENDING else None

    wait_until(settled, "it settles")
    payment = bank.find(ANN.key)
    assert payment is not None
    assert (payment.state, payment.refusal) == (end, verdict)


def test_it_does_not_settle_too_early(bank: Bank) -> None:
    bank.pay(ANN, Verdict(after_seconds=60))
    bank.settle()
    assert bank.find(ANN.key) == Payment(ANN, State.PENDING)


def test_the_same_order_at_once_is_one_payment(bank: Bank, tmp_path: Path) -> None:
    """By threads of two processes, as it were: the second has the book open for itself."""
    with closing(Bank(tmp_path)) as second:
        together, said = threading.Barrier(8), []

        def pay(number: int) -> None:
            together.wait()
            said.append((bank, second)[number % 2].pay(ANN, (YES, NO)[number // 4]))

        threads = [threading.Thread(target=pay, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(said) == 8
    assert said.count(said[0]) == 8


def test_the_book_outlives_the_bank(tmp_path: Path) -> None:
    with closing(Bank(tmp_path)) as first:
        payment = first.pay(ANN, YES)
    with closing(Bank(tmp_path)) as second:
        assert second.pay(ANN, NO) == payment


@pytest.mark.parametrize("change", ["UPDATE payment SET state = 'REFUSED', refusal = 'no'", "DELETE FROM payment"])
def test_not_even_the_bank_can_change_what_is_settled(bank: Bank, tmp_path: Path, change: str) -> None:
    bank.pay(ANN, YES)
    with closing(sqlite3.connect(tmp_path / FILE)) as book, pytest.raises(sqlite3.IntegrityError):
        book.execute(change)


def test_an_order_that_the_book_cannot_take_leaves_it_as_it_was(bank: Bank) -> None:
    wrong = replace(ANN, minor_units=0)
    with pytest.raises(sqlite3.IntegrityError):
        bank.pay(wrong, YES)
    assert bank.find(ANN.key) is None
    assert bank.pay(ANN, YES).state is State.PAID


def test_commits_are_on_the_disk(bank: Bank) -> None:
    modes = [bank._book.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous")]
    assert modes == ["wal", 2]
