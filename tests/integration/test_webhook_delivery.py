"""Webhooks from the call that makes something happen to the receiver that is told of it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import pytest
from google.protobuf.json_format import MessageToDict, ParseDict
from specie.transaction.v1 import (
    DisableWebhookEndpointRequest,
    EnableWebhookEndpointRequest,
    RedeliverWebhookRequest,
    ReplayWebhookEndpointRequest,
    RotateWebhookSecretRequest,
    Transaction,
    UpdateWebhookEndpointRequest,
    WebhookEndpoint,
    WebhookEndpointState,
)

from tests.kit.calls import Client, connected, outcome
from tests.kit.postgres import Database
from tests.kit.receiver import Got, Receiver, Reply, is_valid
from tests.kit.service import ServiceProcess, back_office, transaction_service, wait_until
from tests.kit.webhook_client import WebhookClient, shared_settings, webhook_client

T = TypeVar("T")

FAST = {"WEBHOOK_FIRST_PAUSE_SECONDS": 0.05, "WEBHOOK_PAUSE_SECONDS_MAX": 0.1, "WEBHOOK_TIMEOUT_SECONDS": 2}
IMPATIENT_SECONDS = 0.5
ENABLED = WebhookEndpointState.WEBHOOK_ENDPOINT_STATE_ENABLED
DISABLED = WebhookEndpointState.WEBHOOK_ENDPOINT_STATE_DISABLED


class House(NamedTuple):
    """What runs."""

    service: ServiceProcess
    office: ServiceProcess
    shared: dict[str, object]

    @asynccontextmanager
    async def clients(self) -> AsyncIterator[tuple[Client, WebhookClient]]:
        target = self.service.targets[0]
        async with connected(target) as client, webhook_client(target) as webhooks:
            yield client, webhooks

    def do(self, work: Callable[[Client, WebhookClient], Awaitable[T]]) -> T:
        async def doing() -> T:
            async with self.clients() as (client, webhooks):
                return await work(client, webhooks)

        return asyncio.run(doing())


@pytest.fixture(scope="module")
def house(database: Database, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("house")
    shared = shared_settings(folder)
    with ExitStack() as running:
        service = running.enter_context(transaction_service(database, folder, **shared))
        office = running.enter_context(back_office(database, folder, **shared, **FAST))
        yield House(service, office, shared)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as listening:
        yield listening


class Wallets(NamedTuple):
    """Of one test."""

    alice: str
    bob: str
    endpoint: WebhookEndpoint


def subscribed(house: House, receiver: Receiver, url: str = "", **wish: Any) -> Wallets:  # noqa: ANN401
    """Two wallets, and an endpoint that is sent what happens to the first of them once it has money."""

    async def work(client: Client, webhooks: WebhookClient) -> Wallets:
        alice, bob = await client.open(1_000), await client.open()
        endpoint, receiver.secret = await webhooks.create(url or receiver.url, **({"wallet": alice} | wish))
        return Wallets(alice, bob, endpoint)

    return house.do(work)


def transfer(house: House, wallets: Wallets, *amounts: int) -> list[str]:
    """One after the other; their names."""

    async def work(client: Client, _: WebhookClient) -> list[str]:
        for amount in amounts:
            await outcome(client.transfer(wallets.alice, wallets.bob, amount))
        listed = await client.listed(wallet=wallets.alice)
        return [transaction.name for transaction in reversed(listed[: len(amounts)])]

    return house.do(work)


def endpoint_of(house: House, wallets: Wallets) -> WebhookEndpoint:
    return house.do(lambda _, webhooks: webhooks.get(wallets.endpoint.name))


def deliveries_of(house: House, wallets: Wallets) -> list[Any]:
    return house.do(lambda _, webhooks: webhooks.deliveries(wallets.endpoint.name))


def replies(*statuses: int) -> Callable[[Got], Reply]:
    """One after the other, the last one again and again."""
    left = list(statuses)
    return lambda _: Reply(left.pop(0) if len(left) > 1 else left[0])


def test_what_is_posted_and_what_fails_is_told_as_the_api_tells_it(house: House, receiver: Receiver) -> None:
    wallets = subscribed(house, receiver)
    names = transfer(house, wallets, 10, 5_000)
    posted, failed = receiver.wait_for(2)
    assert [posted.body["type"], failed.body["type"]] == ["transaction.posted", "transaction.failed"]

    async def read(client: Client, _: WebhookClient) -> dict[str, Transaction]:
        return {transaction.name: transaction for transaction in await client.listed(wallet=wallets.alice)}

    listed = house.do(read)
    for got, name in zip((posted, failed), names, strict=True):
        told = got.body["data"]["transaction"]
        assert MessageToDict(ParseDict(told, Transaction())) == MessageToDict(listed[name])
        assert datetime.fromisoformat(got.body["timestamp"]) == datetime.fromisoformat(told["decideTime"])
        assert told["labels"] == {}, "what is empty is told as well"
    assert posted.body["data"]["transaction"]["amount"] == {"currencyCode": "USD", "minorUnits": "10"}
    assert failed.body["data"]["transaction"]["error"]["details"][0]["reason"] == "INSUFFICIENT_FUNDS"


def test_it_is_signed_and_says_who_sends_it(house: House, receiver: Receiver) -> None:
    wallets = subscribed(house, receiver, url=f"{receiver.url}?key=1")
    transfer(house, wallets, 1)
    [got] = receiver.wait_for(1)
    assert got.valid
    assert got.path == "/hook?key=1"
    assert got.headers["content-type"] == "application/json"
    assert got.headers["user-agent"].startswith("Specie/")
    assert got.id.startswith("evt_")


def test_what_was_not_taken_comes_again_as_the_same_event_before_what_is_behind_it(
    house: House, receiver: Receiver
) -> None:
    receiver.answer = replies(500, 302, 404, 200)
    wallets = subscribed(house, receiver)
    names = transfer(house, wallets, 1, 2, 3)
    receiver.wait_for(3)
    assert receiver.taken_subjects() == names
    assert len({got.id for got in receiver.got[:4]}) == 1
    assert [got.status for got in receiver.got] == [500, 302, 404, 200, 200, 200]
    wait_until(lambda: endpoint_of(house, wallets).waiting_count == 0, "everything is on record")
    last, *_, first = deliveries_of(house, wallets)
    assert (first.attempt_count, first.last_status, last.attempt_count) == (4, 200, 1)


def test_a_receiver_that_does_not_answer_is_not_waited_for_longer_than_the_timeout(
    house: House, receiver: Receiver
) -> None:
    receiver.answer = lambda _: Reply(seconds=0 if receiver.got else 10)
    wallets = subscribed(house, receiver)
    transfer(house, wallets, 1)
    receiver.wait_for(1)
    [failure] = [event for event in house.office.events("webhook_failed") if event["event_id"] == receiver.got[0].id]
    assert failure["error"] == "no answer within 2 s"


def test_a_receiver_that_is_away_gets_everything_when_it_is_back(house: House, receiver: Receiver) -> None:
    wallets = subscribed(house, receiver)
    receiver.die()
    names = transfer(house, wallets, 1, 2)
    wait_until(lambda: [d for d in deliveries_of(house, wallets) if d.attempt_count], "it was tried")
    assert deliveries_of(house, wallets)[1].last_error.startswith("no connection")
    receiver.listen()
    receiver.wait_for(2)
    assert receiver.taken_subjects() == names


def test_who_does_not_take_an_event_for_too_long_is_disabled_and_others_are_told(
    house: House, receiver: Receiver, database: Database, tmp_path: Path
) -> None:
    """By a back office that has less patience."""
    house.office.stop()
    with Receiver() as other:

        async def listen(_: Client, webhooks: WebhookClient) -> None:
            (_endpoint, other.secret) = await webhooks.create(other.url, event_types=["webhook_endpoint.disabled"])

        house.do(listen)
        receiver.answer = lambda _: Reply(503)
        wallets = subscribed(house, receiver)
        names = transfer(house, wallets, 1, 2)
        impatient = house.shared | FAST | {"WEBHOOK_GIVE_UP_SECONDS": IMPATIENT_SECONDS}
        with back_office(database, tmp_path, **impatient) as office:
            wait_until(lambda: endpoint_of(house, wallets).state == DISABLED, "it is disabled")
            assert "status 503" in endpoint_of(house, wallets).disabled_reason
            wait_until(lambda: office.events("webhook_disabled"), "it is logged")
            assert office.metrics()["specie_webhooks_disabled_total"] == 1
            [told] = other.wait_for(1)
        assert told.body["data"]["endpoint"]["name"] == wallets.endpoint.name
        assert told.body["data"]["endpoint"]["state"] == "WEBHOOK_ENDPOINT_STATE_DISABLED"
    house.office.start()
    receiver.answer = lambda _: Reply()
    enable(house, wallets)
    receiver.wait_for(2)
    assert receiver.taken_subjects() == names, "nothing is lost"


def enable(house: House, wallets: Wallets) -> None:
    request = EnableWebhookEndpointRequest(name=wallets.endpoint.name)
    house.do(lambda _, webhooks: webhooks.calls.EnableWebhookEndpoint(request))


def test_who_answers_gone_is_disabled_at_once(house: House, receiver: Receiver) -> None:
    receiver.answer = lambda _: Reply(410)
    wallets = subscribed(house, receiver)
    transfer(house, wallets, 1)
    wait_until(lambda: endpoint_of(house, wallets).state == DISABLED, "it is disabled")
    assert len(receiver.got) == 1
    assert "410" in endpoint_of(house, wallets).disabled_reason


def test_a_disabled_endpoint_is_sent_nothing_until_it_is_enabled(house: House, receiver: Receiver) -> None:
    wallets = subscribed(house, receiver)
    request = DisableWebhookEndpointRequest(name=wallets.endpoint.name)
    house.do(lambda _, webhooks: webhooks.calls.DisableWebhookEndpoint(request))
    names = transfer(house, wallets, 1, 2)
    with Receiver() as witness:
        seen = subscribed(house, witness, wallet=wallets.alice)
        transfer(house, seen._replace(alice=wallets.alice), 3)
        witness.wait_for(1)
    assert receiver.got == []
    enable(house, wallets)
    receiver.wait_for(3)
    assert receiver.taken_subjects()[:2] == names


def test_a_new_url_is_where_it_goes(house: House, receiver: Receiver) -> None:
    receiver.answer = lambda _: Reply(500)
    wallets = subscribed(house, receiver)
    names = transfer(house, wallets, 1)
    wait_until(lambda: receiver.got, "it was sent to the old one")
    with Receiver(secret=receiver.secret) as other:
        moved = WebhookEndpoint(name=wallets.endpoint.name, url=other.url)
        request = UpdateWebhookEndpointRequest(endpoint=moved)
        request.update_mask.paths.append("url")
        house.do(lambda _, webhooks: webhooks.calls.UpdateWebhookEndpoint(request))
        other.wait_for(1)
        assert other.taken_subjects() == names


def test_after_a_rotation_both_secrets_are_good(house: House, receiver: Receiver) -> None:
    wallets = subscribed(house, receiver)
    request = RotateWebhookSecretRequest(name=wallets.endpoint.name)
    rotated = house.do(lambda _, webhooks: webhooks.calls.RotateWebhookSecret(request))
    assert rotated.secret != receiver.secret
    old, receiver.secret = receiver.secret, rotated.secret
    transfer(house, wallets, 1)
    [got] = receiver.wait_for(1)
    assert got.valid
    assert len(got.headers["webhook-signature"].split(" ")) == 2
    assert is_valid(old, got.text, got.headers)


def test_one_event_can_be_wanted_once_more(house: House, receiver: Receiver) -> None:
    wallets = subscribed(house, receiver)
    transfer(house, wallets, 1, 2)
    receiver.wait_for(2)
    wait_until(lambda: endpoint_of(house, wallets).waiting_count == 0, "both are on record")
    request = RedeliverWebhookRequest(name=deliveries_of(house, wallets)[1].name)
    house.do(lambda _, webhooks: webhooks.calls.RedeliverWebhook(request))
    first, _, again = receiver.wait_for(3)
    assert (again.id, again.body) == (first.id, first.body)


def test_a_replay_sends_everything_behind_a_place_once_more_in_its_order(house: House, receiver: Receiver) -> None:
    wallets = subscribed(house, receiver)
    names = transfer(house, wallets, 1, 2, 3)
    receiver.wait_for(3)
    wait_until(lambda: endpoint_of(house, wallets).waiting_count == 0, "they are on record")
    cursor = deliveries_of(house, wallets)[2].cursor
    request = ReplayWebhookEndpointRequest(name=wallets.endpoint.name, cursor=cursor)
    house.do(lambda _, webhooks: webhooks.calls.ReplayWebhookEndpoint(request))
    receiver.wait_for(5)
    assert receiver.taken_subjects() == [*names, *names[1:]]
    assert len({got.id for got in receiver.got}) == 3


def test_only_the_types_that_were_asked_for_come(house: House, receiver: Receiver) -> None:
    wallets = subscribed(house, receiver, event_types=["transaction.failed"])
    names = transfer(house, wallets, 1, 5_000, 2)
    receiver.wait_for(1)
    wait_until(lambda: endpoint_of(house, wallets).cursor != wallets.endpoint.cursor, "it has gone on")
    assert receiver.taken_subjects() == [names[1]]


def test_who_is_slow_for_one_wallet_is_sent_what_is_of_others(house: House, receiver: Receiver) -> None:
    """One whose events are never taken holds nobody else back."""
    wallets = subscribed(house, receiver, wallet="")
    receiver.answer = lambda got: Reply(500 if wallets.alice in str(got.body) else 200)
    stuck = transfer(house, wallets, 1)

    async def others(client: Client, _: WebhookClient) -> None:
        await client.open(1)

    house.do(others)
    receiver.wait_for(1)
    assert stuck[0] not in receiver.taken_subjects()
    receiver.answer = lambda _: Reply()
    receiver.wait_for(2)


def test_a_stop_waits_for_answers_and_gives_the_endpoint_to_others(
    house: House, receiver: Receiver, database: Database, tmp_path: Path
) -> None:
    receiver.answer = lambda _: Reply(seconds=0.5)
    wallets = subscribed(house, receiver)
    names = transfer(house, wallets, 1, 2)
    wait_until(lambda: receiver.got, "one is under way")
    assert house.office.stop() == 0
    with back_office(database, tmp_path, **house.shared, **FAST):
        receiver.wait_for(2)
        assert receiver.taken_subjects() == names, "each once"
    house.office.start()


def test_its_metrics_tell_what_was_sent_and_what_waits(house: House, receiver: Receiver) -> None:
    receiver.answer = lambda _: Reply(500)
    wallets = subscribed(house, receiver)
    transfer(house, wallets, 1, 2)
    wait_until(lambda: house.office.metrics()["specie_webhooks_waiting"] >= 2, "they wait")
    wait_until(lambda: house.office.metrics()["specie_webhook_lag_seconds"] > 0, "they have waited")
    assert house.office.metrics()['specie_webhooks_sent_total{outcome="failed"}'] >= 1
    receiver.answer = lambda _: Reply()
    receiver.wait_for(2)
    assert house.office.metrics()['specie_webhooks_sent_total{outcome="delivered"}'] >= 2
