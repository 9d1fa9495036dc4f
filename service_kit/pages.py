"""Page tokens: where the next page begins, bound to the filters of the page before (AIP-158)."""

import base64
import binascii
from collections.abc import Awaitable, Callable, Sequence
from hashlib import blake2b
from typing import Any, Final, TypeVar

import orjson
from google.protobuf.message import Message

from service_kit.status import Refusal

T = TypeVar("T")
Answer = TypeVar("Answer", bound=Message)

PAGE_SIZE_DEFAULT: Final = 50
PAGE_SIZE_MAX: Final = 1000
PAGE_BYTES_MAX: Final = 2 * 1024 * 1024
"""Half of what gRPC clients take by default. A page may have less than was asked for (AIP-158)."""
_SEAL_BYTES: Final = 8


def page_size(asked: int) -> int:
    """0 is the default, more than the maximum is the maximum (AIP-158)."""
    return min(asked, PAGE_SIZE_MAX) or PAGE_SIZE_DEFAULT


def encode(position: list[Any], *filters: object) -> str:
    """A token for the page that begins after `position`, good for these filters only."""
    body = orjson.dumps(position)
    return base64.urlsafe_b64encode(_seal(body, filters) + body).decode().rstrip("=")


def decode(token: str, *filters: object) -> list[Any]:
    """The position in the token. Raises Refusal INVALID_PAGE_TOKEN when it was not made with these filters.

    Anyone can make a seal, so the position may be any JSON value: whoever reads it raises `refused` for a strange one.
    """
    try:
        raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise refused() from None
    seal, body = raw[:_SEAL_BYTES], raw[_SEAL_BYTES:]
    if seal != _seal(body, filters):
        raise refused()
    try:
        position: list[Any] = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise refused() from None
    return position


async def fitting(
    page: Callable[[int], Awaitable[tuple[Sequence[T], list[Any] | None]]],
    answer: Callable[[Sequence[T], str], Answer],
    asked: int,
    filters: tuple[object, ...],
) -> Answer:
    """A page of the size that was asked for, or a shorter one that is not too large for a client. `page` reads one of a
    size, and where it ends (None: it is the last one); `answer` tells it, with the token of the next."""
    size = page_size(asked)
    while True:
        found, end = await page(size)
        told = answer(found, encode(end, *filters) if end is not None else "")
        if told.ByteSize() <= PAGE_BYTES_MAX or size == 1:
            return told
        size = max(1, min(size, len(found)) // 2)


def _seal(body: bytes, filters: tuple[object, ...]) -> bytes:
    """Tells tokens of other queries and typing errors apart. Not a secret: a forged position shows nothing that the
    query itself would not."""
    return blake2b(body + b"\0" + repr(filters).encode(), digest_size=_SEAL_BYTES).digest()


def refused() -> Refusal:
    """A token that this service did not make for this query."""
    return Refusal(
        "INVALID_PAGE_TOKEN",
        "the page token was not made for this query; use next_page_token as it was sent, with the same filters",
    )
