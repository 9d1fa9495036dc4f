"""Requests as callers make them, for the model of the ledger and for whoever sends them."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

BASIS_POINTS = 10_000

Move = tuple[str, int, str]
"""An account, what comes to it (above 0) or goes, and the currency."""


class Fee(NamedTuple):
    """Either a price in basis points or one in minor units; the other is 0."""

    basis_points: int
    minor_units: int
    destination: str
    included: bool

    def of(self, amount: int) -> int:
        """Half to even: what is exactly between two units becomes the even one."""
        whole, rest = divmod(amount * self.basis_points, BASIS_POINTS)
        up = rest * 2 > BASIS_POINTS or (rest * 2 == BASIS_POINTS and whole % 2 == 1)
        return self.minor_units or whole + up


@dataclass(frozen=True)
class Asked:
    """A request as a caller makes it. `hold` and `reverses`: the key of the request that placed, or moved, it.
    `payout`: where to a withdrawal is paid out; empty: it is not."""

    key: str
    kind: str
    source: str = ""
    destination: str = ""
    amount: int = 0
    currency: str = "USD"
    description: str = ""
    provider: str = ""
    fee: Fee | None = None
    postings: tuple[Move, ...] = ()
    version: int | None = None
    minimum: int | None = None
    deferred: bool = False
    due: datetime | None = None
    ttl: timedelta | None = None
    expire: datetime | None = None
    hold: str = ""
    final: bool = False
    reverses: str = ""
    payout: str = ""

    @property
    def charged(self) -> int:
        return 0 if self.fee is None else self.fee.of(self.amount)

    @property
    def received(self) -> int:
        """By its destination."""
        return self.amount - (self.charged if self.fee is not None and self.fee.included else 0)

    @property
    def moves(self) -> list[Move]:
        if self.kind == "COMPOUND":
            return list(self.postings)
        charged = self.charged
        asked = [
            (self.source, -(self.received + charged), self.currency),
            (self.destination, self.received, self.currency),
        ]
        if self.fee is not None and charged:
            asked.append((self.fee.destination, charged, self.currency))
        return asked
