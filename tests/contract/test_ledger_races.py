"""Two processes that want the same hold, the same original or the same deferred transfer: one effect, true answers."""

import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta

import pytest

from tests.kit.auditor import audit
from tests.kit.builders import capture, code, compound, expiry, fee, placing, release, reversal, transfer
from tests.kit.ledgers import Ledger, funded, postgres_ledger, session
from tests.kit.postgres import Database
from transaction_service.domain.movement import Manner, Movement, Outcome, Work
from transaction_service.domain.terms import Terms
from transaction_service.posting.queue import Result

WAIT_SECONDS_MAX = 30
ROUNDS = 25
DEFERRED = Terms(deferred=True)


@pytest.fixture
def ledger(database: Database) -> Iterator[Ledger]:
    with postgres_ledger(database) as opened:
        yield opened


@pytest.fixture
def other(database: Database) -> Iterator[Ledger]:
    """Another process on the same database."""
    with postgres_ledger(database) as opened:
        yield opened


def at_once(pairs: Sequence[tuple[Ledger, Sequence[Work]]]) -> list[list[list[Result]]]:
    """By each ledger its pieces of work, one group each; what they answered, by ledger, work and movement."""
    start = threading.Barrier(len(pairs))
    answers: list[list[list[Result]]] = [[] for _ in pairs]

    def run(number: int, on: Ledger, works: Sequence[Work]) -> None:
        for work in works:
            start.wait(WAIT_SECONDS_MAX)
            answers[number] += on.lane.post([work])

    threads = [threading.Thread(target=run, args=(number, *pair)) for number, pair in enumerate(pairs)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT_SECONDS_MAX)
    return answers


def both(ledger: Ledger, other: Ledger, ours: Sequence[Work], theirs: Sequence[Work]) -> list[list[str]]:
    """For each round what the two were told, sorted."""
    first, second = at_once([(ledger, ours), (other, theirs)])
    return [sorted([code(mine), code(yours)]) for [mine], [yours] in zip(first, second, strict=True)]


def single(movements: Sequence[Movement], manner: Manner = Manner.EACH) -> list[Work]:
    return [Work([movement], manner, "ann") for movement in movements]


ENDS: list[tuple[Callable[[Movement], Movement], Callable[[Movement], Movement], set[str]]] = [
    (capture, capture, {"HOLD_CAPTURED"}),
    (capture, release, {"HOLD_CAPTURED", "HOLD_RELEASED"}),
    (release, release, {"HOLD_RELEASED"}),
]


@pytest.mark.parametrize(("one", "another", "refusals"), ENDS)
def test_a_hold_ends_once(
    ledger: Ledger,
    other: Ledger,
    one: Callable[[Movement], Movement],
    another: Callable[[Movement], Movement],
    refusals: set[str],
) -> None:
    alice, bob = funded(ledger, 1000, "alice", "bob")
    placed = [placing(alice, bob, 10) for _ in range(ROUNDS)]
    assert [code(answer) for answer in ledger.post(*placed)] == ["POSTED"] * ROUNDS
    told = both(ledger, other, single(list(map(one, placed))), single(list(map(another, placed))))
    assert all(answers[1] == "POSTED" and answers[0] in refusals for answers in told), told
    assert ledger.account(alice).held == 0


def test_a_hold_that_two_sweepers_have_claimed_expires_once(ledger: Ledger, other: Ledger, database: Database) -> None:
    alice, bob = funded(ledger, 1000, "alice", "bob")
    placed = [placing(alice, bob, 10, ttl=timedelta(microseconds=1)) for _ in range(ROUNDS)]
    ledger.post(*placed)
    mine, yours = at_once([(on, single(list(map(expiry, placed)))) for on in (ledger, other)])
    for [first], [second] in zip(mine, yours, strict=True):
        # Whoever comes second finds what the first has stored, or only that the hold is over already.
        told = [isinstance(answer, Outcome) and not answer.replayed for answer in (first, second)]
        assert sorted(told) == [False, True]
        assert {code(first), code(second)} <= {"POSTED", "HOLD_EXPIRED"}
    assert ledger.account(alice).held == 0
    audit(database.owner_dsn)


REQUESTS: list[Callable[[Movement, Movement], Movement]] = [
    lambda placed, _: placing(placed.source, placed.destination, 3),
    lambda placed, _: capture(placed, 4),
    lambda placed, _: capture(placed, final=True),
    lambda placed, _: release(placed),
    lambda _, paid: reversal(paid),
    lambda _, paid: reversal(paid, 6),
    lambda _, paid: compound((paid.source, -1), (paid.destination, 1)),
    lambda _, paid: transfer(paid.source, paid.destination, 1, terms=fee(1)),
    lambda _, paid: transfer(paid.source, paid.destination, 1, terms=Terms(expected_version=1)),
    lambda _, paid: transfer(paid.source, paid.destination, 1, terms=DEFERRED),
    lambda _, paid: transfer(paid.source, paid.destination, 9999),
]


@pytest.mark.parametrize("request_of", REQUESTS)
def test_one_request_sent_to_two_processes_has_one_effect(
    ledger: Ledger, other: Ledger, database: Database, request_of: Callable[[Movement, Movement], Movement]
) -> None:
    alice, bob = funded(ledger, 1000, "alice", "bob")
    placed, paid = ([make(alice, bob, 10) for _ in range(ROUNDS)] for make in (placing, transfer))
    ledger.post(*placed, *paid)
    asked = [request_of(*about) for about in zip(placed, paid, strict=True)]
    one_effect(*at_once([(on, single(asked)) for on in (ledger, other)]))
    audit(database.owner_dsn)


