"""Runs a process that answers no calls but works: starts, works until SIGTERM or SIGINT, and ends what it has begun.

Orchestrators probe it with grpc.health.v1 on its port, as they do services.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any

import structlog
from prometheus_client import start_http_server

from service_kit.health import Readiness
from service_kit.server import first, raise_failure, serve_probes, spare_the_collector, told_to_stop
from service_kit.settings import ProcessSettings

log = structlog.stdlib.get_logger()


async def run_background(
    check: Callable[[], Awaitable[None]],
    background: Sequence[Callable[[], Coroutine[Any, Any, None]]],
    close: Callable[[], Awaitable[None]],
    settings: ProcessSettings,
) -> None:
    """`check` raises when the process cannot work. `background` runs until the end and is cancelled there; each piece
    of it ends by itself what must not be cut off. `close` frees resources.

    Returns after a clean stop. Raises what ended a piece of work, and OSError when the port is taken."""
    stopping = told_to_stop()
    readiness = Readiness(check, ())
    address = f"{settings.host}:{settings.port}"
    await readiness.begin()
    probes = await serve_probes(readiness, address)
    metrics_server = None
    if settings.metrics_port:
        metrics_server, _ = start_http_server(settings.metrics_port, settings.host)
    spare_the_collector()
    log.info("working", address=address)
    tasks = [asyncio.create_task(work()) for work in (readiness.watch, *background)]
    await first(stopping, tasks)
    log.info("stopping")
    await readiness.end()
    for task in tasks:
        task.cancel()
    ended = await asyncio.gather(*tasks, return_exceptions=True)
    await close()
    readiness.servicer.end_watches()
    await probes.stop(settings.shutdown_grace_seconds)
    if metrics_server is not None:
        metrics_server.shutdown()
    log.info("stopped")
    raise_failure(ended)
