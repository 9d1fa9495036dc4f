"""Updates of limits that meet each other, freezes and reconcilers, are refused, or lose their orders' answers."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from tests.kit.accounts import Order
from tests.kit.postgres import Database
from tests.kit.wallet_races import (
    ALICE,
    LIMITS,
    LINE,
    NO_LINE,
    Gate,
    but_first,
    declined,
    failing,
    nothing,
    number_of,
    refused,
    scene,
    set_limits,
)
from tests.kit.wallets import asynchronous, creation
from wallet_service.app.reading import WalletWithBalance
from wallet_service.domain.failure import Declined, Failure, Reason
from wallet_service.domain.lifecycle import Intent
from wallet_service.domain.update import Field
from wallet_service.domain.wallet import AccountState, Limits, Particulars, WalletState


@asynchronous
async def test_changed_limits_are_in_force_when_the_call_returns(database: Database) -> None:
    async with scene(database) as s:
        await s.created()
        shown = await set_limits(s.one, LINE, "Ann's")
        assert shown.wallet.particulars == Particulars("Ann's", {}, LINE)
        await s.assert_settled(WalletState.ACTIVE, LINE)


@asynchronous
async def test_refused_limits_leave_the_whole_wallet_as_it_was(database: Database) -> None:
    async with scene(database) as s:
        await s.created(particulars=Particulars("old", {}, LINE))
        s.accounts.pay_in(ALICE, -50)
        heard = await declined(set_limits(s.one, NO_LINE, "new"))
        used = {"wallet": ALICE, "available": "-50", "credit": "0"}
        assert heard == Failure(Reason.FLOOR_ABOVE_BALANCE, used)
        assert (await s.alice()).particulars.display_name == "old"
        await s.assert_settled(WalletState.ACTIVE, LINE)


@asynchronous
async def test_limits_that_were_refused_cannot_be_taken_late(database: Database) -> None:
    """The trap: refused, then money comes in, then a second order of the same update arrives."""
    async with scene(database) as s:
        await s.created(particulars=Particulars(limits=LINE))
        s.accounts.pay_in(ALICE, -50)
        await declined(set_limits(s.one, NO_LINE))
        s.accounts.pay_in(ALICE, 500)
        await s.accounts.arrives_again(number_of(s.accounts, NO_LINE))
        await s.assert_settled(WalletState.ACTIVE, LINE)


@asynchronous
async def test_limits_refused_to_one_worker_and_taken_from_another_end_the_same_on_both_sides(
    database: Database,
) -> None:
    async with scene(database) as s:
        await s.created(particulars=Particulars(limits=LINE))
        s.accounts.pay_in(ALICE, -50)
        taken = Gate("set_limits")
        s.accounts.before = taken
        call = asyncio.create_task(set_limits(s.one, NO_LINE))
        await taken.reached.wait()  # the call's order is on its way;
        back = Gate("set_limits")
        s.accounts.before = but_first(back)
        helper = asyncio.create_task(s.reconciled(s.two))  # the reconciler's is refused
        await back.reached.wait()  # and turned around;
        s.accounts.pay_in(ALICE, 500)
        taken.opened.set()  # money comes in and the call's order is taken.
        await asyncio.sleep(0)
        back.opened.set()
        await helper
        assert (await declined(call)).reason is Reason.FLOOR_ABOVE_BALANCE
        await s.assert_settled(WalletState.ACTIVE, LINE)


@pytest.mark.parametrize("lost", ["before", "after"])
@asynchronous
async def test_limits_or_their_answer_are_lost_and_the_reconciler_finishes(database: Database, lost: str) -> None:
    async with scene(database) as s:
        await s.created()
        setattr(s.accounts, lost, failing("set_limits"))
        assert await refused(set_limits(s.one, LINE, "new")) == "UNAVAILABLE"
        assert (await s.alice()).particulars == Particulars()
        setattr(s.accounts, lost, nothing)
        await s.reconciled(s.two)
        assert (await s.alice()).particulars.display_name == "new"
        await s.assert_settled(WalletState.ACTIVE, LINE)


@asynchronous
async def test_a_freeze_does_not_wait_for_limits_under_way_and_both_come_true(database: Database) -> None:
    async with scene(database) as s:
        await s.created()
        gate = s.accounts.before = Gate("set_limits")
        update = asyncio.create_task(set_limits(s.one, LINE))
        await gate.reached.wait()
        await s.two.changes.set_state(ALICE, Intent.FREEZE, "")
        assert s.accounts.settings(ALICE) == (AccountState.FROZEN, Limits())
        gate.opened.set()  # late: refused, and sent again at the revision of now
        shown = await update
        assert (shown.wallet.state, shown.wallet.particulars.limits) == (WalletState.FROZEN, LINE)
        await s.assert_settled(WalletState.FROZEN, LINE)


@pytest.mark.parametrize(("intent", "end"), [(Intent.UNFREEZE, WalletState.ACTIVE), (Intent.CLOSE, WalletState.CLOSED)])
@asynchronous
async def test_unfreeze_and_close_carry_limits_under_way_to_their_end_first(
    database: Database, intent: Intent, end: WalletState
) -> None:
    async with scene(database) as s:
        await s.created()
        await s.one.changes.set_state(ALICE, Intent.FREEZE, "")
        s.accounts.before = failing("set_limits")
        await refused(set_limits(s.one, LINE))
        s.accounts.before = nothing
        await s.two.changes.set_state(ALICE, intent, "")
        await s.assert_settled(end, LINE)


@asynchronous
async def test_updates_at_once_do_not_lose_each_other_s_fields(database: Database) -> None:
    async with scene(database) as s:
        await s.created()
        changes = [
            s.one.changes.update(ALICE, frozenset({Field.DISPLAY_NAME}), Particulars("new"), "", ""),
            s.two.changes.update(ALICE, frozenset({Field.LABELS}), Particulars("", {"a": "b"}), "", ""),
            s.one.changes.update(ALICE, LIMITS, Particulars(limits=LINE), "", ""),
        ]
        await asyncio.gather(*changes)
        assert (await s.alice()).particulars == Particulars("new", {"a": "b"}, LINE)
        await s.assert_settled(WalletState.ACTIVE, LINE)


@asynchronous
async def test_of_two_updates_with_one_etag_one_counts(database: Database) -> None:
    async with scene(database) as s:
        await s.created()
        etag = (await s.alice()).etag
        updates = [
            worker.changes.update(ALICE, LIMITS, Particulars(limits=limits), etag, "")
            for worker, limits in ((s.one, LINE), (s.two, NO_LINE))
        ]
        outcomes = await asyncio.gather(*updates, return_exceptions=True)
        [winner] = [outcome for outcome in outcomes if isinstance(outcome, WalletWithBalance)]
        [loser] = [outcome for outcome in outcomes if isinstance(outcome, Declined)]
        assert loser.failure == Failure(Reason.ETAG_MISMATCH, {"wallet": ALICE, "etag": etag})
        await s.assert_settled(WalletState.ACTIVE, winner.wallet.particulars.limits)


@asynchronous
async def test_a_time_zone_that_only_the_account_service_does_not_know_is_told_to_the_caller(
    database: Database,
) -> None:
    async with scene(database) as s:

        def older_database(unknown: str) -> Callable[[Order], Awaitable[None]]:
            async def hook(order: Order) -> None:
                if isinstance(order.wanted, Limits) and order.wanted.time_zone == unknown:
                    raise Declined(Failure(Reason.UNKNOWN_TIME_ZONE, {"time_zone": unknown}))

            return hook

        kyiv, new_york = Limits(time_zone="Europe/Kyiv"), Limits(time_zone="America/New_York")
        s.accounts.before = older_database("Europe/Kyiv")
        heard = await declined(s.one.changes.create(creation(particulars=Particulars(limits=kyiv))))
        assert heard.reason is Reason.UNKNOWN_TIME_ZONE
        assert (await s.alice()).state is WalletState.CREATING
        s.accounts.before = older_database("America/New_York")
        await s.reconciled(s.one)  # its database is brought up to date, as far as Kyiv
        heard = await declined(set_limits(s.one, new_york))
        assert heard.reason is Reason.UNKNOWN_TIME_ZONE
        await s.assert_settled(WalletState.ACTIVE, kyiv)
