"""A client of transaction_service for tests, and its errors as values."""

from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar
from uuid import uuid4

import grpc.aio
from google.rpc import error_details_pb2, status_pb2
from specie.transaction.v1 import (
    Account,
    AccountKind,
    AccountServiceStub,
    AccountState,
    BatchTransferRequest,
    CancelTransactionRequest,
    CaptureHoldRequest,
    DepositRequest,
    GetBalanceRequest,
    ListTransactionsRequest,
    OpenAccountRequest,
    PlaceHoldRequest,
    Posting,
    PostTransactionRequest,
    ReleaseHoldRequest,
    ReverseTransactionRequest,
    SetAccountStateRequest,
    Transaction,
    TransactionServiceStub,
    TransferRequest,
    WithdrawRequest,
)
from specie.type.v1 import Limits, Money

from tests.kit.tokens import USUAL, Authorised

T = TypeVar("T")

CALL_SECONDS = 30.0


@dataclass(frozen=True)
class Failed:
    """An error as a caller reads it. `fields`: path to rule; `retry_seconds` None: no RetryInfo."""

    code: str
    reason: str
    message: str = field(compare=False)
    metadata: dict[str, str] = field(compare=False)
    fields: dict[str, str] = field(default_factory=dict)
    retry_seconds: float | None = field(default=None, compare=False)


def to_failed(error: grpc.aio.AioRpcError) -> Failed:
    """An error without our Status, for example of a lost connection, has no reason."""
    trailers = dict(error.trailing_metadata() or ())
    details = trailers.get("grpc-status-details-bin")
    if details is None:
        return Failed(error.code().name, "", error.details() or "", {})
    status = status_pb2.Status.FromString(details if isinstance(details, bytes) else details.encode())
    assert status.code == error.code().value[0]
    return read_status(status)


def read_status(status: status_pb2.Status) -> Failed:
    """As a call is answered with it, and an item of a batch, and as a FAILED transaction carries it."""
    info, bad, retry = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest(), error_details_pb2.RetryInfo()
    retry_seconds = None
    for detail in status.details:
        detail.Unpack(info)
        detail.Unpack(bad)
        if detail.Unpack(retry):
            retry_seconds = retry.retry_delay.ToTimedelta().total_seconds()
    assert info.domain == "specie"
    code = next(code.name for code in grpc.StatusCode if code.value[0] == status.code)
    fields = {violation.field: violation.reason for violation in bad.field_violations}
    return Failed(code, info.reason, status.message, dict(info.metadata), fields, retry_seconds)


def why(transaction: Transaction) -> str:
    """The reason of a FAILED one; of others there is none."""
    return read_status(transaction.error).reason if transaction.HasField("error") else ""


async def outcome(calling: Awaitable[T]) -> T | Failed:
    """The answer, or the error as a value."""
    try:
        return await calling
    except grpc.aio.AioRpcError as error:
        return to_failed(error)


async def failed(calling: Awaitable[object]) -> Failed:
    """The error that the call must end with."""
    answer = await outcome(calling)
    assert isinstance(answer, Failed), f"it did not fail: {answer}"
    return answer


def usd(minor_units: int, currency_code: str = "USD") -> Money:
    return Money(currency_code=currency_code, minor_units=minor_units)


def key() -> str:
    """A request id that nobody has used."""
    return uuid4().hex


def posting(account: str, minor_units: int, currency_code: str = "USD") -> Posting:
    return Posting(account=account, amount=usd(minor_units, currency_code))


def wallet_name() -> str:
    return f"wallets/{uuid4().hex}"


