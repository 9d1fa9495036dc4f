"""The account side of wallets as the contract describes it, in memory, with places where a test can interfere.

FakeAccounts is an AccountGateway. `serve_accounts` puts the same accounts behind a real gRPC server.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import grpc.aio
from specie.transaction.v1 import Account as AccountMessage
from specie.transaction.v1 import (
    AccountServiceServicer,
    GetAccountsRequest,
    GetAccountsResponse,
    OpenAccountRequest,
    OpenAccountResponse,
    SetAccountLimitsRequest,
    SetAccountLimitsResponse,
    SetAccountStateRequest,
    SetAccountStateResponse,
    add_AccountServiceServicer_to_server,
)
from specie.transaction.v1 import AccountState as AccountStateMessage
from specie.type.v1 import Balance as BalanceMessage
from specie.type.v1 import Money

from service_kit.interceptors import ChainInterceptor, chain
from service_kit.status import Refusal
from tests.kit.tokens import verifier
from wallet_service.domain.failure import Declined, Failure, Reason
from wallet_service.domain.wallet import Account, AccountState, Balance, Limits, Wallet

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Order:
    """One call that reached the accounts. `wanted`: the state or the limits to set, the names to read."""

    call: str
    name: str
    wanted: object
    revision: int


Hook = Callable[[Order], Awaitable[None]]


async def _nothing(_: Order) -> None:
    pass


def unavailable() -> Refusal:
    return Refusal("UNAVAILABLE", "the account service cannot be reached")


@dataclass(slots=True)
class _Row:
    owner: str
    currency: str
    kind: int
    state: AccountState
    limits: Limits
    revision: int
    posted: int = 0
    held: int = 0
    version: int = 0


class FakeAccounts:
    """`before` runs before an order takes effect (to fail there is a lost request), `after` behind it (a lost answer).
    Every order is in `orders` and `history` once it has arrived; a test may clear `orders`."""

    def __init__(self) -> None:
        self.rows: dict[str, _Row] = {}
        self.orders: list[Order] = []
        self.history: list[Order] = []
        self.before: Hook = _nothing
        self.after: Hook = _nothing
        self.trace_ids: list[str] = []
        self._effects: list[Callable[[], Awaitable[Any]]] = []

    def pay_in(self, name: str, amount: int) -> None:
        """Changes the balance as a posting would; below 0: pays out."""
        row = self.rows[name]
        row.posted += amount
        row.version += 1

    async def open(self, wallet: Wallet) -> Account:
        limits = wallet.particulars.limits
        return await self.open_as(
            wallet.name, wallet.owner, wallet.currency_code, int(wallet.kind), limits, wallet.revision
        )

    async def open_as(self, name: str, owner: str, currency: str, kind: int, limits: Limits, revision: int) -> Account:
        async def effect() -> Account:
            known = self.rows.setdefault(name, _Row(owner, currency, kind, AccountState.OPEN, limits, revision))
            if (known.owner, known.currency, known.kind) != (owner, currency, kind):
                raise Declined(Failure(Reason.ACCOUNT_ALREADY_EXISTS, {"account": name}))
            return self._account(name)

        return await self._do(Order("open", name, limits, revision), effect)

    async def set_state(self, name: str, state: AccountState, revision: int) -> Account:
        async def effect() -> Account:
            row = self._known(name, revision)
            if state is not row.state:
                if row.state is AccountState.CLOSED:
                    raise Declined(Failure(Reason.WALLET_STATE, {"wallet": name, "state": row.state.name}))
                if state is AccountState.CLOSED and (row.posted or row.held):
                    has = {"posted": str(row.posted), "held": str(row.held)}
                    raise Declined(Failure(Reason.WALLET_NOT_EMPTY, {"wallet": name, **has}))
            row.state, row.revision = state, revision
            return self._account(name)

        return await self._do(Order("set_state", name, state, revision), effect)

    async def set_limits(self, name: str, limits: Limits, revision: int) -> Account:
        async def effect() -> Account:
            row = self._known(name, revision)
            if row.state is AccountState.CLOSED:
                raise Declined(Failure(Reason.WALLET_STATE, {"wallet": name, "state": row.state.name}))
            available = row.posted - row.held
            if available < -limits.credit_minor_units:
                used = {"available": str(available), "credit": str(limits.credit_minor_units)}
                raise Declined(Failure(Reason.FLOOR_ABOVE_BALANCE, {"wallet": name, **used}))
            row.limits, row.revision = limits, revision
            return self._account(name)

        return await self._do(Order("set_limits", name, limits, revision), effect)

    async def get_many(self, names: Sequence[str]) -> Mapping[str, Account]:
        async def effect() -> dict[str, Account]:
            return {name: self._account(name) for name in names if name in self.rows}

        return await self._do(Order("get_many", "", tuple(names), 0), effect)

    async def _do(self, order: Order, effect: Callable[[], Awaitable[T]]) -> T:
        self.orders.append(order)
        self.history.append(order)
        self._effects.append(effect)
        await self.before(order)
        result = await effect()
        await self.after(order)
        return result

    async def arrives_again(self, number: int) -> None:
        """The order `history[number]` was on its way twice, and its second arrival is now. Nobody reads the answer."""
        with suppress(Declined):
            await self._effects[number]()

    def _known(self, name: str, revision: int) -> _Row:
        row = self.rows.get(name)
        if row is None:
            raise Declined(Failure(Reason.ACCOUNT_NOT_FOUND, {"account": name}))
        if revision < row.revision:
            raise Declined(Failure(Reason.STALE_REVISION, {"account": name, "revision": str(row.revision)}))
        return row

    def _account(self, name: str) -> Account:
        row = self.rows[name]
        balance = Balance(row.currency, row.posted, row.held, row.posted - row.held, row.version)
        return Account(name, row.state, balance)

    def settings(self, name: str) -> tuple[AccountState, Limits]:
        """What posting would go by."""
        return self.rows[name].state, self.rows[name].limits


class _Servicer(AccountServiceServicer):
    """The same accounts, spoken to in messages."""

    def __init__(self, accounts: FakeAccounts) -> None:
        self._accounts = accounts

    async def OpenAccount(self, request: OpenAccountRequest, context: Any) -> OpenAccountResponse:  # noqa: N802, ANN401
        asked = request.account
        self._note(context)
        opening = self._accounts.open_as(
            asked.name, asked.owner, asked.currency_code, asked.kind, _limits(asked.limits), asked.revision
        )
        return OpenAccountResponse(account=_message(await _refusing(opening)))

    async def GetAccounts(self, request: GetAccountsRequest, context: Any) -> GetAccountsResponse:  # noqa: N802, ANN401
        self._note(context)
        found = await _refusing(self._accounts.get_many(list(request.names)))
        return GetAccountsResponse(accounts=[_message(account) for account in reversed(found.values())])

    async def SetAccountState(  # noqa: N802
        self,
        request: SetAccountStateRequest,
        context: Any,  # noqa: ANN401
    ) -> SetAccountStateResponse:
        self._note(context)
        setting = self._accounts.set_state(request.name, AccountState(request.state), request.revision)
        return SetAccountStateResponse(account=_message(await _refusing(setting)))

    async def SetAccountLimits(  # noqa: N802
        self,
        request: SetAccountLimitsRequest,
        context: Any,  # noqa: ANN401
    ) -> SetAccountLimitsResponse:
        self._note(context)
        setting = self._accounts.set_limits(request.name, _limits(request.limits), request.revision)
        return SetAccountLimitsResponse(account=_message(await _refusing(setting)))

    def _note(self, context: Any) -> None:  # noqa: ANN401
        self._accounts.trace_ids.append(dict(context.invocation_metadata()).get("x-request-id", ""))


async def _refusing(doing: Awaitable[Any]) -> Any:  # noqa: ANN401
    try:
        return await doing
    except Declined as declined:
        failure = declined.failure
        raise Refusal(failure.reason, f"declined: {failure.reason}", failure.metadata) from None


def _limits(message: Any) -> Limits:  # noqa: ANN401
    names = Limits.__dataclass_fields__
    return replace(Limits(), **{name: getattr(message, name) for name in names})


def _message(account: Account) -> AccountMessage:
    balance = account.balance

    def money(minor_units: int) -> Money:
        return Money(currency_code=balance.currency_code, minor_units=minor_units)

    return AccountMessage(
        name=account.name,
        currency_code=balance.currency_code,
        state=AccountStateMessage.ValueType(int(account.state)),
        balance=BalanceMessage(
            posted=money(balance.posted),
            held=money(balance.held),
            available=money(balance.available),
            version=balance.version,
        ),
    )


@asynccontextmanager
async def serve_accounts(accounts: FakeAccounts, port: int = 0) -> AsyncIterator[int]:
    """Behind a real server with the real interceptors; its port."""
    server = grpc.aio.server(interceptors=(ChainInterceptor(chain(verifier())),), options=(("grpc.so_reuseport", 0),))
    add_AccountServiceServicer_to_server(_Servicer(accounts), server)
    bound = server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    try:
        yield bound
    finally:
        await server.stop(None)
