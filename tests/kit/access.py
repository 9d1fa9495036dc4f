"""One valid request for every call of the contract, about what somebody has."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from uuid import uuid4

import grpc
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message
from specie.transaction.v1 import (
    Account,
    AccountKind,
    AccountState,
    AuditServiceStub,
    BatchTransferRequest,
    CancelTransactionRequest,
    CaptureHoldRequest,
    CheckIntegrityRequest,
    CreateWebhookEndpointRequest,
    DeleteWebhookEndpointRequest,
    DepositRequest,
    DisableWebhookEndpointRequest,
    EnableWebhookEndpointRequest,
    GetAccountsRequest,
    GetBalanceRequest,
    GetCheckpointRequest,
    GetHealthRequest,
    GetHoldRequest,
    GetInclusionProofRequest,
    GetPayoutRequest,
    GetTransactionRequest,
    GetWebhookEndpointRequest,
    ListActsRequest,
    ListAuditRecordsRequest,
    ListEntriesRequest,
    ListHoldsRequest,
    ListPayoutsRequest,
    ListSealKeysRequest,
    ListTransactionsRequest,
    ListWebhookDeliveriesRequest,
    ListWebhookEndpointsRequest,
    OpenAccountRequest,
    PayoutDestination,
    PlaceHoldRequest,
    PostTransactionRequest,
    ReadBlocksRequest,
    RedeliverWebhookRequest,
    ReleaseHoldRequest,
    ReleaseHoldsRequest,
    ReplayWebhookEndpointRequest,
    ReportEntriesRequest,
    RetryPayoutRequest,
    ReverseTransactionRequest,
    RotateWebhookSecretRequest,
    SetAccountLimitsRequest,
    SetAccountStateRequest,
    TransactionServiceStub,
    TransferMode,
    TransferRequest,
    UpdateWebhookEndpointRequest,
    WatchTransactionsRequest,
    WebhookEndpoint,
    WebhookServiceStub,
    WithdrawRequest,
)
from specie.type.v1 import Limits
from specie.wallet.v1 import (
    BatchGetWalletsRequest,
    CloseWalletRequest,
    CreateWalletRequest,
    FreezeWalletRequest,
    GetWalletRequest,
    ListWalletActsRequest,
    ListWalletsRequest,
    UnfreezeWalletRequest,
    UpdateWalletRequest,
    Wallet,
    WalletServiceStub,
)

from specie_cli.stack.local import SIMULATED_PROVIDER
from tests.kit.calls import CALL_SECONDS, key, posting, usd
from tests.kit.service import wait_until
from tests.kit.stack import Stack

IN_THE_FAR_FUTURE = 4_000_000_000
"""Seconds since 1970: the year 2096."""
RICH = 10_000
NOBODY_LISTENS = "http://127.0.0.1:9/webhooks"
"""The port of `discard` (RFC 863), which no machine serves any more."""


class House:
    """The services, called by somebody who may do everything."""

    def __init__(self, stack: Stack, wallets: grpc.Channel, transactions: grpc.Channel) -> None:
        self.wallets = stack.authorised(WalletServiceStub(wallets))
        self.transactions = stack.authorised(TransactionServiceStub(transactions))
        self.audit = stack.authorised(AuditServiceStub(transactions))
        self.webhooks = stack.authorised(WebhookServiceStub(transactions))
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

    @cached_property
    def payout(self) -> str:
        destination = PayoutDestination(provider=SIMULATED_PROVIDER, account="DE02120300000000202051")
        request = WithdrawRequest(wallet=self.wallet, amount=usd(3), payout=destination, request_id=key())
        name: str = self.house.transactions.Withdraw(request, timeout=CALL_SECONDS).transaction.payout
        return name

    @cached_property
    def sealed(self) -> str:
        """A transaction that stands in the audit chain."""

        def is_sealed() -> bool:
            try:
                request = GetInclusionProofRequest(transaction=self.income)
                self.house.audit.GetInclusionProof(request, timeout=CALL_SECONDS)
            except grpc.RpcError:
                return False
            return True

        wait_until(is_sealed, "it is sealed")
        return self.income

    @cached_property
    def endpoint(self) -> str:
        """Where nobody listens."""
        return self._endpoint()

    @cached_property
    def delivery(self) -> str:
        """An event on its way."""
        endpoint = self._endpoint()
        self._transfer(self.house.shop, self.wallet)
        request = ListWebhookDeliveriesRequest(endpoint=endpoint)

        def listed() -> list[str]:
            answer = self.house.webhooks.ListWebhookDeliveries(request, timeout=CALL_SECONDS)
            return [delivery.name for delivery in answer.deliveries]

        wait_until(listed, "the event is on its way")
        return listed()[0]

    def complete(self) -> "Estate":
        """With all of its parts."""
        assert all((self.wallet, self.empty, self.income, self.pending, self.hold))
        assert all((self.payout, self.sealed, self.endpoint, self.delivery))
        return self

    def _endpoint(self) -> str:
        endpoint = WebhookEndpoint(url=NOBODY_LISTENS, wallet=self.wallet)
        request = CreateWebhookEndpointRequest(endpoint=endpoint)
        name: str = self.house.webhooks.CreateWebhookEndpoint(request, timeout=CALL_SECONDS).endpoint.name
        return name

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

    @cached_property
    def payout(self) -> str:
        return f"payouts/{uuid4()}"


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


def _with_endpoint(estate: Estate) -> CreateWebhookEndpointRequest:
    return CreateWebhookEndpointRequest(endpoint=WebhookEndpoint(url=NOBODY_LISTENS, wallet=estate.wallet))


def _described(estate: Estate) -> UpdateWebhookEndpointRequest:
    endpoint = WebhookEndpoint(name=estate.endpoint, description="Mine")
    return UpdateWebhookEndpointRequest(endpoint=endpoint, update_mask=FieldMask(paths=["description"]))


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
    "WalletAuditService.ListWalletActs": Row(lambda e: ListWalletActsRequest(wallet=e.wallet), ""),
    "AuditService.ListAuditRecords": Row(lambda e: ListAuditRecordsRequest(wallet=e.wallet), ""),
    "AuditService.ListActs": Row(lambda e: ListActsRequest(subject=e.endpoint), ""),
    "AuditService.GetCheckpoint": Row(lambda _: GetCheckpointRequest(), ""),
    "AuditService.GetInclusionProof": Row(lambda e: GetInclusionProofRequest(transaction=e.sealed), ""),
    "AuditService.ReadBlocks": Row(lambda _: ReadBlocksRequest(), ""),
    "AuditService.ListSealKeys": Row(lambda _: ListSealKeysRequest(), ""),
    "AuditService.CheckIntegrity": Row(lambda e: CheckIntegrityRequest(wallet=e.wallet), ""),
    "PayoutService.GetPayout": Row(lambda e: GetPayoutRequest(name=e.payout), "PAYOUT_NOT_FOUND"),
    "PayoutService.ListPayouts": Row(lambda e: ListPayoutsRequest(wallet=e.wallet), "WALLET_NOT_FOUND"),
    "PayoutService.RetryPayout": Row(lambda e: RetryPayoutRequest(name=e.payout), "PERMISSION_DENIED"),
    "WebhookService.CreateWebhookEndpoint": Row(_with_endpoint, "PERMISSION_DENIED"),
    "WebhookService.GetWebhookEndpoint": Row(lambda e: GetWebhookEndpointRequest(name=e.endpoint), "PERMISSION_DENIED"),
    "WebhookService.ListWebhookEndpoints": Row(lambda _: ListWebhookEndpointsRequest(), "PERMISSION_DENIED"),
    "WebhookService.UpdateWebhookEndpoint": Row(_described, "PERMISSION_DENIED"),
    "WebhookService.DeleteWebhookEndpoint": Row(
        lambda e: DeleteWebhookEndpointRequest(name=e.endpoint), "PERMISSION_DENIED"
    ),
    "WebhookService.RotateWebhookSecret": Row(
        lambda e: RotateWebhookSecretRequest(name=e.endpoint), "PERMISSION_DENIED"
    ),
    "WebhookService.EnableWebhookEndpoint": Row(
        lambda e: EnableWebhookEndpointRequest(name=e.endpoint), "PERMISSION_DENIED"
    ),
    "WebhookService.DisableWebhookEndpoint": Row(
        lambda e: DisableWebhookEndpointRequest(name=e.endpoint), "PERMISSION_DENIED"
    ),
    "WebhookService.ReplayWebhookEndpoint": Row(
        lambda e: ReplayWebhookEndpointRequest(name=e.endpoint), "PERMISSION_DENIED"
    ),
    "WebhookService.ListWebhookDeliveries": Row(
        lambda e: ListWebhookDeliveriesRequest(endpoint=e.endpoint), "PERMISSION_DENIED"
    ),
    "WebhookService.RedeliverWebhook": Row(lambda e: RedeliverWebhookRequest(name=e.delivery), "PERMISSION_DENIED"),
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
