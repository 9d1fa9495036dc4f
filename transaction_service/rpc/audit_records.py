"""The calls of AuditService that list attempts and acts: thin over their ports."""

from collections.abc import Sequence
from typing import Any

from specie.transaction.v1 import AccountChange as ChangeMessage
from specie.transaction.v1 import AuditRecord as RecordMessage
from specie.transaction.v1 import (
    ListActsRequest,
    ListActsResponse,
    ListAuditRecordsRequest,
    ListAuditRecordsResponse,
)
from specie.type.v1 import Money

from service_kit import pages
from service_kit.acts import Act, ActFilter, Acts, act_message
from service_kit.times import to_bound
from transaction_service.domain.identity import transaction_id
from transaction_service.domain.movement import TransactionKind, TransactionState
from transaction_service.ports import AccountChange, AuditRecord, AuditRecords, Position, TransactionFilter
from transaction_service.rpc.convert import write_transaction


class AuditRecordCalls:
    """Needs the readers that it names. Whoever has the scope sees all: whose the wallets are is not asked."""

    _records: AuditRecords
    _acts: Acts

    async def ListAuditRecords(self, request: ListAuditRecordsRequest, context: Any) -> ListAuditRecordsResponse:
        wanted = TransactionFilter(
            account=request.wallet,
            state=TransactionState(request.state) if request.state else None,
            kind=TransactionKind(request.kind) if request.kind else None,
            start=to_bound(request, "start_time"),
            end=to_bound(request, "end_time"),
            id=transaction_id(request.principal, request.transaction_request_id)
            if request.transaction_request_id
            else "",
            principal=request.principal,
            trace_id=request.trace_id,
        )
        filters = ("audit records", wanted)
        after = pages.decode(request.page_token, *filters) if request.page_token else None

        def answer(records: Sequence[AuditRecord], token: str) -> ListAuditRecordsResponse:
            return ListAuditRecordsResponse(records=map(record_message, records), next_page_token=token)

        async def page(size: int) -> tuple[Sequence[AuditRecord], Position | None]:
            return await self._records.page(wanted, after, size)

        return await pages.fitting(page, answer, request.page_size, filters)

    async def ListActs(self, request: ListActsRequest, context: Any) -> ListActsResponse:
        wanted = ActFilter(
            subject=request.subject,
            principal=request.principal,
            start=to_bound(request, "start_time"),
            end=to_bound(request, "end_time"),
        )
        filters = ("acts", wanted)
        after = pages.decode(request.page_token, *filters) if request.page_token else None

        def answer(acts: Sequence[Act], token: str) -> ListActsResponse:
            return ListActsResponse(acts=map(act_message, acts), next_page_token=token)

        async def page(size: int) -> tuple[Sequence[Act], Position | None]:
            return await self._acts.page(wanted, after, size)

        return await pages.fitting(page, answer, request.page_size, filters)


def record_message(record: AuditRecord) -> RecordMessage:
    message = RecordMessage()
    write_transaction(record.transaction, message.transaction)
    for change in record.changes:
        message.changes.append(_change_message(change))
    return message


def _change_message(change: AccountChange) -> ChangeMessage:
    entry = change.entry
    return ChangeMessage(
        account=change.account,
        sequence=entry.seq,
        before=Money(currency_code=change.currency, minor_units=entry.balance - entry.amount),
        after=Money(currency_code=change.currency, minor_units=entry.balance),
    )
