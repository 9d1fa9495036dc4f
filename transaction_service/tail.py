"""The end of the feed, read once for all who watch in this process, and each one's way to it and along it.

While somebody watches, one task asks for what is new. Who is at the end shares what it found; who is behind, because of
an old mark or because the caller takes slowly, reads from the feed at its own pace. So nothing waits in memory for
anybody but one stretch, and idle watchers cost nothing.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress
from contextvars import Context
from time import monotonic
from typing import Final

import structlog
from prometheus_client import Gauge

from transaction_service.domain.movement import Transaction, accounts_of
from transaction_service.domain.visibility import shows
from transaction_service.places import Places
from transaction_service.ports import Feed, Mark, Stretch

log = structlog.stdlib.get_logger()

STRETCH_MAX: Final = 200
"""Transactions in one stretch. The largest have some 35 kB."""
EVERY_SECONDS: Final = 0.1
"""How long after a commit a watcher hears of it at the latest, if nothing else is slow."""
HEARTBEAT_SECONDS: Final = 15.0
"""As the contract promises. Gateways close what is silent for longer."""
AGAIN_SECONDS: Final = 1.0
"""After the feed could not be read."""

WATCHERS: Final = Gauge("specie_watchers", "Streams of WatchTransactions that are open")

News = tuple[Mark, Transaction | None]
"""Without a transaction: there is nothing up to this mark."""


class TooManyWatchers(Exception):  # noqa: N818 - what happened, in plain words
    """As many watch as may, or as many of this caller's."""


class Tail:
    """Of the event loop's thread only."""

    def __init__(
        self,
        feed: Feed,
        watchers_max: int,
        every_seconds: float = EVERY_SECONDS,
        heartbeat_seconds: float = HEARTBEAT_SECONDS,
    ) -> None:
        self.feed: Final = feed
        self._every_seconds = every_seconds
        self._heartbeat_seconds = heartbeat_seconds
        self._watchers = Places(watchers_max)
        self._reader: asyncio.Task[None] | None = None
        self._latest: Stretch | None = None
        self._trouble: Exception | None = None
        self._news = asyncio.Event()

    async def watch(self, account: str, after: Mark | None, shown_to: str = "") -> AsyncGenerator[News, None]:
        """What is committed behind a mark (None: from now on) and names this account (empty: any). `shown_to`: only
        what the owner of the account sees, this principal. The first has no transaction, nor has one every 15 seconds
        while there is none.

        Raises TooManyWatchers, and what the feed raises: at once to who is behind, to who is at the end when it has
        lasted until the next heartbeat.
        """
        if not self._watchers.take(shown_to):
            raise TooManyWatchers
        self._join()
        try:
            mark = await self.feed.end() if after is None else after
            yield mark, None
            silent_until = monotonic() + self._heartbeat_seconds
            while True:
                stretch = await self._next(account, mark, silent_until)
                for place, transaction in stretch.committed:
                    if place > mark and _concerns(transaction, account, shown_to):
                        yield place, transaction
                        silent_until = monotonic() + self._heartbeat_seconds
                mark = max(mark, stretch.until)
                if monotonic() >= silent_until:
                    if self._trouble is not None:
                        raise self._trouble
                    yield mark, None
                    silent_until = monotonic() + self._heartbeat_seconds
        finally:
            self._watchers.free(shown_to)
            self._leave()

    async def _next(self, account: str, mark: Mark, silent_until: float) -> Stretch:
        """A stretch in which this mark lies. At the end of the feed it waits until then (seconds of time.monotonic())
        for one that goes beyond it."""
        if self._latest is not None and mark >= self._latest.until:
            with suppress(TimeoutError):
                async with asyncio.timeout(max(0, silent_until - monotonic())):
                    await self._news.wait()
        if self._latest is None or mark < self._latest.after:
            return await self.feed.read(mark, STRETCH_MAX, account)
        return self._latest

    def _join(self) -> None:
        WATCHERS.inc()
        if self._reader is None:
            # For all of them: in nobody's context, or the deadline of who came first would end its reading.
            self._reader = asyncio.create_task(self._read(), context=Context())

    def _leave(self) -> None:
        WATCHERS.dec()
        if self._watchers.taken == 0 and self._reader is not None:
            self._reader.cancel()
            self._reader = self._latest = self._trouble = None

    async def _read(self) -> None:
        """Until nobody watches any more."""
        while True:
            try:
                pause = self._every_seconds if await self._step() else 0
                self._trouble = None
            except Exception as error:  # noqa: BLE001 - told to those who watch, if it lasts
                log.warning("feed_not_read", error=repr(error))
                self._trouble, pause = error, AGAIN_SECONDS
            await asyncio.sleep(pause)

    async def _step(self) -> bool:
        """Goes on to the stretch behind the latest one; whether it is the last for now. Where nothing has happened the
        latest one just grows, and nobody is woken."""
        latest = self._latest
        if latest is None:
            end = await self.feed.end()
            self._latest = Stretch(end, (), end, complete=True)
            return True
        stretch = await self.feed.read(latest.until, STRETCH_MAX)
        if stretch.committed:
            self._latest = stretch
            self._news.set()
            self._news = asyncio.Event()
        else:
            self._latest = latest._replace(until=stretch.until)
        return stretch.complete


def _concerns(transaction: Transaction, account: str, shown_to: str) -> bool:
    if account and account not in accounts_of(transaction.movement):
        return False
    return not shown_to or shows(transaction, account, shown_to)
