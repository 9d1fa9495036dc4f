"""Work that is not to be cut off in the middle."""

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, TypeVar

T = TypeVar("T")


async def to_its_end(work: Coroutine[Any, Any, T], seconds: float) -> T:
    """What it gives. Whoever is cancelled while he waits lets it go on for so long, and is cancelled then."""
    running = asyncio.create_task(work)
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        with suppress(Exception):  # nobody hears of it any more
            await asyncio.wait_for(running, seconds)
        raise
