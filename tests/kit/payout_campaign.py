"""Withdrawals with payouts while everything that can die dies, and the count of what became of them.

`python -m tests.kit.payout_campaign SEED ...` runs one for each seed and prints its figures.
"""

import asyncio
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

from specie.transaction.v1 import (
    AccountState,
    Fee,
    FeeMode,
    PayoutDestination,
    PayoutServiceStub,
    RetryPayoutRequest,
    WithdrawResponse,
)

from tests.kit.calls import CALL_SECONDS, Client, Failed, connected, key, outcome
from tests.kit.ledger import Ledger
from tests.kit.payout_reckoning import BENEFICIARY, DEAD, ENDS, Wish, reckon
from tests.kit.postgres import Database, running_server
from tests.kit.service import POLL_SECONDS, ServiceProcess, back_office, transaction_service, wait_until_async
from tests.kit.simulator import SimulatorProcess, simulator
from tests.kit.tokens import Authorised

T = TypeVar("T")

WITHDRAWALS: Final = 500
WALLETS: Final = 6
BALANCE: Final = 1_000_000
"""Of each wallet: enough for all of them."""
CALLERS: Final = 12
KILLS: Final = 3
"""Of each process, by us. The simulator also dies by itself."""
AHEAD_MAX: Final = 60
"""So far do withdrawals run ahead of their payouts, so that there are some of both whenever something is killed."""
KILLED_UNTIL: Final = 0.8
"""Of the way."""
REPEATED_SHARE: Final = 0.1
"""Of the callers that ask once more although they were answered."""
AGAIN: Final = {"UNAVAILABLE", "CANCELLED", "DEADLINE_EXCEEDED", "ABORTED"}
FAULTS: Final = {
    "delay_ms": 100,
    "delay_share": 0.1,
    "lost_answer": 0.1,
    "duplicate": 0.1,
    "refuse": 0.1,
    "crash": 0.02,
    "pending": 0.1,
    "unavailable": 0.1,
}
HASTE: Final = {
    "PAYOUT_TIMEOUT_SECONDS": 0.5,
    "PAYOUT_FIRST_PAUSE_SECONDS": 0.05,
    "PAYOUT_PAUSE_SECONDS_MAX": 0.5,
    "PAYOUT_ATTEMPTS_MAX": 8,
}
"""Few attempts, so that some payouts are given up and retried by an operator."""
PROVIDER: Final = "bank"
CLAIMED: Final = """
SELECT id::text, claimed_until FROM transactions.payout WHERE claimed_until IS NOT NULL FOR UPDATE SKIP LOCKED
"""
"""Without those that are just being changed: who is held still may be about to, for as long as that lasts."""
END_SECONDS_MAX: Final = 90
"""For what is left when the faults are off."""


class Keeper:
    """Starts again whatever has died, as an orchestrator does."""

    def __init__(self, processes: Mapping[str, ServiceProcess | SimulatorProcess]) -> None:
        self._processes = processes
        self.kills = Counter(dict.fromkeys(processes, 0))
        self.starts = Counter(dict.fromkeys(processes, 0))

    async def run(self) -> None:
        while True:
            for name, process in self._processes.items():
                if process.process is None or process.process.poll() is not None:
                    self.starts[name] += 1
                    process.launch()
            await asyncio.sleep(POLL_SECONDS)

    def kill(self, name: str) -> None:
        self.kills[name] += 1
        self._processes[name].kill()

    @contextmanager
    def halted(self, name: str) -> Iterator[None]:
        """It is held still, and goes on at the end as if nothing had been."""
        process = self._processes[name].process
        assert process is not None
        process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            process.send_signal(signal.SIGCONT)


