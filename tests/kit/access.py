"""One valid request for every call of the contract, and the ways in: as JSON, as gRPC, and on the inner network."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode
from uuid import uuid4

import specie
from google.api import annotations_pb2
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from specie.transaction.v1 import (
    Account,
    AccountKind,
    AccountState,
    BatchTransferRequest,
    CancelTransactionRequest,
    CaptureHoldRequest,
    DepositRequest,
    GetAccountsRequest,
    GetBalanceRequest,
    GetHealthRequest,
    GetHoldRequest,
    GetTransactionRequest,
    ListEntriesRequest,
    ListHoldsRequest,
    ListTransactionsRequest,
    OpenAccountRequest,
    PlaceHoldRequest,
    PostTransactionRequest,
    ReleaseHoldRequest,
    ReleaseHoldsRequest,
    ReportEntriesRequest,
    ReverseTransactionRequest,
    SetAccountLimitsRequest,
    SetAccountStateRequest,
    TransactionServiceStub,
    TransferMode,
    TransferRequest,
    WatchTransactionsRequest,
    WithdrawRequest,
)
from specie.type.v1 import Access, Limits
from specie.wallet.v1 import (
    BatchGetWalletsRequest,
    CloseWalletRequest,
    CreateWalletRequest,
    FreezeWalletRequest,
    GetWalletRequest,
    ListWalletsRequest,
    UnfreezeWalletRequest,
    UpdateWalletRequest,
    Wallet,
    WalletServiceStub,
)

from service_kit.caller import access_of
from tests.kit.calls import CALL_SECONDS, key, posting, usd
from tests.kit.stack import Stack

IN_THE_FAR_FUTURE = 4_000_000_000
"""Seconds since 1970: the year 2096."""
RICH = 10_000


@dataclass(frozen=True)
class Rpc:
    """A call of the contract."""

    descriptor: MethodDescriptor

    @property
    def path(self) -> str:
        """/package.Service/Method"""
        return f"/{self.descriptor.containing_service.full_name}/{self.descriptor.name}"

    @property
    def name(self) -> str:
        """Service.Method"""
        return f"{self.descriptor.containing_service.name}.{self.descriptor.name}"

    @property
    def access(self) -> Access:
        return access_of(self.path)

    @property
    def bindings(self) -> list[Any]:
        """As google.api.http has them, the additional ones too; none: the gateway does not route it."""
        options: Any = self.descriptor.GetOptions()
        if not options.HasExtension(annotations_pb2.http):
            return []
        rule = options.Extensions[annotations_pb2.http]
        return [rule, *rule.additional_bindings]


def all_rpcs() -> list[Rpc]:
    """Of all services of the contract, whoever serves them."""
    found: dict[str, Rpc] = {}
    folder = Path(next(iter(specie.__path__)))
    for file in folder.rglob("*_pb2.py"):
        module = ".".join(file.relative_to(folder.parent).with_suffix("").parts)
        for service in import_module(module).DESCRIPTOR.services_by_name.values():
            found |= {rpc.path: rpc for rpc in map(Rpc, service.methods)}
    return [found[path] for path in sorted(found)]


@dataclass(frozen=True)
class AsHttp:
    """A request on the wire. `body` None: it has none."""

    verb: str
    path: str
    body: bytes | None


def as_http(rule: Any, request: Message) -> AsHttp:  # noqa: ANN401 - google.api.HttpRule has no stub here
    """What google.api.http makes of a request: fields in the path, in the body, and the rest in the query."""
    verb = rule.WhichOneof("pattern")
    path, rest = getattr(rule, verb), MessageToDict(request)
    while "{" in path:
        before, _, after = path.partition("{")
        field, _, after = after.partition("=")
        *outer, last = field.split(".")
        holder = rest
        for name in outer:
            holder = holder[name]
        path = before + quote(holder.pop(last)) + after.partition("}")[2]
    body: object = None
    if rule.body == "*":
        body, rest = rest, {}
    elif rule.body:
        body = rest.pop(rule.body)
    query = urlencode(list(_flat(rest)), quote_via=quote)  # the gateway takes + for itself
    content = None if body is None else json.dumps(body).encode()
    return AsHttp(verb.upper(), f"{path}?{query}" if query else path, content)


def _flat(fields: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in fields.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield from ((prefix + name, one) for one in (value if isinstance(value, list) else [value]))


class House:
    """The services, called by somebody who may do everything."""

    def __init__(self, stack: Stack, wallets: WalletServiceStub, transactions: TransactionServiceStub) -> None:
        self.wallets = stack.authorised(wallets)
        self.transactions = stack.authorised(transactions)
        self.shop = self.open("shop")

    def open(self, owner: str, balance: int = RICH) -> str:
        """A new wallet; its name."""
        wallet = Wallet(owner=owner, currency_code="USD")
        made = self.wallets.CreateWallet(CreateWalletRequest(wallet=wallet), timeout=CALL_SECONDS)
        name: str = made.wallet.name
        if balance:
            request = DepositRequest(wallet=name, amount=usd(balance), request_id=key())
            self.transactions.Deposit(request, timeout=CALL_SECONDS)
        return name


class Estate:
    """What one owner has. Each part is made when it is asked for."""

    def __init__(self, house: House, owner: str) -> None:
        self.house = house
        self.owner = owner

    @cached_property
    def wallet(self) -> str:
        """With money."""
        return self.house.open(self.owner)

    @cached_property
    def empty(self) -> str:
        return self.house.open(self.owner, balance=0)

    @cached_property
    def income(self) -> str:
        """A transaction that paid the wallet."""
        return self._transfer(self.house.shop, self.wallet)

    @cached_property
    def pending(self) -> str:
        """A transaction that is to pay out of the wallet."""
        mode = TransferMode.TRANSFER_MODE_ASYNC
        return self._transfer(self.wallet, self.house.shop, mode=mode, execute_time={"seconds": IN_THE_FAR_FUTURE})

    @cached_property
    def hold(self) -> str:
        request = PlaceHoldRequest(source=self.wallet, destination=self.house.shop, amount=usd(5), request_id=key())
        name: str = self.house.transactions.PlaceHold(request, timeout=CALL_SECONDS).hold.name
        return name

    def complete(self) -> "Estate":
        """With all of its parts."""
        assert all((self.wallet, self.empty, self.income, self.pending, self.hold))
        return self

    def payment(self) -> TransferRequest:
        return TransferRequest(source=self.wallet, destination=self.house.shop, amount=usd(7), request_id=key())

    def _transfer(self, source: str, destination: str, **more: Any) -> str:  # noqa: ANN401 - any field
        request = TransferRequest(source=source, destination=destination, amount=usd(7), request_id=key(), **more)
        name: str = self.house.transactions.Transfer(request, timeout=CALL_SECONDS).transaction.name
        return name


class Nothing(Estate):
    """What an owner would have who has nothing: names of which nobody has heard."""

    @cached_property
    def wallet(self) -> str:
        return f"wallets/{uuid4()}"

    @cached_property
    def empty(self) -> str:
        return f"wallets/{uuid4()}"

    @cached_property
    def income(self) -> str:
        return f"transactions/{uuid4()}"

    @cached_property
    def pending(self) -> str:
        return f"transactions/{uuid4()}"

    @cached_property
    def hold(self) -> str:
        return f"holds/{uuid4()}"


@dataclass(frozen=True)
class Row:
    """A call: a valid request about an estate, and the reason with which it is refused to whom the estate is not;
    empty: it is about nobody's."""

    request: Callable[[Estate], Message]
    not_yours: str


