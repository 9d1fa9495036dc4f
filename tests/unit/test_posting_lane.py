"""The lane, against a store that fails as scripted: what is tried again, and who gets which answer."""

import asyncio
from collections.abc import Sequence
from time import monotonic

import pytest
from prometheus_client import REGISTRY

from tests.kit.builders import account, code, deposit, transfer
from tests.kit.scripted_store import Gate, LostAnswer, ScriptedStore
from transaction_service.domain.failure import InvariantViolation
from transaction_service.domain.ledger import Book, decide
from transaction_service.domain.movement import Movement, Outcome
from transaction_service.ports import Conflict, LockTimeout, StoreUnavailable
from transaction_service.posting import lane as lane_module
from transaction_service.posting import metrics
from transaction_service.posting.lane import PostingLane, Result
from transaction_service.posting.queue import Expired, PostingQueue, Ticket

FIVE = [10, 20, 30, 40, 50]


def a_store() -> ScriptedStore:
    return ScriptedStore(account("alice", 100), account("bob"), account("carol", 100))


def a_lane(store: ScriptedStore, queue: PostingQueue | None = None, group_max: int = 1000) -> PostingLane:
    def deliver(results: Sequence[tuple[Ticket, Result]]) -> None:
        for ticket, result in results:
            ticket.answered.get_loop().call_soon_threadsafe(ticket.resolve, result)

    # Not `or`: an empty queue is false.
    return PostingLane(PostingQueue(100) if queue is None else queue, store, group_max, deliver)


def posted(store: ScriptedStore, movements: Sequence[Movement]) -> list[str]:
    return [code(result) for result in a_lane(store).post(movements)]


