"""The lane: what it asks of the store for a group, and how callers get their answers."""

import asyncio
from collections.abc import Sequence
from time import monotonic

import pytest

from tests.kit.builders import (
    capture,
    code,
    compound,
    deposit,
    expiry,
    fee,
    placing,
    release,
    reversal,
    transfer,
)
from tests.kit.lanes import a_lane, a_queue, a_store, call, each
from tests.kit.scripted_store import Gate
from transaction_service.domain.identity import account_id
from transaction_service.domain.movement import Manner, Movement, Outcome, Work
from transaction_service.domain.terms import Terms
from transaction_service.ports import Conflict, Wanted
from transaction_service.posting import lane as lane_module
from transaction_service.posting import metrics

FIVE = [10, 20, 30, 40, 50]


def test_a_group_is_one_lock_and_one_write() -> None:
    store = a_store()
    group = [transfer("alice", "bob", 60), transfer("alice", "bob", 60), transfer("bob", "carol", 60)]
    assert [code(result) for result in each(a_lane(store), *group)] == ["POSTED", "INSUFFICIENT_FUNDS", "POSTED"]
    assert store.calls == ["lock", "write"]
    assert (store.balance("alice"), store.balance("bob"), store.balance("carol")) == (40, 0, 160)
    assert len(store.memory.transactions) == 3


def test_nothing_to_post_asks_nothing_of_the_store() -> None:
    store = a_store()
    assert a_lane(store).post([]) == []
    assert store.calls == []


def test_a_group_that_is_known_whole_writes_nothing() -> None:
    store, movement = a_store(), transfer()
    lane = a_lane(store)
    [first] = each(lane, movement)
    store.calls.clear()
    again = each(lane, movement, transfer("alice", "alice"), movement)
    assert isinstance(first, Outcome)
    assert [again[0], again[2]] == [Outcome(first.transaction, replayed=True)] * 2
    assert code(again[1]) == "SAME_WALLET"
    assert store.calls == ["lock", "roll back"]


def test_the_same_key_twice_in_a_group_has_one_effect() -> None:
    store, movement = a_store(), transfer(amount=10)
    results = each(a_lane(store), movement, movement, movement)
    assert [isinstance(r, Outcome) and r.replayed for r in results] == [False, True, True]
    assert store.balance("bob") == 10


def test_system_accounts_are_opened_once_before_the_locks() -> None:
    store = a_store()
    lane = a_lane(store)
    group = [deposit("alice", 5), deposit("bob", 5, currency="EUR"), transfer("alice", "bob", 5, terms=fee(1))]
    assert [code(r) for r in each(lane, *group)] == ["POSTED", "CURRENCY_MISMATCH", "POSTED"]
    assert [code(r) for r in each(lane, deposit("alice", 5))] == ["POSTED"]
    assert store.opened == [["system/cash-eur", "system/cash-usd", "system/fees-usd"]]
    assert store.calls == ["open", "lock", "write", "lock", "write"]
    assert store.memory.accounts["system/cash-usd"].balance == -10


A_HOLD = placing("alice", "bob")
PAID = transfer("alice", "bob", terms=fee(1, "carol"))
LATER = transfer("alice", "bob", terms=Terms(deferred=True))
ALICE, BOB, CAROL, FEES = "wallets/alice", "wallets/bob", "wallets/carol", "system/fees-usd"

