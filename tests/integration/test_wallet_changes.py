"""WalletService as its callers see it: updating, freezing, closing, and what they hear of the account service."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

import grpc.aio
import psycopg2
import pytest
from specie.type.v1 import Limits
from specie.wallet.v1 import (
    CloseWalletRequest,
    FreezeWalletRequest,
    GetWalletRequest,
    ListWalletsRequest,
    UnfreezeWalletRequest,
    Wallet,
    WalletState,
)

from service_kit.status import Refusal
from tests.kit.accounts import Order, unavailable
from tests.kit.postgres import Database
from tests.kit.wallet_calls import ACTIVE, CLOSED, FROZEN, create, fresh_id, get, update
from tests.kit.wallets import Failed, Service, asynchronous, failed, running_service
from wallet_service.domain.failure import Declined, Failure, Reason
from wallet_service.domain.wallet import AccountState


@asynchronous
async def test_an_update_sets_the_named_fields_only(database: Database) -> None:
    async with running_service(database) as service:
        made = await create(service, display_name="old", labels={"a": "1"}, limits=Limits(max_debits_per_hour=3))
        changed = await update(service, Wallet(name=made.name, display_name="new", labels={"b": "2"}), "display_name")
        assert (changed.display_name, dict(changed.labels), changed.limits) == ("new", {"a": "1"}, made.limits)
        assert changed.etag != made.etag
        assert changed.update_time.ToDatetime() > made.update_time.ToDatetime()
        assert changed.create_time == made.create_time
        assert await get(service, made.name) == changed


@asynchronous
async def test_a_star_sets_all_fields_and_an_empty_mask_those_that_are_not_empty(database: Database) -> None:
    async with running_service(database) as service:
        made = await create(service, display_name="old", labels={"a": "1"}, limits=Limits(max_debits_per_hour=3))
        changed = await update(service, Wallet(name=made.name, labels={"b": "2"}))
        assert (changed.display_name, dict(changed.labels), changed.limits) == ("old", {"b": "2"}, made.limits)
        changed = await update(service, Wallet(name=made.name), "*")
        assert (changed.display_name, dict(changed.labels), changed.limits) == ("", {}, Limits())
        assert service.accounts.settings(made.name)[1].max_debits_per_hour == 0


@asynchronous
async def test_an_update_to_what_is_so_already_changes_nothing(database: Database) -> None:
    async with running_service(database) as service:
        made = await create(service, display_name="old")
        assert await update(service, Wallet(name=made.name, display_name="old"), "display_name", "labels") == made


@asynchronous
async def test_changed_limits_are_in_force(database: Database) -> None:
    async with running_service(database) as service:
        made = await create(service)
        limits = Limits(max_minor_units_per_transaction=5, time_zone="Asia/Tokyo")
        changed = await update(service, Wallet(name=made.name, limits=limits), "limits")
        assert changed.limits == limits
        assert changed.HasField("balance")
        assert service.accounts.settings(made.name)[1].time_zone == "Asia/Tokyo"


@asynchronous
async def test_an_etag_refuses_a_lost_update_wherever_it_stands(database: Database) -> None:
    async with running_service(database) as service:
        made = await create(service)
        changed = await update(service, Wallet(name=made.name, display_name="a"), etag=made.etag)
        changed = await update(service, Wallet(name=made.name, display_name="b", etag=changed.etag))
        for call in (
            update(service, Wallet(name=made.name, display_name="c"), etag=made.etag),
            update(service, Wallet(name=made.name, display_name="c", etag=made.etag)),
        ):
            error = await failed(call)
            assert (error.code, error.reason) == ("ABORTED", "ETAG_MISMATCH")
            assert error.metadata == {"wallet": made.name, "etag": made.etag}
        error = await failed(update(service, Wallet(name=made.name, display_name="c", etag="x"), etag=changed.etag))
        assert (error.reason, error.fields) == ("INVALID_FIELD", ["etag"])
        assert (await get(service, made.name)).display_name == "b"


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("owner", "IMMUTABLE_FIELD"),
        ("balance", "IMMUTABLE_FIELD"),
        ("nonsense", "INVALID_FIELD"),
        ("limits.time_zone", "INVALID_FIELD"),
    ],
)
@asynchronous
async def test_other_fields_cannot_be_updated(database: Database, path: str, reason: str) -> None:
    async with running_service(database) as service:
        error = await failed(update(service, Wallet(name="wallets/any", owner="x"), path))
        assert (error.code, error.reason) == ("INVALID_ARGUMENT", reason)


@asynchronous
async def test_an_update_with_an_unknown_time_zone_changes_nothing(database: Database) -> None:
    async with running_service(database) as service:
        made = await create(service)
        wanted = Wallet(name=made.name, display_name="new", limits=Limits(time_zone="Mars/Base"))
        error = await failed(update(service, wanted))
        assert (error.reason, error.metadata) == ("UNKNOWN_TIME_ZONE", {"time_zone": "Mars/Base"})
        assert await get(service, made.name) == made


@asynchronous
async def test_a_floor_above_the_balance_is_refused_as_a_whole(database: Database) -> None:
    async with running_service(database) as service:
        made = await create(service, limits=Limits(credit_minor_units=100))
        service.accounts.pay_in(made.name, -60)
        wanted = Wallet(name=made.name, display_name="new", limits=Limits(credit_minor_units=50))
        error = await failed(update(service, wanted))
        assert (error.code, error.reason) == ("FAILED_PRECONDITION", "FLOOR_ABOVE_BALANCE")
        assert error.metadata == {"wallet": made.name, "available": "-60", "credit": "50"}
        after = await get(service, made.name)
        assert (after.display_name, after.limits) == ("", made.limits)
        assert service.accounts.settings(made.name)[1].credit_minor_units == 100


@asynchronous
async def test_freezing_and_back(database: Database) -> None:
    async with running_service(database) as service:
        made = await create(service)
        frozen = (await service.stub.FreezeWallet(FreezeWalletRequest(name=made.name))).wallet
        assert frozen.state == FROZEN
        assert service.accounts.settings(made.name)[0] is AccountState.FROZEN
        assert (await service.stub.FreezeWallet(FreezeWalletRequest(name=made.name))).wallet == frozen
        active = (await service.stub.UnfreezeWallet(UnfreezeWalletRequest(name=made.name))).wallet
        assert active.state == ACTIVE
        assert service.accounts.settings(made.name)[0] is AccountState.OPEN
        assert (await service.stub.UnfreezeWallet(UnfreezeWalletRequest(name=made.name))).wallet == active
        assert len({made.etag, frozen.etag, active.etag}) == 3


@asynchronous
async def test_a_wallet_with_money_is_not_closed(database: Database) -> None:
    async with running_service(database) as service:
        made = await create(service)
        service.accounts.pay_in(made.name, 7)
        error = await failed(service.stub.CloseWallet(CloseWalletRequest(name=made.name)))
        assert (error.code, error.reason) == ("FAILED_PRECONDITION", "WALLET_NOT_EMPTY")
        assert error.metadata == {"wallet": made.name, "posted": "7", "held": "0"}
        assert (await get(service, made.name)).state == ACTIVE


@asynchronous
async def test_a_closed_wallet_stays_closed_and_readable(database: Database) -> None:
    async with running_service(database) as service:
        made = await create(service)
        closed = (await service.stub.CloseWallet(CloseWalletRequest(name=made.name))).wallet
        assert closed.state == CLOSED
        assert (await service.stub.CloseWallet(CloseWalletRequest(name=made.name))).wallet == closed
        assert await get(service, made.name) == closed
        for call in (
            service.stub.FreezeWallet(FreezeWalletRequest(name=made.name)),
            service.stub.UnfreezeWallet(UnfreezeWalletRequest(name=made.name)),
            update(service, Wallet(name=made.name, display_name="x")),
        ):
            error = await failed(call)
            assert (error.code, error.reason) == ("FAILED_PRECONDITION", "WALLET_STATE")
            assert error.metadata == {"wallet": made.name, "state": "CLOSED"}


def raising(call: str, error: Callable[[], Exception]) -> Callable[[Order], Awaitable[None]]:
    async def hook(order: Order) -> None:
        if order.call == call:
            raise error()

    return hook


@asynchronous
async def test_a_creation_without_account_service_is_unavailable_and_finished_later(database: Database) -> None:
    async with running_service(database) as service:
        service.accounts.before = raising("open", unavailable)
        wallet_id = fresh_id()
        error = await failed(create(service, wallet_id))
        assert (error.code, error.reason) == ("UNAVAILABLE", "UNAVAILABLE")
        waiting = await get(service, f"wallets/{wallet_id}")
        assert waiting.state == WalletState.WALLET_STATE_CREATING
        assert not waiting.HasField("balance")
        listed = await service.stub.ListWallets(ListWalletsRequest(state=WalletState.WALLET_STATE_CREATING))
        assert [wallet.HasField("balance") for wallet in listed.wallets] == [False]

        service.accounts.before = raising("nothing", unavailable)
        await _reconciled(service, database, f"wallets/{wallet_id}")
        assert (await get(service, f"wallets/{wallet_id}")).state == ACTIVE


async def _reconciled(service: Service, database: Database, name: str) -> None:
    """Makes the wallet due at once and lets the service's own reconciler run until it is no more."""
    connection = psycopg2.connect(database.owner_dsn)
    connection.autocommit = True
    [reconcile] = service.application.background
    running = asyncio.create_task(reconcile())
    with connection.cursor() as cursor:
        cursor.execute("UPDATE wallets.wallet SET due_time = now() WHERE name = %s", (name,))
        due = True
        while due:
            await asyncio.sleep(0.01)
            cursor.execute("SELECT due_time IS NOT NULL FROM wallets.wallet WHERE name = %s", (name,))
            [(due,)] = cursor.fetchall()
    connection.close()
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running


