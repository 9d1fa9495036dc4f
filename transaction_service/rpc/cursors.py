"""Places in the feed as callers see them."""

from contextlib import suppress
from uuid import UUID

from service_kit import pages
from service_kit.status import Refusal
from transaction_service.domain.account import INT64_MAX
from transaction_service.ports import Mark


def to_cursor(mark: Mark, wallet: str = "") -> str:
    """Good for this wallet's transactions only; empty: for those of all."""
    return pages.encode(list(mark), "watch", wallet)


def to_mark(cursor: str, wallet: str = "") -> Mark | None:
    """None: it was not made for this wallet."""
    try:
        position = pages.decode(cursor, "watch", wallet)
    except Refusal:
        return None
    match position:
        case [int(commit), str(id_)] if not isinstance(commit, bool) and 0 <= commit <= INT64_MAX and _is_id(id_):
            return Mark(commit, id_)
    return None


def _is_id(text: str) -> bool:
    with suppress(ValueError):
        return str(UUID(text)) == text
    return False
