"""What the model of the ledger keeps: requests with what became of them, accounts, holds."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from tests.kit.asked import Asked, Move


class Told(NamedTuple):
    """POSTED, PENDING or a reason; and whether it had been told before."""

    code: str
    replayed: bool = False


@dataclass
class Stored:
    """A request, what became of it, the moves that it has made, and how much its destination got by them; by a
    reversal: has given back."""

    asked: Asked
    code: str
    moves: list[Move] = field(default_factory=list)
    received: int = 0


@dataclass
class Purse:
    """An account."""

    currency: str = "USD"
    owner: str = "o"
    kind: str = "USER"
    state: str = "OPEN"
    endless: bool = False
    amount: int = 0
    revision: int = 0
    entries: int = 0
    credit: int = 0
    per_transaction: int = 0
    per_day: int = 0
    per_hour: int = 0
    zone: str = "UTC"
    debits_today: list[tuple[datetime, int]] = field(default_factory=list)
    debits_this_hour: list[datetime] = field(default_factory=list)

    @property
    def limited(self) -> bool:
        return self.per_transaction > 0 or self.per_day > 0 or self.per_hour > 0


@dataclass
class Reserved:
    """A hold."""

    source: str
    destination: str
    currency: str
    amount: int
    expire: datetime
    state: str = "OPEN"
    captured: int = 0
    released: int = 0

    @property
    def left(self) -> int:
        return self.amount - self.captured - self.released
