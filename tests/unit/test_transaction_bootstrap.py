"""A lane that a bug has ended ends its process."""

import asyncio
from collections.abc import Sequence

import pytest

from tests.kit.builders import account, transfer
from tests.kit.scripted_store import ScriptedStore
from transaction_service.bootstrap import watch
from transaction_service.domain.movement import Work
from transaction_service.posting.lane import PostingLane
from transaction_service.posting.queue import PostingQueue, Result, Ticket


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_lane_that_ended_by_a_bug_is_noticed() -> None:
    def deliver(_: Sequence[tuple[Ticket, list[Result]]]) -> None:
        raise MemoryError

    async def main() -> None:
        queue = PostingQueue(10, 1000)
        lane = PostingLane(queue, ScriptedStore(account("alice", 100), account("bob")), 10, deliver)
        lane.start()
        watching = asyncio.create_task(watch([lane]))
        waiting = asyncio.create_task(queue.post(Work([transfer("alice", "bob", 1)])))
        with pytest.raises(RuntimeError, match="lane"):
            await watching
        waiting.cancel()

    asyncio.run(main())
