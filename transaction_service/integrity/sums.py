"""The ledger's sums as everybody is told them: read once for all who ask, and not again for some seconds."""

import asyncio
from contextvars import Context
from time import monotonic
from typing import Final

from transaction_service.ports import Integrity, Sums

FRESH_SECONDS: Final = 5.0
REST_PER_WORK: Final = 20
"""So many times as long as a reading took it rests at least: however large the ledger is, it takes at most a twentieth
of one connection's time."""


class LatestSums:
    """Of the event loop's thread only."""

    def __init__(self, integrity: Integrity, fresh_seconds: float = FRESH_SECONDS) -> None:
        self._integrity = integrity
        self._fresh_seconds = fresh_seconds
        self._latest: Sums | None = None
        self._fresh_until = 0.0
        self._reading: asyncio.Task[Sums] | None = None

    async def get(self, wait_seconds: float) -> Sums:
        """Raises TimeoutError when there are none after so long, while the reading goes on, and what the port
        raises."""
        if self._latest is not None and monotonic() < self._fresh_until:
            return self._latest
        if self._reading is None:
            # For all who ask: in nobody's context, or the deadline of who came first would end it.
            self._reading = asyncio.create_task(self._read(), context=Context())
        async with asyncio.timeout(wait_seconds):
            return await asyncio.shield(self._reading)

    async def _read(self) -> Sums:
        began = monotonic()
        try:
            self._latest = await self._integrity.sums()
            ended = monotonic()
            self._fresh_until = ended + max(self._fresh_seconds, REST_PER_WORK * (ended - began))
            return self._latest
        finally:
            self._reading = None
