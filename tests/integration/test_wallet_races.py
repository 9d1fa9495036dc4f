"""Freezes, unfreezes, closes, creations and reconcilers that meet on one wallet, crash in between, or lose an order
or its answer: on PostgreSQL, with two workers, in exactly the order that each test's name tells."""

import asyncio
from contextlib import suppress
from dataclasses import replace

import pytest

from tests.kit.accounts import Order
from tests.kit.postgres import Database
from tests.kit.wallet_races import (
    ALICE,
    LINE,
    Gate,
    after,
    declined,
    failing,
    nothing,
    number_of,
    refused,
    scene,
)
from tests.kit.wallets import asynchronous, creation
from wallet_service.domain.failure import Declined, Failure, InvariantViolation, Reason
from wallet_service.domain.lifecycle import Intent
from wallet_service.domain.wallet import AccountState, Limits, Particulars, Wallet, WalletState
from wallet_service.ports import AccountServiceFault


@asynchronous
async def test_two_freezes_at_once_are_one_freeze(database: Database) -> None:
    async with scene(database) as s:
        await s.created()
        gate = s.accounts.before = Gate("set_state")
        first = asyncio.create_task(s.one.changes.set_state(ALICE, Intent.FREEZE, ""))
        await gate.reached.wait()
        second = await s.two.changes.set_state(ALICE, Intent.FREEZE, "")
        gate.opened.set()
        assert (await first).wallet == second.wallet
        assert s.sent() == [(AccountState.FROZEN, 3), (AccountState.FROZEN, 3)]
        await s.assert_settled(WalletState.FROZEN)


@asynchronous
async def test_a_late_order_of_a_freeze_does_not_undo_the_unfreeze_after_it(database: Database) -> None:
    async with scene(database) as s:
        await s.created()
        gate = s.accounts.before = Gate("set_state")
        late = asyncio.create_task(s.one.changes.set_state(ALICE, Intent.FREEZE, ""))
        await gate.reached.wait()
        await s.reconciled(s.two)  # another worker finishes the freeze,
        await s.two.changes.set_state(ALICE, Intent.UNFREEZE, "")  # and it is undone,
        gate.opened.set()  # before the first order arrives.
        heard = await declined(late)
        assert heard == Failure(Reason.WALLET_STATE, {"wallet": ALICE, "state": "ACTIVE"})
        await s.assert_settled(WalletState.ACTIVE)


@asynchronous
async def test_a_late_reconciler_does_not_undo_what_came_after(database: Database) -> None:
    async with scene(database) as s:
        await s.created()
        s.accounts.before = failing("set_state")
        assert await refused(s.one.changes.set_state(ALICE, Intent.FREEZE, "")) == "UNAVAILABLE"
        gate = s.accounts.before = Gate("set_state")
        late = asyncio.create_task(s.reconciled(s.two))
        await gate.reached.wait()
        await s.one.changes.set_state(ALICE, Intent.FREEZE, "")
        await s.one.changes.set_state(ALICE, Intent.UNFREEZE, "")
        gate.opened.set()
        await late
        await s.assert_settled(WalletState.ACTIVE)


@pytest.mark.parametrize("intent", [Intent.UNFREEZE, Intent.CLOSE])
@asynchronous
async def test_another_intent_is_refused_while_a_freeze_is_under_way(database: Database, intent: Intent) -> None:
    async with scene(database) as s:
        await s.created()
        gate = s.accounts.before = Gate("set_state")
        freeze = asyncio.create_task(s.one.changes.set_state(ALICE, Intent.FREEZE, ""))
        await gate.reached.wait()
        heard = await declined(s.two.changes.set_state(ALICE, intent, ""))
        assert heard == Failure(Reason.WALLET_STATE, {"wallet": ALICE, "state": "FREEZING"})
        gate.opened.set()
        await freeze
        await s.assert_settled(WalletState.FROZEN)


@pytest.mark.parametrize("lost", ["before", "after"])
@pytest.mark.parametrize(
    ("intent", "passing", "end"),
    [
        (Intent.FREEZE, WalletState.FREEZING, WalletState.FROZEN),
        (Intent.UNFREEZE, WalletState.UNFREEZING, WalletState.ACTIVE),
        (Intent.CLOSE, WalletState.CLOSING, WalletState.CLOSED),
    ],
)
@asynchronous
async def test_an_order_or_its_answer_is_lost_and_the_reconciler_finishes(
    database: Database, lost: str, intent: Intent, passing: WalletState, end: WalletState
) -> None:
    async with scene(database) as s:
        await s.created()
        if intent is Intent.UNFREEZE:
            await s.one.changes.set_state(ALICE, Intent.FREEZE, "")
        setattr(s.accounts, lost, failing("set_state"))
        assert await refused(s.one.changes.set_state(ALICE, intent, "")) == "UNAVAILABLE"
        assert (await s.alice()).state is passing
        await s.reconciled(s.two)
        assert (await s.alice()).state is passing
        setattr(s.accounts, lost, nothing)
        await s.reconciled(s.two)
        await s.assert_settled(end)


