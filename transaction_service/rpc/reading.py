"""The calls that read: thin over the readers' ports."""

from collections.abc import Sequence
from typing import Any

from specie.transaction.v1 import (
    EntryOrder,
    GetBalanceRequest,
    GetBalanceResponse,
    GetHoldRequest,
    GetHoldResponse,
    GetTransactionRequest,
    GetTransactionResponse,
    ListEntriesRequest,
    ListEntriesResponse,
    ListHoldsRequest,
    ListHoldsResponse,
    ListTransactionsRequest,
    ListTransactionsResponse,
)

from service_kit import pages
from service_kit.call import bound_to
from service_kit.status import invalid
from service_kit.times import to_bound, to_time
from transaction_service.domain.hold import HoldState
from transaction_service.domain.movement import TransactionKind, TransactionState
from transaction_service.ports import (
    Accounts,
    EntryFilter,
    HoldReader,
    LedgerReader,
    Position,
    TransactionFilter,
)
from transaction_service.rpc.convert import (
    balance_message,
    entry_message,
    hold_message,
    past_balance_message,
    transaction_message,
)
from transaction_service.rpc.lookups import check_wallet, find_account, find_hold, find_transaction


class Reading:
    """Needs the readers that it names."""

    _reader: LedgerReader
    _holds: HoldReader
    _accounts: Accounts

    async def GetTransaction(self, request: GetTransactionRequest, context: Any) -> GetTransactionResponse:
        transaction = await find_transaction(self._reader, request.name)
        return GetTransactionResponse(transaction=transaction_message(transaction))

    async def ListTransactions(self, request: ListTransactionsRequest, context: Any) -> ListTransactionsResponse:
        await check_wallet(self._accounts, request.wallet)
        key, labelled, value = request.label.partition("=")
        wanted = TransactionFilter(
            account=request.wallet,
            state=TransactionState(request.state) if request.state else None,
            kind=TransactionKind(request.kind) if request.kind else None,
            start=to_bound(request, "start_time"),
            end=to_bound(request, "end_time"),
            external_reference=request.external_reference,
            label=(key, value) if labelled else None,
            shown_to=bound_to(),
        )
        filters = ("transactions", wanted)
        after = pages.decode(request.page_token, *filters) if request.page_token else None

        def answer(transactions: Sequence[Any], token: str) -> ListTransactionsResponse:
            return ListTransactionsResponse(transactions=map(transaction_message, transactions), next_page_token=token)

        async def page(size: int) -> tuple[Sequence[Any], Position | None]:
            return await self._reader.transactions(wanted, after, size)

        return await pages.fitting(page, answer, request.page_size, filters)

    async def ListEntries(self, request: ListEntriesRequest, context: Any) -> ListEntriesResponse:
        account = await find_account(self._accounts, request.wallet)
        newest_first = request.order == EntryOrder.ENTRY_ORDER_NEWEST_FIRST
        wanted = EntryFilter(newest_first, to_bound(request, "start_time"), to_bound(request, "end_time"))
        filters = ("entries", account.name, wanted)
        after = pages.decode(request.page_token, *filters) if request.page_token else None

        def answer(lines: Sequence[Any], token: str) -> ListEntriesResponse:
            return ListEntriesResponse(entries=[entry_message(line, account) for line in lines], next_page_token=token)

        async def page(size: int) -> tuple[Sequence[Any], Position | None]:
            return await self._reader.entries(account, wanted, after, size)

        return await pages.fitting(page, answer, request.page_size, filters)

    async def GetBalance(self, request: GetBalanceRequest, context: Any) -> GetBalanceResponse:
        account = await find_account(self._accounts, request.wallet)
        if not request.HasField("read_time"):
            return GetBalanceResponse(balance=balance_message(account))
        past = await self._reader.balance_at(account, to_time(request, "read_time"))
        if past is None:
            raise invalid("read_time", "read_time.past", "must not lie in the future")
        return GetBalanceResponse(balance=past_balance_message(past, account))

    async def GetHold(self, request: GetHoldRequest, context: Any) -> GetHoldResponse:
        return GetHoldResponse(hold=hold_message(await find_hold(self._holds, request.name)))

    async def ListHolds(self, request: ListHoldsRequest, context: Any) -> ListHoldsResponse:
        await check_wallet(self._accounts, request.wallet)
        state = HoldState(request.state) if request.state else None
        filters = ("holds", request.wallet, state)
        after = pages.decode(request.page_token, *filters) if request.page_token else None

        def answer(holds: Sequence[Any], token: str) -> ListHoldsResponse:
            return ListHoldsResponse(holds=map(hold_message, holds), next_page_token=token)

        async def page(size: int) -> tuple[Sequence[Any], Position | None]:
            return await self._holds.holds(request.wallet, state, after, size)

        return await pages.fitting(page, answer, request.page_size, filters)
