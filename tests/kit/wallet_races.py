"""Two workers that meet on one wallet over PostgreSQL, and what a test needs to let them meet in exactly one order."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from pydantic import SecretStr

from service_kit.act_table import SqlActs
from service_kit.database import Database as Connections
from service_kit.status import Refusal
from tests.kit.accounts import FakeAccounts, Order, unavailable
from tests.kit.postgres import Database
from tests.kit.tampering import unguarded
from tests.kit.tokens import WALLET_IDENTITY
from tests.kit.wallet_acts import assert_acts_give, read_acts
from tests.kit.wallets import Worker, creation
from wallet_service.adapters.sql_store import SqlWalletStore
from wallet_service.adapters.tables import act
from wallet_service.app.reading import WalletWithBalance
from wallet_service.domain.failure import Declined, Failure
from wallet_service.domain.update import Field
from wallet_service.domain.wallet import NO_LIMITS, AccountState, Limits, Particulars, Wallet, WalletState
from wallet_service.settings import WalletSettings

ALICE = "wallets/alice"
LINE = Limits(credit_minor_units=100)
NO_LINE = Limits(max_debits_per_hour=9)
LIMITS = frozenset({Field.LIMITS})
ALL = frozenset(Field)


@dataclass(frozen=True)
class Scene:
    """Two workers, one database, one account service. Everything unfinished is due at once."""

    store: SqlWalletStore
    accounts: FakeAccounts
    one: Worker
    two: Worker

    async def alice(self) -> Wallet:
        wallet = await self.store.get(ALICE)
        assert wallet is not None
        return wallet

    async def created(self, **changed: Any) -> None:  # noqa: ANN401 - any field of the creation
        await self.one.changes.create(creation(**changed))
        self.accounts.orders.clear()

    def sent(self) -> list[tuple[object, int]]:
        """What was ordered, and at which revision."""
        return [(order.wanted, order.revision) for order in self.accounts.orders if order.call != "get_many"]

    async def reconciled(self, worker: Worker) -> None:
        await worker.reconciler.round()

    async def assert_settled(self, state: WalletState, limits: Limits = NO_LIMITS) -> None:
        """Nothing is under way, and the wallet and its account say the same."""
        wallet = await self.alice()
        expected = {WalletState.ACTIVE: AccountState.OPEN, WalletState.FROZEN: AccountState.FROZEN}
        assert (wallet.state, wallet.attempt, wallet.particulars.limits) == (state, None, limits)
        assert self.accounts.settings(ALICE) == (expected.get(state, AccountState.CLOSED), limits)


@asynccontextmanager
async def scene(database: Database) -> AsyncIterator[Scene]:
    connections = Connections(WalletSettings(database_dsn=SecretStr(database.wallet_dsn), **WALLET_IDENTITY), "test")
    with unguarded(database.owner_dsn, "wallets") as cursor:
        cursor.execute("TRUNCATE wallet, act")
    store = SqlWalletStore(connections, due_seconds=0)
    accounts = FakeAccounts()
    try:
        yield Scene(store, accounts, Worker(store, accounts), Worker(store, accounts))
        wallet = await store.get(ALICE)
        if wallet is not None:
            assert_acts_give(wallet, await read_acts(SqlActs(connections, act), subject=ALICE))
    finally:
        connections.close()


class Gate:
    """Lets the first order of a kind wait, before or after it took effect, until it is opened."""

    def __init__(self, call: str) -> None:
        self._call = call
        self._used = False
        self.reached = asyncio.Event()
        self.opened = asyncio.Event()

    async def __call__(self, order: Order) -> None:
        if order.call == self._call and not self._used:
            self._used = True
            self.reached.set()
            await self.opened.wait()


def failing(call: str) -> Callable[[Order], Awaitable[None]]:
    """Every order of a kind is lost, or its answer is."""

    async def hook(order: Order) -> None:
        if order.call == call:
            raise unavailable()

    return hook


async def nothing(_: Order) -> None:
    pass


async def declined(calling: Awaitable[WalletWithBalance]) -> Failure:
    with pytest.raises(Declined) as caught:
        await calling
    return caught.value.failure


async def refused(calling: Awaitable[WalletWithBalance]) -> str:
    with pytest.raises(Refusal) as caught:
        await calling
    return caught.value.reason


def set_limits(worker: Worker, limits: Limits, name: str = "") -> Coroutine[Any, Any, WalletWithBalance]:
    return worker.changes.update(ALICE, ALL, Particulars(name, {}, limits), "", "")


def after(count: int, gate: Gate) -> Callable[[Order], Awaitable[None]]:
    """The gate is there only after so many orders of a state."""
    left = count

    async def hook(order: Order) -> None:
        nonlocal left
        if order.call == "set_state" and left:
            left -= 1
            return
        await gate(order)

    return hook


def number_of(accounts: FakeAccounts, wanted: object) -> int:
    """Which order it was; orders that were cleared from the list count too."""
    [number] = [n for n, order in enumerate(accounts.history) if order.wanted == wanted]
    return number


def but_first(gate: Gate) -> Callable[[Order], Awaitable[None]]:
    seen = False

    async def hook(order: Order) -> None:
        nonlocal seen
        if order.call == "set_limits" and not seen:
            seen = True
            return
        await gate(order)

    return hook
