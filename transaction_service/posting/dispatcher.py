"""Hands what falls due to the lanes: pending transfers whose time has come, and the expiry of holds.

Every process runs a dispatcher for each kind of work; claims keep them from doing the same. That nothing is done twice
does not rest on claims: a transfer is decided under the lock of its row in `pending`, a hold under that of its account.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from time import monotonic
from typing import Final

import structlog

from service_kit.status import Refusal
from service_kit.tasks import to_its_end
from transaction_service.domain.movement import Manner, Movement, Outcome, Refused, Work
from transaction_service.ports import Backlog, DueWork
from transaction_service.posting import metrics
from transaction_service.posting.queue import PostingQueue, QueueClosed, QueueFull, Result

log = structlog.stdlib.get_logger()

CLAIM_MAX: Final = 500
"""Handed to a lane at once: enough that a commit costs each of them little, and few enough that callers who wait behind
them do not notice."""
LEASE_SECONDS: Final = 10.0
"""After so long another process takes on what this one has claimed and not posted, because it was killed. It need not
be right."""
LOOK_SECONDS: Final = 0.5
"""How often at the most the backlog is counted. A hundred thousand of them take some 10 ms of the database."""
PAUSE_SECONDS_MAX: Final = 5.0
"""Between rounds that fail, each pause is twice as long as the one before, up to this."""
FINISH_SECONDS: Final = 5.0
"""How long a stop waits for what was handed over. The lanes post what they have taken all the same."""


def nothing(_: Backlog) -> None:
    """For whom the metrics are enough."""


class Dispatcher:
    """Of the event loop's thread only."""

    def __init__(
        self,
        name: str,
        due: DueWork,
        manner: Manner,
        queue: PostingQueue,
        every_seconds: float,
        *,
        count_max: int,
        seen: Callable[[Backlog], None] = nothing,
        bell: asyncio.Event | None = None,
    ) -> None:
        """`name`: of the work, for metrics and logs. `every_seconds`: how often it looks for work; the bell calls it at
        once. `count_max`: so far the backlog is counted; `seen` is told it."""
        self._name = name
        self._due = due
        self._manner = manner
        self._queue = queue
        self._every_seconds = every_seconds
        self._count_max = count_max
        self._seen = seen
        self._bell = bell or asyncio.Event()
        self._look_at = monotonic()

    async def run(self) -> None:
        """For ever. No failure ends it: the next round tries again. When it is cancelled it lets its round end."""
        pause = self._every_seconds
        while True:
            try:
                # A round that is cut off would leave its claims behind, and what they are on until the lease is over.
                more = await to_its_end(self.round(), FINISH_SECONDS)
            except Refusal as refusal:
                log.warning("dispatch_failed", work=self._name, reason=refusal.reason)
            except Exception:
                # A bug must not end what everybody relies on.
                log.exception("dispatch_failed", work=self._name)
            else:
                pause = self._every_seconds
                if not more:
                    await self._rest()
                continue
            pause = min(2 * pause, PAUSE_SECONDS_MAX)
            await asyncio.sleep(pause)

    async def _rest(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(self._every_seconds):
                await self._bell.wait()

    async def round(self) -> bool:
        """Posts what is due, as far as one claim goes; whether there may be more of it."""
        self._bell.clear()
        await self._look()
        claimed = await self._due.claim(CLAIM_MAX, LEASE_SECONDS)
        if not claimed:
            return False
        results = await self._post(claimed)
        left = [movement for movement, result in zip(claimed, results, strict=True) if isinstance(result, Exception)]
        for outcome, count in Counter(map(_outcome, results)).items():
            metrics.DISPATCHED.labels(self._name, outcome).inc(count)
        if left:
            error = next(result for result in results if isinstance(result, Exception))
            log.warning("dispatch_postponed", work=self._name, count=len(left), error=type(error).__name__)
            await self._due.give_back(left)
        return len(left) < len(claimed) == CLAIM_MAX

    async def _post(self, claimed: Sequence[Movement]) -> Sequence[Result]:
        try:
            return await self._queue.post(Work(claimed, self._manner))
        except (QueueFull, QueueClosed) as error:
            return [error] * len(claimed)

    async def _look(self) -> None:
        if monotonic() < self._look_at:
            return
        backlog = await self._due.backlog(self._count_max)
        self._look_at = monotonic() + LOOK_SECONDS
        metrics.BACKLOG.labels(self._name).set(backlog.waiting)
        metrics.OVERDUE_SECONDS.labels(self._name).set(backlog.overdue_seconds)
        self._seen(backlog)


def _outcome(result: Result) -> str:
    match result:
        case Outcome(replayed=True) | Refused():
            return "decided before"
        case Outcome(transaction):
            return transaction.state.name.lower()
        case _:
            return "postponed"
