"""ReportEntries: a statement of any length as a stream, which is the same whenever it is asked for."""

from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager
from typing import Any

from specie.transaction.v1 import ReportEntriesRequest, ReportEntriesResponse

from service_kit.call import bound_to
from service_kit.status import RETRY_AFTER_SECONDS, Refusal, invalid
from service_kit.times import to_bound
from transaction_service.domain.account import Account
from transaction_service.ports import Accounts, LedgerReader, Period
from transaction_service.reports import Reports, TooManyReports
from transaction_service.rpc.convert import closing_message, entry_message, opening_message
from transaction_service.rpc.lookups import find_account


class Reporting:
    """Needs what it names."""

    _reader: LedgerReader
    _accounts: Accounts
    _reports: Reports

    async def ReportEntries(
        self, request: ReportEntriesRequest, context: Any
    ) -> AsyncGenerator[ReportEntriesResponse, None]:
        account = await find_account(self._accounts, request.wallet)
        with place_of(self._reports):
            period = await self._period(account, request)
            first, last = period.opening.version, period.closing.version
            after = request.after_sequence or first
            if not first <= after <= last:
                text = "must be the number of an entry of the report"
                raise invalid("after_sequence", "after_sequence.of_report", text)
            yield ReportEntriesResponse(opening=opening_message(period, account))
            async with aclosing(self._reports.pages(self._reader, account, after, last)) as pages:
                async for lines in pages:
                    yield ReportEntriesResponse(entries=[entry_message(line, account) for line in lines])
            yield ReportEntriesResponse(closing=closing_message(period, account))

    async def _period(self, account: Account, request: ReportEntriesRequest) -> Period:
        """Raises Refusal INVALID_FIELD for a time to come: what will be in it cannot be told yet."""
        start, end = to_bound(request, "start_time"), to_bound(request, "end_time")
        period = await self._reader.period(account, start, end)
        if period is None:
            raise invalid("end_time", "end_time.past", "must not lie in the future")
        if start is not None and start >= period.end:
            raise invalid("start_time", "start_time.past", "must not lie in the future")
        return period


@contextmanager
def place_of(reports: Reports) -> Iterator[None]:
    """The caller's, among those who read reports or the audit chain. Raises Refusal OVERLOADED."""
    try:
        with reports.place(bound_to()):
            yield
    except TooManyReports:
        text = "as many reports are being read as may; try again later, or at another instance"
        raise Refusal("OVERLOADED", text, retry_after_seconds=RETRY_AFTER_SECONDS) from None
