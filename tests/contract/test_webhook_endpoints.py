"""Webhook endpoints on PostgreSQL: each change whole, on record, and noticed by whoever works on old knowledge."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from service_kit.acts import Actor
from service_kit.status import Refusal
from tests.kit.ledgers import session
from tests.kit.plans import caught, explain
from tests.kit.postgres import Database, Server
from tests.kit.webhooks import ANN, HTTPS, PLACE, Hooks, hooks_on
from transaction_service.adapters.webhook_endpoints import SqlEndpoints
from transaction_service.ports import Mark
from transaction_service.webhooks.endpoint import (
    ENDPOINTS_MAX,
    WAITING_COUNTED_MAX,
    DeliveryState,
    Endpoint,
    EndpointState,
    Wish,
)

PENDING, DELIVERED = DeliveryState.PENDING, DeliveryState.DELIVERED
BOB = Actor("bob", "trace-2")
NOWHERE = str(UUID(int=7))
MANY = 20_000
"""Deliveries of one endpoint, for the plans."""
STORED_AT_ONCE = 500

Change = Callable[[SqlEndpoints, str], Coroutine[Any, Any, Endpoint | None]]
CHANGES: dict[str, Change] = {
    "UPDATE": lambda endpoints, id_: endpoints.update(id_, lambda _: Wish("https://b.example/"), BOB),
    "ROTATE_SECRET": lambda endpoints, id_: endpoints.rotate(id_, "sealed anew", BOB),
    "DISABLE": lambda endpoints, id_: endpoints.disable(id_, BOB),
    "ENABLE": lambda endpoints, id_: endpoints.enable(id_, BOB),
    "REPLAY": lambda endpoints, id_: endpoints.replay(id_, Mark(3, NOWHERE), BOB),
}
"""Of an endpoint on which they are done in this order, each changes something."""


@pytest.fixture
def hooks(database: Database) -> Iterator[Hooks]:
    with hooks_on(database) as opened:
        opened.execute("DELETE FROM transactions.webhook_delivery")
        opened.execute("DELETE FROM transactions.webhook_endpoint")
        yield opened


def test_an_endpoint_is_as_it_was_asked_for(hooks: Hooks) -> None:
    wish = Wish("https://shop.example/", ("payout.paid", "payout.dead"), "wallets/alice", "the shop")
    made = hooks.create(wish)
    assert (made.wish, made.state, made.disabled_reason) == (wish, EndpointState.ENABLED, "")
    assert (made.position, made.waiting) == (PLACE, 0)
    assert hooks.get(made) == made
    assert made.create_time == made.update_time


def test_endpoints_are_listed_the_oldest_first(hooks: Hooks) -> None:
    made = [hooks.create() for _ in range(3)]
    assert hooks.run(hooks.endpoints.all()) == made


def test_each_change_is_on_record_and_makes_the_generation_grow(hooks: Hooks) -> None:
    made = hooks.create()
    seen = made
    for change in CHANGES.values():
        changed = hooks.run(change(hooks.endpoints, made.id))
        assert changed is not None
        assert changed == hooks.get(made)
        assert changed.generation > seen.generation
        assert changed.update_time > seen.update_time
        seen = changed
    assert hooks.run(hooks.endpoints.delete(made.id, BOB))
    acts = hooks.acts(made.name)
    assert [act[1] for act in acts] == ["CREATE", *CHANGES, "DELETE"]
    assert [act[0] for act in acts] == [*range(1, len(acts) + 1)]
    assert [act[4:] for act in acts] == [tuple(ANN)[:2]] + [("bob", "trace-2")] * (len(acts) - 1)
    told = {act[1]: act[2:4] for act in acts}
    assert told["CREATE"][0] == {}
    assert told["CREATE"][1]["url"] == HTTPS.url
    assert told["UPDATE"] == ({"url": HTTPS.url}, {"url": "https://b.example/"})
    assert (told["ROTATE_SECRET"][0], [*told["ROTATE_SECRET"][1]]) == ({}, ["old_secret_until"])
    assert told["DISABLE"] == (
        {"state": "ENABLED", "disabled_reason": ""},
        {"state": "DISABLED", "disabled_reason": "disabled by bob"},
    )
    assert told["ENABLE"] == told["DISABLE"][::-1]
    assert told["REPLAY"] == ({"position": f"1000/{PLACE.id}"}, {"position": f"3/{NOWHERE}"})
    assert (told["DELETE"][0]["url"], told["DELETE"][1]) == ("https://b.example/", {})


def test_no_secret_is_on_record(hooks: Hooks) -> None:
    made = hooks.create()
    hooks.run(hooks.endpoints.rotate(made.id, "sealed anew", BOB))
    hooks.run(hooks.endpoints.delete(made.id, BOB))
    assert "sealed" not in str(hooks.acts(made.name))


@pytest.mark.parametrize("act", CHANGES)
def test_what_is_not_there_is_not_changed(hooks: Hooks, act: str) -> None:
    assert hooks.run(CHANGES[act](hooks.endpoints, NOWHERE)) is None
    assert hooks.acts(f"webhookEndpoints/{NOWHERE}") == []


def test_what_is_not_there_is_not_found(hooks: Hooks) -> None:
    assert hooks.run(hooks.endpoints.get(NOWHERE)) is None
    assert hooks.run(hooks.endpoints.deliveries(NOWHERE, None, None, 10)) is None
    assert hooks.run(hooks.endpoints.redeliver(NOWHERE, BOB)) is None
    assert not hooks.run(hooks.endpoints.delete(NOWHERE, BOB))


def test_a_change_that_changes_nothing_is_none(hooks: Hooks) -> None:
    made = hooks.create()
    assert hooks.run(hooks.endpoints.update(made.id, lambda wish: wish, BOB)) == made
    assert hooks.run(hooks.endpoints.enable(made.id, BOB)) == made
    disabled = hooks.run(hooks.endpoints.disable(made.id, ANN))
    assert hooks.run(hooks.endpoints.disable(made.id, BOB)) == disabled
    assert [act[1] for act in hooks.acts(made.name)] == ["CREATE", "DISABLE"]


def test_there_are_no_more_than_may_be_however_many_come_at_once(hooks: Hooks) -> None:
    for _ in range(ENDPOINTS_MAX - 3):
        hooks.create()

    async def rush() -> list[Endpoint | None]:
        return await asyncio.gather(*(hooks.endpoints.create(HTTPS, "sealed", PLACE, ANN) for _ in range(8)))

    made = hooks.run(rush())
    assert sum(one is not None for one in made) == 3
    assert len(hooks.run(hooks.endpoints.all())) == ENDPOINTS_MAX


def test_a_rotation_keeps_the_last_secret_for_a_day(hooks: Hooks) -> None:
    def kept() -> tuple[str, str, timedelta]:
        [row] = hooks.query(
            "SELECT secret, old_secret, old_secret_until - now() FROM transactions.webhook_endpoint WHERE id = %s",
            made.id,
        )
        secret, old, left = row
        return secret, old, left

    made = hooks.create()
    hooks.run(hooks.endpoints.rotate(made.id, "second", BOB))
    secret, old, left = kept()
    assert (secret, old) == ("second", "sealed")
    assert timedelta(hours=23) < left <= timedelta(hours=24)
    hooks.run(hooks.endpoints.rotate(made.id, "third", BOB))
    assert kept()[:2] == ("third", "second")


def test_enabled_again_what_waits_is_due_and_counts_as_never_tried(hooks: Hooks) -> None:
    made, other = hooks.create(), hooks.create()
    hooks.deliver(made.id, PENDING, DELIVERED, PENDING)
    hooks.deliver(other.id, PENDING)
    hooks.run(hooks.endpoints.disable(made.id, BOB))
    assert [one.attempts for one in hooks.pages(made)] == [7, 7, 7]
    hooks.run(hooks.endpoints.enable(made.id, BOB))
    tried = {one.state: (one.attempts, one.first_attempt_time) for one in hooks.pages(made)}
    assert tried[PENDING] == (0, None)
    assert tried[DELIVERED][0] == 7
    due = "SELECT count(*) FROM transactions.webhook_delivery WHERE next_time <= now() AND endpoint_id = %s"
    assert hooks.query(due, made.id) == [(2,)]
    assert hooks.query(due, other.id) == [(0,)]


def test_a_replay_goes_back_and_never_on(hooks: Hooks) -> None:
    made = hooks.create()
    back = hooks.run(hooks.endpoints.replay(made.id, Mark(10, NOWHERE), BOB))
    assert back is not None
    assert back.position == Mark(10, NOWHERE)
    on = hooks.run(hooks.endpoints.replay(made.id, Mark(5000, NOWHERE), BOB))
    assert on is not None
    assert on.position == Mark(10, NOWHERE)
    assert on.generation > back.generation


@pytest.mark.parametrize("size", [1, 2, 100])
def test_deliveries_come_the_newest_first_in_the_order_of_commits(hooks: Hooks, size: int) -> None:
    made, other = hooks.create(), hooks.create()
    ids = hooks.deliver(made.id, DELIVERED, PENDING, DELIVERED, commit=100)
    hooks.deliver(other.id, PENDING)
    # Replayed: stored later, of earlier commits.
    ids += hooks.deliver(made.id, PENDING, DELIVERED, commit=10, batch=1)
    assert [one.id for one in hooks.pages(made, size=size)] == ids[::-1]
    assert [one.id for one in hooks.pages(made, PENDING, size)] == [ids[3], ids[1]]
    assert [one.id for one in hooks.pages(made, DELIVERED, size)] == [ids[4], ids[2], ids[0]]


@pytest.mark.parametrize(
    "place",
    [
        [],
        ["2026-01-01", 1],
        ["never", 1, NOWHERE],
        [1, 1, NOWHERE],
        ["2026-01-01", "1", NOWHERE],
        ["2026-01-01", True, NOWHERE],
        ["2026-01-01", -1, NOWHERE],
        ["2026-01-01", 2**63, NOWHERE],
        ["2026-01-01", 1, "nothing"],
        ["2026-01-01", 1, None],
        ["0001-01-01T00:00:00+14:00", 1, NOWHERE],
    ],
)
def test_a_made_up_place_is_refused(hooks: Hooks, place: list[Any]) -> None:
    made = hooks.create()
    with pytest.raises(Refusal) as raised:
        hooks.run(hooks.endpoints.deliveries(made.id, None, place, 10))
    assert raised.value.reason == "INVALID_PAGE_TOKEN"


@pytest.mark.parametrize("state", [DELIVERED, PENDING])
def test_a_redelivered_one_is_pending_now(hooks: Hooks, state: DeliveryState) -> None:
    made = hooks.create()
    [id_, _] = hooks.deliver(made.id, state, DELIVERED)
    again = hooks.run(hooks.endpoints.redeliver(id_, BOB))
    assert again is not None
    assert (again.id, again.state, again.attempts, again.first_attempt_time) == (id_, PENDING, 0, None)
    assert (again.deliver_time, again.next_time is not None) == (None, True)
    assert again in hooks.pages(made)
    assert [one.state for one in hooks.pages(made)] == [DELIVERED, PENDING]
    assert hooks.get(made).waiting == 1
    number, act, before, after, *who = hooks.acts(made.name)[-1]
    assert (number, act, who) == (2, "REDELIVER", ["bob", "trace-2"])
    assert before == ({"state": "DELIVERED"} if state is DELIVERED else {})
    assert after["delivery"] == f"webhookDeliveries/{id_}"
    assert after["event"] == again.event_id


def test_of_a_deleted_endpoint_nothing_is_found(hooks: Hooks) -> None:
    made = hooks.create()
    [id_] = hooks.deliver(made.id, DELIVERED)
    assert hooks.run(hooks.endpoints.delete(made.id, BOB))
    assert hooks.run(hooks.endpoints.get(made.id)) is None
    assert hooks.run(hooks.endpoints.all()) == []
    assert hooks.run(hooks.endpoints.deliveries(made.id, None, None, 10)) is None
    assert hooks.run(hooks.endpoints.redeliver(id_, BOB)) is None


def test_a_change_waits_for_a_courier_that_writes(hooks: Hooks) -> None:
    """Who holds the endpoint's row is not changed under his hands; after him it is changed on top of what he wrote."""
    made = hooks.create()
    with session(hooks.dsn) as courier:
        courier.execute("SELECT FROM transactions.webhook_endpoint WHERE id = %s FOR UPDATE", (made.id,))
        with pytest.raises(Refusal) as raised:
            hooks.run(hooks.endpoints.replay(made.id, Mark(1, NOWHERE), BOB))
        assert raised.value.reason == "CONTENTION"
        courier.execute("UPDATE transactions.webhook_endpoint SET position_xid = 5000 WHERE id = %s", (made.id,))
        courier.connection.commit()
    assert hooks.get(made) == replace(made, position=Mark(5000, PLACE.id))


