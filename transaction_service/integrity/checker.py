"""Checks the books, for ever: what is new as soon as it is there, and, slowly, everything in laps.

What is new is enough for what the service does; a lap finds what somebody else has done to what is old. Both go in
pieces that are short, and rest, so that posting does not feel them. Any number of processes may check at once.
"""

import asyncio
from time import monotonic
from typing import Final

import structlog

from service_kit.status import Refusal
from transaction_service.integrity import metrics
from transaction_service.integrity.ports import Checks, Page, Step

log = structlog.stdlib.get_logger()

STEP: Final = 20_000
"""Transactions that are looked at at once: some 0.1 s of PostgreSQL. The more there are, the less one costs: an account
that is in many of them is looked up once."""
REST_PER_WORK: Final = 20
"""It rests so many times as long as a step, or a page of a lap, took, as LatestSums does. So each takes at most a
twentieth of one connection's time: where more is posted than that is enough for, it falls behind and comes after when
there is time, and posting keeps its processors."""
REST_SECONDS_MAX: Final = 30.0
"""After a step, however slow the database is: half of the time after which the check is said to be stale."""
PAUSE_SECONDS_MAX: Final = 60.0
"""Between pieces that fail each pause is twice as long as the one before, up to this; and it looks so often whether a
lap is due."""
DOUBLED_MAX: Final = 12
TURN_SECONDS: Final = 0.1
"""After so long it tries again when somebody else is at it."""


class Checker:
    """Of the event loop's thread only."""

    def __init__(self, checks: Checks, every_seconds: float, lap_every_seconds: float) -> None:
        """`every_seconds`: how often it looks at what is new. `lap_every_seconds`: from the beginning of a lap to
        that of the next one; one that takes longer is followed at once."""
        self._checks = checks
        self._every_seconds = every_seconds
        self._lap_every_seconds = lap_every_seconds
        self._is_behind = True
        self._failures = {"new": 0, "lap": 0}

    async def run(self) -> None:
        """Until it is cancelled. No failure ends it."""
        new_at = lap_at = monotonic()
        while True:
            await asyncio.sleep(max(0.0, min(new_at, lap_at) - monotonic()))
            if monotonic() >= new_at:
                new_at = monotonic() + await self._look_at_new()
            if monotonic() >= lap_at:
                # What it has never looked at comes first.
                pause = self._every_seconds if self._is_behind else await self._go_on_with_lap()
                lap_at = monotonic() + pause

    async def _look_at_new(self) -> float:
        """In how many seconds it is to be called again; so does the other."""
        began = monotonic()
        try:
            step = await self._checks.look_at_new(STEP)
        except Exception as error:  # noqa: BLE001 - whatever it is, the next one tries again
            return self._failed("new", error)
        self._failures["new"] = 0
        if step is None:
            return min(TURN_SECONDS, self._every_seconds)
        self._tell(step)
        metrics.CHECKED.inc(step.entries)
        metrics.LAG_SECONDS.set(step.lag_seconds)
        self._is_behind = step.more
        rest = min(REST_PER_WORK * (monotonic() - began), REST_SECONDS_MAX)
        return rest if step.more else max(rest, self._every_seconds)

    async def _go_on_with_lap(self) -> float:
        try:
            page = await self._checks.go_on_with_lap(self._lap_every_seconds, REST_PER_WORK)
        except Exception as error:  # noqa: BLE001 - as above
            return self._failed("lap", error)
        self._failures["lap"] = 0
        if page is None:
            return min(TURN_SECONDS, self._every_seconds)
        self._tell(page)
        if page.ended is not None:
            metrics.LAP_SECONDS.set(page.ended.seconds)
            log.info(
                "integrity_lap",
                entries=page.ended.entries,
                seconds=round(page.ended.seconds, 1),
                findings=page.findings,
            )
        return min(page.rest_seconds, PAUSE_SECONDS_MAX)

    def _tell(self, look: Step | Page) -> None:
        metrics.BROKEN.set(look.findings)
        for finding in look.new:
            check, subject, detail = finding.broken
            log.error("integrity_broken", check=check.value, subject=subject, detail=detail)

    def _failed(self, work: str, error: Exception) -> float:
        if isinstance(error, Refusal):
            log.warning("integrity_failed", work=work, reason=error.reason)
        else:
            log.error("integrity_failed", work=work, exc_info=error)
        self._failures[work] += 1
        pause: float = self._every_seconds * 2 ** min(self._failures[work], DOUBLED_MAX)
        return min(pause, PAUSE_SECONDS_MAX)
