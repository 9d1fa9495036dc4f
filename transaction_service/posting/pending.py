"""How many transfers are PENDING, and whether there may be more: the backpressure on ASYNC calls."""

import asyncio
from typing import Final

PART_OF_THE_BOUND: Final = 2
"""Callers that are bound to wallets of their own are admitted while less than half of the room is taken. Money is not
asked for before the time comes, so who has none could fill all of it, for years."""


class Pending:
    """What one process knows of them. Of the event loop's thread only.

    The number is that of the last count in the database plus what was admitted since the count before: what the last
    count may not have seen yet. So it is rather too high, and the limit is overshot only by what other processes admit
    between two counts, and by what waits for a lane for longer than that.
    """

    def __init__(self, limit: int) -> None:
        """`limit`: how many may be PENDING in the whole ledger, those of a later time included."""
        self.limit = limit
        self.stored = asyncio.Event()
        """Set when one of this process has been stored, and may be due."""
        self._counted = 0
        self._admitted = 0
        self._admitted_before = 0

    def limit_for(self, bound_to: str) -> int:
        """How many may be PENDING for this caller to be admitted. `bound_to`: the owner to whose wallets the caller is
        bound; empty: to nobody's."""
        return self.limit // PART_OF_THE_BOUND if bound_to else self.limit

    def admits(self, count: int, bound_to: str = "") -> bool:
        """Whether there is room for so many more of this caller's. If so they are taken to come."""
        if self._counted + self._admitted_before + self._admitted + count > self.limit_for(bound_to):
            return False
        self._admitted += count
        return True

    def counted(self, count: int) -> None:
        """So many were there just now."""
        self._counted = count
        self._admitted_before, self._admitted = self._admitted, 0
