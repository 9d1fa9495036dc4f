"""The courier's side of webhooks, spoken to without an event loop."""

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

from transaction_service.adapters.webhook_courier import SqlPost
from transaction_service.ports import Mark
from transaction_service.webhooks.courier_ports import Event, Held, Known, Result
from transaction_service.webhooks.schedule import Parcel
from transaction_service.webhooks.sending import Answer

T = TypeVar("T")

LEASE_SECONDS = 60.0
NOTHING = Known((), ())
ALL = 1_000
TAKEN, BUSY = Answer(204), Answer(503)


@dataclass
class Post:
    """One courier's."""

    sql: SqlPost

    def held(self, lease_seconds: float = LEASE_SECONDS) -> dict[str, Held]:
        look = run(self.sql.look(lease_seconds))
        return {held.id: held for held in look.held}

    def find(self, held: Held, position: Mark | None = None, page_size: int = ALL) -> list[Event]:
        """Page by page."""
        found: list[Event] = []
        position = held.position if position is None else position
        while True:
            page = run(self.sql.find(held, position, page_size))
            assert page.until >= position
            assert len(page.events) <= page_size
            found, position = [*found, *page.events], page.until
            if page.complete:
                return found

    def take(self, held: Held) -> list[Parcel]:
        """Everything there is."""
        page = run(self.sql.find(held, held.position, ALL))
        stored = run(self.sql.store(held, page.events, page.until, NOTHING))
        assert stored is not None
        return stored

    def waiting(self, held: Held, known: Known = NOTHING) -> list[Parcel]:
        return run(self.sql.waiting(held, known))

    def mark(self, held: Held, *results: Result) -> bool:
        return run(self.sql.mark(held, results))


def run(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(work)


def taken(parcel: Parcel) -> Result:
    return Result(parcel, TAKEN, 0, None)
