"""grpc.health.v1 with readiness apart from liveness.

Liveness (`liveness`) never asks the database: it says SERVING as long as the process works. Readiness (the empty
service name and the services' own names) follows a background check, with hysteresis so that one slow answer does not
take a worker out.
"""

from __future__ import annotations  # grpc's types are generic for type checkers only

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

import grpc
import grpc.aio
import structlog
from grpc_health.v1 import health_pb2
from grpc_health.v1.health import aio as health_aio

LIVENESS: Final = "liveness"
CHECK_SECONDS: Final = 1.0
CHECK_TIMEOUT_SECONDS: Final = 2.0
FAILURES_TO_UNREADY: Final = 2

SERVING: Final = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING: Final = health_pb2.HealthCheckResponse.NOT_SERVING

log = structlog.stdlib.get_logger()


class HealthServicer(health_aio.HealthServicer):
    """grpc's own, but those who watch are sent away at the end: their streams would hold up the stop."""

    def __init__(self) -> None:
        super().__init__()
        self._watching: set[asyncio.Task[Any]] = set()
        self._ended = False

    async def Watch(  # noqa: N802 - gRPC's name
        self, request: health_pb2.HealthCheckRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> None:
        task = asyncio.current_task()
        assert task is not None, "a coroutine runs in a task"  # noqa: S101 - for the type checker
        self._watching.add(task)
        try:
            if not self._ended:
                await super().Watch(request, context)
        except asyncio.CancelledError:
            # More than our own cancellation is the caller's, who has gone.
            if not self._ended or task.uncancel() > 0:
                raise
        finally:
            self._watching.discard(task)
        await context.abort(grpc.StatusCode.UNAVAILABLE, "the service is stopping")

    def end_watches(self) -> None:
        self._ended = True
        for task in self._watching:
            task.cancel()


class Readiness:
    """Keeps the health servicer's answers true."""

    def __init__(
        self,
        check: Callable[[], Awaitable[None]],
        services: Sequence[str],
        tell_ready: Callable[[], None] = lambda: None,
    ) -> None:
        """`tell_ready` is called whenever it becomes ready."""
        self.servicer = HealthServicer()
        self._tell_ready = tell_ready
        self._check = check
        self._services = ("", *services)
        self._ready: bool | None = None
        self._failures = 0

    async def begin(self) -> None:
        """Alive at once, ready only after the first good check."""
        await self.servicer.set(LIVENESS, SERVING)
        await self._set(ready=False)

    async def watch(self) -> None:
        """Checks for ever."""
        while True:
            await self.check_once()
            await asyncio.sleep(CHECK_SECONDS)

    async def check_once(self) -> None:
        """One good check makes ready; it takes several bad ones in a row to make unready."""
        try:
            async with asyncio.timeout(CHECK_TIMEOUT_SECONDS):
                await self._check()
        except Exception as error:  # noqa: BLE001 - whatever the check raises, the answer is not ready
            self._failures += 1
            if self._ready and self._failures >= FAILURES_TO_UNREADY:
                log.warning("readiness", ready=False, error=str(error))
                await self._set(ready=False)
            return
        self._failures = 0
        if not self._ready:
            log.info("readiness", ready=True)
            await self._set(ready=True)

    async def end(self) -> None:
        """Tells balancers to send nothing more. The process is still alive."""
        await self._set(ready=False)

    async def _set(self, *, ready: bool) -> None:
        if self._ready != ready:
            self._ready = ready
            for service in self._services:
                await self.servicer.set(service, SERVING if ready else NOT_SERVING)
            if ready:
                self._tell_ready()