class Campaign:
    """One run. `figures`: what happened on the way."""

    def __init__(self, database: Database, bank: SimulatorProcess, target: str, keeper: Keeper, seed: int) -> None:
        self._ledger = Ledger(database)
        self._bank = bank
        self._target = target
        self._keeper = keeper
        self._chance = random.Random(seed)  # noqa: S311 - a choice, not a secret
        self._wishes: list[Wish] = []
        self._ended = 0
        self.acknowledged: dict[str, Wish] = {}
        """By the payout's id, which is the transaction's."""
        self.figures: Counter[str] = Counter()

    async def run(self) -> None:
        """Returns when every payout has come to its end."""
        async with connected(self._target) as client:
            wallets = [await client.open(BALANCE) for _ in range(WALLETS)]
            fees = await client.open()
            self._wishes = [self._wish(number, wallets, fees) for number in range(WITHDRAWALS)]
            # Whose fee is in there is not given his money back yet: a reversal that the ledger refuses.
            await client.set_state(fees, AccountState.ACCOUNT_STATE_FROZEN, revision=2)
            self._bank.switch(**FAULTS)
            async with asyncio.TaskGroup() as beside:
                others = [beside.create_task(work) for work in (self._keeper.run(), self._count())]
                callers = [beside.create_task(self._caller()) for _ in range(CALLERS)]
                await self._kill_at_random()
                await self._take_over("office 1")
                await asyncio.gather(*callers)
                self._bank.switch()
                await self._answered(
                    lambda: client.set_state(fees, AccountState.ACCOUNT_STATE_OPEN, revision=3), "thawed again"
                )
                await self._end(client)
                for task in others:
                    task.cancel()

    def _wish(self, number: int, wallets: list[str], fees: str) -> Wish:
        mode = (FeeMode.FEE_MODE_UNSPECIFIED, FeeMode.FEE_MODE_ON_TOP, FeeMode.FEE_MODE_INCLUDED)[number % 3]
        return Wish(
            wallet=self._chance.choice(wallets),
            amount=self._chance.randint(100, 2_000),
            fee=self._chance.randint(1, 40) if mode else 0,
            fee_mode=mode,
            fee_wallet=fees if number % 2 else "",
            account=f"DE{number:020}",
            request_id=key(),
        )

    async def _caller(self) -> None:
        async with connected(self._target) as client:
            while self._wishes:
                if len(self.acknowledged) - self._ended > AHEAD_MAX:
                    await asyncio.sleep(POLL_SECONDS)
                    continue
                wish = self._wishes.pop()
                answer = await self._withdraw(client, wish)
                self.figures["done, but not heard"] += answer.replayed
                self.acknowledged[answer.transaction.name.removeprefix("transactions/")] = wish
                if self._chance.random() < REPEATED_SHARE:
                    again = await self._withdraw(client, wish)
                    assert (again.transaction, again.replayed) == (answer.transaction, True)

    async def _withdraw(self, client: Client, wish: Wish) -> WithdrawResponse:
        fee = Fee(minor_units=wish.fee, mode=wish.fee_mode, destination=wish.fee_wallet) if wish.fee else None
        payout = PayoutDestination(provider=PROVIDER, account=wish.account, beneficiary=BENEFICIARY)
        more: dict[str, Any] = {"description": wish.reference, "fee": fee, "payout": payout}
        answer: WithdrawResponse = await self._answered(
            lambda: client.withdraw(wish.wallet, wish.amount, request_id=wish.request_id, **more), "sent again"
        )
        return answer

    async def _answered(self, call: Callable[[], Awaitable[T]], what: str) -> T:
        """Asks until there is an answer."""
        while isinstance(answer := await outcome(call()), Failed):
            assert answer.code in AGAIN, answer
            self.figures[what] += 1
            await asyncio.sleep(POLL_SECONDS)
        return answer

    async def _kill_at_random(self) -> None:
        """Each process a few times; now and then two at once."""
        victims = [name for name in self._keeper.kills for _ in range(KILLS)]
        self._chance.shuffle(victims)
        for moment, victim in zip(sorted(self._chance.uniform(0, KILLED_UNTIL) for _ in victims), victims, strict=True):
            await wait_until_async(partial(self._has_come, moment), "it goes on")
            self._keeper.kill(victim)

    async def _take_over(self, office: str) -> None:
        """It is held still until the other one has taken on all that it had claimed. Then it goes on with that."""
        await wait_until_async(self._claimed, "there are claims")
        with self._keeper.halted(office):
            claimed = self._claimed()
            await wait_until_async(lambda: not claimed & self._claimed(), "others have claimed it")
        self.figures["taken over"] = len(claimed)

    def _claimed(self) -> set[tuple[str, datetime]]:
        return set(self._ledger.query(CLAIMED))

    def _has_come(self, share: float) -> bool:
        """This far on its way: half of it is to acknowledge withdrawals, half to end their payouts."""
        return len(self.acknowledged) + self._ended >= 2 * WITHDRAWALS * share

    async def _count(self) -> None:
        while True:
            states = await self._states()
            self._ended = sum(states[state] for state in (*ENDS, DEAD))
            await asyncio.sleep(2 * POLL_SECONDS)

    async def _states(self) -> Counter[int]:
        rows = await asyncio.to_thread(self._ledger.query, "SELECT state, count(*) FROM transactions.payout GROUP BY 1")
        return Counter(dict(rows))

    async def _end(self, client: Client) -> None:
        """An operator retries what was given up, until all is ended."""
        payouts: Any = Authorised(PayoutServiceStub(client.channel))
        last = time.monotonic() + END_SECONDS_MAX
        while (states := await self._states()).total() > sum(states[state] for state in ENDS):
            assert time.monotonic() < last, f"payouts did not end: {states}"
            dead = await asyncio.to_thread(
                self._ledger.query, "SELECT 'payouts/' || id FROM transactions.payout WHERE state = %s", DEAD
            )
            for (name,) in dead:
                request = RetryPayoutRequest(name=name)
                await self._answered(partial(payouts.RetryPayout, request, timeout=CALL_SECONDS), "retried again")
                self.figures["retried by an operator"] += 1
            await asyncio.sleep(POLL_SECONDS)


