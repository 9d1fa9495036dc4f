"""WalletService as its callers see it: a real server, the real interceptors, PostgreSQL, and the accounts over gRPC."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any
from uuid import UUID, uuid4

import grpc.aio
import psycopg2
import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from specie.type.v1 import Limits
from specie.wallet.v1 import (
    BatchGetWalletsRequest,
    CloseWalletRequest,
    CreateWalletRequest,
    FreezeWalletRequest,
    GetWalletRequest,
    ListWalletsRequest,
    UnfreezeWalletRequest,
    UpdateWalletRequest,
    Wallet,
    WalletKind,
    WalletState,
)

from service_kit import pages
from service_kit.status import Refusal
from tests.kit.accounts import Order, unavailable
from tests.kit.postgres import Database
from tests.kit.wallets import Failed, Service, asynchronous, failed, running_service
from wallet_service.domain.failure import Declined, Failure, Reason
from wallet_service.domain.wallet import AccountState
from wallet_service.rpc import conversion

ACTIVE, FROZEN, CLOSED = (
    WalletState.WALLET_STATE_ACTIVE,
    WalletState.WALLET_STATE_FROZEN,
    WalletState.WALLET_STATE_CLOSED,
)


def fresh_id() -> str:
    return f"w-{uuid4()}"


async def create(service: Service, wallet_id: str = "", **fields: Any) -> Wallet:  # noqa: ANN401 - a wallet's fields
    asked = Wallet(**({"currency_code": "USD"} | fields))
    response = await service.stub.CreateWallet(CreateWalletRequest(wallet_id=wallet_id or fresh_id(), wallet=asked))
    wallet: Wallet = response.wallet
    return wallet


async def get(service: Service, name: str) -> Wallet:
    wallet: Wallet = (await service.stub.GetWallet(GetWalletRequest(name=name))).wallet
    return wallet


@asynchronous
async def test_a_created_wallet_is_active_and_has_nothing(database: Database) -> None:
    async with running_service(database) as service:
        wallet_id = fresh_id()
        limits = Limits(max_minor_units_per_day=5, time_zone="Europe/Berlin", credit_minor_units=7)
        made = await create(
            service,
            wallet_id,
            owner="ann",
            display_name="Ann's",
            kind=WalletKind.WALLET_KIND_PROVIDER,
            labels={"team": "a"},
            limits=limits,
            state=CLOSED,  # output only: ignored
            etag="ignored",
        )
        assert made.name == f"wallets/{wallet_id}"
        assert (made.owner, made.display_name, made.currency_code) == ("ann", "Ann's", "USD")
        assert (made.kind, made.state, dict(made.labels)) == (WalletKind.WALLET_KIND_PROVIDER, ACTIVE, {"team": "a"})
        assert made.limits == limits
        assert made.balance.posted.currency_code == "USD"
        assert (made.balance.posted.minor_units, made.balance.held.minor_units) == (0, 0)
        assert made.create_time.seconds > 1_700_000_000
        assert await get(service, made.name) == made


@asynchronous
async def test_what_is_left_out_is_filled_in(database: Database) -> None:
    async with running_service(database) as service:
        asked = CreateWalletRequest(wallet=Wallet(currency_code="JPY"))
        made = (await service.stub.CreateWallet(asked)).wallet
        assert UUID(made.name.removeprefix("wallets/")).version == 7
        assert (made.owner, made.kind) == ("local", WalletKind.WALLET_KIND_USER)


@asynchronous
async def test_the_balance_is_the_account_s(database: Database) -> None:
    async with running_service(database) as service:
        made = await create(service)
        service.accounts.pay_in(made.name, 500)
        service.accounts.rows[made.name].held = 120
        balance = (await get(service, made.name)).balance
        amounts = (balance.posted.minor_units, balance.held.minor_units, balance.available.minor_units)
        assert (*amounts, balance.version) == (500, 120, 380, 1)
        assert (await get(service, made.name)).etag == made.etag


@pytest.mark.parametrize("by_header", [False, True])
@asynchronous
async def test_a_request_id_makes_creation_idempotent(database: Database, by_header: bool) -> None:
    async with running_service(database) as service:
        key = f"key-{uuid4()}"
        asked = CreateWalletRequest(wallet=Wallet(currency_code="USD"), request_id="" if by_header else key)
        metadata = (("idempotency-key", key),) if by_header else ()
        first = await service.stub.CreateWallet(asked, metadata=metadata)
        assert await service.stub.CreateWallet(asked, metadata=metadata) == first
        asked.wallet.display_name = "other"
        error = await failed(service.stub.CreateWallet(asked, metadata=metadata))
        assert (error.code, error.reason, error.metadata) == (
            "ALREADY_EXISTS",
            "REQUEST_ID_REUSED",
            {"request_id": key},
        )


@asynchronous
async def test_a_replayed_creation_shows_the_wallet_as_it_is_now(database: Database) -> None:
    async with running_service(database) as service:
        asked = CreateWalletRequest(wallet=Wallet(currency_code="USD"), request_id=f"key-{uuid4()}")
        made = (await service.stub.CreateWallet(asked)).wallet
        await service.stub.FreezeWallet(FreezeWalletRequest(name=made.name))
        assert (await service.stub.CreateWallet(asked)).wallet.state == FROZEN


@asynchronous
async def test_a_name_is_given_once(database: Database) -> None:
    async with running_service(database) as service:
        made = await create(service)
        error = await failed(create(service, made.name.removeprefix("wallets/")))
        assert (error.code, error.reason) == ("ALREADY_EXISTS", "WALLET_ALREADY_EXISTS")
        assert error.metadata == {"wallet": made.name}


BAD_CREATIONS = [
    (CreateWalletRequest(), "INVALID_FIELD", ["wallet"]),
    (CreateWalletRequest(wallet=Wallet()), "INVALID_FIELD", ["wallet"]),
    (CreateWalletRequest(wallet=Wallet(currency_code="usd")), "INVALID_FIELD", ["wallet.currency_code"]),
    (CreateWalletRequest(wallet_id="A", wallet=Wallet(currency_code="USD")), "INVALID_FIELD", ["wallet_id"]),
    (CreateWalletRequest(wallet_id="a" * 64, wallet=Wallet(currency_code="USD")), "INVALID_FIELD", ["wallet_id"]),
    (
        CreateWalletRequest(wallet_id="a", wallet=Wallet(name="wallets/b", currency_code="USD")),
        "INVALID_FIELD",
        ["wallet.name"],
    ),
    (CreateWalletRequest(wallet=Wallet(name="wallets/b", currency_code="USD")), "INVALID_FIELD", ["wallet.name"]),
    (CreateWalletRequest(wallet=Wallet(currency_code="USD", owner="a\n")), "INVALID_FIELD", ["wallet.owner"]),
    (
        CreateWalletRequest(wallet=Wallet(currency_code="USD", labels={"A": "b"})),
        "INVALID_FIELD",
        ['wallet.labels["A"]'],
    ),
    (
        CreateWalletRequest(wallet=Wallet(currency_code="USD", limits=Limits(credit_minor_units=-1))),
        "INVALID_FIELD",
        ["wallet.limits.credit_minor_units"],
    ),
    (CreateWalletRequest(wallet=Wallet(currency_code="ABC")), "UNKNOWN_CURRENCY", []),
    (
        CreateWalletRequest(wallet=Wallet(currency_code="USD", limits=Limits(time_zone="Mars/Base"))),
        "UNKNOWN_TIME_ZONE",
        [],
    ),
]


@pytest.mark.parametrize(("asked", "reason", "fields"), BAD_CREATIONS)
@asynchronous
async def test_a_creation_is_refused_and_nothing_is_stored(
    database: Database, asked: CreateWalletRequest, reason: str, fields: list[str]
) -> None:
    async with running_service(database) as service:
        error = await failed(service.stub.CreateWallet(asked))
        assert (error.code, error.reason, error.fields) == ("INVALID_ARGUMENT", reason, fields)
        assert service.accounts.history == []


@asynchronous
async def test_a_name_that_agrees_with_the_id_is_taken(database: Database) -> None:
    async with running_service(database) as service:
        wallet_id = fresh_id()
        assert (await create(service, wallet_id, name=f"wallets/{wallet_id}")).state == ACTIVE


@asynchronous
async def test_unknown_wallets_are_not_found(database: Database) -> None:
    async with running_service(database) as service:
        calls = [
            service.stub.GetWallet(GetWalletRequest(name="wallets/nobody")),
            service.stub.FreezeWallet(FreezeWalletRequest(name="wallets/nobody")),
            service.stub.UnfreezeWallet(UnfreezeWalletRequest(name="wallets/nobody")),
            service.stub.CloseWallet(CloseWalletRequest(name="wallets/nobody")),
            service.stub.UpdateWallet(UpdateWalletRequest(wallet=Wallet(name="wallets/nobody", display_name="x"))),
            service.stub.BatchGetWallets(BatchGetWalletsRequest(names=["wallets/nobody"])),
        ]
        for call in calls:
            error = await failed(call)
            assert (error.code, error.reason) == ("NOT_FOUND", "WALLET_NOT_FOUND")
            assert error.metadata == {"wallet": "wallets/nobody"}


@asynchronous
async def test_a_batch_is_read_in_the_order_asked_for_with_one_call_for_all_balances(database: Database) -> None:
    async with running_service(database) as service:
        one, two = await create(service), await create(service)
        service.accounts.pay_in(one.name, 1)
        before = len(service.accounts.history)
        names = [two.name, one.name, two.name]
        wallets = (await service.stub.BatchGetWallets(BatchGetWalletsRequest(names=names))).wallets
        assert [(wallet.name, wallet.balance.posted.minor_units) for wallet in wallets] == list(
            zip(names, [0, 1, 0], strict=True)
        )
        assert len(service.accounts.history) == before + 1
        error = await failed(service.stub.BatchGetWallets(BatchGetWalletsRequest(names=[one.name, "wallets/nobody"])))
        assert error.reason == "WALLET_NOT_FOUND"


@asynchronous
async def test_a_listing_goes_through_all_pages_in_the_order_of_the_names(database: Database) -> None:
    async with running_service(database) as service:
        owner = f"o-{uuid4()}"
        made = sorted([(await create(service, owner=owner)).name for _ in range(5)])
        seen: list[str] = []
        request = ListWalletsRequest(owner=owner, page_size=2)
        for expected in (2, 2, 1):
            page = await service.stub.ListWallets(request)
            assert len(page.wallets) == expected
            assert all(wallet.HasField("balance") for wallet in page.wallets)
            seen += [wallet.name for wallet in page.wallets]
            request.page_token = page.next_page_token
        assert seen == made
        assert request.page_token == ""


@asynchronous
async def test_a_full_last_page_has_no_next_one(database: Database) -> None:
    async with running_service(database) as service:
        owner = f"o-{uuid4()}"
        for _ in range(2):
            await create(service, owner=owner)
        assert (await service.stub.ListWallets(ListWalletsRequest(owner=owner, page_size=2))).next_page_token == ""
        assert len((await service.stub.ListWallets(ListWalletsRequest(owner=owner))).wallets) == 2
        assert len((await service.stub.ListWallets(ListWalletsRequest(owner="nobody"))).wallets) == 0


@asynchronous
async def test_a_page_is_cut_where_it_would_be_too_large_and_nothing_is_lost(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conversion, "PAGE_BYTES_MAX", 600)
    async with running_service(database) as service:
        owner = f"o-{uuid4()}"
        sizes = [500, 0, 1, 500, 500]  # two that are large by themselves, and what fits between
        made = [await create(service, f"{fresh_id()[:8]}-{n}", owner=owner) for n in range(len(sizes))]
        made.sort(key=lambda wallet: wallet.name)
        for wallet, size in zip(made, sizes, strict=True):
            labels = {f"l{n}": "x" * 100 for n in range(size // 100)}
            await update(service, Wallet(name=wallet.name, labels=labels), "labels")
        pages_seen: list[list[str]] = []
        request = ListWalletsRequest(owner=owner, page_size=4)
        while not pages_seen or request.page_token:
            page = await service.stub.ListWallets(request)
            pages_seen.append([wallet.name for wallet in page.wallets])
            request.page_token = page.next_page_token
        assert [name for names in pages_seen for name in names] == [wallet.name for wallet in made]
        assert [len(names) for names in pages_seen] == [1, 2, 1, 1]


@asynchronous
async def test_a_listing_by_state(database: Database) -> None:
    async with running_service(database) as service:
        owner = f"o-{uuid4()}"
        await create(service, owner=owner)
        frozen = await create(service, owner=owner)
        await service.stub.FreezeWallet(FreezeWalletRequest(name=frozen.name))
        page = await service.stub.ListWallets(ListWalletsRequest(owner=owner, state=FROZEN))
        assert [wallet.name for wallet in page.wallets] == [frozen.name]


@asynchronous
async def test_a_page_token_is_good_for_its_own_query_only(database: Database) -> None:
    async with running_service(database) as service:
        owner = f"o-{uuid4()}"
        for _ in range(2):
            await create(service, owner=owner)
        token = (await service.stub.ListWallets(ListWalletsRequest(owner=owner, page_size=1))).next_page_token
        filters = (owner, 0)
        requests = [
            ListWalletsRequest(owner="other", page_token=token),
            ListWalletsRequest(owner=owner, state=ACTIVE, page_token=token),
            ListWalletsRequest(owner=owner, page_token=token[:-1]),
            ListWalletsRequest(owner=owner, page_token="né"),  # noqa: S106 - no password
            ListWalletsRequest(owner=owner, page_token=pages.encode([7], *filters)),
            ListWalletsRequest(owner=owner, page_token=pages.encode(["wallets/\0"], *filters)),
            ListWalletsRequest(owner=owner, page_token=pages.encode([], *filters)),
        ]
        for request in requests:
            error = await failed(service.stub.ListWallets(request))
            assert (error.code, error.reason) == ("INVALID_ARGUMENT", "INVALID_PAGE_TOKEN")


async def update(service: Service, wallet: Wallet, *paths: str, etag: str = "") -> Wallet:
    mask = FieldMask(paths=paths) if paths else None
    request = UpdateWalletRequest(wallet=wallet, update_mask=mask, etag=etag)
    updated: Wallet = (await service.stub.UpdateWallet(request)).wallet
    return updated


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


ANSWERS: list[tuple[Callable[[], Exception], str, str]] = [
    (unavailable, "UNAVAILABLE", "UNAVAILABLE"),
    (lambda: Refusal("OVERLOADED", "busy", retry_after_seconds=3), "RESOURCE_EXHAUSTED", "OVERLOADED"),
    (lambda: Refusal("CONTENTION", "busy"), "ABORTED", "CONTENTION"),
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
