"""The whole file is read and judged before any of it is sent."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from specie_cli.imports.row import Broken, Flaw, Row, Unreadable
from specie_cli.imports.spool import Numbered, Spool

FLAWS_SHOWN_MAX: Final = 100


@dataclass
class Checked:
    """What a file has in it."""

    to_send: int = 0
    totals: Counter[str] = field(default_factory=Counter)
    """Of what is to be sent: minor units by currency."""
    alike: int = 0
    """Lines to be sent that say the same as one above them."""
    first_alike: int = 0
    broken: int = 0
    """Lines."""
    flaws: int = 0
    shown: list[Flaw] = field(default_factory=list)
    """The first of them."""
    is_whole: bool = True
    """It was read to its end."""

    def add_broken(self, broken: Broken) -> None:
        self.broken += 1
        self.flaws += len(broken.flaws)
        self.shown += broken.flaws[: FLAWS_SHOWN_MAX - len(self.shown)]


def check(rows: Iterator[Row | Broken], spool: Spool, refuse: Callable[[Broken], None]) -> Checked:
    """Fills the spool. `refuse` is told of each broken line."""
    checked = Checked()
    try:
        for row in rows:
            if isinstance(row, Row):
                spool.add(row)
            else:
                checked.add_broken(row)
                refuse(row)
    except Unreadable as unreadable:
        checked.add_broken(Broken(unreadable.flaw.line, [unreadable.flaw]))
        checked.is_whole = False
    spool.close()
    for numbered in spool:
        row = numbered.row
        if has_a_taken_id(numbered):
            text = f"{row.request.request_id} stands further up in the file; every transfer needs one of its own"
            broken = Broken(row.line, [Flaw(row.line, "request_id", text)], row.original)
            checked.add_broken(broken)
            refuse(broken)
            continue
        if numbered.nth > 1:
            checked.alike += 1
            checked.first_alike = checked.first_alike or row.line
        checked.to_send += 1
        checked.totals[row.request.amount.currency_code] += row.request.amount.minor_units
    checked.shown.sort(key=lambda flaw: flaw.line)
    return checked


def sendable(spool: Spool) -> Iterator[Numbered]:
    """In the order of the file."""
    return (numbered for numbered in spool if not has_a_taken_id(numbered))


def has_a_taken_id(numbered: Numbered) -> bool:
    """The file gives the same request id twice."""
    return numbered.is_given and numbered.nth > 1
