"""What the check needs of the ledger, as a protocol."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, Protocol

from transaction_service.integrity.findings import Broken, Finding


class Step(NamedTuple):
    """A look at what is new. `more`: there is more of it, at once. `lag_seconds`: for how long the oldest of what it
    has not looked at has been there. `findings`: all of them; `new`: those that nobody knew."""

    entries: int
    more: bool
    lag_seconds: float
    findings: int
    new: Sequence[Finding]


class Lap(NamedTuple):
    """A whole one. `seconds`: rests included."""

    entries: int
    seconds: float


class Page(NamedTuple):
    """A piece of the lap. `rest_seconds`: the next one is due then. `ended`: the lap of which it was the last one."""

    rest_seconds: float
    findings: int
    new: Sequence[Finding]
    ended: Lap | None


@dataclass(frozen=True, slots=True)
class Checked:
    """How far the check has come. None: never. `lap_seconds`: how long the last lap took."""

    check_time: datetime | None
    entries: int
    lap_time: datetime | None
    lap_seconds: float
    findings: Sequence[Finding]


class Checks(Protocol):
    """The ledger as the check sees it. Each piece of work is one short transaction that locks nothing which postings
    want, and keeps its result in its own commit. Of all who work at once one gets on; the others are told None.

    Raises Refusal when the ledger cannot be read.
    """

    async def look_at_new(self, limit: int) -> Step | None:
        """So many transactions at the most, in the order of their commits."""

    async def go_on_with_lap(self, every_seconds: float, rest_per_work: float) -> Page | None:
        """One page, if one is due. A lap begins no sooner than so long after the one before; behind a page it rests so
        many times as long as the page took, whoever goes on."""


class Soundness(Protocol):
    """What the check has found, and one account checked on demand."""

    async def checked(self) -> Checked:
        """How far the check has come."""

    async def of_account(self, name: str) -> list[Broken]:
        """All of the account's entries and holds, as they are now."""
