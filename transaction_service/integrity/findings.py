"""What does not hold, kept until a whole lap no longer finds it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Final, NamedTuple

FINDINGS_MAX: Final = 100
"""Kept at the most: so many tell that all is lost as well as more would."""


class Check(StrEnum):
    """What is checked; the contract's names."""

    SUM_IS_ZERO = "SUM_IS_ZERO"
    ENTRIES_AS_ASKED = "ENTRIES_AS_ASKED"
    ENTRY_IS_POSTED = "ENTRY_IS_POSTED"
    BALANCE_IS_SUM = "BALANCE_IS_SUM"
    NO_GAP = "NO_GAP"
    HELD_IS_HOLDS = "HELD_IS_HOLDS"
    HOLD_AS_PLACED = "HOLD_AS_PLACED"
    PAYOUT_AS_ASKED = "PAYOUT_AS_ASKED"


class Broken(NamedTuple):
    """Something that was seen not to hold. `subject`: a currency, an account's name, `transactions/{uuid}`. `detail`:
    what it should be and what it is, in words."""

    check: Check
    subject: str
    detail: str


@dataclass(frozen=True, slots=True)
class Finding:
    """The same, with the times at which it was seen first and last."""

    broken: Broken
    find_time: datetime
    seen_time: datetime


def merged(kept: Sequence[Finding], seen: Sequence[Broken], now: datetime) -> tuple[list[Finding], list[Finding]]:
    """All findings, the oldest first, and those of them that are new. One check of one subject is one finding, however
    often it is seen, with the words of the last time."""
    findings = {_key(finding.broken): finding for finding in kept}
    new: dict[tuple[Check, str], Finding] = {}
    for broken in seen:
        key = _key(broken)
        if key in findings:
            findings[key] = replace(findings[key], broken=broken, seen_time=now)
        elif len(findings) < FINDINGS_MAX:
            findings[key] = new[key] = Finding(broken, now, now)
    return [*findings.values()], [findings[key] for key in new]


def still_there(kept: Sequence[Finding], lap_began: datetime) -> list[Finding]:
    """At the end of a lap: those that it, or the look at what is new beside it, has seen."""
    return [finding for finding in kept if finding.seen_time >= lap_began]


def _key(broken: Broken) -> tuple[Check, str]:
    return broken.check, broken.subject