WANTED = [
    # movement, manner; accounts, holds, reversed, pending; the movement itself is always among the transactions
    (transfer("alice", "bob"), Manner.EACH, {ALICE, BOB}, (), (), ()),
    (transfer("alice", "bob"), Manner.ATOMIC, {ALICE, BOB}, (), (), ()),
    (PAID, Manner.EACH, {ALICE, BOB, CAROL}, (), (), ()),
    (transfer("alice", "bob", terms=fee(1)), Manner.EACH, {ALICE, BOB, FEES}, (), (), ()),
    (compound(("alice", 1), ("carol", -1)), Manner.EACH, {ALICE, CAROL}, (), (), ()),
    (A_HOLD, Manner.EACH, {ALICE, BOB}, (), (), ()),
    (capture(A_HOLD), Manner.EACH, {ALICE, BOB}, (A_HOLD,), (), ()),
    (capture(A_HOLD, final=True), Manner.EACH, {ALICE, BOB}, (A_HOLD,), (), ()),
    (release(A_HOLD), Manner.EACH, {ALICE, BOB}, (A_HOLD,), (), ()),
    (expiry(A_HOLD), Manner.EACH, {ALICE, BOB}, (A_HOLD,), (), ()),
    (reversal(PAID), Manner.EACH, {ALICE, BOB, CAROL}, (), (PAID,), ()),
    (LATER, Manner.EACH, set(), (), (), ()),
    (LATER, Manner.DUE, {ALICE, BOB}, (), (), (LATER,)),
    (LATER, Manner.CANCEL, set(), (), (), (LATER,)),
]


@pytest.mark.parametrize(("movement", "manner", "accounts", "holds", "gone_back", "pending"), WANTED)
def test_a_group_locks_and_looks_for_what_it_needs_and_no_more(
    movement: Movement,
    manner: Manner,
    accounts: set[str],
    holds: Sequence[Movement],
    gone_back: Sequence[Movement],
    pending: Sequence[Movement],
) -> None:
    store = a_store()
    a_lane(store).post([Work([movement], manner)])
    ids = [{m.id for m in movements} for movements in ([movement, *gone_back], holds, gone_back, pending)]
    assert store.wanted[0] == Wanted(accounts, *ids)


def test_a_due_transfer_is_posted_and_a_cancelled_one_is_not() -> None:
    store = a_store()
    lane = a_lane(store)
    due, cancelled = (transfer("alice", "bob", amount, terms=Terms(deferred=True)) for amount in (10, 20))
    assert [code(result) for result in each(lane, due, cancelled)] == ["PENDING", "PENDING"]
    assert store.balance("bob") == 0
    answers = lane.post([Work([due], Manner.DUE), Work([cancelled], Manner.CANCEL, "ann")])
    assert [code(result) for [result] in answers] == ["POSTED", "TRANSFER_CANCELLED"]
    assert store.balance("bob") == 10
    assert store.calls == ["lock", "write"] * 2


def test_an_atomic_batch_stands_beside_others_in_a_group() -> None:
    store = a_store()
    stopped = Work([transfer("alice", "bob", 60), transfer("alice", "bob", 60)], Manner.ATOMIC)
    through = Work([transfer("alice", "bob", 30), transfer("bob", "carol", 30)], Manner.ATOMIC)
    single = Work([transfer("alice", "bob", 70)])
    answers = a_lane(store).post([stopped, through, single])
    assert [[code(result) for result in results] for results in answers] == [
        ["BATCH_STOPPED", "INSUFFICIENT_FUNDS"],
        ["POSTED", "POSTED"],
        ["POSTED"],
    ]
    assert store.calls == ["lock", "write"]
    assert [e.seq for e in store.memory.entries[account_id(ALICE)]] == [1, 2]


