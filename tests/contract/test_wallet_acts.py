"""Whatever is done to a wallet is on record, by whoever did it, and is found again."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc.aio
import psycopg2
import pytest
from pydantic import SecretStr
from specie.type.v1 import Limits
from specie.wallet.v1 import (
    CloseWalletRequest,
    CreateWalletRequest,
    FreezeWalletRequest,
    ListWalletActsRequest,
    UnfreezeWalletRequest,
    Wallet,
    WalletAuditServiceStub,
)

from service_kit.act_table import WALKED_MAX, SqlActs
from service_kit.acts import ActFilter
from service_kit.database import Database as Connections
from service_kit.status import Refusal
from tests.kit.plans import caught, explain
from tests.kit.postgres import Database
from tests.kit.tampering import unguarded
from tests.kit.tokens import WALLET_IDENTITY, Authorised, bearer, token
from tests.kit.wallet_acts import assert_acts_give, read_acts
from tests.kit.wallet_calls import create, fresh_id, update
from tests.kit.wallets import Service, asynchronous, failed, new_wallet, running_service
from wallet_service.adapters.sql_store import SqlWalletStore
from wallet_service.adapters.tables import act as table
from wallet_service.ports import Inserted
from wallet_service.settings import WalletSettings

AUDITOR = bearer(token("eve", "audit.read"))


def connections_to(database: Database) -> Connections:
    return Connections(WalletSettings(database_dsn=SecretStr(database.wallet_dsn), **WALLET_IDENTITY), "test")


@asynccontextmanager
async def auditor(service: Service, header: tuple[str, str] = AUDITOR) -> AsyncIterator[Any]:
    async with grpc.aio.insecure_channel(service.address) as channel:
        yield Authorised(WalletAuditServiceStub(channel), header)


async def acts_of(service: Service, name: str) -> list[Any]:
    """The oldest first."""
    async with auditor(service) as stub:
        return [*reversed((await stub.ListWalletActs(ListWalletActsRequest(wallet=name))).acts)]


@asynchronous
async def test_a_whole_life_is_on_record(database: Database) -> None:
    async with running_service(database) as service:
        made = await create(service, owner="ann", labels={"team": "a"}, limits=Limits(max_debits_per_hour=3))
        await update(service, Wallet(name=made.name, display_name="Ann's"), "display_name")
        await update(service, Wallet(name=made.name, limits=Limits(credit_minor_units=70)), "limits")
        service.accounts.pay_in(made.name, -50)
        refused = await failed(update(service, Wallet(name=made.name, limits=Limits()), "limits"))
        assert refused.reason == "FLOOR_ABOVE_BALANCE"
        await service.stub.FreezeWallet(FreezeWalletRequest(name=made.name))
        await service.stub.UnfreezeWallet(UnfreezeWalletRequest(name=made.name))
        assert (await failed(service.stub.CloseWallet(CloseWalletRequest(name=made.name)))).reason == "WALLET_NOT_EMPTY"
        service.accounts.pay_in(made.name, 50)
        await service.stub.CloseWallet(CloseWalletRequest(name=made.name))
        acts = await acts_of(service, made.name)
    assert [act.number for act in acts] == list(range(1, len(acts) + 1))
    assert {act.principal for act in acts} == {"local"}
    told = [(act.act, dict(act.before), dict(act.after)) for act in acts]
    assert told[:3] == [
        (
            "CREATE",
            {},
            {
                "state": "CREATING",
                "owner": "ann",
                "currency_code": "USD",
                "kind": "USER",
                "labels.team": "a",
                "limits.max_debits_per_hour": "3",
            },
        ),
        ("CREATE", {"state": "CREATING"}, {"state": "ACTIVE"}),
        ("UPDATE", {}, {"display_name": "Ann's"}),
    ]
    asked, taken = told[3:5]
    assert asked[::2] == ("UPDATE", asked[2] | {"under_way": "UPDATE", "under_way.limits.credit_minor_units": "70"})
    assert taken[2] == {"limits.credit_minor_units": "70", "limits.since": "4"}
    assert taken[1].items() >= {"limits.max_debits_per_hour": "3", "under_way": "UPDATE"}.items()
    refusal = told[6]
    assert refusal[2].items() >= {"refused.reason": "FLOOR_ABOVE_BALANCE", "refused.available": "-50"}.items()
    assert [word for word, _, _ in told] == (
        ["CREATE"] * 2 + ["UPDATE"] * 6 + ["FREEZE"] * 2 + ["UNFREEZE"] * 2 + ["CLOSE"] * 5
    )
    states = [after["state"] for _, _, after in told[8:] if "state" in after]
    assert states == ["FREEZING", "FROZEN", "UNFREEZING", "ACTIVE", "CLOSING", "ACTIVE", "CLOSING", "CLOSED"]
    assert told[13][2]["refused.reason"] == "WALLET_NOT_EMPTY"


@asynchronous
async def test_an_act_names_the_caller_and_the_call(database: Database) -> None:
    async with running_service(database) as service:
        trace, name = (("x-request-id", "trace-1"),), f"wallets/{fresh_id()}"
        asked = CreateWalletRequest(
            wallet_id=name.removeprefix("wallets/"), wallet=Wallet(currency_code="USD"), request_id="r-1"
        )
        await service.stub.CreateWallet(asked, metadata=trace)
        ben = (bearer(token("ben", "admin")), ("x-request-id", "trace-2"))
        await service.stub.FreezeWallet(FreezeWalletRequest(name=name), metadata=ben)
        acts = await acts_of(service, name)
    assert [(act.act, act.principal, act.request_id, act.trace_id) for act in acts] == [
        ("CREATE", "local", "r-1", "trace-1"),
        ("CREATE", "local", "r-1", "trace-1"),
        ("FREEZE", "ben", "", "trace-2"),
        ("FREEZE", "ben", "", "trace-2"),
    ]


@asynchronous
async def test_what_the_service_finishes_by_itself_it_has_done(database: Database) -> None:
    connections = connections_to(database)
    store, acts = SqlWalletStore(connections, due_seconds=0), SqlActs(connections, table)
    inserted = await store.insert(new_wallet(f"wallets/{fresh_id()}"))
    assert isinstance(inserted, Inserted)
    [act] = await read_acts(acts, subject=inserted.wallet.name)
    assert (act.principal, act.request_id, act.trace_id) == ("system/reconciler", "", "")
    assert_acts_give(inserted.wallet, [act])
    connections.close()


@asynchronous
async def test_what_changes_nothing_is_no_act(database: Database) -> None:
    async with running_service(database) as service:
        made = await create(service)
        await update(service, Wallet(name=made.name, display_name=""), "display_name")
        await service.stub.UnfreezeWallet(UnfreezeWalletRequest(name=made.name))
        assert (await failed(update(service, Wallet(name=made.name), "display_name", etag="old"))).code == "ABORTED"
        assert len(await acts_of(service, made.name)) == 2


@pytest.mark.parametrize("scope", ["audit.read", "admin", "audit.read service"])
@asynchronous
async def test_who_audits_sees_the_acts_on_all_wallets(database: Database, scope: str) -> None:
    async with running_service(database) as service:
        made = await create(service, owner="ann")
        async with auditor(service, bearer(token("eve", scope))) as stub:
            answer = await stub.ListWalletActs(ListWalletActsRequest(wallet=made.name))
    assert len(answer.acts) == 2


@asynchronous
async def test_nobody_else_sees_any_not_even_on_his_own(database: Database) -> None:
    async with running_service(database) as service:
        made = await create(service, owner="ann")
        async with auditor(service, bearer(token("ann", "wallets.read wallets.write"))) as stub:
            refused = await failed(stub.ListWalletActs(ListWalletActsRequest(wallet=made.name)))
    assert (refused.code, refused.reason) == ("PERMISSION_DENIED", "PERMISSION_DENIED")


@asynchronous
async def test_pages_keep_to_the_filters_and_their_tokens_to_the_query(database: Database) -> None:
    async with running_service(database) as service, auditor(service) as stub:
        for _ in range(3):
            await create(service)
        request = ListWalletActsRequest(principal="local", act="CREATE", page_size=2)
        first = await stub.ListWalletActs(request)
        assert (len(first.acts), {act.act for act in first.acts}) == (2, {"CREATE"})
        request.page_token = first.next_page_token
        second = await stub.ListWalletActs(request)
        assert second.acts[0].create_time.ToDatetime() <= first.acts[-1].create_time.ToDatetime()
        request.act = "CLOSE"
        assert (await failed(stub.ListWalletActs(request))).reason == "INVALID_PAGE_TOKEN"
        assert (await failed(stub.ListWalletActs(ListWalletActsRequest(act="SELL")))).reason == "INVALID_FIELD"


MANY = 3 * WALKED_MAX


@pytest.fixture(scope="module")
def many(database: Database) -> Database:
    """So many acts besides: one wallet has every tenth, one principal every hundredth, one trace every thousandth."""
    with unguarded(database.owner_dsn, "wallets") as cursor:
        cursor.execute(
            "INSERT INTO act SELECT CASE n %% 10 WHEN 0 THEN 'wallets/many' ELSE 'wallets/m-' || n END, n,"
            " CASE n %% 5000 WHEN 0 THEN 'CLOSE' ELSE 'UPDATE' END, '{}', '{}',"
            " CASE n %% 100 WHEN 0 THEN 'rare' ELSE 'usual' END, '', CASE n %% 1000 WHEN 0 THEN 'trace' ELSE '' END,"
            " timestamptz '2026-01-01 UTC' + n / 3 * interval '1 second' FROM generate_series(1, %s) AS n",
            (MANY,),
        )
    connection = psycopg2.connect(database.owner_dsn)
    connection.autocommit = True
    connection.cursor().execute("VACUUM ANALYZE wallets.act")
    connection.close()
    return database


FILTERS = [
    {"principal": "usual"},
    {"principal": "rare"},
    {"trace_id": "trace"},
    {"subject": "wallets/many"},
    {"subject": "wallets/many", "act": "CLOSE"},
    {"subject": "wallets/many", "principal": "rare", "trace_id": "trace"},
    {"principal": "usual", "act": "CLOSE"},
    {"principal": "rare", "trace_id": "trace", "act": "CLOSE"},
]


@pytest.mark.parametrize("page_size", [7, 1000])
@pytest.mark.parametrize("wanted", FILTERS)
@asynchronous
async def test_all_that_match_are_listed_once_the_newest_first(
    many: Database, wanted: dict[str, str], page_size: int
) -> None:
    connections = connections_to(many)
    start = datetime(2026, 1, 1, 0, 10, tzinfo=UTC)
    found = await read_acts(
        SqlActs(connections, table), page_size, **wanted, start=start, end=start + timedelta(minutes=50)
    )
    connections.close()
    where = " AND ".join(f"{column} = %({column})s" for column in wanted)
    connection = psycopg2.connect(many.owner_dsn)
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT subject, number FROM wallets.act WHERE {where} AND create_time >= %(start)s"  # noqa: S608 - our own words
            " AND create_time < %(start)s + interval '50 minutes'"
            ' ORDER BY create_time DESC, subject COLLATE "C" DESC, number DESC',
            wanted | {"start": start},
        )
        assert [(act.subject, act.number) for act in found] == cursor.fetchall()
    connection.close()


@pytest.mark.parametrize("wanted", FILTERS)
@asynchronous
async def test_a_page_looks_at_a_bounded_number_of_acts(many: Database, wanted: dict[str, Any]) -> None:
    connections = connections_to(many)
    acts = SqlActs(connections, table)
    with caught() as statements:
        _, after = await acts.page(ActFilter(**wanted), None, 50)
        if after is not None:
            await acts.page(ActFilter(**wanted), after, 50)
    connections.close()
    plans = [explain(many.wallet_dsn, statement) for statement in statements if "wallets.act" in statement]
    assert plans
    for plan in plans:
        assert "Seq Scan" not in plan.nodes, plan
        assert plan.rows <= 2 * WALKED_MAX, plan  # a bitmap looks at each in the index and in the table
        assert plan.sorted_rows <= WALKED_MAX, plan


@pytest.mark.parametrize(
    "position",
    [
        [],
        [1, 2],
        ["now", "wallets/a", 1],
        ["2026-01-01T00:00:00+00:00", "\0", 1],
        ["2026-01-01", "a", 1],
        [True],
        ["1"],
    ],
)
@asynchronous
async def test_a_made_up_position_is_refused(database: Database, position: list[Any]) -> None:
    connections = connections_to(database)
    acts = SqlActs(connections, table)
    for subject in ("", "wallets/a"):
        with pytest.raises(Refusal) as refused:
            await acts.page(ActFilter(subject=subject), position, 1)
        assert refused.value.reason == "INVALID_PAGE_TOKEN"
    connections.close()
