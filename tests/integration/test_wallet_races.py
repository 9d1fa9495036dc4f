"""Calls and reconcilers that meet on one wallet, crash in between, or lose their orders' answers: on PostgreSQL, with
several workers, in exactly the order that each test's name tells."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any

import psycopg2
import pytest
from pydantic import SecretStr

from service_kit.database import Database as Connections
from service_kit.status import Refusal
from tests.kit.accounts import FakeAccounts, Order, unavailable
from tests.kit.postgres import Database
from tests.kit.wallets import Worker, asynchronous, creation
from wallet_service.adapters.sql_store import SqlWalletStore
from wallet_service.app.reading import WalletWithBalance
from wallet_service.domain.failure import Declined, Failure, InvariantViolation, Reason
from wallet_service.domain.lifecycle import Intent
from wallet_service.domain.update import Field
from wallet_service.domain.wallet import NO_LIMITS, AccountState, Limits, Particulars, Wallet, WalletState
from wallet_service.ports import AccountServiceFault
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
    connections = Connections(WalletSettings(database_dsn=SecretStr(database.wallet_dsn)), "test")
    connection = psycopg2.connect(database.owner_dsn)
    with connection, connection.cursor() as cursor:
        cursor.execute("TRUNCATE wallets.wallet")
    connection.close()
    store = SqlWalletStore(connections, due_seconds=0)
    accounts = FakeAccounts()
    try:
        yield Scene(store, accounts, Worker(store, accounts), Worker(store, accounts))
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
    return worker.changes.update(ALICE, ALL, Particulars(name, {}, limits), "")


@asynchronous
async def test_two_freezes_at_once_are_one_freeze(database: Database) -> None:
    async with scene(database) as s:
        await s.created()
        gate = s.accounts.before = Gate("set_state")
        first = asyncio.create_task(s.one.changes.set_state(ALICE, Intent.FREEZE))
        await gate.reached.wait()
        second = await s.two.changes.set_state(ALICE, Intent.FREEZE)
        gate.opened.set()
        assert (await first).wallet == second.wallet
        assert s.sent() == [(AccountState.FROZEN, 3), (AccountState.FROZEN, 3)]
        await s.assert_settled(WalletState.FROZEN)


@asynchronous
async def test_a_late_order_of_a_freeze_does_not_undo_the_unfreeze_after_it(database: Database) -> None:
    async with scene(database) as s:
        await s.created()
        gate = s.accounts.before = Gate("set_state")
        late = asyncio.create_task(s.one.changes.set_state(ALICE, Intent.FREEZE))
        await gate.reached.wait()
        await s.reconciled(s.two)  # another worker finishes the freeze,
        await s.two.changes.set_state(ALICE, Intent.UNFREEZE)  # and it is undone,
        gate.opened.set()  # before the first order arrives.
        heard = await declined(late)
        assert heard == Failure(Reason.WALLET_STATE, {"wallet": ALICE, "state": "ACTIVE"})
        await s.assert_settled(WalletState.ACTIVE)


@asynchronous
async def test_a_late_reconciler_does_not_undo_what_came_after(database: Database) -> None:
    async with scene(database) as s:
        await s.created()
        s.accounts.before = failing("set_state")
        assert await refused(s.one.changes.set_state(ALICE, Intent.FREEZE)) == "UNAVAILABLE"
        gate = s.accounts.before = Gate("set_state")
        late = asyncio.create_task(s.reconciled(s.two))
        await gate.reached.wait()
        await s.one.changes.set_state(ALICE, Intent.FREEZE)
        await s.one.changes.set_state(ALICE, Intent.UNFREEZE)
        gate.opened.set()
        await late
        await s.assert_settled(WalletState.ACTIVE)


@pytest.mark.parametrize("intent", [Intent.UNFREEZE, Intent.CLOSE])
@asynchronous
async def test_another_intent_is_refused_while_a_freeze_is_under_way(database: Database, intent: Intent) -> None:
    async with scene(database) as s:
        await s.created()
        gate = s.accounts.before = Gate("set_state")
        freeze = asyncio.create_task(s.one.changes.set_state(ALICE, Intent.FREEZE))
        await gate.reached.wait()
        heard = await declined(s.two.changes.set_state(ALICE, intent))
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
            await s.one.changes.set_state(ALICE, Intent.FREEZE)
        setattr(s.accounts, lost, failing("set_state"))
        assert await refused(s.one.changes.set_state(ALICE, intent)) == "UNAVAILABLE"
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
            assert (await declined(s.one.changes.set_state(ALICE, intent))).reason is Reason.WALLET_STATE
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
        await s.two.changes.set_state(ALICE, Intent.FREEZE)
        gate.opened.set()
        assert (await late).wallet.state is WalletState.FROZEN
        await s.assert_settled(WalletState.FROZEN)


@asynchronous
async def test_a_close_that_is_refused_goes_back(database: Database) -> None:
    async with scene(database) as s:
        await s.created()
        await s.one.changes.set_state(ALICE, Intent.FREEZE)
        s.accounts.pay_in(ALICE, 5)
        heard = await declined(s.one.changes.set_state(ALICE, Intent.CLOSE))
        assert heard == Failure(Reason.WALLET_NOT_EMPTY, {"wallet": ALICE, "posted": "5", "held": "0"})
        await s.assert_settled(WalletState.FROZEN)


@asynchronous
async def test_a_close_refused_to_one_worker_and_taken_from_another_stays_closed(database: Database) -> None:
    """The trap: the refused one must not put the wallet back to ACTIVE over an account that is closed for ever."""
    async with scene(database) as s:
        await s.created()
        gate = s.accounts.before = Gate("set_state")
        first = asyncio.create_task(s.one.changes.set_state(ALICE, Intent.CLOSE))
        await gate.reached.wait()  # the first order is on its way,
        s.accounts.pay_in(ALICE, 5)
        back = Gate("set_state")
        s.accounts.before = _after(1, back)
        second = asyncio.create_task(s.two.changes.set_state(ALICE, Intent.CLOSE))  # the second is refused,
        await back.reached.wait()
        s.accounts.pay_in(ALICE, -5)
        gate.opened.set()  # the wallet is emptied and the first order arrives: closed for ever.
        back.opened.set()
        await asyncio.gather(first, second)
        await s.assert_settled(WalletState.CLOSED)
        assert (await s.alice()).turned_down is None


def _after(count: int, gate: Gate) -> Callable[[Order], Awaitable[None]]:
    """The gate is there only after so many orders of a state."""
    left = count

    async def hook(order: Order) -> None:
        nonlocal left
        if order.call == "set_state" and left:
            left -= 1
            return
        await gate(order)

    return hook


@asynchronous
async def test_a_close_that_was_refused_cannot_be_taken_late(database: Database) -> None:
    async with scene(database) as s:
        await s.created()
        s.accounts.pay_in(ALICE, 5)
        await declined(s.one.changes.set_state(ALICE, Intent.CLOSE))
        s.accounts.pay_in(ALICE, -5)
        await s.accounts.arrives_again(_number_of(s.accounts, AccountState.CLOSED))
        await s.assert_settled(WalletState.ACTIVE)


def _number_of(accounts: FakeAccounts, wanted: object) -> int:
    """Which order it was; orders that were cleared from the list count too."""
    [number] = [n for n, order in enumerate(accounts.history) if order.wanted == wanted]
    return number


@asynchronous
async def test_a_refused_close_on_its_way_back_is_finished_by_the_reconciler(database: Database) -> None:
    async with scene(database) as s:
        await s.created()
        s.accounts.pay_in(ALICE, 5)
        back = Gate("set_state")
        s.accounts.before = _after(1, back)
        cut_off = asyncio.create_task(s.one.changes.set_state(ALICE, Intent.CLOSE))
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
        s.accounts.before = _after(1, back)
        first = asyncio.create_task(s.one.changes.set_state(ALICE, Intent.CLOSE))
        await back.reached.wait()
        s.accounts.pay_in(ALICE, -5)
        await s.two.changes.set_state(ALICE, Intent.CLOSE)
        back.opened.set()
        await first  # its own refusal is overtaken: the wallet is closed, as it wanted
        await s.assert_settled(WalletState.CLOSED)


@asynchronous
async def test_a_close_is_told_why_when_the_reconciler_took_the_refusal(database: Database) -> None:
    async with scene(database) as s:
        await s.created()
        s.accounts.pay_in(ALICE, 5)
        gate = s.accounts.before = Gate("set_state")
        call = asyncio.create_task(s.one.changes.set_state(ALICE, Intent.CLOSE))
        await gate.reached.wait()
        await s.reconciled(s.two)
        gate.opened.set()
        assert (await declined(call)).reason is Reason.WALLET_NOT_EMPTY
        await s.assert_settled(WalletState.ACTIVE)


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
        await s.accounts.arrives_again(_number_of(s.accounts, NO_LINE))
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
        s.accounts.before = _but_first(back)
        helper = asyncio.create_task(s.reconciled(s.two))  # the reconciler's is refused
        await back.reached.wait()  # and turned around;
        s.accounts.pay_in(ALICE, 500)
        taken.opened.set()  # money comes in and the call's order is taken.
        await asyncio.sleep(0)
        back.opened.set()
        await helper
        assert (await declined(call)).reason is Reason.FLOOR_ABOVE_BALANCE
        await s.assert_settled(WalletState.ACTIVE, LINE)


def _but_first(gate: Gate) -> Callable[[Order], Awaitable[None]]:
    seen = False

    async def hook(order: Order) -> None:
        nonlocal seen
        if order.call == "set_limits" and not seen:
            seen = True
            return
        await gate(order)

    return hook


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
        await s.two.changes.set_state(ALICE, Intent.FREEZE)
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
        await s.one.changes.set_state(ALICE, Intent.FREEZE)
        s.accounts.before = failing("set_limits")
        await refused(set_limits(s.one, LINE))
        s.accounts.before = nothing
        await s.two.changes.set_state(ALICE, intent)
        await s.assert_settled(end, LINE)


@asynchronous
async def test_updates_at_once_do_not_lose_each_other_s_fields(database: Database) -> None:
    async with scene(database) as s:
        await s.created()
        changes = [
            s.one.changes.update(ALICE, frozenset({Field.DISPLAY_NAME}), Particulars("new"), ""),
            s.two.changes.update(ALICE, frozenset({Field.LABELS}), Particulars("", {"a": "b"}), ""),
            s.one.changes.update(ALICE, LIMITS, Particulars(limits=LINE), ""),
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
            worker.changes.update(ALICE, LIMITS, Particulars(limits=limits), etag)
            for worker, limits in ((s.one, LINE), (s.two, NO_LINE))
        ]
        outcomes = await asyncio.gather(*updates, return_exceptions=True)
        [winner] = [outcome for outcome in outcomes if isinstance(outcome, WalletWithBalance)]
        [loser] = [outcome for outcome in outcomes if isinstance(outcome, Declined)]
        assert loser.failure == Failure(Reason.ETAG_MISMATCH, {"wallet": ALICE, "etag": etag})
        await s.assert_settled(WalletState.ACTIVE, winner.wallet.particulars.limits)


@asynchronous
async def test_a_call_that_goes_away_leaves_what_it_wanted_to_the_reconciler(database: Database) -> None:
    async with scene(database) as s:
        await s.created()
        gate = s.accounts.after = Gate("set_state")
        call = asyncio.create_task(s.one.changes.set_state(ALICE, Intent.FREEZE))
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
            await s.one.changes.set_state(ALICE, Intent.FREEZE)
        assert (await s.alice()).state is WalletState.FREEZING


@asynchronous
async def test_an_account_that_is_gone_is_a_fault_of_the_account_service(database: Database) -> None:
    async with scene(database) as s:
        await s.created()
        s.accounts.rows.clear()
        with pytest.raises(AccountServiceFault):
            await s.one.changes.set_state(ALICE, Intent.FREEZE)


@asynchronous
async def test_an_account_of_somebody_else_under_this_name_is_a_fault(database: Database) -> None:
    async with scene(database) as s:
        await s.accounts.open_as(ALICE, "mallory", "USD", 1, Limits(), 1)
        with pytest.raises(AccountServiceFault):
            await s.one.changes.create(creation())
        assert (await s.alice()).state is WalletState.CREATING


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


@asynchronous
async def test_a_wallet_that_others_keep_changing_is_contention(database: Database) -> None:
    async with scene(database) as s:
        await s.created()

        async def meddle(_: Order) -> None:
            await s.store.replace(await s.alice())

        s.accounts.before = meddle
        assert await refused(s.one.changes.set_state(ALICE, Intent.FREEZE)) == "CONTENTION"


@asynchronous
async def test_a_call_that_never_gets_to_begin_is_contention(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with scene(database) as s:
        await s.created()

        async def late(_: Wallet) -> None:
            return None

        monkeypatch.setattr(s.store, "replace", late)
        assert await refused(s.one.changes.set_state(ALICE, Intent.FREEZE)) == "CONTENTION"


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
