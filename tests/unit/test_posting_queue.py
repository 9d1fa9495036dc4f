"""The queue by itself: bounded, in order, given out to the end."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from time import monotonic
from typing import Any

import pytest

from tests.kit.builders import transfer
from tests.kit.scripted_store import WAIT_SECONDS_MAX
from transaction_service.domain.failure import Failure, Reason
from transaction_service.domain.movement import Refused
from transaction_service.posting.queue import Contention, PostingQueue, QueueClosed, QueueFull, Ticket

ANSWER = Refused(Failure(Reason.SAME_WALLET, {"wallet": "wallets/alice"}))


def with_waiting(
    count: int, length_max: int, scenario: Callable[[PostingQueue, list[Any]], Coroutine[Any, Any, None]]
) -> None:
    """Runs the scenario on a queue where `count` commands of amounts 1, 2, ... wait."""

    async def run() -> None:
        queue = PostingQueue(length_max)
        tasks = [asyncio.create_task(queue.post(transfer(amount=number))) for number in range(1, count + 1)]
        await asyncio.sleep(0)
        await scenario(queue, tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(run())


def amounts(group: list[Ticket]) -> list[int]:
    return [ticket.movement.amount for ticket in group]


def test_commands_are_given_out_in_the_order_they_came() -> None:
    async def scenario(queue: PostingQueue, _: list[Any]) -> None:
        assert len(queue) == 5
        assert [amounts(queue.take(2)) for _ in range(3)] == [[1, 2], [3, 4], [5]]
        assert len(queue) == 0

    with_waiting(5, 10, scenario)


@pytest.mark.parametrize(("waiting", "group_max", "taken"), [(3, 3, 3), (3, 4, 3), (4, 3, 3), (1, 1, 1)])
def test_a_group_is_all_that_waits_up_to_the_maximum(waiting: int, group_max: int, taken: int) -> None:
    async def scenario(queue: PostingQueue, _: list[Any]) -> None:
        assert len(queue.take(group_max)) == taken
        assert len(queue) == waiting - taken

    with_waiting(waiting, 10, scenario)


def test_a_full_queue_refuses_at_once_and_takes_again_when_there_is_room() -> None:
    async def scenario(queue: PostingQueue, _: list[Any]) -> None:
        with pytest.raises(QueueFull):
            await queue.post(transfer())
        queue.take(1)
        late = asyncio.create_task(queue.post(transfer(amount=7)))
        await asyncio.sleep(0)
        assert amounts(queue.take(10)) == [2, 3, 7]
        late.cancel()

    with_waiting(3, 3, scenario)


def test_a_closed_queue_takes_nothing_and_gives_out_what_waits() -> None:
    async def scenario(queue: PostingQueue, _: list[Any]) -> None:
        queue.close()
        with pytest.raises(QueueClosed):
            await queue.post(transfer())
        assert amounts(queue.take(1)) == [1]
        assert amounts(queue.take(1)) == [2]
        assert queue.take(1) == []
        assert queue.take(1) == []

    with_waiting(2, 3, scenario)


def test_closing_wakes_every_lane_that_waits() -> None:
    queue, taken = PostingQueue(1), []
    lanes = [threading.Thread(target=lambda: taken.append(queue.take(1))) for _ in range(3)]
    for lane in lanes:
        lane.start()
    queue.close()
    for lane in lanes:
        lane.join(WAIT_SECONDS_MAX)
    assert taken == [[], [], []]


def test_a_lane_that_waits_gets_what_comes() -> None:
    async def scenario(queue: PostingQueue, _: list[Any]) -> None:
        lane = asyncio.create_task(asyncio.to_thread(queue.take, 10))
        caller = asyncio.create_task(queue.post(transfer(amount=4)))
        [ticket] = await lane
        ticket.resolve(ANSWER)
        assert await caller == ANSWER

    with_waiting(0, 3, scenario)


def test_each_caller_gets_what_its_ticket_is_resolved_with() -> None:
    async def scenario(queue: PostingQueue, tasks: list[Any]) -> None:
        first, second = queue.take(2)
        second.resolve(Contention())
        first.resolve(ANSWER)
        assert await tasks[0] == ANSWER
        with pytest.raises(Contention):
            await tasks[1]

    with_waiting(2, 3, scenario)


def test_an_answer_for_a_caller_that_went_away_is_dropped() -> None:
    async def scenario(queue: PostingQueue, tasks: list[Any]) -> None:
        tasks[0].cancel()
        await asyncio.gather(tasks[0], return_exceptions=True)
        [ticket] = queue.take(1)
        assert ticket.abandoned()
        ticket.resolve(ANSWER)
        ticket.resolve(Contention())
        assert tasks[0].cancelled()

    with_waiting(1, 3, scenario)


def test_a_ticket_expires_at_its_deadline() -> None:
    async def scenario() -> None:
        def ticket(deadline: float) -> Ticket:
            return Ticket(transfer(), deadline, asyncio.get_running_loop().create_future())

        assert ticket(monotonic()).abandoned()
        assert ticket(float("-inf")).abandoned()
        assert not ticket(monotonic() + 3600).abandoned()
        assert not ticket(float("inf")).abandoned()

    asyncio.run(scenario())
