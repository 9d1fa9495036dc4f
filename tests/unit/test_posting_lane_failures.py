"""The lane, against a store that fails as scripted: what is tried again, and who gets which answer."""

from collections.abc import Sequence

import pytest

from tests.kit.builders import code, deposit, transfer
from tests.kit.lanes import a_lane, a_store, counted, each
from tests.kit.scripted_store import Gate, LostAnswer
from transaction_service.domain.book import Book
from transaction_service.domain.failure import InvariantViolation
from transaction_service.domain.ledger import decide_work
from transaction_service.domain.movement import Answer, Manner, Outcome, Work
from transaction_service.domain.terms import Terms
from transaction_service.ports import Conflict, LockTimeout, StoreUnavailable
from transaction_service.posting import lane as lane_module

WHOLE, SPLIT = ["lock", "write"], ["impatient lock", "write"]
IN_VAIN = ["impatient lock", "held"]

FAILURES = [
    # on lock, on write; expected calls for two callers of one movement each; expected answers
    ([Conflict()], [], ["lock", *WHOLE], ["POSTED"] * 2),
    ([], [Conflict()], [*WHOLE, *WHOLE], ["POSTED"] * 2),
    ([Conflict()] * 2, [], ["lock"] * 2 + SPLIT, ["POSTED"] * 2),
    ([Conflict()] * 3, [], ["lock"] * 2 + ["impatient lock"] + SPLIT * 2, ["POSTED"] * 2),
    ([Conflict()] * 4, [], ["lock"] * 2 + ["impatient lock"] * 2 + SPLIT, ["Contention", "POSTED"]),
    ([], [Conflict()] * 2, WHOLE * 2 + SPLIT, ["POSTED"] * 2),
    ([], [Conflict()] * 4, WHOLE * 2 + SPLIT * 3, ["Contention", "POSTED"]),
    ([LockTimeout()], [], ["lock", *SPLIT], ["POSTED"] * 2),
    ([Conflict(), LockTimeout()], [], ["lock", "lock", *SPLIT], ["POSTED"] * 2),
    ([LockTimeout()] * 2, [], ["lock", *IN_VAIN, *SPLIT, *SPLIT], ["POSTED"] * 2),
    ([LockTimeout()] * 3, [], ["lock", *IN_VAIN, *IN_VAIN, *SPLIT], ["Contention", "POSTED"]),
    ([LockTimeout()], [Conflict()], ["lock", *SPLIT * 3], ["POSTED"] * 2),
    ([StoreUnavailable()], [], ["lock", *WHOLE], ["POSTED"] * 2),
    ([StoreUnavailable()] * 2, [], ["lock"] * 2, ["LedgerUnavailable"] * 2),
    ([Conflict(), StoreUnavailable()], [], ["lock"] * 2, ["LedgerUnavailable"] * 2),
    ([], [StoreUnavailable()] * 2, WHOLE * 2, ["LedgerUnavailable"] * 2),
    ([StoreUnavailable(), Conflict()], [], ["lock"] * 2 + SPLIT, ["POSTED"] * 2),
    ([LockTimeout(), StoreUnavailable()], [], ["lock", "impatient lock"], ["LedgerUnavailable"] * 2),
    ([LockTimeout(), Conflict(), StoreUnavailable()], [], ["lock"] + ["impatient lock"] * 2, ["LedgerUnavailable"] * 2),
    (
        [LockTimeout(), Conflict(), None, StoreUnavailable()],
        [],
        ["lock", "impatient lock", *SPLIT, "impatient lock"],
        ["POSTED", "LedgerUnavailable"],
    ),
    ([ValueError("bug")], [], ["lock", *SPLIT], ["POSTED"] * 2),
    ([ValueError("bug")] * 2, [], ["lock", "impatient lock", *SPLIT * 2], ["POSTED"] * 2),
    ([ValueError("bug")] * 3, [], ["lock"] + ["impatient lock"] * 2 + SPLIT, ["ValueError", "POSTED"]),
    ([], [ValueError("bug")] * 3, WHOLE + SPLIT * 3, ["ValueError", "POSTED"]),
]