def _posted(estate: Estate) -> PostTransactionRequest:
    postings = [posting(estate.wallet, -3), posting(estate.house.shop, 3)]
    return PostTransactionRequest(postings=postings, request_id=key())


def _opened(estate: Estate) -> OpenAccountRequest:
    name, kind = f"wallets/{uuid4().hex}", AccountKind.ACCOUNT_KIND_USER
    account = Account(name=name, owner=estate.owner, currency_code="USD", kind=kind, revision=1)
    return OpenAccountRequest(account=account)


def _created(estate: Estate) -> CreateWalletRequest:
    wallet = Wallet(owner=estate.owner, currency_code="USD", display_name="New")
    return CreateWalletRequest(wallet_id=uuid4().hex, wallet=wallet, request_id=key())


def _renamed(estate: Estate) -> UpdateWalletRequest:
    wallet = Wallet(name=estate.wallet, display_name="Mine")
    return UpdateWalletRequest(wallet=wallet, update_mask=FieldMask(paths=["display_name"]))


OPEN = AccountState.ACCOUNT_STATE_OPEN
LATER = 1_000
"""A revision that no wallet here comes to."""

ROWS: Mapping[str, Row] = {
    "WalletService.CreateWallet": Row(_created, "PERMISSION_DENIED"),
    "WalletService.GetWallet": Row(lambda e: GetWalletRequest(name=e.wallet), "WALLET_NOT_FOUND"),
    "WalletService.BatchGetWallets": Row(
        lambda e: BatchGetWalletsRequest(names=[e.wallet, e.empty]), "WALLET_NOT_FOUND"
    ),
    "WalletService.ListWallets": Row(lambda e: ListWalletsRequest(owner=e.owner), "PERMISSION_DENIED"),
    "WalletService.UpdateWallet": Row(_renamed, "WALLET_NOT_FOUND"),
    "WalletService.FreezeWallet": Row(lambda e: FreezeWalletRequest(name=e.wallet), "WALLET_NOT_FOUND"),
    "WalletService.UnfreezeWallet": Row(lambda e: UnfreezeWalletRequest(name=e.wallet), "PERMISSION_DENIED"),
    "WalletService.CloseWallet": Row(lambda e: CloseWalletRequest(name=e.empty), "WALLET_NOT_FOUND"),
    "TransactionService.Transfer": Row(Estate.payment, "SOURCE_NOT_FOUND"),
    "TransactionService.BatchTransfer": Row(
        lambda e: BatchTransferRequest(transfers=[e.payment(), e.payment()], atomic=True), "SOURCE_NOT_FOUND"
    ),
    "TransactionService.Deposit": Row(
        lambda e: DepositRequest(wallet=e.wallet, amount=usd(2), request_id=key()), "DESTINATION_NOT_FOUND"
    ),
    "TransactionService.Withdraw": Row(
        lambda e: WithdrawRequest(wallet=e.wallet, amount=usd(2), request_id=key()), "SOURCE_NOT_FOUND"
    ),
    "TransactionService.PostTransaction": Row(_posted, "SOURCE_NOT_FOUND"),
    "TransactionService.ReverseTransaction": Row(
        lambda e: ReverseTransactionRequest(name=e.income, request_id=key()), "TRANSACTION_NOT_FOUND"
    ),
    "TransactionService.CancelTransaction": Row(
        lambda e: CancelTransactionRequest(name=e.pending), "TRANSACTION_NOT_FOUND"
    ),
    "TransactionService.PlaceHold": Row(
        lambda e: PlaceHoldRequest(source=e.wallet, destination=e.house.shop, amount=usd(1), request_id=key()),
        "SOURCE_NOT_FOUND",
    ),
    "TransactionService.CaptureHold": Row(
        lambda e: CaptureHoldRequest(name=e.hold, request_id=key()), "HOLD_NOT_FOUND"
    ),
    "TransactionService.ReleaseHold": Row(
        lambda e: ReleaseHoldRequest(name=e.hold, request_id=key()), "HOLD_NOT_FOUND"
    ),
    "TransactionService.ReleaseHolds": Row(lambda e: ReleaseHoldsRequest(source=e.wallet), "WALLET_NOT_FOUND"),
    "TransactionService.GetHold": Row(lambda e: GetHoldRequest(name=e.hold), "HOLD_NOT_FOUND"),
    "TransactionService.ListHolds": Row(lambda e: ListHoldsRequest(wallet=e.wallet), "WALLET_NOT_FOUND"),
    "TransactionService.GetTransaction": Row(lambda e: GetTransactionRequest(name=e.income), "TRANSACTION_NOT_FOUND"),
    "TransactionService.ListTransactions": Row(lambda e: ListTransactionsRequest(wallet=e.wallet), "WALLET_NOT_FOUND"),
    "TransactionService.ListEntries": Row(lambda e: ListEntriesRequest(wallet=e.wallet), "WALLET_NOT_FOUND"),
    "TransactionService.ReportEntries": Row(lambda e: ReportEntriesRequest(wallet=e.wallet), "WALLET_NOT_FOUND"),
    "TransactionService.GetBalance": Row(lambda e: GetBalanceRequest(wallet=e.wallet), "WALLET_NOT_FOUND"),
    "TransactionService.WatchTransactions": Row(
        lambda e: WatchTransactionsRequest(wallet=e.wallet, cursor="beginning"), "WALLET_NOT_FOUND"
    ),
    "HealthService.GetHealth": Row(lambda _: GetHealthRequest(), ""),
    "AccountService.OpenAccount": Row(_opened, "PERMISSION_DENIED"),
    "AccountService.GetAccounts": Row(lambda e: GetAccountsRequest(names=[e.wallet]), "PERMISSION_DENIED"),
    "AccountService.SetAccountState": Row(
        lambda e: SetAccountStateRequest(name=e.wallet, state=OPEN, revision=LATER), "PERMISSION_DENIED"
    ),
    "AccountService.SetAccountLimits": Row(
        lambda e: SetAccountLimitsRequest(name=e.wallet, limits=Limits(max_debits_per_hour=9), revision=LATER),
        "PERMISSION_DENIED",
    ),
}
"""By Service.Method."""
