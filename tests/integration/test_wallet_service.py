"""WalletService as its callers see it: a real server, the real interceptors, PostgreSQL, and the accounts over gRPC.
Creating, reading and listing."""

from uuid import UUID, uuid4

import pytest
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
)

from service_kit import pages
from tests.kit.postgres import Database
from tests.kit.wallet_calls import ACTIVE, CLOSED, FROZEN, create, fresh_id, get, update
from tests.kit.wallets import asynchronous, failed, running_service


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
    monkeypatch.setattr(pages, "PAGE_BYTES_MAX", 600)
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
