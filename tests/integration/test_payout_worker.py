"""The worker of payouts on PostgreSQL, with a bank that is told what to say: paid once or given back once, whatever
dies when."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from uuid import uuid4

import pytest
from structlog.testing import capture_logs

from tests.kit.auditor import audit
from tests.kit.builders import account, fee
from tests.kit.ledgers import named
from tests.kit.payouts import (
    GONE,
    PAID,
    PATIENCE,
    REFUSED,
    TAKEN,
    Bank,
    BusyLedger,
    Forgetful,
    Paying,
    balance,
    paying_out,
    settled,
    worker,
)
from tests.kit.postgres import Database
from tests.kit.wallets import asynchronous
from transaction_service.domain.account import AccountKind, AccountState
from transaction_service.domain.failure import Failure, Reason
from transaction_service.domain.movement import Answer, Movement, Refused
from transaction_service.payouts import worker as payout_worker
from transaction_service.payouts.pauses import Patience
from transaction_service.payouts.payout import Payout, PayoutState
from transaction_service.payouts.ports import Payment, PaymentState
from transaction_service.payouts.worker import PayoutWorker


@pytest.fixture(scope="module")
def paying(database: Database) -> Iterator[Paying]:
    with paying_out(database) as paying:
        yield paying
    audit(database.owner_dsn)


def reversals(paying: Paying, movement: Movement) -> list[int]:
    """The states of what was asked for: 1 POSTED, 2 FAILED."""
    query = "SELECT state FROM transactions.transaction WHERE reverses = %s ORDER BY create_time"
    return [state for (state,) in paying.query(query, movement.id)]


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
    movement, bank = await paying.withdraw(), Bank(GONE, TAKEN, TAKEN, TAKEN, TAKEN, GONE, PAID)
    taken = await settled(paying, movement, bank, 5)
    assert (taken.state, taken.taken, taken.attempts) == (PayoutState.PENDING, True, 5), "a word is no failure"
    assert taken.last_error == ""
    assert (await settled(paying, movement, bank)).state is PayoutState.PENDING, "it is the first in a row"
    assert (await settled(paying, movement, bank)).state is PayoutState.PAID
    assert [call for call, _ in bank.asked] == ["pay", "pay", "get", "get", "get", "get", "get"]


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
    paid = await settled(paying, movement, bank)
    assert (paid.state, paid.last_error) == (PayoutState.PAID, "")
    assert {asked for _, asked in bank.asked} == {movement.id}, "always under the same key"


@asynchronous
async def test_a_bank_that_is_not_set_up_is_as_one_that_cannot_be_reached(paying: Paying) -> None:
    movement = await paying.withdraw()
    alone = PayoutWorker(paying.store, {}, paying, PATIENCE)
    await alone.settle(await paying.claimed(movement))
    payout = await paying.now(movement)
    assert (payout.state, payout.last_error) == (PayoutState.PENDING, "no payout provider bank is set up")


@pytest.mark.parametrize("taken", [False, True])
@asynchronous
async def test_a_bank_that_does_not_answer_in_time_tells_nothing(paying: Paying, taken: bool) -> None:
    class Silent(Bank):
        async def pay(self, payout: Payout) -> Payment:
            await asyncio.Event().wait()
            return await super().pay(payout)

        async def get(self, payout_id: str) -> Payment | None:
            await asyncio.Event().wait()
            return await super().get(payout_id)

    movement = await paying.withdraw()
    paying.change(movement, "taken = %s", taken)
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


@pytest.mark.parametrize(("said", "asked", "tries"), [(GONE, 2, 3), (TAKEN, 2, 3), (REFUSED, 2, 1)])
@asynchronous
async def test_a_pause_is_as_long_as_the_tries_before_it_make_it(
    paying: Paying, monkeypatch: pytest.MonkeyPatch, said: Payment | Exception, asked: int, tries: int
) -> None:
    """Those in a row that told nothing, or all that the provider was asked about a payment that it has."""
    movement, told = await paying.withdraw(), []

    def pause(_: Patience, tries: int) -> float:
        told.append(tries)
        return 3600

    await settled(paying, movement, Bank(TAKEN if said is TAKEN else GONE), asked)
    monkeypatch.setattr(payout_worker, "pause_seconds", pause)
    payout = await settled(
        paying, movement, Bank(said), patience=replace(PATIENCE, attempts_max=4), ledger=BusyLedger(paying, 1)
    )
    assert told == [tries]
    assert payout.next_time is not None
    assert payout.next_time > payout.update_time + timedelta(seconds=3599)


@asynchronous
async def test_what_a_bank_says_is_put_down_as_one_line_and_never_as_nothing(paying: Paying) -> None:
    movement = await paying.withdraw()
    said = Payment(PaymentState.REFUSED, "ref\t1\n" + "r" * 128, "no\nmoney" + "." * 500)
    payout = await settled(paying, movement, Bank(said))
    assert (payout.provider_reference, payout.last_error) == ("ref 1 " + "r" * 122, "no money" + "." * 492)
    dumb = await settled(paying, await paying.withdraw(), Bank(Payment(PaymentState.REFUSED)))
    assert dumb.last_error == "refused"


@asynchronous
async def test_what_was_refused_is_given_back_whatever_the_table_says_of_it(paying: Paying) -> None:
    """What the withdrawal has moved goes back where it came from."""
    movement = await paying.withdraw(amount=20)
    assert await paying.store.refused(await paying.claimed(movement), "ref-1", "no")
    paying.change(movement, "account = 'DE00 0000'")
    assert (await settled(paying, movement, Bank(PAID))).state is PayoutState.REVERSED
    assert await balance(paying, movement.source) == 100
    paying.change(movement, "account = 'DE89 3704'")  # as the audit of all has it


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
    ended = await settled(paying, movement, bank)
    assert (ended.state, ended.last_error) == (PayoutState.REVERSED, "the account is closed")
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
async def test_a_withdrawal_that_is_not_there_is_a_bug(paying: Paying) -> None:
    refused = replace(await paying.now(await paying.withdraw()), id=str(uuid4()), state=PayoutState.REFUSED)
    with capture_logs() as logs:
        await worker(paying, Bank(PAID)).settle(refused)
    assert [event["event"] for event in logs] == ["payout_failed"]


@asynchronous
async def test_a_reversal_that_is_no_request_is_a_bug_and_changes_nothing(paying: Paying) -> None:
    class Strange(BusyLedger):
        async def post(self, movement: Movement) -> Answer:
            return Refused(Failure(Reason.REQUEST_ID_REUSED, {"request_id": movement.request_id}))

    movement = await paying.withdraw()
    with capture_logs() as logs:
        payout = await settled(paying, movement, Bank(REFUSED), ledger=Strange(paying, 0))
    assert [event["event"] for event in logs] == ["payout_refused", "payout_failed"]
    assert payout.state is PayoutState.REFUSED


@pytest.mark.parametrize("said", [GONE, TAKEN])
@asynchronous
async def test_who_has_lost_his_claim_tells_nothing(paying: Paying, said: Payment | Exception) -> None:
    movement = await paying.withdraw()
    slow = await paying.claimed(movement)
    paid = await settled(paying, movement, Bank(PAID))
    with capture_logs() as logs:
        await worker(paying, Bank(said)).settle(slow)
        await worker(paying, Bank(said), patience=replace(PATIENCE, attempts_max=1)).settle(slow)
    assert (await paying.now(movement), logs) == (paid, [])
