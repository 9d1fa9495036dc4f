"""The worker of payouts as it runs: several at once, a stop, a database that is away."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from tests.kit.auditor import audit
from tests.kit.payouts import (
    GONE,
    PAID,
    PATIENCE,
    REFUSED,
    Bank,
    Forgetful,
    Paying,
    balance,
    paying_out,
    settled,
    worker,
)
from tests.kit.postgres import Database, Server
from tests.kit.service import wait_until_async
from tests.kit.wallets import asynchronous
from transaction_service.payouts import worker as payout_worker
from transaction_service.payouts.payout import Payout, PayoutState
from transaction_service.payouts.ports import Payment


@pytest.fixture(scope="module")
def paying(database: Database) -> Iterator[Paying]:
    with paying_out(database) as paying:
        yield paying
    audit(database.owner_dsn)


@asynchronous
async def test_it_works_off_what_is_due_with_so_many_calls_at_once(postgres_server: Server) -> None:
    """Half of them are refused, the bank fails now and then, and two workers run."""

    class Crowded(Bank):
        def __init__(self) -> None:
            super().__init__(made=self._say)
            self.busy = self.most = 0
            self.open = asyncio.Event()
            self.paid: set[str] = set()

        def _say(self, payout_id: str) -> Payment | Exception:
            if len(self.asked) % 3 == 0:
                return GONE
            if int(payout_id[-1], 16) % 2:
                return REFUSED
            self.paid.add(payout_id)
            return PAID

        async def pay(self, payout: Payout) -> Payment:
            self.busy += 1
            self.most = max(self.most, self.busy)
            try:
                await self.open.wait()
                return await super().pay(payout)
            finally:
                self.busy -= 1

    with postgres_server.fresh_database() as fresh, paying_out(fresh) as paying:
        [wallet] = await paying.wallets("payer")
        made = [await paying.withdraw(wallet, 1) for _ in range(60)]
        banks, tireless = [Crowded(), Crowded()], replace(PATIENCE, attempts_max=1000)
        running = [asyncio.create_task(worker(paying, bank, patience=tireless).run()) for bank in banks]
        await wait_until_async(lambda: all(bank.busy == payout_worker.AT_ONCE_MAX for bank in banks), "all are busy")
        for bank in banks:
            bank.open.set()
        await wait_until_async(
            lambda: paying.query("SELECT count(*) FROM transactions.payout WHERE state IN (2, 4)") == [(60,)], "the end"
        )
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        assert [bank.most for bank in banks] == [payout_worker.AT_ONCE_MAX] * 2
        states = {movement.id: (await paying.now(movement)).state for movement in made}
        paid = {id_ for id_, state in states.items() if state is PayoutState.PAID}
        assert paid == banks[0].paid | banks[1].paid
        assert await balance(paying, wallet) == 100 - len(paid)
        audit(fresh.owner_dsn)


@asynchronous
async def test_a_bank_that_hangs_holds_up_no_other(postgres_server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(payout_worker, "FINISH_SECONDS", 0)

    class Hanging(Bank):
        async def pay(self, payout: Payout) -> Payment:
            self.asked.append(("pay", payout.id))
            await asyncio.Event().wait()
            return PAID

    with postgres_server.fresh_database() as fresh, paying_out(fresh) as paying:
        [wallet] = await paying.wallets("payer")
        hanging, sound = Hanging(), Bank(made=lambda _: PAID)
        for _ in range(2 * payout_worker.AT_ONCE_MAX):
            paying.change(await paying.withdraw(wallet, 1), "next_time = now() - interval '1 hour'")
        running = asyncio.create_task(worker(paying, hanging, other=sound).run())
        await wait_until_async(lambda: len(hanging.asked) == payout_worker.AT_ONCE_MAX, "it has all that it may have")
        made = [await paying.withdraw(wallet, 1, paid_by="other") for _ in range(2 * payout_worker.AT_ONCE_MAX)]
        await wait_until_async(
            lambda: paying.query("SELECT count(*) FROM transactions.payout WHERE state = 2") == [(len(made),)], "paid"
        )
        assert len(hanging.asked) == payout_worker.AT_ONCE_MAX
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


@asynchronous
async def test_a_claim_outlasts_two_calls_of_the_provider(paying: Paying) -> None:
    """One that asks what became of a payment, and one that pays what the provider knows nothing of."""

    class Asked(Forgetful):
        async def claim(self, each_max: int, lease_seconds: float, under_way: Mapping[str, int]) -> Sequence[Payout]:
            leases.append(lease_seconds)
            return await paying.store.claim(each_max, lease_seconds, under_way)

    leases: list[float] = []
    await worker(paying, Bank(PAID), store=Asked(paying.store, ""))._round()
    assert [lease > 2 * PATIENCE.timeout_seconds for lease in leases] == [True]


@asynchronous
async def test_a_stop_lets_calls_end_and_cuts_off_those_that_do_not(
    paying: Paying, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(payout_worker, "FINISH_SECONDS", 0.2)
    slow, stuck = await paying.withdraw(), await paying.withdraw()
    began, go = asyncio.Semaphore(0), asyncio.Event()

    class Slow(Bank):
        async def pay(self, payout: Payout) -> Payment:
            began.release()
            await (asyncio.Event() if payout.id == stuck.id else go).wait()
            return await super().pay(payout)

    running = asyncio.create_task(worker(paying, Slow(PAID)).run())
    for _ in range(2):
        await began.acquire()
    running.cancel()
    go.set()
    await asyncio.gather(running, return_exceptions=True)
    assert (await paying.now(slow)).state is PayoutState.PAID
    assert (await paying.now(stuck)).state is PayoutState.PENDING
    assert (await settled(paying, stuck, Bank(PAID))).state is PayoutState.PAID


@asynchronous
async def test_a_database_that_is_away_ends_no_worker(paying: Paying, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(payout_worker, "FAILED_SECONDS", 0.01)
    movement = await paying.withdraw()
    with capture_logs() as logs:
        running = asyncio.create_task(worker(paying, Bank(PAID), store=Forgetful(paying.store, "claim")).run())
        await wait_until_async(lambda: len(logs) > 1, "it has failed twice")
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert {event["event"] for event in logs} == {"payouts_not_claimed"}
    assert (await settled(paying, movement, Bank(PAID))).state is PayoutState.PAID