@pytest.mark.parametrize("lost", ["before", "after"])
@asynchronous
async def test_opening_or_its_answer_is_lost_and_the_reconciler_finishes(database: Database, lost: str) -> None:
    async with scene(database) as s:
        setattr(s.accounts, lost, failing("open"))
        assert await refused(s.one.changes.create(creation(particulars=Particulars(limits=LINE)))) == "UNAVAILABLE"
        assert (await s.alice()).state is WalletState.CREATING
        for intent in Intent:
            assert (await declined(s.one.changes.set_state(ALICE, intent, ""))).reason is Reason.WALLET_STATE
        setattr(s.accounts, lost, nothing)
        await s.reconciled(s.two)
        await s.assert_settled(WalletState.ACTIVE, LINE)


@asynchronous
async def test_the_same_creation_again_carries_on_where_the_first_was_cut_off(database: Database) -> None:
    async with scene(database) as s:
        asked = creation(request_id="r-1")
        s.accounts.after = failing("open")
        await refused(s.one.changes.create(asked))
        s.accounts.after = nothing
        assert (await s.two.changes.create(asked)).wallet.state is WalletState.ACTIVE
        await s.assert_settled(WalletState.ACTIVE)


@asynchronous
async def test_equal_creations_at_once_open_one_wallet(database: Database) -> None:
    async with scene(database) as s:
        asked = creation("", request_id="r-1")
        made = await asyncio.gather(*(worker.changes.create(asked) for worker in (s.one, s.two) * 8))
        assert len({shown.wallet.name for shown in made}) == 1
        assert {shown.wallet.state for shown in made} == {WalletState.ACTIVE}
        assert len(s.accounts.rows) == 1


@asynchronous
async def test_a_creation_that_is_late_does_not_undo_a_freeze(database: Database) -> None:
    async with scene(database) as s:
        gate = s.accounts.before = Gate("open")
        late = asyncio.create_task(s.one.changes.create(creation()))
        await gate.reached.wait()
        await s.reconciled(s.two)
        await s.two.changes.set_state(ALICE, Intent.FREEZE, "")
        gate.opened.set()
        assert (await late).wallet.state is WalletState.FROZEN
        await s.assert_settled(WalletState.FROZEN)


@asynchronous
async def test_a_close_that_is_refused_goes_back(database: Database) -> None:
    async with scene(database) as s:
        await s.created()
        await s.one.changes.set_state(ALICE, Intent.FREEZE, "")
        s.accounts.pay_in(ALICE, 5)
        heard = await declined(s.one.changes.set_state(ALICE, Intent.CLOSE, ""))
        assert heard == Failure(Reason.WALLET_NOT_EMPTY, {"wallet": ALICE, "posted": "5", "held": "0"})
        await s.assert_settled(WalletState.FROZEN)


@asynchronous
async def test_a_close_refused_to_one_worker_and_taken_from_another_stays_closed(database: Database) -> None:
    """The trap: the refused one must not put the wallet back to ACTIVE over an account that is closed for ever."""
    async with scene(database) as s:
        await s.created()
        gate = s.accounts.before = Gate("set_state")
        first = asyncio.create_task(s.one.changes.set_state(ALICE, Intent.CLOSE, ""))
        await gate.reached.wait()  # the first order is on its way,
        s.accounts.pay_in(ALICE, 5)
        back = Gate("set_state")
        s.accounts.before = after(1, back)
        second = asyncio.create_task(s.two.changes.set_state(ALICE, Intent.CLOSE, ""))  # the second is refused,
        await back.reached.wait()
        s.accounts.pay_in(ALICE, -5)
        gate.opened.set()  # the wallet is emptied and the first order arrives: closed for ever.
        back.opened.set()
        await asyncio.gather(first, second)
        await s.assert_settled(WalletState.CLOSED)
        assert (await s.alice()).turned_down is None


@asynchronous
async def test_a_close_that_was_refused_cannot_be_taken_late(database: Database) -> None:
    async with scene(database) as s:
        await s.created()
        s.accounts.pay_in(ALICE, 5)
        await declined(s.one.changes.set_state(ALICE, Intent.CLOSE, ""))
        s.accounts.pay_in(ALICE, -5)
        await s.accounts.arrives_again(number_of(s.accounts, AccountState.CLOSED))
        await s.assert_settled(WalletState.ACTIVE)


@asynchronous
async def test_a_refused_close_on_its_way_back_is_finished_by_the_reconciler(database: Database) -> None:
    async with scene(database) as s:
        await s.created()
        s.accounts.pay_in(ALICE, 5)
        back = Gate("set_state")
        s.accounts.before = after(1, back)
        cut_off = asyncio.create_task(s.one.changes.set_state(ALICE, Intent.CLOSE, ""))
        await back.reached.wait()
        cut_off.cancel()
        await asyncio.gather(cut_off, return_exceptions=True)
        assert (await s.alice()).state is WalletState.CLOSING
        await s.reconciled(s.two)
        await s.assert_settled(WalletState.ACTIVE)