def one_effect(mine: Sequence[Sequence[Result]], yours: Sequence[Sequence[Result]]) -> None:
    """Both were told the same, and one of them that it had been so before."""
    for [first], [second] in zip(mine, yours, strict=True):
        assert isinstance(first, Outcome)
        assert isinstance(second, Outcome)
        assert first.transaction == second.transaction
        assert sorted([first.replayed, second.replayed]) == [False, True]


def test_parts_of_a_hold_are_never_more_than_it(ledger: Ledger, other: Ledger) -> None:
    alice, bob = funded(ledger, 1000, "alice", "bob")
    placed = placing(alice, bob, 100)
    ledger.post(placed)
    mine, yours = ([capture(placed, 3) for _ in range(ROUNDS)] for _ in range(2))
    told = [answer for answers in both(ledger, other, single(mine), single(yours)) for answer in answers]
    assert told.count("POSTED") == 33
    assert told.count("CAPTURE_ABOVE_HOLD") == 2 * ROUNDS - 33
    assert (ledger.account(alice).held, ledger.account(bob).balance) == (1, 1099)


def test_of_two_reversals_of_the_whole_one_wins(ledger: Ledger, other: Ledger, database: Database) -> None:
    alice, bob = funded(ledger, 1000, "alice", "bob")
    paid = [transfer(alice, bob, 10) for _ in range(ROUNDS)]
    ledger.post(*paid)
    told = both(ledger, other, single(list(map(reversal, paid))), single(list(map(reversal, paid))))
    assert told == [["ALREADY_REVERSED", "POSTED"]] * ROUNDS
    assert (ledger.account(alice).balance, ledger.account(bob).balance) == (1000, 1000)
    audit(database.owner_dsn)


def test_parts_given_back_are_never_more_than_the_original(ledger: Ledger, other: Ledger, database: Database) -> None:
    alice, bob = funded(ledger, 1000, "alice", "bob")
    paid = transfer(alice, bob, 100)
    ledger.post(paid)
    mine, yours = ([reversal(paid, 3) for _ in range(ROUNDS)] for _ in range(2))
    told = [answer for answers in both(ledger, other, single(mine), single(yours)) for answer in answers]
    assert told.count("POSTED") == 33
    assert ledger.account(alice).balance == 999
    audit(database.owner_dsn)


def test_what_two_workers_have_claimed_is_posted_once(ledger: Ledger, other: Ledger, database: Database) -> None:
    alice, bob = funded(ledger, 1000, "alice", "bob")
    deferred = [transfer(alice, bob, 1, terms=DEFERRED) for _ in range(ROUNDS)]
    ledger.post(*deferred)
    mine, yours = at_once([(on, single(deferred, Manner.DUE)) for on in (ledger, other)])
    one_effect(mine, yours)
    assert ledger.account(bob).balance == 1000 + ROUNDS
    audit(database.owner_dsn)


def test_what_is_cancelled_while_it_is_posted_is_one_of_the_two(
    ledger: Ledger, other: Ledger, database: Database
) -> None:
    alice, bob = funded(ledger, 1000, "alice", "bob")
    deferred = [transfer(alice, bob, 1, terms=DEFERRED) for _ in range(ROUNDS)]
    ledger.post(*deferred)
    told = both(ledger, other, single(deferred, Manner.DUE), single(deferred, Manner.CANCEL))
    assert all(answers[0] == answers[1] in ("POSTED", "TRANSFER_CANCELLED") for answers in told), told
    assert ledger.account(bob).balance == 1000 + sum(answers[0] == "POSTED" for answers in told)
    audit(database.owner_dsn)


def test_one_batch_sent_to_two_processes_is_posted_once(ledger: Ledger, other: Ledger, database: Database) -> None:
    alice, bob, poor = funded(ledger, 1000, "alice", "bob", "poor")
    batches = [
        Work([transfer(alice, bob, 1), transfer(bob, alice, 1), transfer(poor, bob, amount)], Manner.ATOMIC)
        for amount in (1, 9999) * (ROUNDS // 2)
    ]
    mine, yours = at_once([(ledger, batches), (other, batches)])
    stopped = ["BATCH_STOPPED", "BATCH_STOPPED", "INSUFFICIENT_FUNDS"]
    for first, second, expected in zip(mine, yours, (["POSTED"] * 3, stopped) * (ROUNDS // 2), strict=True):
        assert list(map(code, first)) == list(map(code, second)) == expected
        replayed = [{isinstance(a, Outcome) and a.replayed for a in answers} for answers in (first, second)]
        assert sorted(replayed, key=str) == [{False}, {True}]
    assert ledger.account(poor).balance == 1000 - ROUNDS // 2
    audit(database.owner_dsn)


def test_a_deferred_transfer_that_another_session_holds_delays_nobody_else(ledger: Ledger, database: Database) -> None:
    alice, bob = funded(ledger, 100, "alice", "bob")
    held, free = (transfer(alice, bob, 1, terms=DEFERRED) for _ in range(2))
    ledger.post(held, free)
    with session(database.transaction_dsn) as cursor:
        cursor.execute("SELECT 1 FROM transactions.pending WHERE id = %s FOR UPDATE", (held.id,))
        [answers] = ledger.lane.post([Work([held, free], Manner.DUE)])
        assert [code(answer) for answer in answers] == ["Contention", "POSTED"]
    assert [code(answer) for answer in ledger.work(Work([held], Manner.DUE))] == ["POSTED"]
