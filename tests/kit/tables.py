"""Tables of attempts, one row an attempt, and flaws of which the first in the documented order is told."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import TypeVar

T = TypeVar("T")


def rows(table: str) -> Iterator[list[str]]:
    """The words of each row; a row that begins with # is a heading."""
    for line in table.strip().splitlines():
        words = line.split()
        if words and not words[0].startswith("#"):
            yield words


def pairs(flaws: Mapping[T, object]) -> Sequence[tuple[T, T]]:
    """Each two of them, the one that is looked for earlier first."""
    return list(combinations(flaws, 2))
