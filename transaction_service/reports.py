"""The reports that are being read in this process: how many may be, and how much of the database they may take.

An account may have millions of entries, and a report is as slow as its caller. So it keeps one page in memory and no
transaction open between pages. All reports together read one page at a time, and rest after it for as long as it took:
what one process can do goes to calls that are small first, and several pages at once would be no faster. The audit
chain is read in the same way, in turn with reports.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Final, TypeVar

from prometheus_client import Gauge

from transaction_service.domain.account import Account
from transaction_service.domain.failure import InvariantViolation
from transaction_service.places import Places
from transaction_service.ports import LedgerReader, Line

T = TypeVar("T")

PAGE: Final = 200
"""Entries that are read and sent at once. The largest have some 3 kB."""

REST_SECONDS_MAX: Final = 0.1
"""When the database is slow, that is no work of this process."""

REPORTS: Final = Gauge("specie_reports", "Streams of ReportEntries and ReadBlocks that are open")


class TooManyReports(Exception):  # noqa: N818 - what happened, in plain words
    """As many reports are being read as may, or as many of this caller's."""


class Reports:
    """Of the event loop's thread only."""

    def __init__(self, reports_max: int) -> None:
        self._reports = Places(reports_max)
        self._turn = asyncio.Lock()

    @contextmanager
    def place(self, bound_to: str) -> Iterator[None]:
        """For one report. `bound_to`: as for `Places`. Raises TooManyReports."""
        if not self._reports.take(bound_to):
            raise TooManyReports
        REPORTS.inc()
        try:
            yield
        finally:
            self._reports.free(bound_to)
            REPORTS.dec()

    async def in_turn(self, read: Callable[[], Awaitable[T]]) -> T:
        """Reads a page when it is this one's turn, and rests after it."""
        async with self._turn:
            began = monotonic()
            page = await read()
            await asyncio.sleep(min(monotonic() - began, REST_SECONDS_MAX))
            return page

    async def pages(
        self, reader: LedgerReader, account: Account, after: int, until: int
    ) -> AsyncGenerator[list[Line], None]:
        """The entries behind one number, up to another, a page at a time. Each is read when it is asked for.

        Raises InvariantViolation if a number is missing, which makes the balances wrong, and what the reader raises.
        """
        while after < until:
            end = min(after + PAGE, until)
            lines = await self.in_turn(lambda: reader.lines(account, after, end))  # noqa: B023 - called at once
            if len(lines) != end - after:
                raise InvariantViolation(f"{account.name} has {len(lines)} entries behind {after}, up to {end}")
            yield lines
            after = end
