"""Sends the model's requests to a running transaction_service, one after the other, and tells what it heard."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import grpc
from specie.transaction.v1 import (
    Account,
    AccountKind,
    AccountServiceStub,
    AccountState,
    BatchTransferRequest,
    CancelTransactionRequest,
    CaptureHoldRequest,
    DepositRequest,
    Fee,
    FeeMode,
    GetAccountsRequest,
    GetHoldRequest,
    GetTransactionRequest,
    Hold,
    HoldState,
    OpenAccountRequest,
    PayoutDestination,
    PlaceHoldRequest,
    PostTransactionRequest,
    ReleaseHoldRequest,
    ReleaseHoldsRequest,
    ReverseTransactionRequest,
    SetAccountLimitsRequest,
    SetAccountStateRequest,
    Transaction,
    TransactionServiceStub,
    TransactionState,
    TransferMode,
    TransferRequest,
    WithdrawRequest,
)
from specie.type.v1 import Limits, Money

from tests.kit.asked import Asked
from tests.kit.calls import CALL_SECONDS, Failed, posting, read_status, to_failed, usd, why
from tests.kit.kept import Purse
from tests.kit.tokens import Authorised

NO_SUCH = "00000000-0000-0000-0000-000000000000"


@dataclass(frozen=True)
class Heard:
    """POSTED, PENDING or a reason, and whether it was a repetition. `name`: of the stored transaction, empty: there is
    none. `item`: of a batch that is all or none, the one that stopped it."""

    code: str
    replayed: bool = False
    name: str = ""
    hold: Hold | None = None
    item: int | None = None


class Asker:
    """Accounts and keys get names of their own, so that many runs can share a service."""

    def __init__(self, target: str) -> None:
        self._channel = grpc.insecure_channel(target)
        self._transactions: Any = Authorised(TransactionServiceStub(self._channel))
        self._accounts: Any = Authorised(AccountServiceStub(self._channel))
        self._run = uuid4().hex[:12]
        self.names: dict[str, str] = {}
        """By key, of the transactions that were told."""

    def close(self) -> None:
        self._channel.close()

    def account(self, name: str) -> str:
        """As the service knows it."""
        return name.replace("wallets/", f"wallets/{self._run}-")

    def ask(self, asked: Asked) -> Heard:
        method, request = self._call(asked)
        heard = self._hear(method, request)
        if heard.name:
            self.names[asked.key] = heard.name
        return heard

    def ask_batch(self, batch: Sequence[Asked | None], *, atomic: bool) -> list[Heard] | Heard:
        """None is an item that the contract does not let in. What each heard, or what the whole did."""
        transfers = [TransferRequest() if asked is None else self._transfer(asked) for asked in batch]
        try:
            answer = self._transactions.BatchTransfer(
                BatchTransferRequest(transfers=transfers, atomic=atomic), timeout=CALL_SECONDS
            )
        except grpc.RpcError as error:
            return _heard(_refusal(error))
        heard = [
            _heard(read_status(result.error))
            if result.HasField("error")
            else Heard(_state(result.transaction), result.replayed, result.transaction.name)
            for result in answer.results
        ]
        for asked, one in zip(batch, heard, strict=True):
            if asked is not None and one.name:
                self.names[asked.key] = one.name
        return heard

    def cancel(self, key: str) -> Heard:
        return self._hear(self._transactions.CancelTransaction, CancelTransactionRequest(name=self.names[key]))

    def release_all(self, source: str) -> set[str]:
        """The names of the holds that are released."""
        request = ReleaseHoldsRequest(source=self.account(source))
        return set(self._transactions.ReleaseHolds(request, timeout=CALL_SECONDS).released)

    def transaction(self, name: str) -> Transaction:
        request = GetTransactionRequest(name=name)
        return self._transactions.GetTransaction(request, timeout=CALL_SECONDS).transaction  # type: ignore[no-any-return] # untyped stub

    def created(self, name: str) -> datetime:
        """When the service took it: that is when it decided it, unless it is deferred."""
        return self.transaction(name).create_time.ToDatetime(UTC)

    def decided(self, name: str) -> tuple[str, datetime]:
        """POSTED, PENDING or a reason, and since when."""
        found = self.transaction(name)
        return why(found) or _state(found), found.decide_time.ToDatetime(UTC)

    def hold(self, key: str) -> Hold:
        request = GetHoldRequest(name=self._hold_name(key))
        return self._transactions.GetHold(request, timeout=CALL_SECONDS).hold  # type: ignore[no-any-return] # as above

    def accounts(self, names: Sequence[str]) -> dict[str, Account]:
        """By the model's names."""
        request = GetAccountsRequest(names=map(self.account, names))
        found = self._accounts.GetAccounts(request, timeout=CALL_SECONDS).accounts
        return {account.name.replace(f"{self._run}-", ""): account for account in found}

    def open(self, name: str, purse: Purse) -> None:
        limits = _limits(
            {
                "per_transaction": purse.per_transaction,
                "per_day": purse.per_day,
                "debits_per_hour": purse.per_hour,
                "time_zone": purse.zone,
                "credit": purse.credit,
            }
        )
        account = Account(
            name=self.account(name),
            owner="o",
            currency_code=purse.currency,
            kind=AccountKind.Value(f"ACCOUNT_KIND_{purse.kind}"),
            limits=limits,
            revision=purse.revision,
        )
        self._accounts.OpenAccount(OpenAccountRequest(account=account), timeout=CALL_SECONDS)

    def set_state(self, name: str, state: str, revision: int) -> str:
        number = AccountState.Value(f"ACCOUNT_STATE_{state}")
        request = SetAccountStateRequest(name=self.account(name), state=number, revision=revision)
        return self._set(self._accounts.SetAccountState, request)

    def set_limits(self, name: str, limits: Mapping[str, Any], revision: int) -> str:
        request = SetAccountLimitsRequest(name=self.account(name), limits=_limits(limits), revision=revision)
        return self._set(self._accounts.SetAccountLimits, request)

    def _set(self, method: Any, request: Any) -> str:  # noqa: ANN401 - untyped stub
        try:
            method(request, timeout=CALL_SECONDS)
        except grpc.RpcError as error:
            return _refusal(error).reason
        return "set"

    def _hear(self, method: Any, request: Any) -> Heard:  # noqa: ANN401 - as above
        try:
            answer = method(request, timeout=CALL_SECONDS)
        except grpc.RpcError as error:
            return _heard(_refusal(error))
        hold = answer.hold if hasattr(answer, "hold") else None
        replayed = getattr(answer, "replayed", False)
        if hasattr(answer, "transaction"):
            code = why(answer.transaction) or _state(answer.transaction)
            return Heard(code, replayed, answer.transaction.name, hold)
        # A hold and its transaction share a uuid; what releases it has one that is not told.
        placed = isinstance(request, PlaceHoldRequest)
        return Heard("POSTED", replayed, answer.hold.name.replace("holds", "transactions") if placed else "", hold)

    def _call(self, asked: Asked) -> tuple[Any, Any]:
        """The method and its request."""
        methods: dict[str, tuple[str, Callable[[Asked], Any]]] = {
            "TRANSFER": ("Transfer", self._transfer),
            "DEPOSIT": ("Deposit", self._deposit),
            "WITHDRAWAL": ("Withdraw", self._withdrawal),
            "COMPOUND": ("PostTransaction", self._compound),
            "REVERSAL": ("ReverseTransaction", self._reversal),
            "HOLD": ("PlaceHold", self._placing),
            "CAPTURE": ("CaptureHold", self._capture),
            "RELEASE": ("ReleaseHold", self._release),
        }
        method, request = methods[asked.kind]
        return getattr(self._transactions, method), request(asked)

    def _transfer(self, asked: Asked) -> TransferRequest:
        mode = TransferMode.TRANSFER_MODE_ASYNC if asked.deferred else TransferMode.TRANSFER_MODE_UNSPECIFIED
        request = TransferRequest(
            source=self.account(asked.source),
            destination=self.account(asked.destination),
            amount=usd(asked.amount, asked.currency),
            fee=self._fee(asked),
            mode=mode,
            expected_version=asked.version,
            minimum_balance_after=asked.minimum,
            **self._said(asked),
        )
        if asked.due is not None:
            request.execute_time.FromDatetime(asked.due)
        return request

    def _deposit(self, asked: Asked) -> DepositRequest:
        wallet, provider = self.account(asked.destination), self.account(asked.provider)
        return DepositRequest(wallet=wallet, provider=provider, amount=_amount(asked), **self._said(asked))

    def _withdrawal(self, asked: Asked) -> WithdrawRequest:
        wallet, provider, fee = self.account(asked.source), self.account(asked.provider), self._fee(asked)
        payout = PayoutDestination(provider="bank", account=asked.payout) if asked.payout else None
        return WithdrawRequest(
            wallet=wallet, provider=provider, amount=_amount(asked), fee=fee, payout=payout, **self._said(asked)
        )

    def _compound(self, asked: Asked) -> PostTransactionRequest:
        postings = [posting(self.account(name), units, unit) for name, units, unit in asked.postings]
        return PostTransactionRequest(postings=postings, **self._said(asked))

    def _reversal(self, asked: Asked) -> ReverseTransactionRequest:
        name = self.names.get(asked.reverses, f"transactions/{NO_SUCH}")
        return ReverseTransactionRequest(name=name, amount=_amount(asked), **self._said(asked))

    def _placing(self, asked: Asked) -> PlaceHoldRequest:
        source, destination = self.account(asked.source), self.account(asked.destination)
        request = PlaceHoldRequest(source=source, destination=destination, amount=_amount(asked), **self._said(asked))
        if asked.ttl is not None:
            request.ttl.FromTimedelta(asked.ttl)
        if asked.expire is not None:
            request.expire_time.FromDatetime(asked.expire)
        return request

    def _capture(self, asked: Asked) -> CaptureHoldRequest:
        name = self._hold_name(asked.hold)
        return CaptureHoldRequest(name=name, amount=_amount(asked), final=asked.final, **self._said(asked))

    def _release(self, asked: Asked) -> ReleaseHoldRequest:
        return ReleaseHoldRequest(name=self._hold_name(asked.hold), **self._said(asked))

    def _fee(self, asked: Asked) -> Fee | None:
        if asked.fee is None:
            return None
        points, units, destination, included = asked.fee
        mode = FeeMode.FEE_MODE_INCLUDED if included else FeeMode.FEE_MODE_ON_TOP
        # `system/fees-usd` is paid where no wallet is named.
        payee = self.account(destination) if destination.startswith("wallets/") else ""
        if points:
            return Fee(basis_points=points, destination=payee, mode=mode)
        return Fee(minor_units=units, destination=payee, mode=mode)

    def _said(self, asked: Asked) -> dict[str, Any]:
        return {"request_id": f"{self._run} {asked.key}", "description": asked.description}

    def _hold_name(self, key: str) -> str:
        return self.names.get(key, f"transactions/{NO_SUCH}").replace("transactions/", "holds/")


