"""Who is sent events, and each event on its way to one of them."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import IntEnum
from typing import Final
from uuid import UUID

from transaction_service.domain.identity import derived_id
from transaction_service.ports import Mark
from transaction_service.webhooks.types import EventType

ENDPOINTS_MAX: Final = 100
"""Each looks at every transaction."""
WAITING_COUNTED_MAX: Final = 1000
OLD_SECRET_LASTS: Final = timedelta(hours=24)
"""So long both secrets sign."""
ENDPOINTS: Final = "webhookEndpoints/"
DELIVERIES: Final = "webhookDeliveries/"
EVENTS: Final = "evt_"


class EndpointState(IntEnum):
    """As stored, and as the contract numbers them."""

    ENABLED = 1
    DISABLED = 2


class DeliveryState(IntEnum):
    """As stored, and as the contract numbers them."""

    PENDING = 1
    DELIVERED = 2


@dataclass(frozen=True, slots=True)
class Wish:
    """What somebody may ask for. `event_types`: empty: all of them; `wallet`: empty: of every wallet."""

    url: str
    event_types: tuple[str, ...] = ()
    wallet: str = ""
    description: str = ""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """`position`: everything up to it was taken or stands among its deliveries. `generation` grows whenever somebody
    changes what a courier must not go on with: its state or its position. `waiting`: how many PENDING deliveries it
    has, counted up to WAITING_COUNTED_MAX."""

    id: str
    wish: Wish
    state: EndpointState
    disabled_reason: str
    position: Mark
    generation: int
    create_time: datetime
    update_time: datetime
    waiting: int = 0

    @property
    def name(self) -> str:
        """As callers know it."""
        return ENDPOINTS + self.id


@dataclass(frozen=True, slots=True)
class Delivery:
    """One event on its way to one endpoint. `wallets` are those that it names, within which it keeps its turn; `mark`
    its place in the order of commits. `next_time`: absent when it is DELIVERED."""

    id: str
    endpoint_id: str
    event_id: str
    event_type: str
    subject: str
    wallets: tuple[str, ...]
    mark: Mark
    state: DeliveryState
    attempts: int
    first_attempt_time: datetime | None
    next_time: datetime | None
    last_status: int
    last_error: str
    create_time: datetime
    deliver_time: datetime | None

    @property
    def name(self) -> str:
        """As callers know it."""
        return DELIVERIES + self.id


def wants(endpoint_id: str, wish: Wish, event_type: str, subject: str, wallets: Collection[str]) -> bool:
    """Whether this endpoint is sent an event. `wallets`: the names of all that the event names. No endpoint is told of
    its own end: it would not have it before it is enabled again."""
    if wish.event_types and event_type not in wish.event_types:
        return False
    if wish.wallet and wish.wallet not in wallets:
        return False
    return not (event_type == EventType.WEBHOOK_ENDPOINT_DISABLED and subject == ENDPOINTS + endpoint_id)


def event_key(event_type: str, subject: str, turn: int = 1) -> str:
    """The id of an event, as table `event` has it. `turn`: which one of this type it is for this subject."""
    return derived_id("event", event_type, subject, str(turn))


def sent_as(key: str) -> str:
    """What is sent as `webhook-id`, the same whenever and to whomever it is sent, from the event's id."""
    return EVENTS + key.replace("-", "")


def key_of(sent: str) -> str:
    """The other way round."""
    return str(UUID(sent.removeprefix(EVENTS)))


def event_id(event_type: str, subject: str, turn: int = 1) -> str:
    """As it is sent."""
    return sent_as(event_key(event_type, subject, turn))


def delivery_id(endpoint_id: str, of_event: str) -> str:
    """One event is one delivery to an endpoint, however often it is looked at or sent."""
    return derived_id("webhook-delivery", endpoint_id, of_event)