@asynchronous
async def test_a_close_that_meets_a_refused_one_on_its_way_back_is_decided_anew(database: Database) -> None:
    async with scene(database) as s:
        await s.created()
        s.accounts.pay_in(ALICE, 5)
        back = Gate("set_state")
        s.accounts.before = after(1, back)
        first = asyncio.create_task(s.one.changes.set_state(ALICE, Intent.CLOSE, ""))
        await back.reached.wait()
        s.accounts.pay_in(ALICE, -5)
        await s.two.changes.set_state(ALICE, Intent.CLOSE, "")
        back.opened.set()
        await first  # its own refusal is overtaken: the wallet is closed, as it wanted
        await s.assert_settled(WalletState.CLOSED)


@asynchronous
async def test_a_close_is_told_why_when_the_reconciler_took_the_refusal(database: Database) -> None:
    async with scene(database) as s:
        await s.created()
        s.accounts.pay_in(ALICE, 5)
        gate = s.accounts.before = Gate("set_state")
        call = asyncio.create_task(s.one.changes.set_state(ALICE, Intent.CLOSE, ""))
        await gate.reached.wait()
        await s.reconciled(s.two)
        gate.opened.set()
        assert (await declined(call)).reason is Reason.WALLET_NOT_EMPTY
        await s.assert_settled(WalletState.ACTIVE)


@asynchronous
async def test_a_call_that_goes_away_leaves_what_it_wanted_to_the_reconciler(database: Database) -> None:
    async with scene(database) as s:
        await s.created()
        gate = s.accounts.after = Gate("set_state")
        call = asyncio.create_task(s.one.changes.set_state(ALICE, Intent.FREEZE, ""))
        await gate.reached.wait()
        call.cancel()
        with suppress(asyncio.CancelledError):
            await call
        assert (await s.alice()).state is WalletState.FREEZING
        await s.reconciled(s.two)
        await s.assert_settled(WalletState.FROZEN)


@asynchronous
async def test_an_account_that_is_ahead_of_its_wallet_is_a_bug_and_changes_nothing(database: Database) -> None:
    async with scene(database) as s:
        await s.created()
        s.accounts.rows[ALICE].revision = 99
        with pytest.raises(InvariantViolation):
            await s.one.changes.set_state(ALICE, Intent.FREEZE, "")
        assert (await s.alice()).state is WalletState.FREEZING


@asynchronous
async def test_an_account_that_is_gone_is_a_fault_of_the_account_service(database: Database) -> None:
    async with scene(database) as s:
        await s.created()
        s.accounts.rows.clear()
        with pytest.raises(AccountServiceFault):
            await s.one.changes.set_state(ALICE, Intent.FREEZE, "")


@asynchronous
async def test_an_account_of_somebody_else_under_this_name_is_a_fault(database: Database) -> None:
    async with scene(database) as s:
        await s.accounts.open_as(ALICE, "mallory", "USD", 1, Limits(), 1)
        with pytest.raises(AccountServiceFault):
            await s.one.changes.create(creation())
        assert (await s.alice()).state is WalletState.CREATING


@asynchronous
async def test_a_wallet_that_others_keep_changing_is_no_promise_that_nothing_was_done(database: Database) -> None:
    async with scene(database) as s:
        await s.created()

        async def meddle(_: Order) -> None:
            await s.store.replace(await s.alice())

        s.accounts.before = meddle
        assert await refused(s.one.changes.set_state(ALICE, Intent.FREEZE, "")) == "UNAVAILABLE"


@asynchronous
async def test_a_call_that_never_gets_to_begin_is_contention(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with scene(database) as s:
        await s.created()

        async def late(_: Wallet) -> None:
            return None

        monkeypatch.setattr(s.store, "replace", late)
        assert await refused(s.one.changes.set_state(ALICE, Intent.FREEZE, "")) == "CONTENTION"


@asynchronous
async def test_an_opening_refused_to_one_worker_and_taken_from_another_is_taken(database: Database) -> None:
    async with scene(database) as s:

        async def refusing_after_another_has_opened(order: Order) -> None:
            s.accounts.before = nothing
            await s.reconciled(s.two)
            raise Declined(Failure(Reason.UNKNOWN_CURRENCY, {"currency": order.name}))

        s.accounts.before = refusing_after_another_has_opened
        assert (await s.one.changes.create(creation())).wallet.state is WalletState.ACTIVE


@asynchronous
async def test_a_wallet_that_is_gone_is_a_bug(database: Database) -> None:
    async with scene(database) as s:
        await s.created()
        alice = await s.alice()
        with pytest.raises(InvariantViolation):
            await s.one.carrier.reread(replace(alice, name="wallets/gone"))