@pytest.fixture(scope="module")
def crowded(postgres_server: Server) -> Iterator[tuple[Hooks, Endpoint]]:
    """An endpoint with many deliveries, some of them PENDING, beside others."""
    with postgres_server.fresh_database() as database, hooks_on(database) as hooks:
        made = hooks.create()
        ids = [made.id, str(uuid4())]
        hooks.execute(
            "INSERT INTO transactions.webhook_delivery (id, endpoint_id, event_id, event_type, subject, wallets, xid,"
            " mark_id, state, attempts, next_time, last_status, last_error, create_time)"
            " SELECT gen_random_uuid(), endpoint, 'evt', 'transaction.posted', 'transactions/1', '{}', n,"
            " gen_random_uuid(), CASE WHEN n %% 16 = 0 THEN 1 ELSE 2 END, 0,"
            " CASE WHEN n %% 16 = 0 THEN now() END, 0, '',"
            " timestamptz '2026-01-01' + n / %s * interval '1 second'"
            " FROM unnest(%s::uuid[]) AS endpoint, generate_series(1, %s) AS n",
            STORED_AT_ONCE,
            ids,
            MANY,
        )
        hooks.execute("ANALYZE transactions.webhook_delivery, transactions.webhook_endpoint")
        yield hooks, made


def test_waiting_ones_are_counted_no_further_than_is_told(crowded: tuple[Hooks, Endpoint]) -> None:
    hooks, made = crowded
    assert hooks.get(made).waiting == WAITING_COUNTED_MAX


@pytest.mark.parametrize("state", [None, PENDING, DELIVERED])
@pytest.mark.parametrize("page", [1, 5])
def test_a_page_of_deliveries_is_a_walk_along_an_index(
    crowded: tuple[Hooks, Endpoint], state: DeliveryState | None, page: int
) -> None:
    """Also far behind; of PENDING ones there are few, which are sorted."""
    hooks, made = crowded
    size, after = 50, None
    with caught() as statements:
        for _ in range(page):
            found = hooks.run(hooks.endpoints.deliveries(made.id, state, after, size))
            assert found is not None
            assert len(found[0]) == size
            after = found[1]
    plan = explain(hooks.dsn, statements[-1])
    rows = MANY // 16 if state is PENDING else 2 * size + STORED_AT_ONCE
    assert plan.nodes.isdisjoint({"Seq Scan", "Parallel Seq Scan"}), plan
    assert plan.rows <= 2 * rows + 10, plan
