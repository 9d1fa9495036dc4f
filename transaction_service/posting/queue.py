"""What waits to be posted: bounded, first in first out, between the event loop and the lanes' threads."""

import asyncio
import threading
from collections import deque
from dataclasses import dataclass
from time import monotonic

from transaction_service.domain.movement import Answer, Movement


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


@dataclass(slots=True)
class Ticket:
    """One waiting command and where its answer goes. `deadline` is in seconds of time.monotonic()."""

    movement: Movement
    deadline: float
    answered: asyncio.Future[Answer]

    def abandoned(self) -> bool:
        """Whether nobody waits for the answer any more."""
        return self.answered.cancelled() or self.deadline <= monotonic()

    def resolve(self, answer: Answer | Exception) -> None:
        """On the event loop's thread only."""
        if self.answered.done():
            return
        if isinstance(answer, Exception):
            self.answered.set_exception(answer)
        else:
            self.answered.set_result(answer)


class PostingQueue:
    """Filled by the event loop, emptied by the lanes."""

    def __init__(self, length_max: int) -> None:
        self._length_max = length_max
        self._waiting: deque[Ticket] = deque()
        self._changed = threading.Condition()
        self._closed = False

    def __len__(self) -> int:
        return len(self._waiting)

    async def post(self, movement: Movement, deadline: float = float("inf")) -> Answer:
        """Waits for the answer. A caller that goes away takes its command along unless a lane has taken it already.

        Raises QueueFull, QueueClosed, Contention, LedgerUnavailable, Expired.
        """
        ticket = Ticket(movement, deadline, asyncio.get_running_loop().create_future())
        with self._changed:
            if self._closed:
                raise QueueClosed
            if len(self._waiting) >= self._length_max:
                raise QueueFull
            self._waiting.append(ticket)
            self._changed.notify()
        return await ticket.answered

    def take(self, group_max: int) -> list[Ticket]:
        """All that waits, up to the maximum, in the order of arrival; waits for a first one. Empty: closed, and nothing
        is left."""
        with self._changed:
            while not self._waiting and not self._closed:
                self._changed.wait()
            if len(self._waiting) <= group_max:
                group = list(self._waiting)
                self._waiting.clear()
                return group
            return [self._waiting.popleft() for _ in range(group_max)]

    def close(self) -> None:
        """Takes no more. What waits is still given out."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
