"""One endpoint's events, for as long as a courier holds it: taken, sent, put on record.

What was sent and not put on record yet, because the process was killed, is sent once more by whoever comes next. A
parcel that holds another one back is out of the way when it was taken, not when that is on record: who comes next sends
both again in the same order, so the receiver has each of them in that order at first.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from itertools import islice
from random import random
from time import monotonic
from typing import Final, NamedTuple

import structlog
from standardwebhooks import Webhook

from service_kit.status import Refusal
from transaction_service.ports import Mark
from transaction_service.webhooks import metrics
from transaction_service.webhooks.courier_ports import Contents, Event, Held, Known, Post, Result, Sender
from transaction_service.webhooks.pace import Pace
from transaction_service.webhooks.schedule import Parcel, Schedule, pause_seconds
from transaction_service.webhooks.sending import Answer, headers

log = structlog.stdlib.get_logger()

CONCURRENT_MAX: Final = 32
"""Requests to one endpoint at once."""
CONCURRENT_TOGETHER: Final = 512
"""Requests to all endpoints at once: they share a process's open files, often 1,024."""
WAITING_MAX: Final = 1000
"""So many are taken ahead of what was delivered."""
TAKEN_AT_ONCE_MIN: Final = 100
TAKEN_AT_ONCE_MAX: Final = 500
"""Where many wait, none is taken before there is room for some: a statement for each would cost more than sending."""
CONTENTS_AHEAD: Final = 100
"""Contents are read for so many at once."""
CONTENTS_LENGTH_MAX: Final = 1_000_000
"""Characters that are kept for later, for each endpoint. A usual body has 800, the largest some 35,000."""
MARKED_AT_ONCE: Final = 100
UNMARKED_MAX: Final = 300
"""Beyond it nothing is sent before results are on record: while the database stalls."""
MARK_SECONDS: Final = 0.2
"""A result is put on record so much later at the most: what a kill -9 sends again."""
LOOK_SECONDS: Final = 0.5
POSITION_SECONDS: Final = 1.0
"""How often the position is written while nothing that passes by is wanted."""
AGAIN_SECONDS: Final = 1.0
"""After the database has failed."""
FINISH_SECONDS: Final = 3.0
"""How long a stop waits for answers."""


class Patience(NamedTuple):
    """In seconds: the pause before the second attempt, the longest one, and how long an event may stay untaken before
    its endpoint is disabled."""

    first_pause: float
    pause_max: float
    give_up: float


