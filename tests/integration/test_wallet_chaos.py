"""Callers and reconcilers of several workers on one wallet, with orders and answers lost, orders arriving twice and
late, callers going away and money moving: whatever happened, in the end wallet and account say the same.

The order of events is drawn from a seed, over the in-memory store with a place to be interrupted around every step.
"""

import asyncio
import random
from contextlib import suppress

import pytest

from service_kit.status import Refusal
from tests.kit.accounts import FakeAccounts, Order, unavailable
from tests.kit.wallet_acts import assert_acts_give
from tests.kit.wallets import Worker, asynchronous, creation
from wallet_service.adapters.memory_store import MemoryWalletStore
from wallet_service.domain.failure import Declined
from wallet_service.domain.lifecycle import Intent
from wallet_service.domain.update import Field
from wallet_service.domain.wallet import AccountState, Limits, NewWallet, Particulars, Wallet, WalletState
from wallet_service.ports import Due, Inserted, NameTaken, SameRequestId

ALICE = "wallets/alice"
SEEDS = range(400)
SEEDS_EACH = 50
CALLERS = 5
CALLS = 5
CANCELLED = 0.01
"""How likely it is at each turn of the loop that one of the callers goes away."""
EXPECTED = {
    WalletState.ACTIVE: AccountState.OPEN,
    WalletState.FROZEN: AccountState.FROZEN,
    WalletState.CLOSED: AccountState.CLOSED,
}


class SlowStore(MemoryWalletStore):
    """Others may run, and the caller may go away, before and behind each access, as with a real database."""

    def __init__(self, dice: random.Random) -> None:
        super().__init__(due_seconds=0)
        self._dice = dice

    async def insert(self, new: NewWallet) -> Inserted | SameRequestId | NameTaken:
        await self._pause()
        outcome = await super().insert(new)
        await self._pause()
        return outcome

    async def get(self, name: str, bound_to: str = "") -> Wallet | None:
        await self._pause()
        found = await super().get(name, bound_to)
        await self._pause()
        return found

    async def replace(self, changed: Wallet) -> Wallet | None:
        await self._pause()
        outcome = await super().replace(changed)
        await self._pause()
        return outcome

    async def claim(self, count: int, lease_seconds: float) -> list[Due]:
        await self._pause()
        return await super().claim(count, lease_seconds)

    async def _pause(self) -> None:
        for _ in range(self._dice.randrange(4)):
            await asyncio.sleep(0)


class Chaos:
    """One run."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)  # noqa: S311 - a game, repeatable by its seed
        self.accounts = FakeAccounts()
        self.store = SlowStore(self.dice)
        self.workers = [Worker(self.store, self.accounts) for _ in range(3)]
        self.accounts.before = self.on_the_way
        self.accounts.after = self.on_the_way

    async def on_the_way(self, order: Order) -> None:
        for _ in range(self.dice.randrange(6)):
            await asyncio.sleep(0)
        if order.call != "get_many" and self.dice.random() < 0.15:
            raise unavailable()
        if self.dice.random() < 0.3:
            self.money_moves()
        if self.dice.random() < 0.2:
            await self.accounts.arrives_again(self.dice.randrange(len(self.accounts.history)))

    def money_moves(self) -> None:
        """As posting would: never below the floor, never on a closed account."""
        row = self.accounts.rows.get(ALICE)
        if row is not None and row.state is not AccountState.CLOSED:
            wanted = self.dice.choice([-80, -20, 0, 0, 0, 5])
            row.posted = max(wanted, -row.limits.credit_minor_units)

    async def call(self) -> None:
        changes = self.dice.choice(self.workers).changes
        weights = [6, 5, 1, 6, 3]
        match self.dice.choices(["freeze", "unfreeze", "close", "update", "reconcile"], weights)[0]:
            case "freeze":
                await changes.set_state(ALICE, Intent.FREEZE, "")
            case "unfreeze":
                await changes.set_state(ALICE, Intent.UNFREEZE, "")
            case "close":
                await changes.set_state(ALICE, Intent.CLOSE, "")
            case "update":
                limits = Limits(
                    credit_minor_units=self.dice.choice([0, 50, 100]), max_debits_per_hour=self.dice.randrange(9)
                )
                await changes.update(ALICE, frozenset({Field.LIMITS}), Particulars(limits=limits), "", "")
            case "reconcile":
                await self.dice.choice(self.workers).reconciler.round()

    async def caller(self) -> None:
        for _ in range(CALLS):
            for _ in range(self.dice.randrange(10)):
                await asyncio.sleep(0)
            with suppress(Declined, Refusal):
                await self.call()

    async def run(self) -> None:
        with suppress(Refusal):
            await self.workers[0].changes.create(creation(request_id="r"))
        tasks = [asyncio.create_task(self.caller()) for _ in range(CALLERS)]
        while not all(task.done() for task in tasks):
            await asyncio.sleep(0)
            if self.dice.random() < CANCELLED:
                self.dice.choice(tasks).cancel()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        bugs = [outcome for outcome in outcomes if isinstance(outcome, Exception)]
        assert not bugs

    async def settle(self) -> None:
        """The storm is over; what was late arrives still, before, in between and after."""

        async def calm(_: Order) -> None:
            pass

        self.accounts.before = self.accounts.after = calm
        await self.late_orders()
        for _ in range(4):
            await self.workers[1].reconciler.round()
        await self.late_orders()

    async def late_orders(self) -> None:
        for number in self.dice.sample(range(len(self.accounts.history)), len(self.accounts.history)):
            await self.accounts.arrives_again(number)


@pytest.mark.parametrize("first", SEEDS[::SEEDS_EACH])
@asynchronous
async def test_in_the_end_wallet_and_account_say_the_same(first: int) -> None:
    for seed in range(first, first + SEEDS_EACH):
        chaos = Chaos(seed)
        await chaos.run()
        await chaos.settle()
        wallet = await chaos.store.get(ALICE)
        assert wallet is not None
        assert wallet.settled, f"seed {seed}: {wallet}"
        expected = (EXPECTED[wallet.state], wallet.particulars.limits)
        assert chaos.accounts.settings(ALICE) == expected, f"seed {seed}: {wallet}"
        assert_acts_give(wallet, chaos.store.acts)