@pytest.mark.parametrize(("on_lock", "on_write", "calls", "answers"), FAILURES)
def test_failures_of_the_store(
    on_lock: list[Exception | Gate | None], on_write: list[Exception | None], calls: list[str], answers: list[str]
) -> None:
    store = a_store()
    store.on_lock, store.on_write = list(on_lock), list(on_write)
    results = each(a_lane(store), transfer("alice", "bob", 10), transfer("alice", "bob", 20))
    assert [code(result) for result in results] == answers
    assert store.calls == calls
    expected = sum(amount for amount, answer in zip([10, 20], answers, strict=True) if answer == "POSTED")
    assert (store.balance("alice"), store.balance("bob")) == (100 - expected, expected)


def test_a_commit_whose_answer_was_lost_is_found_again() -> None:
    store = a_store()
    store.on_write = [LostAnswer(StoreUnavailable())]
    results = each(a_lane(store), transfer(amount=10), transfer(amount=20))
    assert [isinstance(r, Outcome) and r.replayed for r in results] == [True, True]
    assert store.balance("bob") == 30
    assert store.calls == [*WHOLE, "lock", "roll back"]


@pytest.mark.parametrize("lock_again", [LockTimeout(), Conflict()])
def test_while_a_lost_commit_may_come_through_nobody_is_told_that_there_is_no_effect(lock_again: Exception) -> None:
    """The lost session still holds the rows: CONTENTION would say that nothing was done."""
    store = a_store()
    store.on_write = [StoreUnavailable()]
    store.on_lock = [None, lock_again, lock_again]
    assert [code(result) for result in each(a_lane(store), transfer())] == ["LedgerUnavailable"]


@pytest.mark.parametrize("uncertain", [False, True])
def test_what_nobody_waits_for_is_left_out_when_a_group_is_taken_apart(uncertain: bool) -> None:
    """Expired says that nothing was done, so it is not the answer while a lost commit may come through."""
    store = a_store()
    store.on_write = [StoreUnavailable()] if uncertain else []
    store.on_lock = [None, LockTimeout()] if uncertain else [LockTimeout()]
    works = [Work([transfer(amount=1), transfer(amount=2)]), Work([transfer(amount=4)]), Work([transfer(amount=8)])]
    results = a_lane(store).post(works, lambda position: position != 1)
    gone = "LedgerUnavailable" if uncertain else "Expired"
    assert [[code(r) for r in answers] for answers in results] == [[gone, gone], ["POSTED"], [gone]]
    assert store.balance("bob") == 4


def test_whether_somebody_waits_is_not_asked_of_a_group_that_goes_through() -> None:
    def asked(position: int) -> bool:
        raise AssertionError(position)

    assert [code(r) for [r] in a_lane(a_store()).post([Work([transfer()])], asked)] == ["POSTED"]


def test_a_held_account_is_waited_for_twice_and_not_by_every_command_that_names_it() -> None:
    store = a_store()
    store.held_elsewhere = {"wallets/alice"}
    group = [transfer("alice", "bob", 1), transfer("carol", "bob", 1), transfer("bob", "alice", 1), deposit("alice", 1)]
    results = each(a_lane(store), *group)
    assert [code(result) for result in results] == ["Contention", "POSTED", "Contention", "Contention"]
    assert store.calls == ["open", "lock", *IN_VAIN, *SPLIT]
    assert (store.balance("alice"), store.balance("bob"), store.balance("carol")) == (100, 1, 99)


def test_when_all_name_the_held_account_nothing_more_is_tried() -> None:
    store = a_store()
    store.held_elsewhere = {"wallets/bob"}
    assert [code(r) for r in each(a_lane(store), transfer(), transfer())] == ["Contention"] * 2
    assert store.calls == ["lock", *IN_VAIN]


@pytest.mark.parametrize("error", [StoreUnavailable(), ValueError("bug")])
def test_a_lane_that_cannot_learn_which_account_is_held_goes_on(error: Exception) -> None:
    store = a_store()
    store.on_lock = [LockTimeout(), LockTimeout(), LockTimeout()]
    store.on_held = [error, error]
    results = each(a_lane(store), transfer("alice", "bob", 1), transfer("alice", "bob", 2))
    assert [code(result) for result in results] == ["Contention", "POSTED"]


