"""Brings events to webhooks: claims endpoints and makes a tour for each, as long as it holds it.

Each endpoint is one courier's at a time. A claim lasts some seconds and is kept by looking; whoever stops looking,
because he was killed, loses his endpoints to the next one who looks.
"""

import asyncio
from collections.abc import Callable
from time import monotonic
from typing import Final

import structlog
from standardwebhooks import Webhook

from service_kit.status import Refusal
from transaction_service.ports import Mark
from transaction_service.webhooks import metrics
from transaction_service.webhooks.courier_ports import Contents, Held, Post, Sender
from transaction_service.webhooks.pace import Pace
from transaction_service.webhooks.secrets import SecretUnreadable
from transaction_service.webhooks.tour import Patience, Tour

log = structlog.stdlib.get_logger()

LOOK_SECONDS: Final = 0.2
"""How often it looks for news and for changed endpoints."""
LEASE_SECONDS: Final = 10.0
"""Renewed when half of it is over."""
TELL_SECONDS: Final = 1.0
"""How often its gauges are set."""
PRUNE_SECONDS: Final = 60.0
PRUNED_AT_ONCE_MAX: Final = 1000
AGAIN_SECONDS: Final = 1.0
"""After the database has failed."""
FINISH_SECONDS: Final = 5.0
"""How long a stop waits for its tours, which wait for answers."""


class Courier:
    """Of the event loop's thread only."""

    def __init__(
        self,
        post: Post,
        contents: Contents,
        sender: Sender,
        opened: Callable[[str], str],
        patience: Patience,
        pace: Pace,
        keep_days: int,
    ) -> None:
        """`opened`: a secret as it is kept, to what it is; it raises SecretUnreadable."""
        self._post = post
        self._contents = contents
        self._sender = sender
        self._opened = opened
        self._patience = patience
        self._pace = pace
        self._keep_days = keep_days
        self._tours: dict[str, tuple[Tour, asyncio.Task[None]]] = {}
        self._unreadable: set[tuple[str, int]] = set()
        self._tell_at = 0.0

    async def run(self) -> None:
        """For ever. When it is cancelled it lets its tours end and gives its endpoints to others."""
        pruning = asyncio.create_task(self._prune())
        pause = 0.0
        try:
            while True:
                await asyncio.sleep(pause)
                pause = await self._round()
        finally:
            pruning.cancel()
            await self._finish()

    async def _round(self) -> float:
        """How many seconds to wait before the next one."""
        began = monotonic()
        try:
            look = await self._post.look(LEASE_SECONDS)
        except Refusal as refusal:
            log.warning("courier_failed", reason=refusal.reason)
            return AGAIN_SECONDS
        except Exception:
            # A bug must not end what everybody relies on.
            log.exception("courier_failed")
            return AGAIN_SECONDS
        held = {endpoint.id: endpoint for endpoint in look.held}
        for id_, (tour, task) in list(self._tours.items()):
            endpoint = held.get(id_)
            if endpoint is None or _is_another(endpoint, tour.held) or task.done():
                del self._tours[id_]
                await _ended(task)
        for endpoint in look.held:
            self._go_on(endpoint, began + endpoint.seconds_left, look.newest, len(look.held))
        if began >= self._tell_at:
            self._tell_at = began + TELL_SECONDS
            self._tell(began)
        return LOOK_SECONDS

    def _go_on(self, endpoint: Held, held_until: float, newest: Mark, tours: int) -> None:
        """`held_until`: counted from before the claim was seen, so that it is over here first."""
        if endpoint.id not in self._tours:
            signers = self._signers(endpoint)
            if not signers:
                return
            log.info("courier_claimed", endpoint=endpoint.id)
            tour = Tour(endpoint, self._post, self._contents, self._sender, signers, self._patience, self._pace)
            self._tours[endpoint.id] = tour, asyncio.create_task(tour.run())
        self._tours[endpoint.id][0].go_on(held_until, newest, tours)

    def _signers(self, endpoint: Held) -> list[Webhook]:
        """None where a secret cannot be read: what is signed with no secret of the receiver's is of no use."""
        try:
            return [Webhook(self._opened(secret)) for secret in endpoint.secrets]
        except Exception as error:  # noqa: BLE001 - one endpoint must not end the work for all
            if (endpoint.id, endpoint.generation) not in self._unreadable:
                self._unreadable.add((endpoint.id, endpoint.generation))
                # Of what was read and is no secret nothing is told.
                told = str(error) if isinstance(error, SecretUnreadable) else "it is no secret of a webhook"
                log.error("webhook_secret_unreadable", endpoint=endpoint.id, error=told)
            return []

    def _tell(self, now: float) -> None:
        tours = [tour for tour, _ in self._tours.values()]
        metrics.WAITING.set(sum(tour.waiting for tour in tours))
        since = min((tour.waiting_since or now for tour in tours), default=now)
        metrics.LAG_SECONDS.set(max(0.0, now - since))

    async def _prune(self) -> None:
        """In pieces, each a commit of its own."""
        while True:
            deleted = 0
            try:
                deleted = await self._post.prune(self._keep_days, PRUNED_AT_ONCE_MAX)
            except Refusal as refusal:
                log.warning("courier_failed", reason=refusal.reason)
            except Exception:
                # As above.
                log.exception("courier_failed")
            await asyncio.sleep(AGAIN_SECONDS if deleted >= PRUNED_AT_ONCE_MAX else PRUNE_SECONDS)

    async def _finish(self) -> None:
        for tour, _ in self._tours.values():
            tour.finish()
        tasks = [task for _, task in self._tours.values()]
        if tasks:
            await asyncio.wait(tasks, timeout=FINISH_SECONDS)
        await asyncio.gather(*map(_ended, tasks))
        try:
            await self._post.release()
        except Refusal as refusal:
            # Its claims end by themselves.
            log.warning("courier_failed", reason=refusal.reason)


def _is_another(now: Held, before: Held) -> bool:
    """Whether somebody has changed it, or an old secret's time is over."""
    return (now.generation, now.secrets) != (before.generation, before.secrets)


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait([task])
