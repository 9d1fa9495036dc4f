"""The queue by itself: bounded, in order, given out to the end."""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Sequence
from time import monotonic
from typing import Any

import pytest

from tests.kit.builders import transfer
from tests.kit.scripted_store import WAIT_SECONDS_MAX
from transaction_service.domain.failure import Failure, Reason
from transaction_service.domain.movement import Refused, Work
from transaction_service.posting.queue import Contention, PostingQueue, QueueClosed, QueueFull, Ticket

ANSWER = Refused(Failure(Reason.SAME_WALLET, {"wallet": "wallets/alice"}))


def work(*amounts: int) -> Work:
    """Of transfers of these amounts; without any, of one."""
    return Work([transfer(amount=amount) for amount in amounts or (1,)])


def with_waiting(
    waiting: Sequence[Work],
    length_max: int,
    scenario: Callable[[PostingQueue, list[Any]], Coroutine[Any, Any, None]],
    size: int = 0,
) -> None:
    """Runs the scenario on a queue where these wait, each of a request of so many bytes, of 100 that there may be."""

    async def run() -> None:
        queue = PostingQueue(length_max, 100)
        tasks = [asyncio.create_task(queue.post(one, size=size)) for one in waiting]
        await asyncio.sleep(0)
        await scenario(queue, tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(run())


def amounts(group: list[Ticket]) -> list[int]:
    return [movement.amount for ticket in group for movement in ticket.work.movements]


def singles(count: int) -> list[Work]:
    return [work(number) for number in range(1, count + 1)]


def test_commands_are_given_out_in_the_order_they_came() -> None:
    async def scenario(queue: PostingQueue, _: list[Any]) -> None:
        assert len(queue) == 5
        assert [amounts(queue.take(2)) for _ in range(3)] == [[1, 2], [3, 4], [5]]
        assert len(queue) == 0

    with_waiting(singles(5), 10, scenario)


@pytest.mark.parametrize(("waiting", "group_max", "taken"), [(3, 3, 3), (3, 4, 3), (4, 3, 3), (1, 1, 1)])
def test_a_group_is_all_that_waits_up_to_the_maximum(waiting: int, group_max: int, taken: int) -> None:
    async def scenario(queue: PostingQueue, _: list[Any]) -> None:
        assert len(queue.take(group_max)) == taken
        assert len(queue) == waiting - taken

    with_waiting(singles(waiting), 10, scenario)


def test_a_full_queue_refuses_at_once_and_takes_again_when_there_is_room() -> None:
    async def scenario(queue: PostingQueue, _: list[Any]) -> None:
        with pytest.raises(QueueFull):
            await queue.post(work())
        queue.take(1)
        late = asyncio.create_task(queue.post(work(7)))
        await asyncio.sleep(0)
        assert amounts(queue.take(10)) == [2, 3, 7]
        late.cancel()

    with_waiting(singles(3), 3, scenario)


def test_a_closed_queue_takes_nothing_and_gives_out_what_waits() -> None:
    async def scenario(queue: PostingQueue, _: list[Any]) -> None:
        queue.close()
        with pytest.raises(QueueClosed):
            await queue.post(work())
        assert amounts(queue.take(1)) == [1]
        assert amounts(queue.take(1)) == [2]
        assert queue.take(1) == []
        assert queue.take(1) == []

    with_waiting(singles(2), 3, scenario)


# How many movements the pieces of work have that wait, and how many those have that a group of so many takes.
GROUPS = [
    ([2, 2, 2], 4, [2, 2]),
    ([2, 2, 2], 5, [2, 2]),
    ([2, 2, 2], 6, [2, 2, 2]),
    ([2, 3, 1], 4, [2]),
    ([5, 1], 4, [5]),
    ([5, 1], 5, [5]),
    ([5, 1], 1, [5]),
    ([1, 5, 1], 4, [1]),
]


@pytest.mark.parametrize(("waiting", "group_max", "taken"), GROUPS)
def test_work_is_never_divided_and_a_group_is_as_large_as_it_may_be(
    waiting: list[int], group_max: int, taken: list[int]
) -> None:
    """Work that is larger than a group may be is a group alone."""

    async def scenario(queue: PostingQueue, _: list[Any]) -> None:
        assert len(queue) == sum(waiting)
        assert [len(ticket.work.movements) for ticket in queue.take(group_max)] == taken
        assert len(queue) == sum(waiting) - sum(taken)

    with_waiting([work(*[1] * count) for count in waiting], 10, scenario)


@pytest.mark.parametrize(("first", "second", "fits"), [(4, 6, True), (4, 7, False), (9, 1, True), (10, 1, False)])
def test_a_queue_is_full_by_its_commands(first: int, second: int, fits: bool) -> None:
    async def scenario(queue: PostingQueue, _: list[Any]) -> None:
        await posted(queue, work(*[1] * second), 0, fits=fits)

    with_waiting([work(*[1] * first)], 10, scenario)


@pytest.mark.parametrize(("size", "fits"), [(40, True), (41, False)])
def test_a_queue_is_full_by_the_bytes_of_its_requests(size: int, fits: bool) -> None:
    async def scenario(queue: PostingQueue, _: list[Any]) -> None:
        await posted(queue, work(), size, fits=fits)

    with_waiting(singles(2), 10, scenario, size=30)


@pytest.mark.parametrize("whole", [True, False])
def test_what_was_taken_makes_room(whole: bool) -> None:
    async def scenario(queue: PostingQueue, _: list[Any]) -> None:
        queue.take(2 if whole else 1)
        await posted(queue, work(1), 100 if whole else 50, fits=True)
        await posted(queue, work(1), 1, fits=False)

    with_waiting(singles(2), 10, scenario, size=50)


@pytest.mark.parametrize(("commands", "size"), [(11, 0), (1, 101), (5000, 10**9)])
def test_work_that_is_larger_than_the_queue_is_taken_when_nothing_else_waits(commands: int, size: int) -> None:
    async def scenario(queue: PostingQueue, _: list[Any]) -> None:
        await posted(queue, work(*[1] * commands), size, fits=True)
        await posted(queue, work(), 0, fits=False)

    with_waiting([], 10, scenario)


async def posted(queue: PostingQueue, one: Work, size: int, *, fits: bool) -> None:
    """Or refused at once."""
    before = len(queue)
    caller = asyncio.ensure_future(queue.post(one, size=size))
    await asyncio.sleep(0)
    assert len(queue) == before + (len(one.movements) if fits else 0)
    if fits:
        caller.cancel()
    await asyncio.wait([caller])
    assert fits or isinstance(caller.exception(), QueueFull)


def test_closing_wakes_every_lane_that_waits() -> None:
    queue, taken = PostingQueue(1, 1), []
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
        caller = asyncio.create_task(queue.post(work(4)))
        [ticket] = await lane
        ticket.resolve([ANSWER])
        assert await caller == [ANSWER]

    with_waiting(singles(0), 3, scenario)


def test_each_caller_gets_what_its_ticket_is_resolved_with() -> None:
    async def scenario(queue: PostingQueue, tasks: list[Any]) -> None:
        first, second = queue.take(2)
        contended = Contention()
        second.resolve([contended])
        first.resolve([ANSWER])
        assert await tasks[0] == [ANSWER]
        assert await tasks[1] == [contended]

    with_waiting(singles(2), 3, scenario)


def test_an_answer_for_a_caller_that_went_away_is_dropped() -> None:
    async def scenario(queue: PostingQueue, tasks: list[Any]) -> None:
        tasks[0].cancel()
        await asyncio.gather(tasks[0], return_exceptions=True)
        [ticket] = queue.take(1)
        assert ticket.abandoned()
        ticket.resolve([ANSWER])
        ticket.resolve([Contention()])
        assert tasks[0].cancelled()

    with_waiting(singles(1), 3, scenario)


def test_a_ticket_expires_at_its_deadline() -> None:
    async def scenario() -> None:
        def ticket(deadline: float) -> Ticket:
            return Ticket(work(), deadline, 0, asyncio.get_running_loop().create_future())

        assert ticket(monotonic()).abandoned()
        assert ticket(float("-inf")).abandoned()
        assert not ticket(monotonic() + 3600).abandoned()
        assert not ticket(float("inf")).abandoned()

    asyncio.run(scenario())
