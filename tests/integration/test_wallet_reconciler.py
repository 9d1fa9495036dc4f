"""The reconciler beside what goes wrong: one bad wallet, no database, a bug, many wallets, several workers."""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

import pytest
from prometheus_client import REGISTRY

from service_kit.status import Refusal
from tests.kit.accounts import FakeAccounts, Order, unavailable
from tests.kit.wallets import Worker, asynchronous, new_wallet
from wallet_service.adapters.memory_store import MemoryWalletStore
from wallet_service.app import reconciler as module
from wallet_service.domain.failure import Declined, Failure, Reason
from wallet_service.domain.wallet import WalletState
from wallet_service.ports import Due


class Flaky(MemoryWalletStore):
    """Its first claims fail as told."""

    def __init__(self, *errors: Exception) -> None:
        super().__init__(due_seconds=0)
        self.errors = list(errors)
        self.claims = 0

    async def claim(self, count: int, lease_seconds: float) -> list[Due]:
        self.claims += 1
        if self.errors:
            raise self.errors.pop(0)
        return await super().claim(count, lease_seconds)


async def states(store: MemoryWalletStore) -> dict[str, WalletState]:
    return {wallet.name.removeprefix("wallets/"): wallet.state for wallet in await store.page("", None, "", 10_000)}


async def until(worker: Worker, done: Callable[[], Coroutine[Any, Any, bool]]) -> None:
    """Runs the worker's reconciler until something is so."""
    running = asyncio.create_task(worker.reconciler.run())
    while not await done():
        assert not running.done()
        await asyncio.sleep(0)
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running


BAD: list[tuple[Callable[[], Exception], str]] = [
    (unavailable, "postponed"),
    (lambda: Declined(Failure(Reason.UNKNOWN_CURRENCY, {"currency": "USD"})), "stuck"),
    (lambda: Declined(Failure(Reason.ACCOUNT_ALREADY_EXISTS, {"account": "x"})), "stuck"),
    (lambda: RuntimeError("a bug"), "stuck"),
]


def counted(outcome: str) -> float:
    return REGISTRY.get_sample_value("specie_wallets_reconciled_total", {"outcome": outcome}) or 0.0


@pytest.mark.parametrize(("error", "outcome"), BAD)
@asynchronous
async def test_a_wallet_that_cannot_be_finished_is_counted_and_does_not_hold_up_the_others(
    error: Callable[[], Exception], outcome: str
) -> None:
    before = counted(outcome), counted("finished")
    store, accounts = MemoryWalletStore(due_seconds=0), FakeAccounts()
    for name in ("bad", "good", "better"):
        await store.insert(new_wallet(f"wallets/{name}"))

    async def bad(order: Order) -> None:
        if order.name == "wallets/bad":
            raise error()

    accounts.before = bad
    worker = Worker(store, accounts)
    assert await worker.reconciler.round() == 3
    assert (counted(outcome), counted("finished")) == (before[0] + 1, before[1] + 2)
    creating, active = WalletState.CREATING, WalletState.ACTIVE
    assert await states(store) == {"bad": creating, "good": active, "better": active}
    assert await worker.reconciler.round() == 1


@asynchronous
async def test_a_wallet_that_takes_too_long_is_put_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WALLET_SECONDS_MAX", 0.01)
    store, accounts = MemoryWalletStore(due_seconds=0), FakeAccounts()
    await store.insert(new_wallet())

    async def hang(_: Order) -> None:
        await asyncio.Event().wait()

    accounts.before = hang
    await Worker(store, accounts).reconciler.round()
    assert await states(store) == {"alice": WalletState.CREATING}


@asynchronous
async def test_neither_an_outage_nor_a_bug_ends_it() -> None:
    store = Flaky(Refusal("UNAVAILABLE", "no database"), RuntimeError("a bug"))
    await store.insert(new_wallet())

    async def finished() -> bool:
        return await states(store) == {"alice": WalletState.ACTIVE}

    await until(Worker(store, FakeAccounts()), finished)
    assert store.claims >= 3


@asynchronous
async def test_a_backlog_is_taken_on_without_pauses() -> None:
    store = Flaky()
    wallets = module.CLAIMED_MAX * 2 + 1
    for number in range(wallets):
        await store.insert(new_wallet(f"wallets/w{number}"))
    worker = Worker(store, FakeAccounts())
    worker.reconciler = module.Reconciler(store, worker.carrier, every_seconds=3600)

    async def finished() -> bool:
        return set((await states(store)).values()) == {WalletState.ACTIVE}

    await until(worker, finished)
    assert store.claims == 3


@asynchronous
async def test_workers_share_the_work() -> None:
    store, accounts = MemoryWalletStore(due_seconds=0), FakeAccounts()
    for number in range(20):
        await store.insert(new_wallet(f"wallets/w{number}"))
    workers = [Worker(store, accounts) for _ in range(3)]
    for worker in workers:
        worker.reconciler = module.Reconciler(store, worker.carrier, every_seconds=1)
    assert sorted(await asyncio.gather(*(worker.reconciler.round() for worker in workers))) == [0, 0, 20]
    assert len(accounts.history) == 20