class Client:
    """One connection. Accounts are opened as the wallet service opens them, whoever calls."""

    def __init__(self, channel: grpc.aio.Channel, header: tuple[str, str] = USUAL) -> None:
        self.channel = channel
        self.transactions: Any = Authorised(TransactionServiceStub(channel), header)
        self.accounts: Any = Authorised(AccountServiceStub(channel))

    async def open(
        self,
        balance: int = 0,
        currency: str = "USD",
        *,
        kind: AccountKind.ValueType = AccountKind.ACCOUNT_KIND_USER,
        limits: Limits | None = None,
        name: str = "",
        owner: str = "ann",
    ) -> str:
        """A new account at revision 1, with this much deposited; its name."""
        name = name or wallet_name()
        account = Account(name=name, owner=owner, currency_code=currency, kind=kind, revision=1, limits=limits)
        await self.accounts.OpenAccount(OpenAccountRequest(account=account), timeout=CALL_SECONDS)
        if balance:
            await self.deposit(name, balance, currency)
        return name

    async def set_state(self, name: str, state: AccountState.ValueType, revision: int = 2) -> None:
        request = SetAccountStateRequest(name=name, state=state, revision=revision)
        await self.accounts.SetAccountState(request, timeout=CALL_SECONDS)

    def transfer(self, source: str, destination: str, amount: int, request_id: str = "", **more: Any) -> Any:  # noqa: ANN401
        """The call itself, so that it can be awaited or cancelled."""
        currency, timeout = more.pop("currency", "USD"), more.pop("timeout", CALL_SECONDS)
        request = TransferRequest(
            source=source,
            destination=destination,
            amount=usd(amount, currency),
            request_id=request_id or key(),
            **more,
        )
        return self.transactions.Transfer(request, timeout=timeout)

    def deposit(self, wallet: str, amount: int, currency: str = "USD", request_id: str = "", **more: Any) -> Any:  # noqa: ANN401
        request = DepositRequest(wallet=wallet, amount=usd(amount, currency), request_id=request_id or key(), **more)
        return self.transactions.Deposit(request, timeout=CALL_SECONDS)

    def withdraw(self, wallet: str, amount: int, currency: str = "USD", request_id: str = "", **more: Any) -> Any:  # noqa: ANN401
        request = WithdrawRequest(wallet=wallet, amount=usd(amount, currency), request_id=request_id or key(), **more)
        return self.transactions.Withdraw(request, timeout=CALL_SECONDS)

    def post(self, postings: Sequence[Posting], request_id: str = "", **more: Any) -> Any:  # noqa: ANN401
        timeout = more.pop("timeout", CALL_SECONDS)
        request = PostTransactionRequest(postings=postings, request_id=request_id or key(), **more)
        return self.transactions.PostTransaction(request, timeout=timeout)

    def batch(self, transfers: Sequence[TransferRequest], *, atomic: bool = False) -> Any:  # noqa: ANN401
        request = BatchTransferRequest(transfers=transfers, atomic=atomic)
        return self.transactions.BatchTransfer(request, timeout=CALL_SECONDS)

    def reverse(self, transaction: str, request_id: str = "", **more: Any) -> Any:  # noqa: ANN401
        request = ReverseTransactionRequest(name=transaction, request_id=request_id or key(), **more)
        return self.transactions.ReverseTransaction(request, timeout=CALL_SECONDS)

    def cancel(self, transaction: str) -> Any:  # noqa: ANN401
        return self.transactions.CancelTransaction(CancelTransactionRequest(name=transaction), timeout=CALL_SECONDS)

    def place_hold(self, source: str, destination: str, amount: int, request_id: str = "", **more: Any) -> Any:  # noqa: ANN401
        request = PlaceHoldRequest(
            source=source, destination=destination, amount=usd(amount), request_id=request_id or key(), **more
        )
        return self.transactions.PlaceHold(request, timeout=CALL_SECONDS)

    def capture(self, hold: str, amount: int = 0, request_id: str = "", **more: Any) -> Any:  # noqa: ANN401
        """`amount` 0: all that is left."""
        part = usd(amount) if amount else None
        request = CaptureHoldRequest(name=hold, amount=part, request_id=request_id or key(), **more)
        return self.transactions.CaptureHold(request, timeout=CALL_SECONDS)

    def release(self, hold: str, request_id: str = "", **more: Any) -> Any:  # noqa: ANN401
        request = ReleaseHoldRequest(name=hold, request_id=request_id or key(), **more)
        return self.transactions.ReleaseHold(request, timeout=CALL_SECONDS)

    async def listed(self, **filters: Any) -> list[Transaction]:  # noqa: ANN401
        """All pages of ListTransactions."""
        request, found = ListTransactionsRequest(**filters), []
        while True:
            page = await self.transactions.ListTransactions(request, timeout=CALL_SECONDS)
            found += page.transactions
            request.page_token = page.next_page_token
            if not request.page_token:
                return found

    async def balance(self, wallet: str) -> int:
        answer = await self.transactions.GetBalance(GetBalanceRequest(wallet=wallet), timeout=CALL_SECONDS)
        minor_units: int = answer.balance.posted.minor_units
        return minor_units


@asynccontextmanager
async def connected(target: str, header: tuple[str, str] = USUAL) -> AsyncIterator[Client]:
    # Else all channels to one address share one connection.
    options = (("grpc.use_local_subchannel_pool", 1), ("grpc.max_reconnect_backoff_ms", 200))
    async with grpc.aio.insecure_channel(target, options=options) as channel:
        yield Client(channel, header)
