"""The transaction service's AccountService over gRPC.

A call waits no longer than the call that it is made for, and hands its trace id on. Several servers are taken in turn;
one that is gone is left out. UNAVAILABLE is retried a little: every call of this service can be repeated.
"""

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Final, TypeVar

import grpc
import grpc.aio
import structlog
from google.protobuf.message import DecodeError, Message
from google.rpc import error_details_pb2, status_pb2
from specie.transaction.v1 import Account as AccountMessage
from specie.transaction.v1 import (
    AccountKind,
    AccountServiceStub,
    GetAccountsRequest,
    OpenAccountRequest,
    SetAccountLimitsRequest,
    SetAccountStateRequest,
)
from specie.transaction.v1 import AccountState as AccountStateMessage
from specie.type.v1 import Limits as LimitsMessage

from service_kit.call import current_call
from service_kit.interceptors import AUTHORIZATION, TRACE_HEADER
from service_kit.status import CODES, DOMAIN, RETRY_AFTER_SECONDS, Refusal
from wallet_service.domain.failure import Declined, Failure, Reason
from wallet_service.domain.wallet import Account, AccountState, Balance, Limits, Wallet
from wallet_service.ports import AccountServiceFault

R = TypeVar("R", bound=Message)

log = structlog.stdlib.get_logger()

BACKGROUND_SECONDS_MAX: Final = 5.0
"""How long a call may take that is made for no caller, as the reconciler's are."""
STATUS_DETAILS: Final = "grpc-status-details-bin"

SERVICE_CONFIG: Final = {
    "loadBalancingConfig": [{"round_robin": {}}],
    # Watches each server's health and leaves one that is about to stop before it does.
    "healthCheckConfig": {"serviceName": "specie.transaction.v1.AccountService"},
    "methodConfig": [
        {
            "name": [{"service": "specie.transaction.v1.AccountService"}],
            "retryPolicy": {
                "maxAttempts": 3,
                "initialBackoff": "0.05s",
                "maxBackoff": "0.5s",
                "backoffMultiplier": 2,
                "retryableStatusCodes": ["UNAVAILABLE"],
            },
        }
    ],
}
CHANNEL_OPTIONS: Final = (
    ("grpc.service_config", json.dumps(SERVICE_CONFIG)),
    ("grpc.service_config_disable_resolution", 1),  # no lookup of TXT records
    # The default grows to two minutes: that long would every call fail after the other side is back.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 1_000),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    # A server that vanished without a word is noticed, but later than the calls to it are over: that their time was up
    # is the better answer. Not more often than the server allows.
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    # 1000 accounts take some 200 kB; the same bound as the server's own.
    ("grpc.max_receive_message_length", 4 * 1024 * 1024),
)

DECLINES: Final = frozenset(
    {
        Reason.UNKNOWN_CURRENCY,
        Reason.UNKNOWN_TIME_ZONE,
        Reason.ACCOUNT_ALREADY_EXISTS,
        Reason.ACCOUNT_NOT_FOUND,
        Reason.STALE_REVISION,
        Reason.WALLET_NOT_EMPTY,
        Reason.PAYOUTS_UNDER_WAY,
        Reason.WALLET_STATE,
        Reason.FLOOR_ABOVE_BALANCE,
    }
)
"""An account's own answers, as the contract names them."""

REFUSALS: Final = {
    "UNAVAILABLE": "the account service cannot be reached; send this call again",
    "DEADLINE_EXCEEDED": "the account service did not answer in time",
    "OVERLOADED": "the account service has too much to do; send this call again later",
    "CONTENTION": "too many calls wanted the same account at once; send this one again",
}
NOT_LET_IN: Final = frozenset({"UNAUTHENTICATED", "PERMISSION_DENIED"})
"""What the service's own token is to blame for, until somebody renews it."""
"""What is no account's own answer goes on to the caller as it is, in these words."""

REASONS_BY_CODE: Final = {
    grpc.StatusCode.UNAVAILABLE: "UNAVAILABLE",
    grpc.StatusCode.CANCELLED: "UNAVAILABLE",  # by the other side, which is stopping; our own raises CancelledError
    grpc.StatusCode.DEADLINE_EXCEEDED: "DEADLINE_EXCEEDED",
    grpc.StatusCode.RESOURCE_EXHAUSTED: "OVERLOADED",
}
"""For a status that gRPC itself made, without ErrorInfo."""


def channel_to(target: str, credentials: grpc.ChannelCredentials | None = None) -> grpc.aio.Channel:
    """`target` as gRPC names it: `ipv4:10.0.0.1:50061,10.0.0.2:50061`, `dns:///transactions:50061`. Without credentials
    it is plain. With them, and several addresses, the certificates of all must name the first."""
    if credentials is None:
        return grpc.aio.insecure_channel(target, options=CHANNEL_OPTIONS)
    first, *others = target.rpartition("/")[2].partition(":")[2].split(",")
    named = [("grpc.default_authority", first)] if others else []
    return grpc.aio.secure_channel(target, credentials, options=[*CHANNEL_OPTIONS, *named])