def campaign(database: Database, folder: Path, seed: int) -> Counter[str]:
    """Runs one and counts: raises AssertionError for what is not as it must be. What happened on the way."""
    with ExitStack() as ending:
        bank = ending.enter_context(simulator(folder))
        providers = {"PAYOUT_PROVIDERS": f"{PROVIDER}={bank.target}"}
        service = ending.enter_context(transaction_service(database, folder, **providers))
        offices = [ending.enter_context(back_office(database, folder, **providers, **HASTE)) for _ in range(2)]
        keeper = Keeper({"service": service, "office 1": offices[0], "office 2": offices[1], "bank": bank})
        run = Campaign(database, bank, service.targets[0], keeper, seed)
        asyncio.run(run.run())
        figures = run.figures + reckon(database, bank.book(), run.acknowledged, BALANCE)
    figures.update({f"killed: {name}": count for name, count in keeper.kills.items()})
    figures.update({f"fault: {name}": count for name, count in bank.happened().items()})
    figures.update(postponed=sum(len(office.events("payout_postponed")) for office in offices))
    contradicted = [event for office in offices for event in office.events("payout_contradicted")]
    assert not contradicted, contradicted
    return figures


def main(seeds: list[int]) -> None:
    with running_server() as server:
        for seed in seeds:
            folder = Path(tempfile.mkdtemp(prefix="specie-campaign-"))
            with server.fresh_database() as database:
                began = time.monotonic()
                figures = campaign(database, folder, seed)
                seconds = time.monotonic() - began
            shutil.rmtree(folder)
            told = ", ".join(f"{name} {count}" for name, count in sorted(figures.items()))
            print(f"seed {seed}, {seconds:.0f} s: {told}", flush=True)


if __name__ == "__main__":
    main([int(seed) for seed in sys.argv[1:]])