class Tour:
    """Of the event loop's thread only."""

    def __init__(
        self,
        held: Held,
        post: Post,
        contents: Contents,
        sender: Sender,
        signers: Sequence[Webhook],
        patience: Patience,
        pace: Pace,
    ) -> None:
        self.held: Final = held
        self.over = False
        """It has ended by itself: the endpoint is not this courier's any more."""
        self._post = post
        self._contents = contents
        self._sender = sender
        self._signers = signers
        self._patience = patience
        self._pace = pace
        self._finishing = False
        self._places = 0
        self._held_until = 0.0
        self._newest = held.position
        self._position = held.position
        self._stored_position = held.position
        self._store_position_at = 0.0
        self._look_at = 0.0
        self._schedule = Schedule()
        self._bodies: dict[str, str] = {}
        self._sending: set[asyncio.Task[None]] = set()
        self._results: list[Result] = []
        self._mark_at = 0.0
        self._bell = asyncio.Event()

    def go_on(self, held_until: float, newest: Mark, tours: int) -> None:
        """The endpoint is held until then (seconds of time.monotonic()), there may be events up to this mark, and it is
        one of so many."""
        self._places = min(CONCURRENT_MAX, CONCURRENT_TOGETHER // tours)
        self._held_until = held_until
        self._newest = max(self._newest, newest)
        self._bell.set()

    def finish(self) -> None:
        """Sends nothing more; `run` ends when what was sent is answered and on record, or after a few seconds."""
        self._finishing = True
        self._bell.set()

    @property
    def waiting(self) -> int:
        """How many are not taken yet."""
        return len(self._schedule)

    @property
    def waiting_since(self) -> float | None:
        """For how long the receiver lacks something, as a time of time.monotonic()."""
        return min((parcel.waiting_since for parcel in self._schedule), default=None)

    async def run(self) -> None:
        """Until the endpoint is not held any more, or until `finish`. No failure of the database ends it. Cancelled, it
        leaves behind what it is in the middle of: whoever comes next sends it again."""
        try:
            while not self.over and not self._finishing:
                try:
                    await self._work()
                except Refusal as refusal:
                    log.warning("courier_failed", endpoint=self.held.id, reason=refusal.reason)
                    await asyncio.sleep(AGAIN_SECONDS)
                except Exception:
                    # A bug must not end what everybody relies on.
                    log.exception("courier_failed", endpoint=self.held.id)
                    await asyncio.sleep(AGAIN_SECONDS)
            if self._finishing:
                await self._finish()
        finally:
            for task in self._sending:
                task.cancel()

    async def _work(self) -> None:
        self._look_at = monotonic()
        while not self.over and not self._finishing:
            await self._mark()
            await self._look()
            await self._take()
            await self._send()
            await self._rest()

    async def _rest(self) -> None:
        """Until something is to do: the bell tells of news, of answers, and of the end."""
        now = monotonic()
        until = self._look_at
        due = self._schedule.next_due()
        if due is not None and self._has_place(now):
            until = min(until, max(due, self._pace.open_at(now)))
        if self._results:
            until = min(until, self._mark_at)
        if until > now:
            with suppress(TimeoutError):
                async with asyncio.timeout(until - now):
                    await self._bell.wait()
        self._bell.clear()

    async def _look(self) -> None:
        """Finds what waits already, and what somebody wants to be sent once more."""
        if self.over or monotonic() < self._look_at:
            return
        self._add(await self._post.waiting(self.held, self._known()))
        self._look_at = monotonic() + LOOK_SECONDS

    async def _take(self) -> None:
        """Goes on along the feed by one piece, if there is room for what is found."""
        room = WAITING_MAX - len(self._schedule) - len(self._results)
        if self.over or room < TAKEN_AT_ONCE_MIN:
            return
        if self._position < self._newest:
            found = await self._post.find(self.held, self._position, min(room, TAKEN_AT_ONCE_MAX))
            if found.events:
                await self._store(found.events, found.until)
            self._position = found.until
            if not found.complete:
                self._bell.set()
        if self._position > self._stored_position and monotonic() >= self._store_position_at:
            await self._store((), self._position)

    async def _store(self, events: Sequence[Event], until: Mark) -> None:
        parcels = await self._post.store(self.held, events, until, self._known())
        if parcels is None:
            self.over = True
            return
        self._add(parcels)
        self._stored_position = until
        self._store_position_at = monotonic() + POSITION_SECONDS

    async def _send(self) -> None:
        parcels = self._due()
        if not parcels:
            return
        try:
            await self._read(parcels)
        except BaseException:
            for parcel in parcels:
                self._schedule.put_back(parcel)
            raise
        for parcel in parcels:
            self._start(parcel)

    def _send_next(self) -> None:
        """What is due and read already: so it waits for no statement that is under way."""
        for parcel in self._due() if len(self._results) < UNMARKED_MAX else ():
            if parcel.id in self._bodies:
                self._start(parcel)
            else:
                self._schedule.put_back(parcel)

    def _due(self) -> list[Parcel]:
        now = monotonic()
        if self.over or self._finishing or not self._has_place(now):
            return []
        return self._schedule.take(now, min(self._places - len(self._sending), self._pace.room(now)))

    def _has_place(self, now: float) -> bool:
        """Whether something may be sent: nothing is once the endpoint may be somebody else's."""
        return now < self._held_until and len(self._sending) < self._places

    def _start(self, parcel: Parcel) -> None:
        self._pace.used()
        task = asyncio.create_task(self._deliver(parcel, self._bodies.pop(parcel.id, None)))
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    async def _read(self, parcels: Sequence[Parcel]) -> None:
        """Contents, and those of what comes next, because one statement reads a hundred as fast as ten."""
        lacking = [parcel for parcel in parcels if parcel.id not in self._bodies]
        if not lacking:
            return
        if sum(map(len, self._bodies.values())) < CONTENTS_LENGTH_MAX:
            wanted, now = {parcel.id for parcel in lacking}, monotonic()
            ahead = (p for p in self._schedule if p.due <= now and p.id not in self._bodies and p.id not in wanted)
            lacking += islice(ahead, CONTENTS_AHEAD - len(lacking))
        self._bodies |= await self._contents.bodies(lacking)

    async def _deliver(self, parcel: Parcel, body: str | None) -> None:
        began = monotonic()
        try:
            answer = await self._answer(parcel, body)
        except Exception:
            # A bug must not keep it away for ever, and what it holds back.
            log.exception("courier_failed", endpoint=self.held.id, event_id=parcel.event_id)
            answer = Answer(0, "it could not be sent")
        if answer.is_taken:
            metrics.SENT.labels("delivered").inc()
            self._schedule.delivered(parcel.id)
        else:
            metrics.SENT.labels("failed").inc()
            log.warning(
                "webhook_failed",
                endpoint=self.held.id,
                event_id=parcel.event_id,
                attempt=parcel.attempts + 1,
                status=answer.status,
                error=answer.problem,
            )
        self._note(parcel, answer, began)
        self._send_next()

    async def _answer(self, parcel: Parcel, body: str | None) -> Answer:
        if body is None:
            return Answer(0, "what it tells of cannot be read")
        signed = headers(self._signers, parcel.event_id, body, datetime.now(UTC))
        return await self._sender.send(self.held.wish.url, signed, body)

    def _note(self, parcel: Parcel, answer: Answer, began: float) -> None:
        since, pause, now = began if parcel.since is None else parcel.since, None, monotonic()
        if not answer.is_taken:
            patience = self._patience
            chance = random()  # noqa: S311 - not a secret
            pause = pause_seconds(
                parcel.attempts + 1, patience.first_pause, patience.pause_max, chance, answer.retry_after
            )
            parcel = parcel._replace(attempts=parcel.attempts + 1, since=since, due=now + pause)
        latest = now + MARK_SECONDS if pause is None else min(parcel.due, now + MARK_SECONDS)
        self._mark_at = min(self._mark_at, latest) if self._results else latest
        self._results.append(Result(parcel, answer, now - since, pause))
        self._bell.set()

    async def _mark(self) -> None:
        """What was sent in vain is not sent again before that is on record."""
        results = self._results
        if not results or (len(results) < MARKED_AT_ONCE and monotonic() < self._mark_at):
            return
        # It keeps them until they are on record; what comes meanwhile is the next time's.
        results = results[:]
        if not await self._post.mark(self.held, results):
            self.over = True
            return
        del self._results[: len(results)]
        self._mark_at = monotonic() + MARK_SECONDS
        for parcel, answer, since, pause in results:
            if pause is None:
                continue
            self._schedule.put_back(parcel)
            if answer.is_gone or since >= self._patience.give_up:
                await self._disable(parcel, answer)
                return

    async def _disable(self, parcel: Parcel, answer: Answer) -> None:
        reason = "it answered with status 410: it wants no more events"
        if not answer.is_gone:
            reason = f"it did not take {parcel.event_id} in {parcel.attempts} attempts; the last one: {answer.problem}"
        self.over = True
        if await self._post.disable(self.held, reason):
            metrics.DISABLED.inc()
            log.error("webhook_disabled", endpoint=self.held.id, reason=reason)

    async def _finish(self) -> None:
        if self._sending:
            await asyncio.wait(self._sending, timeout=FINISH_SECONDS)
        if self._results:
            with suppress(Refusal):  # then it is sent once more
                await self._post.mark(self.held, self._results)

    def _known(self) -> Known:
        """What is being sent counts as untried: it has a result soon."""
        tried = self._schedule.tried()
        unmarked = [result.parcel.id for result in self._results]
        return Known([p.id for p in self._schedule if p.id not in tried] + unmarked, tried)

    def _add(self, parcels: Sequence[Parcel]) -> None:
        for parcel in parcels:
            if parcel.id in self._schedule:
                self._schedule.renew(parcel)
            else:
                self._schedule.add(parcel)