class GrpcAccountGateway:
    """Implements AccountGateway. `authorization` gives the header by which the wallet service says who it is; it may
    raise Refusal."""

    def __init__(self, channel: grpc.aio.Channel, authorization: Callable[[], str]) -> None:
        self._stub = AccountServiceStub(channel)
        self._authorization = authorization

    async def open(self, wallet: Wallet) -> Account:
        account = AccountMessage(
            name=wallet.name,
            owner=wallet.owner,
            currency_code=wallet.currency_code,
            kind=AccountKind.ValueType(int(wallet.kind)),
            limits=_limits(wallet.particulars.limits),
            revision=wallet.revision,
        )
        return _account((await self._ask(self._stub.OpenAccount, OpenAccountRequest(account=account))).account)

    async def set_state(self, name: str, state: AccountState, revision: int) -> Account:
        wanted = AccountStateMessage.ValueType(int(state))
        request = SetAccountStateRequest(name=name, state=wanted, revision=revision)
        return _account((await self._ask(self._stub.SetAccountState, request)).account)

    async def set_limits(self, name: str, limits: Limits, revision: int) -> Account:
        request = SetAccountLimitsRequest(name=name, limits=_limits(limits), revision=revision)
        return _account((await self._ask(self._stub.SetAccountLimits, request)).account)

    async def get_many(self, names: Sequence[str]) -> Mapping[str, Account]:
        response = await self._ask(self._stub.GetAccounts, GetAccountsRequest(names=names))
        return {account.name: _account(account) for account in response.accounts}

    async def _ask(self, method: Callable[..., Awaitable[R]], request: Message) -> R:
        """For the call that is being answered, if any: within the time that it has left, under its trace id."""
        metadata = [(AUTHORIZATION, self._authorization())]
        timeout = BACKGROUND_SECONDS_MAX
        with suppress(LookupError):
            call = current_call()
            timeout = max(0.0, call.seconds_left())
            metadata.append((TRACE_HEADER, call.trace_id))
        return await _answer(method(request, timeout=timeout, metadata=metadata))


async def _answer(calling: Awaitable[R]) -> R:
    """Raises Declined, Refusal and AccountServiceFault, as the status says."""
    try:
        return await calling
    except grpc.aio.AioRpcError as error:
        failed = error
    raise _exception(failed) from failed


def _exception(error: grpc.aio.AioRpcError) -> Exception:
    status = _rich_status(error)
    info = error_details_pb2.ErrorInfo()
    retry = error_details_pb2.RetryInfo()
    for detail in status.details:
        detail.Unpack(info)
        detail.Unpack(retry)
    reason = info.reason if info.domain == DOMAIN else REASONS_BY_CODE.get(error.code(), "")
    if reason in DECLINES and CODES[reason] is error.code():
        return Declined(Failure(Reason(reason), dict(info.metadata)))
    if reason in NOT_LET_IN:
        log.error("service_token_refused", reason=reason, error=status.message)
        return Refusal("UNAVAILABLE", REFUSALS["UNAVAILABLE"], retry_after_seconds=RETRY_AFTER_SECONDS)
    if reason in REFUSALS:
        seconds = retry.retry_delay.ToTimedelta().total_seconds() or RETRY_AFTER_SECONDS
        return Refusal(
            reason,
            REFUSALS[reason],
            retry_after_seconds=seconds if reason in {"OVERLOADED", "UNAVAILABLE"} else None,
        )
    return AccountServiceFault(f"{error.code().name}: {error.details()}")


def _rich_status(error: grpc.aio.AioRpcError) -> status_pb2.Status:
    """The google.rpc.Status in the trailers; empty when there is none that can be read."""
    status = status_pb2.Status()
    for key, value in error.trailing_metadata() or ():
        if key == STATUS_DETAILS and isinstance(value, bytes):
            try:
                status.ParseFromString(value)
            except DecodeError:
                return status_pb2.Status()
    return status


def _limits(limits: Limits) -> LimitsMessage:
    return LimitsMessage(
        max_minor_units_per_transaction=limits.max_minor_units_per_transaction,
        max_minor_units_per_day=limits.max_minor_units_per_day,
        max_debits_per_hour=limits.max_debits_per_hour,
        time_zone=limits.time_zone,
        credit_minor_units=limits.credit_minor_units,
    )


def _account(message: AccountMessage) -> Account:
    balance = message.balance
    return Account(
        message.name,
        AccountState(message.state),
        Balance(
            currency_code=message.currency_code,
            posted=balance.posted.minor_units,
            held=balance.held.minor_units,
            available=balance.available.minor_units,
            version=balance.version,
        ),
    )
