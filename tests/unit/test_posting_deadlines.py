"""How long a lane lets the store work: for as long as the most patient of the group's callers waits."""

import asyncio
from time import monotonic

from tests.kit.builders import code, transfer
from tests.kit.lanes import a_lane, a_queue, a_store, call
from tests.kit.scripted_store import Gate
from transaction_service.domain.movement import Work
from transaction_service.ports import Conflict

NEVER = float("inf")


def test_a_group_may_take_as_long_as_its_most_patient_caller_waits() -> None:
    async def left_for(*seconds: float) -> float:
        store, queue, gate = a_store(), a_queue(), Gate()
        store.on_lock = [gate]
        lane = a_lane(store, queue)
        lane.start()
        first = asyncio.create_task(call(queue, transfer(amount=1)))
        await asyncio.to_thread(gate.wait_until_reached)
        deadlines = [monotonic() + later for later in seconds]
        group = [asyncio.create_task(call(queue, transfer(amount=1), deadline)) for deadline in deadlines]
        await asyncio.sleep(0)
        gate.opened.set()
        assert {code(answer) for answer in await asyncio.gather(first, *group)} == {"POSTED"}
        queue.close()
        await asyncio.to_thread(lane.join, 30)
        assert store.seconds_left[0] == NEVER
        return store.seconds_left[1]

    assert 1800 < asyncio.run(left_for(1000, 2000, 30)) <= 2000
    # What falls due by itself waits for ever.
    assert asyncio.run(left_for(1000, NEVER)) == NEVER


def test_time_that_a_try_has_taken_is_gone_for_the_next() -> None:
    store = a_store()
    store.on_lock = [Conflict(), None]
    lane = a_lane(store)
    deadline = monotonic() + 1000
    [[answer]] = lane.post([Work([transfer(amount=1)])], deadline=deadline)
    assert code(answer) == "POSTED"
    first, second = store.seconds_left
    assert 0 < second < first <= 1000


def test_a_deadline_is_of_its_group_alone() -> None:
    store = a_store()
    lane = a_lane(store)
    lane.post([Work([transfer(amount=1)])], deadline=monotonic() + 1000)
    lane.post([Work([transfer(amount=1)])])
    assert store.seconds_left[1] == NEVER
