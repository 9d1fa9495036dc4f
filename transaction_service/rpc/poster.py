"""Hands work to the posting queue and turns what comes back into answers or refusals: the way of every call that moves
money."""

from typing import Final

from service_kit.call import current_call
from transaction_service.domain.movement import Movement, Outcome, Refused, Work
from transaction_service.posting.metrics import QUEUE_REFUSALS
from transaction_service.posting.queue import PostingQueue, QueueClosed, QueueFull, Result
from transaction_service.rpc.convert import transaction_name
from transaction_service.rpc.errors import not_posted, to_refusal


class Poster:
    """Posts for the call that the running handler answers: as its caller, with its deadline, and its size as it
    came."""

    def __init__(self, queue: PostingQueue) -> None:
        self._queue: Final = queue

    async def one(self, movement: Movement) -> Outcome:
        """Its outcome, unless it FAILED. Raises Refusal: of a stored failure with the metadata `transaction` and
        `replayed`."""
        results = await self.many(Work([movement]))
        return succeeded(results[0])

    async def many(self, work: Work) -> list[Result]:
        """A result for each of its movements, in their order. Raises Refusal OVERLOADED or UNAVAILABLE when none of it
        was taken."""
        call = current_call()
        try:
            return await self._queue.post(work._replace(bound_to=call.caller.bound_to), call.deadline, len(call.raw))
        except (QueueFull, QueueClosed) as error:
            if isinstance(error, QueueFull):
                QUEUE_REFUSALS.inc()
            raise not_posted(error) from None


def succeeded(result: Result) -> Outcome:
    """The outcome, unless it FAILED. Raises Refusal, or the bug that kept it from being decided."""
    if isinstance(result, Outcome) and result.transaction.failure is None:
        return result
    raise refused(result)


def refused(result: Result) -> Exception:
    """What is raised for a result that is no success."""
    match result:
        case Outcome(transaction, replayed):
            if transaction.failure is None:
                raise ValueError(f"{transaction.movement.id} has not failed")
            told = {"transaction": transaction_name(transaction.movement.id), "replayed": str(replayed).lower()}
            return to_refusal(transaction.failure, told)
        case Refused(failure):
            return to_refusal(failure)
        case _:
            return not_posted(result)