def _amount(asked: Asked) -> Money | None:
    """Absent: all that is left."""
    return usd(asked.amount, asked.currency) if asked.amount else None


def shown(hold: Hold) -> tuple[str, int, int, int]:
    """Its state, and what of it was reserved, captured and released."""
    state = HoldState.Name(hold.state).removeprefix("HOLD_STATE_")
    return state, hold.amount.minor_units, hold.captured.minor_units, hold.released.minor_units


def _state(transaction: Transaction) -> str:
    return TransactionState.Name(transaction.state).removeprefix("TRANSACTION_STATE_")


def _refusal(error: grpc.RpcError) -> Failed:
    status: Any = error  # of a call that waited it is one of the call too
    return to_failed(status)


def _heard(failed: Failed) -> Heard:
    """REQUEST_ID_REUSED names the other request's transaction."""
    told, stored = failed.metadata, "replayed" in failed.metadata
    item = int(told["item"]) if "item" in told and failed.reason != "BATCH_STOPPED" else None
    return Heard(failed.reason, told.get("replayed") == "true", told["transaction"] if stored else "", None, item)


def _limits(limits: Mapping[str, Any]) -> Limits:
    return Limits(
        max_minor_units_per_transaction=limits["per_transaction"],
        max_minor_units_per_day=limits["per_day"],
        max_debits_per_hour=limits["debits_per_hour"],
        time_zone=limits["time_zone"],
        credit_minor_units=limits["credit"],
    )