def test_callers_get_their_own_answers_in_groups_up_to_the_maximum() -> None:
    async def scenario() -> None:
        store, queue, gate = a_store(), a_queue(), Gate()
        store.on_lock = [gate]
        lane = a_lane(store, queue, group_max=3)
        lane.start()
        first = asyncio.create_task(call(queue, transfer("alice", "bob", 1, "first")))
        await asyncio.to_thread(gate.wait_until_reached)
        others = [asyncio.create_task(call(queue, transfer("alice", "bob", amount, str(amount)))) for amount in FIVE]
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
        store, queue, gate = a_store(), a_queue(), Gate()
        store.on_lock = [gate]
        lane = a_lane(store, queue)
        lane.start()
        first = asyncio.create_task(call(queue, transfer(amount=1)))
        await asyncio.to_thread(gate.wait_until_reached)
        gone = asyncio.create_task(call(queue, transfer(amount=2)))
        late = asyncio.create_task(call(queue, transfer(amount=4), deadline=monotonic()))
        patient = asyncio.create_task(call(queue, transfer(amount=8), deadline=monotonic() + 3600))
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.gather(gone, return_exceptions=True)
        gate.opened.set()
        assert code(await late) == "Expired"
        assert [code(answer) for answer in await asyncio.gather(first, patient)] == ["POSTED", "POSTED"]
        assert store.balance("bob") == 9
        assert len(store.memory.transactions) == 2
        queue.close()
        await asyncio.to_thread(lane.join, 30)

    asyncio.run(scenario())


def test_a_caller_that_goes_away_while_its_command_is_posted_leaves_it_whole() -> None:
    async def scenario() -> None:
        store, queue, gate = a_store(), a_queue(), Gate()
        store.on_lock = [gate]
        lane = a_lane(store, queue)
        lane.start()
        movement = transfer(amount=10)
        caller = asyncio.create_task(call(queue, movement))
        await asyncio.to_thread(gate.wait_until_reached)
        caller.cancel()
        await asyncio.gather(caller, return_exceptions=True)
        gate.opened.set()
        again = await call(queue, movement)
        assert isinstance(again, Outcome)
        assert again.replayed
        assert store.balance("bob") == 10
        queue.close()
        await asyncio.to_thread(lane.join, 30)

    asyncio.run(scenario())


def test_what_was_accepted_is_answered_before_the_lane_ends() -> None:
    async def scenario() -> None:
        store, queue, gate = a_store(), a_queue(), Gate()
        store.on_lock = [gate]
        lane = a_lane(store, queue, group_max=2)
        lane.start()
        tasks = [asyncio.create_task(call(queue, transfer(amount=1))) for _ in range(5)]
        await asyncio.to_thread(gate.wait_until_reached)
        queue.close()
        assert not store.closed
        gate.opened.set()
        await asyncio.to_thread(lane.join, 30)
        assert [code(answer) for answer in await asyncio.gather(*tasks)] == ["POSTED"] * 5
        assert store.closed

    asyncio.run(scenario())


def test_an_error_reaches_its_caller_among_the_results() -> None:
    async def scenario() -> None:
        store, queue = a_store(), a_queue()
        store.refused_amount = 10
        lane = a_lane(store, queue)
        lane.start()
        results = await queue.post(Work([transfer(amount=9), transfer(amount=10), transfer(amount=11)]))
        assert [code(result) for result in results] == ["POSTED", "ValueError", "POSTED"]
        assert code(await call(queue, transfer(amount=12))) == "POSTED"
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
        queue, gate, store = a_queue(), Gate(), a_store()
        store.on_lock = [gate]
        lane = a_lane(store, queue, group_max)
        lane.start()
        first = asyncio.create_task(call(queue, transfer(amount=1)))
        await asyncio.to_thread(gate.wait_until_reached)
        others = [asyncio.create_task(call(queue, transfer(amount=1))) for _ in range(commands)]
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
    two = Work([transfer(), transfer()])
    assert [code(result) for results in lane.post([two, two]) for result in results] == ["LedgerUnavailable"] * 4
    assert store.closed
    assert [code(result) for result in each(lane, transfer())] == ["POSTED"]


def test_a_lane_tells_for_how_long_it_has_been_at_its_group() -> None:
    async def scenario() -> None:
        queue, gate, store = a_queue(), Gate(), a_store()
        store.on_lock = [gate]
        lane = a_lane(store, queue)
        assert lane.busy_seconds == 0
        lane.start()
        posting = asyncio.create_task(call(queue, transfer()))
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
