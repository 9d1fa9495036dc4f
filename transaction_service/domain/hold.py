"""Holds: money of one account that is reserved for another."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import IntEnum
from typing import Final, NamedTuple

TTL_DEFAULT: Final = timedelta(days=7)
"""How long a hold lasts whose caller says nothing: as long as card schemes keep most authorisations."""
EXPIRY_PRINCIPAL: Final = "system/expiry"
"""In whose name holds expire."""


class HoldState(IntEnum):
    """The numbers are stored and are those of the contract."""

    OPEN = 1
    CAPTURED = 2
    RELEASED = 3
    EXPIRED = 4


class Hold(NamedTuple):
    """Amounts in minor units. Its id is that of the transaction that placed it; it changes under its source's lock."""

    id: str
    state: HoldState
    source: str
    destination: str
    amount: int
    captured: int
    released: int
    currency: str
    expire_time: datetime
    create_time: datetime
    description: str
    external_reference: str
    labels: Mapping[str, str]

    @property
    def remaining(self) -> int:
        """What it still reserves."""
        return self.amount - self.captured - self.released

    def take(self, amount: int, *, final: bool) -> "Hold":
        """After a capture of this much."""
        captured = self.captured + amount
        released = self.released + (self.remaining - amount if final else 0)
        state = HoldState.OPEN if captured + released < self.amount else HoldState.CAPTURED
        return self._replace(captured=captured, released=released, state=state)

    def free(self, state: HoldState) -> "Hold":
        """After the end of all that it reserves."""
        return self._replace(released=self.released + self.remaining, state=state)
