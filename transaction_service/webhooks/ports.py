"""What webhooks need of the outside: endpoints as they are kept, and what a host's addresses are."""

from collections.abc import Callable, Sequence
from typing import Protocol

from service_kit.acts import Actor
from transaction_service.ports import Mark, Position
from transaction_service.webhooks.endpoint import Delivery, DeliveryState, Endpoint, Wish


class Endpoints(Protocol):
    """Endpoints for those who run them. Each change is on record in its own commit (`act`) and makes `generation` grow,
    so that a courier that works on old knowledge notices before it writes. None: there is no such endpoint.

    Whoever changes an endpoint or its deliveries locks the endpoint's row first. The secrets stand beside what is given
    here, encrypted: they are the courier's alone.
    """

    async def create(self, wish: Wish, sealed_secret: str, position: Mark, by: Actor) -> Endpoint | None:
        """ENABLED, and sent what is behind the position. None: there are as many as may be."""

    async def get(self, endpoint_id: str) -> Endpoint | None: ...

    async def all(self) -> list[Endpoint]:
        """The oldest first."""

    async def update(self, endpoint_id: str, rule: Callable[[Wish], Wish], by: Actor) -> Endpoint | None:
        """What the rule makes of it. Deliveries stay as they are, and are sent to the new URL."""

    async def delete(self, endpoint_id: str, by: Actor) -> bool:
        """False: there is none. Its deliveries are found by nobody any more; the courier's tidying removes them."""

    async def rotate(self, endpoint_id: str, sealed_secret: str, by: Actor) -> Endpoint | None:
        """The secret so far signs for OLD_SECRET_LASTS more; one that still did from a rotation before no longer."""

    async def enable(self, endpoint_id: str, by: Actor) -> Endpoint | None:
        """What waits is due at once and counts as never tried, or the courier would give up again at its next failure.
        One that is ENABLED stays as it is."""

    async def disable(self, endpoint_id: str, by: Actor) -> Endpoint | None:
        """One that is DISABLED stays as it is, with its reason. Only a courier that gives up writes an event."""

    async def replay(self, endpoint_id: str, position: Mark, by: Actor) -> Endpoint | None:
        """Moves its position back, never on. Deliveries that exist behind it already become PENDING again, as if they
        were new, when the courier comes by their events: its INSERT meets them by their derived ids (delivery_id)."""

    async def deliveries(
        self, endpoint_id: str, state: DeliveryState | None, after: Position | None, limit: int
    ) -> tuple[list[Delivery], Position | None] | None:
        """The latest commits first, and where the next page begins. Raises Refusal INVALID_PAGE_TOKEN for a place that
        no page has ended at."""

    async def redeliver(self, delivery_id: str, by: Actor) -> Delivery | None:
        """PENDING, due now, as if it was never tried; sent when its endpoint is ENABLED. On the endpoint's record.
        None: there is no such delivery."""


class Resolver(Protocol):
    """What a host's addresses are now."""

    async def addresses(self, host: str) -> Sequence[str]:
        """As texts; none: it is not known. Raises TimeoutError when it cannot be told in time."""
