"""What waits to be posted: bounded, first in first out, between the event loop and the lanes' threads."""

import asyncio
import threading
from collections import deque
from dataclasses import dataclass
from time import monotonic

from transaction_service.domain.movement import Answer, Work


class QueueFull(Exception):  # noqa: N818 - what happened, in plain words
    """As much waits as may. Nothing was taken."""


class QueueClosed(Exception):  # noqa: N818 - as above
    """The service is stopping. Nothing was taken."""


class Contention(Exception):  # noqa: N818 - as above
    """The command could not be posted beside what others did to the same rows, also after retries. It has no effect."""


class LedgerUnavailable(Exception):  # noqa: N818 - as above
    """The ledger's store cannot be reached. The command may have an effect or none: its request id tells."""


class Expired(Exception):  # noqa: N818 - as above
    """The caller's time was up before the command's turn came. It has no effect."""


Result = Answer | Exception
"""Of one command: its answer, or why there is none."""


@dataclass(slots=True)
class Ticket:
    """Waiting work and where its results go. `deadline` is in seconds of time.monotonic(), `size` in bytes."""

    work: Work
    deadline: float
    size: int
    answered: asyncio.Future[list[Result]]

    def abandoned(self) -> bool:
        """Whether nobody waits for the answer any more."""
        return self.answered.cancelled() or self.deadline <= monotonic()

    def resolve(self, results: list[Result]) -> None:
        """On the event loop's thread only."""
        if not self.answered.done():
            self.answered.set_result(results)


class PostingQueue:
    """Filled by the event loop, emptied by the lanes."""

    def __init__(self, length_max: int, bytes_max: int) -> None:
        """`length_max`: commands; `bytes_max`: of the requests that they came in. Work that is larger than either is
        taken when nothing else waits."""
        self._length_max = length_max
        self._bytes_max = bytes_max
        self._waiting: deque[Ticket] = deque()
        self._length = 0
        self._bytes = 0
        self._changed = threading.Condition()
        self._closed = False

    def __len__(self) -> int:
        """Commands that wait."""
        return self._length

    async def post(self, work: Work, deadline: float = float("inf"), size: int = 0) -> list[Result]:
        """Waits for the results, one for each movement. A caller that goes away takes its work along unless a lane has
        taken it already. Among the results may be Contention, LedgerUnavailable and Expired.

        Raises QueueFull, QueueClosed.
        """
        ticket = Ticket(work, deadline, size, asyncio.get_running_loop().create_future())
        length = len(work.movements)
        with self._changed:
            if self._closed:
                raise QueueClosed
            too_many = self._length + length > self._length_max or self._bytes + size > self._bytes_max
            if too_many and self._waiting:
                raise QueueFull
            self._waiting.append(ticket)
            self._length += length
            self._bytes += size
            self._changed.notify()
        return await ticket.answered

    def take(self, group_max: int) -> list[Ticket]:
        """What waits, in the order of arrival, up to so many commands but one piece of work at least; waits for a first
        one. Empty: closed, and nothing is left."""
        with self._changed:
            while not self._waiting and not self._closed:
                self._changed.wait()
            if self._length <= group_max:
                group = list(self._waiting)
                self._waiting.clear()
                self._length = self._bytes = 0
                return group
            return self._first(group_max)

    def _first(self, group_max: int) -> list[Ticket]:
        group: list[Ticket] = []
        room = group_max
        while self._waiting and (not group or len(self._waiting[0].work.movements) <= room):
            ticket = self._waiting.popleft()
            group.append(ticket)
            room -= len(ticket.work.movements)
            self._length -= len(ticket.work.movements)
            self._bytes -= ticket.size
        return group

    def close(self) -> None:
        """Takes no more. What waits is still given out."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
