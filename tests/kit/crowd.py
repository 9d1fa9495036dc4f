"""Many callers at one moment."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from tests.kit.calls import Failed, outcome

T = TypeVar("T")


async def at_once(callers: int, call: Callable[[int], Awaitable[T]]) -> list[T | Failed]:
    """Everybody is there before anybody calls; `call` takes the caller's number."""
    barrier = asyncio.Barrier(callers)

    async def caller(number: int) -> T | Failed:
        await barrier.wait()
        return await outcome(call(number))

    return list(await asyncio.gather(*[caller(number) for number in range(callers)]))


def reason(answer: object) -> str:
    return answer.reason if isinstance(answer, Failed) else "POSTED"
