"""One kind of the back office's work."""

from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any


async def nothing() -> None:
    """For work that holds no resources."""


@dataclass(frozen=True, slots=True)
class Part:
    """`run` works until it is cancelled, and then ends what must not be cut off; no failure of the outside ends it.
    `close` frees what it holds."""

    run: Callable[[], Coroutine[Any, Any, None]]
    close: Callable[[], Awaitable[None]] = nothing
