"""What the courier needs of the outside, as protocols."""

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple, Protocol

from transaction_service.ports import Mark
from transaction_service.webhooks.endpoint import Wish
from transaction_service.webhooks.schedule import Parcel
from transaction_service.webhooks.sending import Answer


class Held(NamedTuple):
    """An endpoint that is this courier's for so many seconds more. `secrets`: those in force, as they are kept, the
    newest first."""

    id: str
    wish: Wish
    secrets: tuple[str, ...]
    position: Mark
    generation: int
    seconds_left: float


class Look(NamedTuple):
    """What a courier sees. `newest`: there is nothing in the ledger behind it that can be read yet."""

    held: Sequence[Held]
    newest: Mark


class Event(NamedTuple):
    """`wallets`: those that it names. `mark`: its place in the order of commits."""

    id: str
    type: str
    subject: str
    wallets: tuple[str, ...]
    mark: Mark


class Found(NamedTuple):
    """The events that an endpoint wants, behind its position up to `until`. `complete`: there is no more for now."""

    events: Sequence[Event]
    until: Mark
    complete: bool


class Known(NamedTuple):
    """Ids of what waits, as far as the courier knows it. `tried`: those that were sent in vain, which is on record."""

    untried: Collection[str]
    tried: Collection[str]


class Result(NamedTuple):
    """What became of one attempt. `since`: when the first one was, `pause`: before the next one, both in seconds from
    now; no `pause`: it was taken."""

    parcel: Parcel
    answer: Answer
    since: float
    pause: float | None


class Post(Protocol):
    """The endpoints, and what is on its way to them. What writes for an endpoint does so only while it is still held by
    this courier, enabled, and in the generation that it was when it was seen."""

    async def look(self, lease_seconds: float) -> Look:
        """Claims what nobody holds, and keeps what it holds. No endpoint is held by two couriers."""

    async def find(self, endpoint: Held, position: Mark, limit: int) -> Found:
        """Among a bounded number of transactions and events: there may be none before more."""

    async def store(self, endpoint: Held, events: Sequence[Event], until: Mark, known: Known) -> list[Parcel] | None:
        """These are to be sent (once more, if they were sent before), and everything up to `until` is taken, in one
        commit; what waits, as `waiting`. None: it is not held any more."""

    async def waiting(self, endpoint: Held, known: Known) -> list[Parcel]:
        """What waits up to the endpoint's position and is not known, or known as tried and somebody has made it new."""

    async def mark(self, endpoint: Held, results: Sequence[Result]) -> bool:
        """Puts results on record. False: it is not held any more."""

    async def disable(self, endpoint: Held, reason: str) -> bool:
        """With its event and its act, in one commit. False: it is not held any more."""

    async def release(self) -> None:
        """Others may have what this courier holds."""

    async def prune(self, keep_days: int, limit: int) -> int:
        """Deletes deliveries that were taken so long ago, at most so many; how many it were."""


class Contents(Protocol):
    """What is told of a subject."""

    async def bodies(self, parcels: Sequence[Parcel]) -> Mapping[str, str]:
        """By the parcels' ids. What cannot be read is left out."""


class Sender(Protocol):
    """The way to receivers."""

    async def send(self, url: str, headers: Mapping[str, str], content: str) -> Answer:
        """Raises nothing but CancelledError: what goes wrong is an answer without a status."""
