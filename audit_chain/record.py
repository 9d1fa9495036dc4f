"""What a transaction's record says, as far as whoever checks has to know."""

import json
from typing import Any, Final

POSTED: Final = 1
"""The state in which the money has moved."""
MOVES_NOTHING: Final = frozenset({6, 8, 9})
"""Kinds that change only what is held: to place a hold, to release it, its expiry."""


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
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
            raise MalformedRecord("not the record of a transaction") from error
        self.facts: Final[dict[str, Any]] = facts

    @property
    def flaw(self) -> str:
        """What does not add up in it; empty: nothing. Entries of several currencies sum to 0 in each, and so in all."""
        if total := sum(self._amounts):
            return f"its entries sum to {total} instead of 0"
        try:
            moves = self._state == POSTED and self.facts["kind"] not in MOVES_NOTHING
            if not moves:
                return "it moved no money, but it has entries" if self._amounts else ""
            if {entry["post_time"] for entry in self.facts["entries"]} - {self.facts["decide_time"]}:
                return "an entry has another time than it"
            asked = self._asked()
        except (ValueError, KeyError, TypeError, IndexError, OverflowError):
            return "nobody can read what it asks for"
        return "" if sorted(self._amounts) == sorted(asked) else "its entries are not of the amounts that it asks for"

    def _asked(self) -> list[int]:
        """The amounts of the entries that it is to have."""
        terms, amount = self.facts.get("terms", {}), int(self.facts["amount"])
        if "postings" in terms:
            return [int(posting[1]) for posting in terms["postings"]]
        if "fee" not in terms:
            return [-amount, amount]
        fee, is_included = int(terms["fee"][0]), terms["fee"][2]
        return [-amount, amount - fee, fee] if is_included else [-amount - fee, amount, fee]
