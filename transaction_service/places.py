"""Room for so many at a time, of which nobody who is bound to wallets of his own may have more than a share."""

from collections import Counter
from typing import Final

SHARE: Final = 10
"""One caller who is bound has a tenth at the most: a customer cannot keep the house and all others out."""


class Places:
    """Of the event loop's thread only."""

    def __init__(self, count: int) -> None:
        self.taken = 0
        self._count = count
        self._share = max(1, count // SHARE)
        self._of: Counter[str] = Counter()

    def take(self, bound_to: str) -> bool:
        """Whether there was one. `bound_to`: the owner to whose wallets the caller is bound; empty: to nobody's."""
        if self.taken >= self._count or (bound_to and self._of[bound_to] >= self._share):
            return False
        self.taken += 1
        self._of[bound_to] += 1
        return True

    def free(self, bound_to: str) -> None:
        """One that was taken."""
        self.taken -= 1
        self._of[bound_to] -= 1
        if not self._of[bound_to]:
            del self._of[bound_to]