# OVERLOADED and CONTENTION promise that nothing was done, but the intent is stored and will be finished.
ANSWERS: list[tuple[Callable[[], Exception], str, str]] = [
    (unavailable, "UNAVAILABLE", "UNAVAILABLE"),
    (lambda: Refusal("OVERLOADED", "busy", retry_after_seconds=3), "UNAVAILABLE", "UNAVAILABLE"),
    (lambda: Refusal("CONTENTION", "busy"), "UNAVAILABLE", "UNAVAILABLE"),
    (lambda: Refusal("DEADLINE_EXCEEDED", "slow"), "DEADLINE_EXCEEDED", "DEADLINE_EXCEEDED"),
    (lambda: RuntimeError("a bug"), "INTERNAL", "INTERNAL"),
    (lambda: Declined(Failure(Reason.ACCOUNT_NOT_FOUND, {"account": "x"})), "INTERNAL", "INTERNAL"),
    (lambda: Refusal("INVALID_PAGE_TOKEN", "not of this call"), "INTERNAL", "INTERNAL"),
]


@pytest.mark.parametrize(("error", "code", "reason"), ANSWERS)
@asynchronous
async def test_what_the_account_service_says_reaches_the_caller_sensibly(
    database: Database, error: Callable[[], Exception], code: str, reason: str
) -> None:
    async with running_service(database) as service:
        made = await create(service)
        service.accounts.before = raising("set_state", error)
        heard: Failed = await failed(service.stub.FreezeWallet(FreezeWalletRequest(name=made.name)))
        assert (heard.code, heard.reason) == (code, reason)
        assert "x" not in heard.metadata.values()
        assert (await get(service, made.name)).state == WalletState.WALLET_STATE_FREEZING


