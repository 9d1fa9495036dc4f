"""WebhookService through the real service: what operators set up, what is refused, and where no secret ever stands."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from cryptography.fernet import Fernet
from specie.transaction.v1 import (
    DeleteWebhookEndpointRequest,
    DisableWebhookEndpointRequest,
    EnableWebhookEndpointRequest,
    ListWebhookEndpointsRequest,
    RotateWebhookSecretRequest,
    WebhookDeliveryState,
    WebhookEndpointState,
)

from service_kit import pages
from tests.kit.calls import failed, outcome
from tests.kit.postgres import Database
from tests.kit.service import ServiceProcess, transaction_service
from tests.kit.tokens import bearer, token
from tests.kit.wallets import asynchronous
from tests.kit.watching import watching
from tests.kit.webhook_operator import ADDRESS, HERE, on_endpoints, operating
from tests.kit.webhooks import ANN, PLACE, Hooks, hooks_on
from transaction_service.webhooks.endpoint import DeliveryState, Wish
from transaction_service.webhooks.secrets import Secrets
from transaction_service.webhooks.types import EventType

ENABLED = WebhookEndpointState.WEBHOOK_ENDPOINT_STATE_ENABLED
DISABLED = WebhookEndpointState.WEBHOOK_ENDPOINT_STATE_DISABLED
PENDING = WebhookDeliveryState.WEBHOOK_DELIVERY_STATE_PENDING
DELIVERED = WebhookDeliveryState.WEBHOOK_DELIVERY_STATE_DELIVERED

NOBODYS = "webhookEndpoints/00000000-0000-0000-0000-000000000007"


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("webhooks") / "webhooks.keys"
    path.write_bytes(Fernet.generate_key() + b"\n")
    return path


@pytest.fixture(scope="module")
def service(database: Database, keys: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    """It logs all that it can."""
    folder = tmp_path_factory.mktemp("service")
    settings = {"WEBHOOK_KEYS_FILE": keys, "WEBHOOK_PRIVATE_NETWORKS": "true", "LOG_LEVEL": "DEBUG"}
    with transaction_service(database, folder, **settings) as running:
        yield running


@pytest.fixture(scope="module")
def hooks(database: Database) -> Iterator[Hooks]:
    with hooks_on(database) as opened:
        yield opened


@asynchronous
async def test_an_endpoint_is_made_read_listed_and_deleted(service: ServiceProcess) -> None:
    async with operating(service.targets[0]) as operator:
        made = await operator.create(event_types=["payout.dead"], wallet="wallets/alice", description="the shop")
        endpoint = made.endpoint
        assert re.fullmatch("webhookEndpoints/[0-9a-f-]{36}", endpoint.name)
        assert (endpoint.url, [*endpoint.event_types]) == (HERE, ["payout.dead"])
        assert (endpoint.wallet, endpoint.description) == ("wallets/alice", "the shop")
        assert (endpoint.state, endpoint.disabled_reason, endpoint.waiting_count) == (ENABLED, "", 0)
        assert endpoint.create_time == endpoint.update_time
        assert re.fullmatch("whsec_[A-Za-z0-9+/]{43}=", made.secret)
        assert await operator.get(endpoint.name) == endpoint
        listed = await operator.calls.ListWebhookEndpoints(ListWebhookEndpointsRequest())
        assert endpoint in listed.endpoints
        await operator.calls.DeleteWebhookEndpoint(DeleteWebhookEndpointRequest(name=endpoint.name))
        assert (await failed(operator.get(endpoint.name))).reason == "WEBHOOK_ENDPOINT_NOT_FOUND"


@asynchronous
async def test_a_new_endpoint_begins_where_the_ledger_stands(service: ServiceProcess) -> None:
    async with operating(service.targets[0]) as operator:
        wallet = await operator.client.open(100)
        made = (await operator.create()).endpoint
        after = (await operator.client.deposit(wallet, 1)).transaction
        async with watching(operator.client, cursor=made.cursor) as watch:
            assert (await watch.until_named(after.name))[0] == after


@asynchronous
async def test_an_update_sets_what_its_mask_names(service: ServiceProcess) -> None:
    async with operating(service.targets[0]) as operator:
        made = (await operator.create(wallet="wallets/alice", description="old")).endpoint
        changed = (await operator.update(made.name, ["wallet", "event_types"], event_types=["payout.paid"])).endpoint
        assert (changed.wallet, [*changed.event_types]) == ("", ["payout.paid"])
        assert (changed.url, changed.description) == (HERE, "old")
        by_value = (await operator.update(made.name, [], description="new")).endpoint
        assert (by_value.description, by_value.url) == ("new", HERE)
        moved = (await operator.update(made.name, ["*"], url=ADDRESS)).endpoint
        assert (moved.url, moved.description, [*moved.event_types]) == (ADDRESS, "", [])
        assert moved == await operator.get(made.name)


@asynchronous
async def test_an_endpoint_is_disabled_and_enabled_again(service: ServiceProcess) -> None:
    subject = "ann-who-operates"
    async with operating(service.targets[0], bearer(token(subject, "admin"))) as operator:
        made = (await operator.create()).endpoint
        disabled = await operator.calls.DisableWebhookEndpoint(DisableWebhookEndpointRequest(name=made.name))
        assert disabled.endpoint.state == DISABLED
        assert disabled.endpoint.disabled_reason == f"disabled by {subject}"
        enabled = await operator.calls.EnableWebhookEndpoint(EnableWebhookEndpointRequest(name=made.name))
        assert (enabled.endpoint.state, enabled.endpoint.disabled_reason) == (ENABLED, "")
        assert enabled.endpoint.cursor == made.cursor


@asynchronous
async def test_a_replay_begins_behind_a_cursor_or_with_the_first_transaction(
    service: ServiceProcess, hooks: Hooks
) -> None:
    async with operating(service.targets[0]) as operator:
        wallet = await operator.client.open(100)
        async with watching(operator.client) as watch:
            await operator.client.deposit(wallet, 1)
            await watch.has(1)
            cursor = watch.cursor
        await operator.client.deposit(wallet, 1)
        made = (await operator.create()).endpoint
        assert (await operator.replay(made.name, cursor)).endpoint.cursor == cursor
        hooks.deliver(made.name.removeprefix("webhookEndpoints/"), DeliveryState.DELIVERED, commit=5)
        [delivery] = (await operator.deliveries(made.name)).deliveries
        assert (await operator.replay(made.name, delivery.cursor)).endpoint.cursor == delivery.cursor
        assert (await operator.replay(made.name)).endpoint.cursor == pages.encode(
            [0, "00000000-0000-0000-0000-000000000000"], "watch", ""
        )


@asynchronous
async def test_a_strange_cursor_is_refused(service: ServiceProcess) -> None:
    id_ = "00000000-0000-0000-0000-000000000000"
    strange = ["x", "beginning", pages.encode([1, id_], "watch", "wallets/alice"), pages.encode([1, id_], "pages")]
    from_the_future = pages.encode([2**62, id_], "watch", "")
    async with operating(service.targets[0]) as operator:
        made = (await operator.create()).endpoint
        for cursor in [*strange, from_the_future]:
            assert (await failed(operator.replay(made.name, cursor))).reason == "INVALID_CURSOR", cursor
        assert await operator.get(made.name) == made


@asynchronous
async def test_deliveries_are_listed_by_state_page_by_page(service: ServiceProcess, hooks: Hooks) -> None:
    states = [DeliveryState.PENDING, DeliveryState.DELIVERED, DeliveryState.DELIVERED]
    async with operating(service.targets[0]) as operator:
        made = (await operator.create()).endpoint
        ids = hooks.deliver(made.name.removeprefix("webhookEndpoints/"), *states)
        names = [f"webhookDeliveries/{id_}" for id_ in ids]
        first = await operator.deliveries(made.name, page_size=2)
        second = await operator.deliveries(made.name, page_size=2, page_token=first.next_page_token)
        assert [d.name for d in (*first.deliveries, *second.deliveries)] == names[::-1]
        assert second.next_page_token == ""
        [pending] = (await operator.deliveries(made.name, state=PENDING)).deliveries
        assert (pending.name, pending.endpoint, pending.state) == (names[0], made.name, PENDING)
        assert (pending.attempt_count, pending.last_status, pending.last_error) == (7, 503, "it was busy")
        assert (pending.HasField("next_attempt_time"), pending.HasField("deliver_time")) == (True, False)
        assert (pending.event_id[:4], pending.event_type) == ("evt_", "transaction.posted")
        delivered = (await operator.deliveries(made.name, state=DELIVERED)).deliveries
        assert [(d.name, d.HasField("next_attempt_time"), d.HasField("deliver_time")) for d in delivered] == [
            (names[2], False, True),
            (names[1], False, True),
        ]
        assert (await operator.get(made.name)).waiting_count == 1
        other = await failed(operator.deliveries(made.name, state=PENDING, page_token=first.next_page_token))
        assert other.reason == "INVALID_PAGE_TOKEN"


@asynchronous
async def test_a_delivery_is_sent_once_more(service: ServiceProcess, hooks: Hooks) -> None:
    async with operating(service.targets[0]) as operator:
        made = (await operator.create()).endpoint
        [id_] = hooks.deliver(made.name.removeprefix("webhookEndpoints/"), DeliveryState.DELIVERED)
        again = (await operator.redeliver(f"webhookDeliveries/{id_}")).delivery
        assert (again.state, again.attempt_count) == (PENDING, 0)
        assert again.HasField("next_attempt_time")
        assert [*(await operator.deliveries(made.name)).deliveries] == [again]


BAD_ENDPOINTS: dict[str, tuple[dict[str, Any], str]] = {
    "no url": ({"url": ""}, "INVALID_FIELD"),
    "a url of 2,001 characters": ({"url": ADDRESS + "a" * (2001 - len(ADDRESS))}, "INVALID_FIELD"),
    "http to the Internet": ({"url": "http://1.1.1.1/"}, "INVALID_WEBHOOK_URL"),
    "a long url of other letters": ({"url": "https://" + "ü" * 1990}, "INVALID_WEBHOOK_URL"),
    "the metadata of a cloud": ({"url": "https://169.254.169.254/latest"}, "INVALID_WEBHOOK_URL"),
    "a password": ({"url": "https://ann:secret@1.1.1.1/"}, "INVALID_WEBHOOK_URL"),
    "a name that is none": ({"url": "https://nobody.invalid/"}, "INVALID_WEBHOOK_URL"),
    "an unknown type": ({"event_types": ["transaction.posted", "transaction.lost"]}, "UNKNOWN_EVENT_TYPE"),
    "an empty type": ({"event_types": [""]}, "UNKNOWN_EVENT_TYPE"),
    "a very long type": ({"event_types": ["x" * 100_000]}, "UNKNOWN_EVENT_TYPE"),
    "a type twice": ({"event_types": ["payout.paid", "payout.paid"]}, "INVALID_FIELD"),
    "33 types": ({"event_types": [f"type.{n}" for n in range(33)]}, "INVALID_FIELD"),
    "no wallet's name": ({"wallet": "alice"}, "INVALID_FIELD"),
    "a long description": ({"description": "x" * 201}, "INVALID_FIELD"),
    "a control character": ({"description": "a\nb"}, "INVALID_FIELD"),
}


@pytest.mark.parametrize("bad", BAD_ENDPOINTS)
def test_a_bad_endpoint_is_refused_and_nothing_changes(bad: str, service: ServiceProcess, hooks: Hooks) -> None:
    changed, reason = BAD_ENDPOINTS[bad]
    rows = "SELECT * FROM transactions.webhook_endpoint ORDER BY id"

    @asynchronous
    async def refused() -> None:
        async with operating(service.targets[0]) as operator:
            name = (await operator.create()).endpoint.name
            before, acts = hooks.query(rows), hooks.query("SELECT count(*) FROM transactions.act")
            values: dict[str, Any] = {"url": HERE} | changed
            created = await failed(operator.create(**values))
            updated = await failed(operator.update(name, list(changed), **values))
            assert created.reason == reason
            assert updated.reason == ("INVALID_WEBHOOK_URL" if bad == "no url" else reason)
            for told in (created, updated):
                assert told.code == "INVALID_ARGUMENT"
                if told.reason == "INVALID_WEBHOOK_URL":
                    assert told.metadata["problem"] in told.message
                if told.reason == "UNKNOWN_EVENT_TYPE":
                    assert told.metadata["known"] == ", ".join(EventType)
                    assert told.metadata["known"] in told.message
            assert hooks.query(rows) == before
            assert hooks.query("SELECT count(*) FROM transactions.act") == acts

    refused()


@pytest.mark.parametrize(
    ("mask", "reason", "field"),
    [
        (["state"], "IMMUTABLE_FIELD", "state"),
        (["url", "cursor"], "IMMUTABLE_FIELD", "cursor"),
        (["urls"], "INVALID_FIELD", "update_mask"),
        (["*", "url"], "INVALID_FIELD", "update_mask"),
    ],
)
def test_a_mask_names_what_can_be_set(mask: list[str], reason: str, field: str, service: ServiceProcess) -> None:
    @asynchronous
    async def refused() -> None:
        async with operating(service.targets[0]) as operator:
            made = (await operator.create()).endpoint
            told = await failed(operator.update(made.name, mask, url=ADDRESS))
            assert (told.reason, told.metadata.get("field", ",".join(told.fields))) == (reason, field)
            assert await operator.get(made.name) == made

    refused()


@asynchronous
async def test_an_unknown_endpoint_is_not_found(service: ServiceProcess) -> None:
    async with operating(service.targets[0]) as operator:
        for call, make in on_endpoints(operator, NOBODYS).items():
            told = await failed(make())
            assert (call, told.code, told.reason) == (call, "NOT_FOUND", "WEBHOOK_ENDPOINT_NOT_FOUND")
            assert told.metadata == {"endpoint": NOBODYS}
        missing = "webhookDeliveries/00000000-0000-0000-0000-000000000007"
        told = await failed(operator.redeliver(missing))
        assert (told.reason, told.metadata) == ("WEBHOOK_DELIVERY_NOT_FOUND", {"delivery": missing})


@pytest.mark.parametrize(
    "name", ["", "7", "webhookEndpoints/", "webhookEndpoints/7", NOBODYS.upper(), NOBODYS + "/", "wallets/alice"]
)
def test_a_malformed_name_is_refused(name: str, service: ServiceProcess) -> None:
    @asynchronous
    async def refused() -> None:
        async with operating(service.targets[0]) as operator:
            for call, make in on_endpoints(operator, name).items():
                assert (call, (await failed(make())).reason) == (call, "INVALID_FIELD")
            assert (await failed(operator.redeliver(name))).reason == "INVALID_FIELD"

    refused()


@pytest.mark.parametrize("scope", ["service", "wallets.write transfers.write", "audit.read", ""])
def test_only_operators_have_to_do_with_webhooks(scope: str, service: ServiceProcess) -> None:
    @asynchronous
    async def refused() -> None:
        async with operating(service.targets[0], bearer(token("bob", scope))) as operator:
            assert (await failed(operator.create())).reason == "PERMISSION_DENIED"
            for call, make in on_endpoints(operator, NOBODYS).items():
                assert (call, (await failed(make())).reason) == (call, "PERMISSION_DENIED")

    refused()


@asynchronous
async def test_there_are_no_more_endpoints_than_may_be(service: ServiceProcess, hooks: Hooks) -> None:
    filled = []
    while (made := await hooks.endpoints.create(Wish(ADDRESS), "sealed", PLACE, ANN)) is not None:
        filled.append(made)
    try:
        async with operating(service.targets[0]) as operator:
            told = await failed(operator.create())
            assert (told.code, told.reason) == ("FAILED_PRECONDITION", "TOO_MANY_WEBHOOK_ENDPOINTS")
            assert told.metadata == {"max_endpoints": "100"}
            listed = await operator.calls.ListWebhookEndpoints(ListWebhookEndpointsRequest())
            assert len(listed.endpoints) == 100
    finally:
        for made in filled:
            await hooks.endpoints.delete(made.id, ANN)


def test_a_secret_is_shown_once_and_stands_nowhere(
    service: ServiceProcess, database: Database, hooks: Hooks, keys: Path
) -> None:
    secrets: list[str] = []

    @asynchronous
    async def use() -> None:
        async with operating(service.targets[0]) as operator:
            made = await operator.create(description="to be looked for")
            name = made.endpoint.name
            rotated = await operator.calls.RotateWebhookSecret(RotateWebhookSecretRequest(name=name))
            secrets.extend([made.secret, rotated.secret])
            assert rotated.endpoint.name == name
            assert "whsec_" not in str(await operator.get(name))
            assert "whsec_" not in str(await operator.calls.ListWebhookEndpoints(ListWebhookEndpointsRequest()))
            assert "whsec_" not in str(await outcome(operator.replay(name, secrets[0])))
            await operator.update(name, ["description"], description="changed")

    use()
    old, new = secrets
    assert old != new
    everything = service.log_text() + whole(database)
    assert "to be looked for" in everything
    for secret in (old, new):
        assert secret.removeprefix("whsec_") not in everything
    [row] = hooks.query(
        "SELECT secret, old_secret FROM transactions.webhook_endpoint WHERE description = %s", "changed"
    )
    assert [*map(Secrets.from_file(str(keys)).opened, row)] == [new, old]


def whole(database: Database) -> str:
    """Every row of every table, as text."""
    connection = psycopg2.connect(database.owner_dsn)
    found = []
    try:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables WHERE schemaname !~ '^(pg|inf)'"
            )
            for (table,) in cursor.fetchall():
                cursor.execute(f"SELECT t::text FROM {table} AS t")  # noqa: S608 - a name of PostgreSQL's own
                found += [line for (line,) in cursor.fetchall()]
    finally:
        connection.close()
    return "\n".join(found)
