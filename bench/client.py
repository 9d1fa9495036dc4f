"""What every client process does: it makes calls until its time is up and tells what came of it.

Closed loop: so many calls are always in flight; the next one waits for an answer. Open loop: calls leave at a fixed
rate whatever becomes of them, and their latency counts from when they were due, so that a slow answer cannot hide the
wait of those behind it.
"""

import asyncio
import gc
import json
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any

import uvloop

Call = Callable[[], Awaitable[int]]
"""Makes one call; how many transfers, or reads, it did. Raises when one of them failed."""


@dataclass(frozen=True)
class Finding:
    """What one process did in one stretch of time."""

    done: int
    seconds: float
    cpu_seconds: float
    """Of this process while it called, without its start."""
    latencies_ms: list[float]
    """Of each call."""


class Stretch:
    """Measures from its beginning to `finding`."""

    def __init__(self) -> None:
        gc.collect()
        gc.freeze()  # as the service does: the collector walks no imports while we measure
        self._cpu, self.started = time.process_time(), time.perf_counter()
        self._latencies_ms: list[float] = []
        self._done = 0

    def add(self, done: int, since: float) -> None:
        self._latencies_ms.append((time.perf_counter() - since) * 1000)
        self._done += done

    def finding(self) -> Finding:
        seconds = time.perf_counter() - self.started
        return Finding(self._done, seconds, time.process_time() - self._cpu, self._latencies_ms)


async def closed_loop(call: Call, in_flight: int, seconds: float) -> Finding:
    """At least one call each, however short the time."""
    stretch = Stretch()
    last = stretch.started + seconds

    async def caller() -> None:
        begun = time.perf_counter()
        while True:
            stretch.add(await call(), begun)
            begun = time.perf_counter()
            if begun >= last:
                return

    await asyncio.gather(*(caller() for _ in range(in_flight)))
    return stretch.finding()


async def open_loop(call: Call, rate: int, seconds: float) -> Finding:
    """The loop's timer adds up to 1 ms to a latency."""
    stretch = Stretch()

    async def one(due: float) -> None:
        stretch.add(await call(), due)

    calls = []
    for number in range(max(1, int(rate * seconds))):
        due = stretch.started + number / rate
        if (early := due - time.perf_counter()) > 0:
            await asyncio.sleep(early)
        calls.append(asyncio.create_task(one(due)))
    await asyncio.gather(*calls)
    return stretch.finding()


def tell(finding: Finding) -> None:
    """To the process that started this one."""
    json.dump(vars(finding), sys.stdout)


def run(working: Coroutine[Any, Any, Finding]) -> None:
    tell(uvloop.run(working))
