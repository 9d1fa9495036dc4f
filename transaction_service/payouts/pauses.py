"""How long a payout waits between two calls, and when it is given up."""

from collections.abc import Callable
from dataclasses import dataclass
from random import random
from typing import Final

DOUBLINGS_MAX: Final = 60
"""Any first pause is beyond any longest one by then."""


@dataclass(frozen=True, slots=True)
class Patience:
    """`attempts_max`: so many calls in a row that told nothing end it. `timeout_seconds`: of one call."""

    attempts_max: int
    first_pause_seconds: float
    pause_seconds_max: float
    timeout_seconds: float


def pause_seconds(patience: Patience, tries: int, chance: Callable[[], float] = random) -> float:
    """After so many tries, at least 1: any time up to a limit that doubles with each (full jitter), so that those who
    failed together do not come back together."""
    doubled = patience.first_pause_seconds * 2.0 ** min(tries - 1, DOUBLINGS_MAX)
    return chance() * min(doubled, patience.pause_seconds_max)