def counted(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(f"specie_posting_{name}", labels) or 0.0


def test_a_group_is_one_lock_and_one_write() -> None:
    store = a_store()
    group = [transfer("alice", "bob", 60), transfer("alice", "bob", 60), transfer("bob", "carol", 60)]
    assert posted(store, group) == ["POSTED", "INSUFFICIENT_FUNDS", "POSTED"]
    assert store.calls == ["lock", "write"]
    assert (store.balance("alice"), store.balance("bob"), store.balance("carol")) == (40, 0, 160)
    assert len(store.memory.transactions) == 3


def test_nothing_to_post_asks_nothing_of_the_store() -> None:
    store = a_store()
    assert posted(store, []) == []
    assert store.calls == []


def test_a_group_that_is_known_whole_writes_nothing() -> None:
    store, movement = a_store(), transfer()
    lane = a_lane(store)
    [first] = lane.post([movement])
    store.calls.clear()
    again = lane.post([movement, transfer("alice", "alice"), movement])
    assert isinstance(first, Outcome)
    assert [again[0], again[2]] == [Outcome(first.transaction, replayed=True)] * 2
    assert code(again[1]) == "SAME_WALLET"
    assert store.calls == ["lock", "roll back"]


def test_the_same_key_twice_in_a_group_has_one_effect() -> None:
    store, movement = a_store(), transfer(amount=10)
    results = a_lane(store).post([movement, movement, movement])
    assert [isinstance(r, Outcome) and r.replayed for r in results] == [False, True, True]
    assert store.balance("bob") == 10


def test_system_accounts_are_opened_once_before_the_locks() -> None:
    store = a_store()
    lane = a_lane(store)
    group = [deposit("alice", 5), deposit("bob", 5, currency="EUR")]
    assert [code(r) for r in lane.post(group)] == ["POSTED", "CURRENCY_MISMATCH"]
    assert [code(r) for r in lane.post([deposit("alice", 5)])] == ["POSTED"]
    assert store.opened == [["system/cash-eur", "system/cash-usd"]]
    assert store.calls == ["open", "lock", "write", "lock", "write"]
    assert store.memory.accounts["system/cash-usd"].balance == -10


WHOLE, SPLIT = ["lock", "write"], ["impatient lock", "write"]
# After a lock that took too long: which of the two accounts was it?
PROBES = ["impatient lock", "roll back"] * 2

FAILURES = [
    # on lock, on write; expected calls for two commands; expected answers
    ([Conflict()], [], ["lock", *WHOLE], ["POSTED"] * 2),
    ([], [Conflict()], [*WHOLE, *WHOLE], ["POSTED"] * 2),
    ([Conflict(), Conflict()], [], ["lock", "lock", *SPLIT, *SPLIT], ["POSTED"] * 2),
    ([], [Conflict(), Conflict()], [*WHOLE, *WHOLE, *SPLIT, *SPLIT], ["POSTED"] * 2),
    ([LockTimeout()], [], ["lock", *SPLIT, *SPLIT], ["POSTED"] * 2),
    ([Conflict(), LockTimeout()], [], ["lock", "lock", *SPLIT, *SPLIT], ["POSTED"] * 2),
    ([LockTimeout()] * 2, [], ["lock", "impatient lock", *PROBES, *SPLIT], ["Contention", "POSTED"]),
    ([LockTimeout(), None, Conflict()], [], ["lock", *SPLIT, "impatient lock"], ["POSTED", "Contention"]),
    ([LockTimeout()], [Conflict()], ["lock", *SPLIT, *SPLIT], ["Contention", "POSTED"]),
    ([StoreUnavailable()], [], ["lock", *WHOLE], ["POSTED"] * 2),
    ([StoreUnavailable()] * 2, [], ["lock", "lock"], ["LedgerUnavailable"] * 2),
    ([Conflict(), StoreUnavailable()], [], ["lock", "lock"], ["LedgerUnavailable"] * 2),
    ([], [StoreUnavailable()] * 2, [*WHOLE, *WHOLE], ["LedgerUnavailable"] * 2),
    ([StoreUnavailable(), Conflict()], [], ["lock", "lock", *SPLIT, *SPLIT], ["POSTED"] * 2),
    ([LockTimeout(), StoreUnavailable()], [], ["lock", "impatient lock", *SPLIT], ["LedgerUnavailable", "POSTED"]),
    ([ValueError("bug")], [], ["lock", *SPLIT, *SPLIT], ["POSTED"] * 2),
    ([ValueError("bug")] * 2, [], ["lock", "impatient lock", *SPLIT], ["ValueError", "POSTED"]),
]


@pytest.mark.parametrize(("on_lock", "on_write", "calls", "answers"), FAILURES)
def test_failures_of_the_store(
    on_lock: list[Exception | Gate | None], on_write: list[Exception | None], calls: list[str], answers: list[str]
) -> None:
    store = a_store()
    store.on_lock, store.on_write = list(on_lock), list(on_write)
    assert posted(store, [transfer("alice", "bob", 10), transfer("alice", "bob", 20)]) == answers
    assert store.calls == calls
    expected = sum(amount for amount, answer in zip([10, 20], answers, strict=True) if answer == "POSTED")
    assert (store.balance("alice"), store.balance("bob")) == (100 - expected, expected)


def test_a_commit_whose_answer_was_lost_is_found_again() -> None:
    store = a_store()
    store.on_write = [LostAnswer(StoreUnavailable())]
    results = a_lane(store).post([transfer(amount=10), transfer(amount=20)])
    assert [isinstance(r, Outcome) and r.replayed for r in results] == [True, True]
    assert store.balance("bob") == 30
    assert store.calls == [*WHOLE, "lock", "roll back"]


@pytest.mark.parametrize("lock_again", [LockTimeout(), Conflict()])
def test_while_a_lost_commit_may_come_through_nobody_is_told_that_there_is_no_effect(lock_again: Exception) -> None:
    """The lost session still holds the rows: CONTENTION would say that nothing was done."""
    store = a_store()
    store.on_write = [StoreUnavailable()]
    store.on_lock = [None, lock_again, lock_again]
    assert posted(store, [transfer()]) == ["LedgerUnavailable"]
    probes = PROBES if isinstance(lock_again, LockTimeout) else []
    assert store.calls == [*WHOLE, "lock", "impatient lock", *probes]


def test_a_held_account_is_waited_for_once_and_not_by_every_command_that_names_it() -> None:
    store = a_store()
    store.held = {"wallets/alice"}
    group = [transfer("alice", "bob", 1), transfer("carol", "bob", 1), transfer("bob", "alice", 1), deposit("alice", 1)]
    assert posted(store, group) == ["Contention", "POSTED", "Contention", "Contention"]
    assert store.waits == ["lock", "impatient lock", "impatient lock"]  # the group, the first command, its account
    assert (store.balance("alice"), store.balance("bob"), store.balance("carol")) == (100, 1, 99)


def test_a_lane_that_cannot_learn_which_account_is_held_goes_on() -> None:
    store = a_store()
    store.on_lock = [LockTimeout(), LockTimeout(), StoreUnavailable(), ValueError("bug")]
    assert posted(store, [transfer("alice", "bob", 1), transfer("alice", "bob", 2)]) == ["Contention", "POSTED"]


def test_one_poisoned_command_does_not_take_its_neighbours_down() -> None:
    store = a_store()
    store.refused_amount = 30
    answers = posted(store, [transfer("carol", "bob", amount) for amount in (10, 20, 30, 40)])
    assert answers == ["POSTED", "POSTED", "ValueError", "POSTED"]
    assert (store.balance("carol"), store.balance("bob")) == (30, 70)


def test_a_broken_invariant_is_counted_and_told_to_its_own_caller_only(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(book: Book, movement: Movement) -> object:
        answer = decide(book, movement)
        if movement.amount == 20:
            book.entries.pop()
        return answer

    monkeypatch.setattr(lane_module, "decide", broken)
    before = counted("invariant_violations_total")
    store = a_store()
    results = a_lane(store).post([transfer(amount=10), transfer(amount=20), transfer(amount=30)])
    assert [code(r) for r in results] == ["POSTED", "InvariantViolation", "POSTED"]
    assert store.calls == ["lock", "roll back", *SPLIT, "impatient lock", "roll back", *SPLIT]
    assert counted("invariant_violations_total") == before + 1
    assert store.balance("bob") == 40


def test_a_violation_that_the_store_finds_is_one_too() -> None:
    store = a_store()
    store.on_write = [InvariantViolation(), InvariantViolation()]
    before = counted("invariant_violations_total")
    assert posted(store, [transfer(), transfer()]) == ["InvariantViolation", "POSTED"]
    assert counted("invariant_violations_total") == before + 1


def test_retries_are_counted_by_cause() -> None:
    causes = {"conflict": Conflict(), "unavailable": StoreUnavailable(), "failed": LockTimeout()}
    for cause, error in causes.items():
        before = counted("group_retries_total", cause=cause)
        store = a_store()
        store.on_lock = [error]
        assert posted(store, [transfer()]) == ["POSTED"]
        assert counted("group_retries_total", cause=cause) == before + 1


def test_callers_get_their_own_answers_in_groups_up_to_the_maximum() -> None:
    async def scenario() -> None:
        store, queue, gate = a_store(), PostingQueue(100), Gate()
        store.on_lock = [gate]
        lane = a_lane(store, queue, group_max=3)
        lane.start()
        first = asyncio.create_task(queue.post(transfer("alice", "bob", 1, "first")))
        await asyncio.to_thread(gate.wait_until_reached)
        others = [asyncio.create_task(queue.post(transfer("alice", "bob", amount, str(amount)))) for amount in FIVE]
        await asyncio.sleep(0)
        gate.opened.set()
        answers = [code(answer) for answer in await asyncio.gather(first, *others)]
        assert answers == ["POSTED", "POSTED", "POSTED", "POSTED", "INSUFFICIENT_FUNDS", "INSUFFICIENT_FUNDS"]
        assert store.groups == [["first"], ["10", "20", "30"], ["40", "50"]]
        queue.close()
        await asyncio.to_thread(lane.join, 30)

    asyncio.run(scenario())


def test_abandoned_and_expired_commands_have_no_effect() -> None:
    async def scenario() -> None:
        store, queue, gate = a_store(), PostingQueue(100), Gate()
        store.on_lock = [gate]
        lane = a_lane(store, queue)
        lane.start()
        first = asyncio.create_task(queue.post(transfer(amount=1)))
        await asyncio.to_thread(gate.wait_until_reached)
        gone = asyncio.create_task(queue.post(transfer(amount=2)))
        late = asyncio.create_task(queue.post(transfer(amount=4), deadline=monotonic()))
        patient = asyncio.create_task(queue.post(transfer(amount=8), deadline=monotonic() + 3600))
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.gather(gone, return_exceptions=True)
        gate.opened.set()
        with pytest.raises(Expired):
            await late
        assert [code(answer) for answer in await asyncio.gather(first, patient)] == ["POSTED", "POSTED"]
        assert store.balance("bob") == 9
        assert len(store.memory.transactions) == 2
        queue.close()
        await asyncio.to_thread(lane.join, 30)

    asyncio.run(scenario())


def test_a_caller_that_goes_away_while_its_command_is_posted_leaves_it_whole() -> None:
    async def scenario() -> None:
        store, queue, gate = a_store(), PostingQueue(100), Gate()
        store.on_lock = [gate]
        lane = a_lane(store, queue)
        lane.start()
        movement = transfer(amount=10)
        caller = asyncio.create_task(queue.post(movement))
        await asyncio.to_thread(gate.wait_until_reached)
        caller.cancel()
        await asyncio.gather(caller, return_exceptions=True)
        gate.opened.set()
        again = await queue.post(movement)
        assert isinstance(again, Outcome)
        assert again.replayed
        assert store.balance("bob") == 10
        queue.close()
        await asyncio.to_thread(lane.join, 30)

    asyncio.run(scenario())


def test_what_was_accepted_is_answered_before_the_lane_ends() -> None:
    async def scenario() -> None:
        store, queue, gate = a_store(), PostingQueue(100), Gate()
        store.on_lock = [gate]
        lane = a_lane(store, queue, group_max=2)
        lane.start()
        tasks = [asyncio.create_task(queue.post(transfer(amount=1))) for _ in range(5)]
        await asyncio.to_thread(gate.wait_until_reached)
        queue.close()
        assert not store.closed
        gate.opened.set()
        await asyncio.to_thread(lane.join, 30)
        assert [code(answer) for answer in await asyncio.gather(*tasks)] == ["POSTED"] * 5
        assert store.closed

    asyncio.run(scenario())


def test_an_error_reaches_its_caller_as_an_exception() -> None:
    async def scenario() -> None:
        store, queue = a_store(), PostingQueue(100)
        store.refused_amount = 10
        lane = a_lane(store, queue)
        lane.start()
        with pytest.raises(ValueError, match="cannot be stored"):
            await queue.post(transfer(amount=10))
        assert code(await queue.post(transfer(amount=11))) == "POSTED"
        queue.close()
        await asyncio.to_thread(lane.join, 30)

    asyncio.run(scenario())


@pytest.mark.parametrize(("commands", "group_max", "pauses"), [(8, 100, 0), (9, 100, 1), (9, 9, 0)])
def test_a_lane_pauses_only_after_a_crowd(
    commands: int, group_max: int, pauses: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    paused: list[float] = []
    monkeypatch.setattr(lane_module, "sleep", paused.append)

    async def scenario() -> None:
        queue, gate, store = PostingQueue(100), Gate(), a_store()
        store.on_lock = [gate]
        lane = a_lane(store, queue, group_max)
        lane.start()
        first = asyncio.create_task(queue.post(transfer(amount=1)))
        await asyncio.to_thread(gate.wait_until_reached)
        others = [asyncio.create_task(queue.post(transfer(amount=1))) for _ in range(commands)]
        while len(queue) < commands:  # noqa: ASYNC110 - a queue tells nobody that it grew
            await asyncio.sleep(0)
        gate.opened.set()
        await asyncio.gather(first, *others)
        queue.close()
        await asyncio.to_thread(lane.join, 30)

    asyncio.run(scenario())
    assert len(paused) == pauses


def test_a_bug_in_the_lane_itself_does_not_end_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its callers are told that the outcome is not known, and the connection goes, with whatever is open on it."""
    store = a_store()
    lane = a_lane(store)
    monkeypatch.setattr(lane, "_open_system_accounts", lambda _names: None)
    monkeypatch.setattr(metrics, "GROUP_RETRIES", None)
    store.on_lock = [Conflict()]
    assert [code(result) for result in lane.post([transfer()])] == ["LedgerUnavailable"]
    assert store.closed
    assert [code(result) for result in lane.post([transfer()])] == ["POSTED"]


def test_a_lane_tells_for_how_long_it_has_been_at_its_group() -> None:
    async def scenario() -> None:
        queue, gate, store = PostingQueue(10), Gate(), a_store()
        store.on_lock = [gate]
        lane = a_lane(store, queue)
        assert lane.busy_seconds == 0
        lane.start()
        posting = asyncio.create_task(queue.post(transfer()))
        await asyncio.to_thread(gate.wait_until_reached)
        assert lane.busy_seconds > 0
        queue.close()
        await asyncio.to_thread(lane.join, 0)
        assert lane.running
        gate.opened.set()
        await posting
        await asyncio.to_thread(lane.join, 30)
        assert (lane.running, lane.busy_seconds) == (False, 0)

    asyncio.run(scenario())