@asynchronous
async def test_a_call_waits_no_longer_than_its_deadline_and_what_it_wanted_stays_wanted(database: Database) -> None:
    async with running_service(database) as service:
        made = await create(service)
        stuck = asyncio.Event()

        async def hang(order: Order) -> None:
            if order.call == "set_state":
                await stuck.wait()

        service.accounts.before = hang
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await service.stub.FreezeWallet(FreezeWalletRequest(name=made.name), timeout=0.3)
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        assert (await get(service, made.name)).state == WalletState.WALLET_STATE_FREEZING


@asynchronous
async def test_the_trace_id_is_handed_on(database: Database) -> None:
    async with running_service(database) as service:
        made = await create(service)
        service.accounts.trace_ids.clear()
        metadata = (("x-request-id", "trace-7"),)
        await service.stub.GetWallet(GetWalletRequest(name=made.name), metadata=metadata)
        assert service.accounts.trace_ids == ["trace-7"]


@asynchronous
async def test_a_wallet_without_account_is_an_internal_error(database: Database) -> None:
    async with running_service(database) as service:
        made = await create(service)
        del service.accounts.rows[made.name]
        error = await failed(service.stub.GetWallet(GetWalletRequest(name=made.name)))
        assert (error.code, error.reason) == ("INTERNAL", "INTERNAL")


@asynchronous
async def test_a_wallet_whose_account_is_opened_between_two_reads_has_its_balance(database: Database) -> None:
    async with running_service(database) as service:
        made = await create(service)
        row = service.accounts.rows.pop(made.name)

        async def opened(order: Order) -> None:
            if order.call == "get_many":
                service.accounts.rows[made.name] = row

        service.accounts.after = opened
        assert await get(service, made.name) == made
