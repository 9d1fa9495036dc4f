"""The worker of payouts on PostgreSQL, with a bank that is told what to say: paid once or given back once, whatever
dies when."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from structlog.testing import capture_logs

from service_kit.status import Refusal
from tests.kit.auditor import audit
from tests.kit.builders import account, fee
from tests.kit.ledgers import named
from tests.kit.payouts import PAID, REFUSED, TAKEN, Bank, BusyLedger, Paying, paying_out
from tests.kit.postgres import Database, Server
from tests.kit.service import wait_until_async
from tests.kit.wallets import asynchronous
from transaction_service.domain.account import AccountKind, AccountState
from transaction_service.domain.movement import Movement
from transaction_service.payouts import worker as payout_worker
from transaction_service.payouts.pauses import Patience
from transaction_service.payouts.payout import Payout, PayoutState
from transaction_service.payouts.ports import Ledger, Payment, PayoutStore, ProviderUnavailable
from transaction_service.payouts.worker import PayoutWorker

PATIENCE = Patience(attempts_max=3, first_pause_seconds=0.01, pause_seconds_max=0.01, timeout_seconds=20)
GONE = ProviderUnavailable("UNAVAILABLE", "UNAVAILABLE: connection refused\n\0by DE89 3704")


@pytest.fixture(scope="module")
def paying(database: Database) -> Iterator[Paying]:
    with paying_out(database) as paying:
        yield paying
    audit(database.owner_dsn)


def worker(
    paying: Paying,
    bank: Bank,
    ledger: Ledger | None = None,
    store: PayoutStore | None = None,
    patience: Patience = PATIENCE,
) -> PayoutWorker:
    return PayoutWorker(store or paying.store, {"bank": bank}, ledger or paying, patience)


async def settled(paying: Paying, movement: Movement, bank: Bank, times: int = 1, **more: Any) -> Payout:  # noqa: ANN401
    """As it is after so many tries, each as soon as it may be."""
    for _ in range(times):
        paying.due(movement)
        await worker(paying, bank, **more).settle(await paying.claimed(movement))
    return await paying.now(movement)


def reversals(paying: Paying, movement: Movement) -> list[int]:
    """The states of what was asked for: 1 POSTED, 2 FAILED."""
    query = "SELECT state FROM transactions.transaction WHERE reverses = %s ORDER BY create_time"
    return [state for (state,) in paying.query(query, movement.id)]


async def balance(paying: Paying, name: str) -> int:
    [found] = await paying.ledger.accounts.get([name])
    return found.balance


@asynchronous
async def test_what_the_bank_pays_is_paid(paying: Paying) -> None:
    movement, bank = await paying.withdraw(), Bank(PAID)
    with capture_logs() as logs:
        payout = await settled(paying, movement, bank)
    assert (payout.state, payout.provider_reference, payout.last_error) == (PayoutState.PAID, "ref-1", "")
    assert (payout.next_time, payout.attempts, payout.reversal) == (None, 1, None)
    assert bank.asked == [("pay", movement.id)]
    assert paying.events(movement) == ["payout.paid"]
    assert logs == [
        {
            "event": "payout_paid",
            "log_level": "info",
            "payout": f"payouts/{movement.id}",
            "provider": "bank",
            "attempts": 1,
        }
    ]


@asynchronous
async def test_what_the_bank_refuses_is_given_back_with_its_fee(paying: Paying) -> None:
    movement = await paying.withdraw(amount=20, terms=fee(3))
    assert await balance(paying, movement.source) == 77
    with capture_logs() as logs:
        payout = await settled(paying, movement, Bank(REFUSED))
    assert (payout.state, payout.last_error) == (PayoutState.REVERSED, "the account is closed")
    assert await balance(paying, movement.source) == 100
    assert reversals(paying, movement) == [1]
    assert payout.reversal is not None
    reversal = await paying.find(payout.reversal)
    assert reversal is not None
    assert (reversal.movement.principal, reversal.movement.reverses) == ("system/payouts", movement.id)
    assert paying.events(movement) == ["payout.reversed"]
    assert [event["event"] for event in logs] == ["payout_refused", "payout_reversed"]


@asynchronous
async def test_what_the_bank_has_taken_is_asked_for(paying: Paying) -> None:
    movement, bank = await paying.withdraw(), Bank(TAKEN, TAKEN, TAKEN, TAKEN, TAKEN, PAID)
    taken = await settled(paying, movement, bank, 5)
    assert (taken.state, taken.taken, taken.attempts) == (PayoutState.PENDING, True, 5), "a word is no failure"
    assert (await settled(paying, movement, bank)).state is PayoutState.PAID
    assert [call for call, _ in bank.asked] == ["pay", "get", "get", "get", "get", "get"]


@asynchronous
async def test_what_the_bank_has_forgotten_is_paid(paying: Paying) -> None:
    movement, bank = await paying.withdraw(), Bank(TAKEN, None, PAID)
    assert (await settled(paying, movement, bank, 2)).state is PayoutState.PAID
    assert [call for call, _ in bank.asked] == ["pay", "get", "pay"]


@asynchronous
async def test_a_bank_that_cannot_be_reached_is_called_again_and_given_up(paying: Paying) -> None:
    movement, bank = await paying.withdraw(), Bank(GONE, GONE, GONE, PAID)
    with capture_logs() as logs:
        postponed = await settled(paying, movement, bank, 2)
        assert (postponed.state, postponed.attempts) == (PayoutState.PENDING, 2)
        assert postponed.last_error == "UNAVAILABLE: connection refused  by DE89 3704"
        assert postponed.next_time is not None
        dead = await settled(paying, movement, bank)
    assert (dead.state, dead.next_time) == (PayoutState.DEAD, None)
    assert paying.events(movement) == ["payout.dead"]
    assert [(event["event"], event["error"]) for event in logs] == [
        ("payout_postponed", "UNAVAILABLE"),
        ("payout_postponed", "UNAVAILABLE"),
        ("payout_dead", "UNAVAILABLE"),
    ]
    assert "DE89" not in str(logs), "no account in a log"
    await paying.payouts.retry(movement.id, "ops", "")
    assert (await settled(paying, movement, bank)).state is PayoutState.PAID
    assert {asked for _, asked in bank.asked} == {movement.id}, "always under the same key"


@asynchronous
async def test_a_bank_that_is_not_set_up_is_as_one_that_cannot_be_reached(paying: Paying) -> None:
    movement = await paying.withdraw()
    alone = PayoutWorker(paying.store, {}, paying, PATIENCE)
    await alone.settle(await paying.claimed(movement))
    payout = await paying.now(movement)
    assert (payout.state, payout.last_error) == (PayoutState.PENDING, "no payout provider bank is set up")


@asynchronous
async def test_a_bank_that_does_not_answer_in_time_tells_nothing(paying: Paying) -> None:
    class Silent(Bank):
        async def pay(self, payout: Payout) -> Payment:
            await asyncio.Event().wait()
            return await super().pay(payout)

    movement = await paying.withdraw()
    payout = await settled(paying, movement, Silent(PAID), patience=replace(PATIENCE, timeout_seconds=0.05))
    assert (payout.state, payout.last_error) == (PayoutState.PENDING, "the provider did not answer in time")


@asynchronous
async def test_a_bug_in_a_bank_s_client_is_told_and_tells_nothing(paying: Paying) -> None:
    movement = await paying.withdraw()
    with capture_logs() as logs:
        payout = await settled(paying, movement, Bank(ZeroDivisionError()))
    assert (payout.state, payout.last_error) == (
        PayoutState.PENDING,
        "the provider could not be called: ZeroDivisionError",
    )
    assert [event["event"] for event in logs] == ["payout_failed", "payout_postponed"]


class Forgetful:
    """A store that dies at one word: before it is written down."""

    def __init__(self, store: Any, word: str) -> None:  # noqa: ANN401 - a PayoutStore
        self._store = store
        self._word = word

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - its methods
        if name == self._word:
            return self._die
        return getattr(self._store, name)

    async def _die(self, *_: object) -> None:
        raise Refusal("UNAVAILABLE", "the database cannot be reached")


@pytest.mark.parametrize(
    ("word", "said", "is_then", "ends"),
    [
        ("paid", PAID, PayoutState.PENDING, PayoutState.PAID),
        ("refused", REFUSED, PayoutState.PENDING, PayoutState.REVERSED),
        ("taken", TAKEN, PayoutState.PENDING, PayoutState.PENDING),
        ("reversed", REFUSED, PayoutState.REFUSED, PayoutState.REVERSED),
    ],
)
@asynchronous
async def test_a_worker_that_dies_before_it_writes_an_answer_down_leaves_it_to_the_next(
    paying: Paying, word: str, said: Payment, is_then: PayoutState, ends: PayoutState
) -> None:
    movement, bank = await paying.withdraw(), Bank(said)
    with capture_logs() as logs:
        died = await settled(paying, movement, bank, store=Forgetful(paying.store, word))
    assert (died.state, logs[-1]["event"], logs[-1]["reason"]) == (is_then, "payout_interrupted", "UNAVAILABLE")
    assert (await settled(paying, movement, bank)).state is ends
    assert reversals(paying, movement) == ([1] if ends is PayoutState.REVERSED else [])


@asynchronous
async def test_a_worker_that_dies_between_a_refusal_and_the_reversal_leaves_it_to_the_next(paying: Paying) -> None:
    movement = await paying.withdraw()
    assert await paying.store.refused(await paying.claimed(movement), "ref-1", "no")
    bank = Bank(PAID)
    assert (await settled(paying, movement, bank)).state is PayoutState.REVERSED
    assert bank.asked == [], "its word was final"


@asynchronous
async def test_a_reversal_whose_answer_was_lost_is_one(paying: Paying) -> None:
    movement = await paying.withdraw()
    busy = BusyLedger(paying, 5)
    lost = await settled(paying, movement, Bank(REFUSED), 5, ledger=busy)
    assert (lost.state, lost.last_error) == (PayoutState.REFUSED, "the account is closed"), "however long it takes"
    assert (await settled(paying, movement, Bank(REFUSED), ledger=busy)).state is PayoutState.REVERSED
    assert reversals(paying, movement) == [1]
    assert await balance(paying, movement.source) == 100


@asynchronous
async def test_a_reversal_that_the_ledger_refuses_waits_for_an_operator(paying: Paying) -> None:
    till = named("till")
    await paying.ledger.accounts.open(replace(account(till, kind=AccountKind.PROVIDER), revision=1))
    movement = await paying.withdraw(provider=till)

    async def become(state: AccountState) -> None:
        await paying.ledger.accounts.change(till, lambda before: replace(before, state=state))

    await become(AccountState.FROZEN)
    bank = Bank(REFUSED)
    with capture_logs() as logs:
        dead = await settled(paying, movement, bank)
    why = f"the account is closed; not given back: SOURCE_FROZEN (wallet {till})"
    assert (dead.state, dead.reversal_attempts, dead.last_error) == (PayoutState.DEAD, 1, why)
    assert [event["event"] for event in logs] == ["payout_refused", "payout_dead"]
    await paying.payouts.retry(movement.id, "ops", "")
    again = await settled(paying, movement, bank)
    assert (again.state, again.reversal_attempts, again.last_error) == (PayoutState.DEAD, 2, why)
    await become(AccountState.OPEN)
    await paying.payouts.retry(movement.id, "ops", "")
    assert (await settled(paying, movement, bank)).state is PayoutState.REVERSED
    assert reversals(paying, movement) == [2, 2, 1]
    assert await balance(paying, movement.source) == 100
    assert paying.events(movement) == ["payout.dead", "payout.dead", "payout.reversed"]


@pytest.mark.parametrize("said", [PAID, REFUSED])
@asynchronous
async def test_workers_that_all_believe_it_is_theirs_do_it_once(paying: Paying, said: Payment) -> None:
    movement = await paying.withdraw()
    claims = []
    for _ in range(4):
        paying.due(movement)
        claims.append(await paying.claimed(movement))
    with capture_logs() as logs:
        await asyncio.gather(*(worker(paying, Bank(said)).settle(claim) for claim in claims))
    ended = PayoutState.PAID if said is PAID else PayoutState.REVERSED
    assert (await paying.now(movement)).state is ended
    assert len(paying.events(movement)) == 1
    assert reversals(paying, movement) == ([] if said is PAID else [1])
    assert [event for event in logs if event["log_level"] == "error"] == []


@asynchronous
async def test_a_late_answer_counts_also_where_others_have_given_up(paying: Paying) -> None:
    movement = await paying.withdraw()
    slow = await paying.claimed(movement)
    assert (
        await settled(paying, movement, Bank(GONE), patience=replace(PATIENCE, attempts_max=1))
    ).state is PayoutState.DEAD
    await worker(paying, Bank(PAID)).settle(slow)
    assert (await paying.now(movement)).state is PayoutState.PAID


@pytest.mark.parametrize(("first", "then", "ends"), [(PAID, REFUSED, "PAID"), (REFUSED, PAID, "REVERSED")])
@asynchronous
async def test_a_bank_that_takes_its_word_back_changes_nothing(
    paying: Paying, first: Payment, then: Payment, ends: str
) -> None:
    movement = await paying.withdraw()
    slow = await paying.claimed(movement)
    before = await settled(paying, movement, Bank(first))
    with capture_logs() as logs:
        await worker(paying, Bank(then)).settle(slow)
    assert await paying.now(movement) == before
    assert [(event["event"], event["log_level"], event["state"], event["told"]) for event in logs] == [
        ("payout_contradicted", "error", ends, then.state.name)
    ]


@asynchronous
async def test_what_is_at_its_end_is_a_bug_to_claim(paying: Paying) -> None:
    movement = await paying.withdraw()
    paid = await settled(paying, movement, Bank(PAID))
    with capture_logs() as logs:
        await worker(paying, Bank(PAID)).settle(paid)
    assert [event["event"] for event in logs] == ["payout_failed"]


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
