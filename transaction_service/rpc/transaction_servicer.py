"""TransactionService: converts, hands over to the posting queue or the reader, converts back."""

from datetime import UTC, datetime
from typing import Any, Literal

from google.protobuf.timestamp_pb2 import Timestamp
from specie.transaction.v1 import (
    DepositRequest,
    DepositResponse,
    EntryOrder,
    GetBalanceRequest,
    GetBalanceResponse,
    GetTransactionRequest,
    GetTransactionResponse,
    ListEntriesRequest,
    ListEntriesResponse,
    ListTransactionsRequest,
    ListTransactionsResponse,
    TransactionServiceServicer,
    TransferRequest,
    TransferResponse,
    WithdrawRequest,
    WithdrawResponse,
)

from service_kit import pages
from service_kit.call import current_call
from service_kit.status import Refusal, invalid
from transaction_service.domain.account import Account, cash
from transaction_service.domain.movement import Movement, Outcome, TransactionKind, TransactionState, movement
from transaction_service.ports import Accounts, LedgerReader, TransactionFilter
from transaction_service.posting.metrics import QUEUE_REFUSALS
from transaction_service.posting.queue import (
    Contention,
    Expired,
    LedgerUnavailable,
    PostingQueue,
    QueueClosed,
    QueueFull,
)
from transaction_service.rpc.convert import balance_message, entry_message, transaction_message, transaction_name
from transaction_service.rpc.errors import check_currency, not_posted, to_refusal

Moving = TransferRequest | DepositRequest | WithdrawRequest


class TransactionServicer(TransactionServiceServicer):
    """Thin: no rule about money stands here."""

    def __init__(self, queue: PostingQueue, reader: LedgerReader, accounts: Accounts) -> None:
        self._queue = queue
        self._reader = reader
        self._accounts = accounts

    async def Transfer(self, request: TransferRequest, context: Any) -> TransferResponse:
        command = _command(TransactionKind.TRANSFER, request.source, request.destination, request)
        outcome = await self._post(command)
        return TransferResponse(transaction=transaction_message(outcome.transaction), replayed=outcome.replayed)

    async def Deposit(self, request: DepositRequest, context: Any) -> DepositResponse:
        source = request.provider or cash(request.amount.currency_code)
        command = _command(TransactionKind.DEPOSIT, source, request.wallet, request, request.provider)
        outcome = await self._post(command)
        return DepositResponse(transaction=transaction_message(outcome.transaction), replayed=outcome.replayed)

    async def Withdraw(self, request: WithdrawRequest, context: Any) -> WithdrawResponse:
        destination = request.provider or cash(request.amount.currency_code)
        command = _command(TransactionKind.WITHDRAWAL, request.wallet, destination, request, request.provider)
        outcome = await self._post(command)
        return WithdrawResponse(transaction=transaction_message(outcome.transaction), replayed=outcome.replayed)

    async def GetTransaction(self, request: GetTransactionRequest, context: Any) -> GetTransactionResponse:
        transaction = await self._reader.transaction(request.name.removeprefix("transactions/"))
        if transaction is None:
            raise Refusal("TRANSACTION_NOT_FOUND", f"there is no {request.name}", {"transaction": request.name})
        return GetTransactionResponse(transaction=transaction_message(transaction))

    async def ListTransactions(self, request: ListTransactionsRequest, context: Any) -> ListTransactionsResponse:
        wanted = TransactionFilter(
            account=request.wallet,
            state=TransactionState(request.state) if request.state else None,
            kind=TransactionKind(request.kind) if request.kind else None,
            start=_time(request, "start_time"),
            end=_time(request, "end_time"),
            external_reference=request.external_reference,
        )
        after = pages.decode(request.page_token, "transactions", wanted) if request.page_token else None
        size = pages.page_size(request.page_size)
        while True:
            found, end = await self._reader.transactions(wanted, after, size)
            answer = ListTransactionsResponse(
                transactions=map(transaction_message, found),
                next_page_token=pages.encode(end, "transactions", wanted) if end is not None else "",
            )
            if answer.ByteSize() <= pages.PAGE_BYTES_MAX or size == 1:
                return answer
            size = max(1, size // 2)

    async def ListEntries(self, request: ListEntriesRequest, context: Any) -> ListEntriesResponse:
        account = await self._account(request.wallet)
        newest_first = request.order == EntryOrder.ENTRY_ORDER_NEWEST_FIRST
        filters = ("entries", account.name, newest_first)
        after = pages.decode(request.page_token, *filters) if request.page_token else None
        size = pages.page_size(request.page_size)
        lines, end = await self._reader.entries(account, after, size, newest_first=newest_first)
        return ListEntriesResponse(
            entries=[entry_message(line, account) for line in lines],
            next_page_token=pages.encode(end, *filters) if end is not None else "",
        )

    async def GetBalance(self, request: GetBalanceRequest, context: Any) -> GetBalanceResponse:
        return GetBalanceResponse(balance=balance_message(await self._account(request.wallet)))

    async def _account(self, name: str) -> Account:
        for account in await self._accounts.get([name]):
            return account
        raise Refusal("WALLET_NOT_FOUND", f"there is no {name}", {"wallet": name})

    async def _post(self, command: Movement) -> Outcome:
        try:
            answer = await self._queue.post(command, current_call().deadline)
        except (QueueFull, QueueClosed, Contention, LedgerUnavailable, Expired) as error:
            if isinstance(error, QueueFull):
                QUEUE_REFUSALS.inc()
            raise not_posted(error) from None
        if not isinstance(answer, Outcome):
            raise to_refusal(answer.failure)
        if answer.transaction.failure is not None:
            told = {"transaction": transaction_name(command.id), "replayed": str(answer.replayed).lower()}
            raise to_refusal(answer.transaction.failure, told)
        return answer


def _command(kind: TransactionKind, source: str, destination: str, request: Moving, provider: str = "") -> Movement:
    amount, call = request.amount, current_call()
    check_currency(amount.currency_code)
    return movement(
        kind,
        source,
        destination,
        amount.minor_units,
        amount.currency_code,
        provider=provider,
        principal=call.principal,
        request_id=request.request_id,
        description=request.description,
        external_reference=request.external_reference,
        labels=dict(request.labels),
        trace_id=call.trace_id,
    )


def _time(request: ListTransactionsRequest, field: Literal["start_time", "end_time"]) -> datetime | None:
    if not request.HasField(field):
        return None
    message: Timestamp = getattr(request, field)
    try:
        return message.ToDatetime(UTC)
    except (ValueError, OverflowError):
        raise invalid(field, "timestamp", "must lie between the years 1 and 9999, with nanos below 10^9") from None