def test_one_poisoned_command_does_not_take_its_neighbours_down() -> None:
    """After about twice log2 of the group's size tries, and with the others still in their order."""
    store = a_store()
    store.refused_amount = 5
    amounts = [1, 2, 3, 4, 5, 6, 7, 8]
    results = each(a_lane(store), *[transfer("carol", "bob", amount, str(amount)) for amount in amounts])
    assert [code(result) for result in results] == ["POSTED"] * 4 + ["ValueError"] + ["POSTED"] * 3
    assert store.calls.count("impatient lock") == 7
    assert [key for group in store.groups for key in group] == ["1", "2", "3", "4", "6", "7", "8"]
    assert (store.balance("carol"), store.balance("bob")) == (69, 31)


def test_the_items_of_a_batch_are_taken_apart_and_answered_in_their_places() -> None:
    store = a_store()
    store.refused_amount = 5
    works = [Work([transfer(amount=1)]), Work([transfer(amount=amount) for amount in (2, 5, 3)])]
    results = a_lane(store).post(works)
    assert [[code(r) for r in answers] for answers in results] == [["POSTED"], ["POSTED", "ValueError", "POSTED"]]
    assert store.balance("bob") == 6


@pytest.mark.parametrize(("poisoned", "expected"), [(1, ["ValueError", "ValueError"]), (4, ["POSTED", "POSTED"])])
def test_an_atomic_batch_is_never_taken_apart(poisoned: int, expected: list[str]) -> None:
    store = a_store()
    store.refused_amount = poisoned
    works = [Work([transfer(amount=1), transfer(amount=2)], Manner.ATOMIC), Work([transfer(amount=4)])]
    batch, [single] = a_lane(store).post(works)
    assert [code(result) for result in batch] == expected
    assert code(single) == ("ValueError" if poisoned == 4 else "POSTED")
    assert store.balance("bob") == (3 if poisoned == 4 else 4)


def _broken(book: Book, work: Work) -> list[Answer]:
    answers = decide_work(book, work)
    if work.movements[0].amount == 20:
        book.entries.pop()
    return answers


def test_a_broken_invariant_is_counted_and_told_to_its_own_caller_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lane_module, "decide_work", _broken)
    before = counted("invariant_violations_total")
    store = a_store()
    results = each(a_lane(store), transfer(amount=10), transfer(amount=20), transfer(amount=30))
    assert [code(r) for r in results] == ["POSTED", "InvariantViolation", "POSTED"]
    undone = ["impatient lock", "roll back"]
    assert store.calls == ["lock", "roll back", *undone, *SPLIT, *undone, *undone, *SPLIT]
    assert counted("invariant_violations_total") == before + 1
    assert store.balance("bob") == 40


def test_a_violation_that_the_store_finds_is_one_too() -> None:
    store = a_store()
    store.on_write = [InvariantViolation()] * 3
    before = counted("invariant_violations_total")
    assert [code(r) for r in each(a_lane(store), transfer(), transfer())] == ["InvariantViolation", "POSTED"]
    assert counted("invariant_violations_total") == before + 1


@pytest.mark.parametrize(
    ("cause", "error"), [("conflict", Conflict()), ("unavailable", StoreUnavailable()), ("failed", LockTimeout())]
)
def test_retries_are_counted_by_cause(cause: str, error: Exception) -> None:
    before = counted("group_retries_total", cause=cause)
    store = a_store()
    store.on_lock = [error]
    assert [code(result) for result in each(a_lane(store), transfer())] == ["POSTED"]
    assert counted("group_retries_total", cause=cause) == before + 1


def _sizes(works: Sequence[Work]) -> float:
    before = counted("group_size_sum")
    a_lane(a_store()).post(works)
    return counted("group_size_sum") - before


def test_a_groups_size_is_the_number_of_its_commands() -> None:
    assert _sizes([Work([transfer()]), Work([transfer(), transfer()]), Work([transfer()] * 2, Manner.ATOMIC)]) == 5


def test_a_stuck_account_keeps_nobody_from_what_needs_no_lock() -> None:
    store = a_store()
    store.held_elsewhere = {"wallets/alice"}
    later = transfer("alice", "bob", 1, terms=Terms(deferred=True))
    results = each(a_lane(store), transfer("alice", "bob", 10), later)
    assert [code(result) for result in results] == ["Contention", "PENDING"]
