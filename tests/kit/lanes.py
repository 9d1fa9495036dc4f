"""A posting lane over a scripted store, and a group of callers of it."""

from collections.abc import Sequence

from prometheus_client import REGISTRY

from tests.kit.builders import account
from tests.kit.scripted_store import ScriptedStore
from transaction_service.domain.movement import Movement, Work
from transaction_service.posting.lane import PostingLane
from transaction_service.posting.queue import PostingQueue, Result, Ticket


def a_store() -> ScriptedStore:
    """Alice and Carol have 100, Bob has nothing."""
    return ScriptedStore(account("alice", 100), account("bob"), account("carol", 100))


def a_queue() -> PostingQueue:
    return PostingQueue(length_max=100, bytes_max=1000)


def a_lane(store: ScriptedStore, queue: PostingQueue | None = None, group_max: int = 1000) -> PostingLane:
    """Not started."""

    def deliver(answered: Sequence[tuple[Ticket, list[Result]]]) -> None:
        for ticket, results in answered:
            ticket.answered.get_loop().call_soon_threadsafe(ticket.resolve, results)

    # Not `or`: an empty queue is false.
    return PostingLane(a_queue() if queue is None else queue, store, group_max, deliver)


def each(lane: PostingLane, *movements: Movement) -> list[Result]:
    """As one group of as many callers."""
    return [result for [result] in lane.post([Work([movement]) for movement in movements])]


async def call(queue: PostingQueue, movement: Movement, deadline: float = float("inf")) -> Result:
    """Of one caller with one movement."""
    [result] = await queue.post(Work([movement]), deadline)
    return result


def counted(name: str, **labels: str) -> float:
    """What the posting path has counted so far."""
    return REGISTRY.get_sample_value(f"specie_posting_{name}", labels) or 0.0
