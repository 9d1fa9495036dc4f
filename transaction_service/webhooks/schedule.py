"""Which deliveries of one endpoint may be sent now: those of each wallet in the order of their commits.

A parcel is held back while an earlier one that names one of its wallets has not been taken. One that fails waits for
its next time and holds back nothing but what shares a wallet with it. Times are seconds of time.monotonic().
"""

from bisect import bisect_left, insort
from collections.abc import Iterator
from heapq import heappop, heappush
from typing import Final, NamedTuple

from transaction_service.ports import Mark

FACTOR: Final = 3
EXPONENT_MAX: Final = 40
"""Beyond it every pause is the longest one, and the power would only get slower to compute."""
JITTER: Final = 0.2
"""A pause is up to this share longer or shorter, so that what failed together does not come again together."""


class Parcel(NamedTuple):
    """One event on its way. `attempts`: how often it was sent in vain; `since`: when for the first time (None: it was
    not); `waiting_since`: for how long the receiver lacks it; `due`: not to be sent before."""

    id: str
    event_id: str
    event_type: str
    subject: str
    wallets: tuple[str, ...]
    mark: Mark
    attempts: int = 0
    since: float | None = None
    waiting_since: float = 0.0
    due: float = 0.0


class Schedule:
    """What waits at one endpoint."""

    def __init__(self) -> None:
        self._parcels: dict[str, Parcel] = {}
        self._away: set[str] = set()
        self._queues: dict[str, list[tuple[Mark, str]]] = {}
        # May hold what has been taken, changed or overtaken since: `_is_next` tells.
        self._next: list[tuple[float, Mark, str]] = []

    def __len__(self) -> int:
        return len(self._parcels)

    def __iter__(self) -> Iterator[Parcel]:
        """In the order in which they were added."""
        return iter(self._parcels.values())

    def __contains__(self, parcel_id: str) -> bool:
        return parcel_id in self._parcels

    def add(self, parcel: Parcel) -> None:
        """Where its mark belongs, whatever was added before. It must not be there yet."""
        self._parcels[parcel.id] = parcel
        for wallet in parcel.wallets:
            insort(self._queues.setdefault(wallet, []), (parcel.mark, parcel.id))
        self._offer(parcel)

    def take(self, now: float, limit: int) -> list[Parcel]:
        """What may be sent now, in the order of being due and then of the commits. It is away until it was `delivered`
        or is `put_back`."""
        taken: list[Parcel] = []
        while len(taken) < limit and self._next and self._next[0][0] <= now:
            due, _, id_ = heappop(self._next)
            if self._is_next(id_, due):
                self._away.add(id_)
                taken.append(self._parcels[id_])
        return taken

    def tried(self) -> set[str]:
        """Of those that are not away: what was sent in vain."""
        return {parcel.id for parcel in self if parcel.attempts and parcel.id not in self._away}

    def next_due(self) -> float | None:
        """When `take` gives something again, if nothing happens before. None: not by itself."""
        while self._next and not self._is_next(self._next[0][2], self._next[0][0]):
            heappop(self._next)
        return self._next[0][0] if self._next else None

    def delivered(self, parcel_id: str) -> None:
        """What it held back may be sent."""
        parcel = self._parcels.pop(parcel_id)
        self._away.discard(parcel_id)
        for wallet in parcel.wallets:
            queue = self._queues[wallet]
            place = bisect_left(queue, (parcel.mark, parcel.id))
            del queue[place]
            if not queue:
                del self._queues[wallet]
            elif place == 0:
                self._offer(self._parcels[queue[0][1]])

    def put_back(self, parcel: Parcel) -> None:
        """It was not taken; `parcel` tells when it is due again."""
        self._parcels[parcel.id] = parcel
        self._away.discard(parcel.id)
        self._offer(parcel)

    def renew(self, parcel: Parcel) -> None:
        """Somebody wants it to be sent as if it was new. One that is away is being sent: its answer will count."""
        if parcel.id not in self._away:
            self.put_back(parcel)

    def _offer(self, parcel: Parcel) -> None:
        if self._is_first(parcel):
            heappush(self._next, (parcel.due, parcel.mark, parcel.id))

    def _is_next(self, parcel_id: str, due: float) -> bool:
        parcel = self._parcels.get(parcel_id)
        return parcel is not None and parcel.due == due and parcel_id not in self._away and self._is_first(parcel)

    def _is_first(self, parcel: Parcel) -> bool:
        return all(self._queues[wallet][0][1] == parcel.id for wallet in parcel.wallets)


def pause_seconds(attempts: int, first: float, longest: float, chance: float, asked: float = 0.0) -> float:
    """Until what was sent so often in vain (at least once) is sent again: `first`, three times that, nine times, up to
    `longest`, each a little more or less by `chance` (0 to 1), and not before the receiver has `asked` to be sent
    something again, up to `longest` as well."""
    pause: float = min(longest, first * FACTOR ** min(attempts - 1, EXPONENT_MAX))
    pause *= 1 - JITTER + 2 * JITTER * chance
    return min(longest, max(pause, asked))
