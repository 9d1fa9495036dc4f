"""Pages that are not too large for a client."""

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from google.protobuf.message import Message

from service_kit import pages
from transaction_service.ports import Position

T = TypeVar("T")
Answer = TypeVar("Answer", bound=Message)


async def fitting(
    page: Callable[[int], Awaitable[tuple[Sequence[T], Position | None]]],
    answer: Callable[[Sequence[T], str], Answer],
    asked: int,
    filters: tuple[object, ...],
) -> Answer:
    """A page of the size that was asked for, or a shorter one that is not too large for a client."""
    size = pages.page_size(asked)
    while True:
        found, end = await page(size)
        told = answer(found, pages.encode(end, *filters) if end is not None else "")
        if told.ByteSize() <= pages.PAGE_BYTES_MAX or size == 1:
            return told
        size = max(1, min(size, len(found)) // 2)
