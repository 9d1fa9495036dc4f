"""Many callers at one moment, and how far they have come."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from tests.kit.calls import Client, Failed, connected, outcome
from tests.kit.service import PATIENCE_SECONDS, POLL_SECONDS, ServiceProcess, wait_until_async

T = TypeVar("T")


@asynccontextmanager
async def both(service: ServiceProcess) -> AsyncIterator[tuple[Client, Client]]:
    """A client of each worker."""
    async with connected(service.targets[0]) as one, connected(service.targets[1]) as two:
        yield one, two


async def at_once(callers: int, call: Callable[[int], Awaitable[T]]) -> list[T | Failed]:
    """Everybody is there before anybody calls; `call` takes the caller's number."""
    barrier = asyncio.Barrier(callers)

    async def caller(number: int) -> T | Failed:
        await barrier.wait()
        return await outcome(call(number))

    return list(await asyncio.gather(*[caller(number) for number in range(callers)]))


def reason(answer: object) -> str:
    return answer.reason if isinstance(answer, Failed) else "POSTED"


def replayed(answer: Any) -> bool:  # noqa: ANN401 - any answer about a stored transaction
    return answer.metadata["replayed"] == "true" if isinstance(answer, Failed) else answer.replayed is True


async def eventually(asked: Callable[[], Awaitable[bool]], what: str) -> None:
    """Asks until the answer is yes."""
    last = time.monotonic() + PATIENCE_SECONDS
    while not await asked():
        assert time.monotonic() < last, f"it did not happen: {what}"
        await asyncio.sleep(POLL_SECONDS)


async def wait_for(service: ServiceProcess, commands: int, calls: int, worker: int = 0) -> None:
    """Until of `calls` calls under way so many commands are in the worker's queue: the others are with its lane."""

    def is_waiting() -> bool:
        metrics = service.metrics(worker)
        return (metrics["specie_posting_queue_length"], metrics["specie_calls_running"]) == (commands, calls)

    await wait_until_async(is_waiting, f"{commands} commands wait of {calls} calls")
