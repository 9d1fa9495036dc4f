"""How many webhooks may be sent now, so that no more than so many are sent a second.

Each takes a third of a millisecond here and more at PostgreSQL and the receiver: as many as can be would take the
processors from posting.
"""

from typing import Final

TICK_SECONDS: Final = 0.05
"""What may be sent comes in so many portions: so few that waiting for it costs nothing."""
ROUNDING: Final = 1e-6
"""Of a tick: when one begins by the clock it has begun."""
AT_ONCE_MAX: Final = 8
"""One endpoint takes so many at a time, so that one that has many leaves some of each portion to others."""


class Pace:
    """Of all tours of a courier together. Times are seconds of time.monotonic()."""

    def __init__(self, per_second: float) -> None:
        self._portion = per_second * TICK_SECONDS
        self._left = 0.0
        self._tick = 0

    def room(self, now: float) -> int:
        """So many may be sent. What was left of the portion before is lost, but for a part of one."""
        tick = int(now / TICK_SECONDS + ROUNDING)
        if tick > self._tick:
            self._left = min(self._left + self._portion * (tick - self._tick), self._portion + 1)
            self._tick = tick
        return min(AT_ONCE_MAX, int(self._left))

    def used(self) -> None:
        """One is sent."""
        self._left -= 1

    def open_at(self, now: float) -> float:
        """When there may be room: now, or with the next portion."""
        return now if self.room(now) else (self._tick + 1) * TICK_SECONDS
