"""What a transaction's record says, as far as whoever checks has to know."""

import json
from typing import Any, Final

POSTED: Final = 1
"""The state in which the money has moved."""


class MalformedRecord(ValueError):  # noqa: N818 - what it is, in plain words
    """The text is no record."""


class Record:
    """A record that was read. `facts` is all of it, as values of JSON."""

    def __init__(self, text: str) -> None:
        """Raises MalformedRecord."""
        try:
            facts = json.loads(text)
            self.name: Final = f"transactions/{facts['id']}"
            self._state: Final = int(facts["state"])
            self._amounts: Final = [int(entry["amount"]) for entry in facts["entries"]]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise MalformedRecord("not the record of a transaction") from error
        self.facts: Final[dict[str, Any]] = facts

    @property
    def flaw(self) -> str:
        """What does not add up in it; empty: nothing. Entries of several currencies sum to 0 in each, and so in all."""
        if self._state != POSTED and self._amounts:
            return "it moved no money, but it has entries"
        if total := sum(self._amounts):
            return f"its entries sum to {total} instead of 0"
        return ""
