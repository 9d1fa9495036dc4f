"""What reading a file yields: a row that can be sent, or what is wrong with a line."""

from dataclasses import dataclass, field
from enum import StrEnum

from specie.transaction.v1 import TransferRequest


class Format(StrEnum):
    CSV = "csv"
    JSONL = "jsonl"


@dataclass(frozen=True)
class Flaw:
    """What is wrong, and what to do."""

    line: int
    column: str
    """As the file calls it; empty: the whole line."""
    text: str

    def __str__(self) -> str:
        where = f"line {self.line}, {self.column}" if self.column else f"line {self.line}"
        return f"{where}: {self.text}"


@dataclass(frozen=True)
class Row:
    """A line that can be sent."""

    line: int
    """The first of its lines, from 1."""
    request: TransferRequest
    """Its request id is empty where the file gives none."""
    original: str
    """The line as JSON: an array of cells of a CSV file, else the object."""


@dataclass(frozen=True)
class Broken:
    """A line that cannot."""

    line: int
    flaws: list[Flaw] = field(default_factory=list)
    original: str = ""
    """As in Row; empty where not even its cells can be told apart."""


class Unreadable(Exception):  # noqa: N818 - what it is
    """Nothing behind this can be read."""

    def __init__(self, flaw: Flaw) -> None:
        super().__init__(str(flaw))
        self.flaw = flaw
