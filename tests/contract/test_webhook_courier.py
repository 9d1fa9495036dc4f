"""The courier's side of webhooks on PostgreSQL: claims, what is taken in which order, and what is put on record."""

from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from time import monotonic
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import Connection

from tests.kit.builders import deposit, fee, placing, transfer
from tests.kit.ledgers import Ledger, funded, postgres_ledger, session
from tests.kit.postgres import Database
from tests.kit.webhook_post import ALL, BUSY, LEASE_SECONDS, NOTHING, Post, run, taken
from tests.kit.webhooks import ANN, HTTPS, Hooks, hooks_on
from transaction_service.adapters.events import write_event
from transaction_service.adapters.webhook_courier import SqlPost
from transaction_service.domain.movement import Manner, Work
from transaction_service.domain.terms import Terms
from transaction_service.ports import Mark
from transaction_service.webhooks.courier_ports import Event, Held, Known, Result
from transaction_service.webhooks.endpoint import DeliveryState, Endpoint, EndpointState, Wish
from transaction_service.webhooks.schedule import Parcel


def subjects(found: list[Event] | list[Parcel]) -> list[str]:
    return [one.subject for one in found]


@pytest.fixture
def hooks(database: Database) -> Iterator[Hooks]:
    with hooks_on(database) as opened:
        yield opened
        opened.execute("DELETE FROM transactions.webhook_delivery")
        opened.execute("DELETE FROM transactions.webhook_endpoint")


@pytest.fixture
def ledger(database: Database) -> Iterator[Ledger]:
    with postgres_ledger(database) as opened:
        yield opened


@pytest.fixture
def couriers(hooks: Hooks) -> Callable[[], Post]:
    """A new one at each call."""
    return lambda: Post(SqlPost(hooks.endpoints._database, f"courier-{uuid4()}"))


@pytest.fixture
def post(couriers: Callable[[], Post]) -> Post:
    return couriers()


@pytest.fixture
def endpoint(hooks: Hooks, ledger: Ledger) -> Endpoint:
    """At the end of the feed."""
    return hooks.create(position=run(ledger.feed.end()))


@dataclass
class Happened:
    """Something of every kind, in its order."""

    alice: str
    bob: str
    names: list[str]


@pytest.fixture
def happened(hooks: Hooks, ledger: Ledger, endpoint: Endpoint) -> Happened:  # noqa: ARG001 - from its beginning on
    alice, bob, shop = funded(ledger, 100, "alice", "bob", "shop")
    made = [
        transfer(alice, bob, 1),
        transfer(alice, bob, 10_000),
        deposit(shop, 5),
        placing(alice, bob, 5),
        transfer(shop, bob, 50, terms=fee(1, alice)),
    ]
    for movement in made:
        ledger.post(movement)
    payout = f"payouts/{uuid4()}"
    event(hooks, "payout.paid", payout, alice)
    return Happened(alice, bob, [f"transactions/{movement.id}" for movement in made] + [payout])


def event(hooks: Hooks, type_: str, subject: str, wallet: str = "", turn: int = 1) -> None:
    def work(connection: Connection) -> None:
        write_event(connection, type_, subject, wallet, turn)

    run(hooks.endpoints._database.run(work))


def at(held: Held, **wish: Any) -> Held:  # noqa: ANN401
    """The same endpoint, if it wished for this."""
    return held._replace(wish=Wish(HTTPS.url, **wish))


def test_an_endpoint_is_held_by_one_courier(couriers: Callable[[], Post], endpoint: Endpoint) -> None:
    first, second = couriers(), couriers()
    assert list(first.held()) == [endpoint.id]
    assert second.held() == {}
    assert list(first.held()) == [endpoint.id]


def test_a_claim_that_is_over_is_anybodys(couriers: Callable[[], Post], endpoint: Endpoint) -> None:
    first, second = couriers(), couriers()
    first.held(0)
    assert list(second.held()) == [endpoint.id]
    assert first.held() == {}


def test_who_comes_back_after_another_one_had_it_must_begin_anew(
    couriers: Callable[[], Post], endpoint: Endpoint
) -> None:
    first, second = couriers(), couriers()
    before = first.held()
    assert first.held(LEASE_SECONDS)[endpoint.id].generation == before[endpoint.id].generation
    run(first.sql.release())
    second.held(0)
    assert first.held()[endpoint.id].generation > before[endpoint.id].generation


def test_a_claim_is_renewed_when_half_of_it_is_over(post: Post, hooks: Hooks, endpoint: Endpoint) -> None:
    assert post.held(LEASE_SECONDS)[endpoint.id].seconds_left == pytest.approx(LEASE_SECONDS, rel=0.5)
    hooks.execute("UPDATE transactions.webhook_endpoint SET claimed_until = now() + interval '29 seconds'")
    assert post.held(LEASE_SECONDS)[endpoint.id].seconds_left > 30


def test_what_is_released_is_anybodys(couriers: Callable[[], Post], endpoint: Endpoint) -> None:
    first, second = couriers(), couriers()
    first.held()
    run(second.sql.release())
    assert second.held() == {}, "nobody releases what is another one's"
    run(first.sql.release())
    assert list(second.held()) == [endpoint.id]


def test_a_disabled_endpoint_is_nobodys(post: Post, hooks: Hooks, endpoint: Endpoint) -> None:
    post.held()
    run(hooks.endpoints.disable(endpoint.id, ANN))
    assert post.held() == {}


def test_for_a_while_two_secrets_are_in_force(post: Post, hooks: Hooks, endpoint: Endpoint) -> None:
    assert post.held()[endpoint.id].secrets == ("sealed",)
    run(hooks.endpoints.rotate(endpoint.id, "new", ANN))
    assert post.held()[endpoint.id].secrets == ("new", "sealed")
    hooks.execute("UPDATE transactions.webhook_endpoint SET old_secret_until = now()")
    assert post.held()[endpoint.id].secrets == ("new",)


@pytest.mark.parametrize("page_size", [1, 2, ALL])
def test_everything_is_found_in_the_order_of_commits(
    post: Post, endpoint: Endpoint, happened: Happened, page_size: int
) -> None:
    found = post.find(post.held()[endpoint.id], page_size=page_size)[3:]
    assert subjects(found) == happened.names
    assert [one.type for one in found] == [f"transaction.{end}" for end in ("posted", "failed", *["posted"] * 3)] + [
        "payout.paid"
    ]
    assert [one.mark for one in found] == sorted(one.mark for one in found)


def test_events_keep_their_turn_in_the_wallets_that_they_name_and_in_no_other_account(
    post: Post, endpoint: Endpoint, happened: Happened
) -> None:
    found = {one.subject: one.wallets for one in post.find(post.held()[endpoint.id])}
    assert found[happened.names[0]] == tuple(sorted((happened.alice, happened.bob)))
    assert len(found[happened.names[2]]) == 1, "cash is no wallet"
    assert happened.alice in found[happened.names[4]], "who gets the fee"
    assert found[happened.names[-1]] == (happened.alice,)


@pytest.mark.parametrize("page_size", [1, ALL])
def test_who_wants_some_types_finds_these(post: Post, endpoint: Endpoint, happened: Happened, page_size: int) -> None:
    held = post.held()[endpoint.id]
    failed = post.find(at(held, event_types=("transaction.failed",)), page_size=page_size)
    assert subjects(failed) == [happened.names[1]]
    both = post.find(at(held, event_types=("transaction.failed", "payout.paid")), page_size=page_size)
    assert subjects(both) == [happened.names[1], happened.names[-1]]
    assert post.find(at(held, event_types=("payout.dead",)), page_size=page_size) == []


@pytest.mark.parametrize("page_size", [1, ALL])
def test_who_wants_a_wallets_finds_these(post: Post, endpoint: Endpoint, happened: Happened, page_size: int) -> None:
    found = post.find(at(post.held()[endpoint.id], wallet=happened.alice), page_size=page_size)
    assert subjects(found)[1:] == [name for name in happened.names if name != happened.names[2]]


def test_what_is_pending_is_found_when_it_is_decided(post: Post, endpoint: Endpoint, ledger: Ledger) -> None:
    alice, bob = funded(ledger, 100, "alice", "bob")
    held = at(post.held()[endpoint.id], wallet=bob)
    deferred = transfer(alice, bob, 1, terms=Terms(deferred=True))
    ledger.post(deferred)
    [_] = post.find(held)
    ledger.work(Work([deferred], Manner.DUE))
    assert subjects(post.find(held))[1:] == [f"transactions/{deferred.id}"]


def test_nothing_is_found_beyond_what_is_still_under_way(
    post: Post, endpoint: Endpoint, ledger: Ledger, hooks: Hooks, database: Database
) -> None:
    """What commits first may come second."""
    held = post.held()[endpoint.id]
    with session(database.owner_dsn) as other:
        other.execute("SELECT pg_current_xact_id()")
        alice, _ = funded(ledger, 100, "alice", "bob")
        event(hooks, "payout.paid", f"payouts/{uuid4()}", alice)
        assert post.find(held) == []
        assert run(post.sql.look(LEASE_SECONDS)).newest <= held.position
        other.connection.rollback()
    assert len(post.find(held)) == 3


def test_no_endpoint_is_told_of_its_own_end(post: Post, endpoint: Endpoint, hooks: Hooks) -> None:
    event(hooks, "webhook_endpoint.disabled", endpoint.name)
    event(hooks, "webhook_endpoint.disabled", f"webhookEndpoints/{uuid4()}")
    [other] = post.find(post.held()[endpoint.id])
    assert other.subject != endpoint.name
    assert other.wallets == ()


def test_what_is_taken_waits_and_the_position_is_behind_it(
    post: Post, hooks: Hooks, endpoint: Endpoint, happened: Happened
) -> None:
    stored = post.take(post.held()[endpoint.id])
    assert subjects(stored)[3:] == happened.names
    held = post.held()[endpoint.id]
    assert held.position > stored[-1].mark
    assert post.find(held) == []
    assert [one[:7] for one in post.waiting(held)] == [one[:7] for one in stored]
    assert {delivery.state for delivery in hooks.pages(endpoint)} == {DeliveryState.PENDING}


@pytest.mark.usefixtures("happened")
def test_what_is_known_is_not_told_again(post: Post, endpoint: Endpoint) -> None:
    held = post.held()[endpoint.id]
    first, *others = post.take(held)
    assert post.waiting(held, Known([one.id for one in others], ()))[0].id == first.id
    assert post.waiting(held, Known([first.id, *[one.id for one in others]], ())) == []


@pytest.mark.usefixtures("happened")
def test_what_stands_at_the_position_itself_waits(post: Post, endpoint: Endpoint) -> None:
    held = post.held()[endpoint.id]
    page = run(post.sql.find(held, held.position, 2))
    stored = run(post.sql.store(held, page.events, page.until, NOTHING))
    assert stored is not None
    assert [one.mark for one in stored] == [one.mark for one in page.events]
    assert stored[-1].mark == page.until


@pytest.mark.usefixtures("happened")
def test_results_are_put_on_record(post: Post, hooks: Hooks, endpoint: Endpoint) -> None:
    held = post.held()[endpoint.id]
    first, second, *_ = post.take(held)
    assert post.mark(held, taken(first), Result(second, BUSY, 5, 3600))
    assert post.mark(held, taken(first)), "whoever does not know whether it is on record tells it again"
    listed = {delivery.id: delivery for delivery in hooks.pages(endpoint)}
    assert listed[first.id].state is DeliveryState.DELIVERED
    assert (listed[first.id].last_status, listed[first.id].attempts, listed[first.id].last_error) == (204, 1, "")
    assert listed[second.id].state is DeliveryState.PENDING
    assert listed[second.id].last_error == "it answered with status 503"
    again = {one.id: one for one in post.waiting(held)}
    assert first.id not in again
    assert again[second.id].attempts == 1
    assert again[second.id].due - (again[second.id].since or 0) == pytest.approx(3605, abs=5)


@pytest.mark.usefixtures("happened")
def test_when_it_was_sent_first_stays(post: Post, endpoint: Endpoint) -> None:
    held = post.held()[endpoint.id]
    [first, *_] = post.take(held)
    post.mark(held, Result(first, BUSY, 100, 0))
    [before, *_] = post.waiting(held)
    post.mark(held, Result(before, BUSY, 0, 0))
    [after, *_] = post.waiting(held)
    assert (before.since, before.attempts) != (after.since, after.attempts)
    assert before.since == pytest.approx(after.since, abs=1)
    assert before.since is not None
    assert monotonic() - before.since >= 100  # by the clock of this process
    assert after.attempts == 2


@pytest.mark.usefixtures("happened")
def test_who_holds_it_no_more_writes_nothing(couriers: Callable[[], Post], hooks: Hooks, endpoint: Endpoint) -> None:
    first, second = couriers(), couriers()
    held = first.held()[endpoint.id]
    parcels = first.take(held)
    hooks.execute("UPDATE transactions.webhook_endpoint SET claimed_until = now()")
    second.held()
    assert not first.mark(held, taken(parcels[0]))
    assert run(first.sql.store(held, (), held.position, NOTHING)) is None
    assert not run(first.sql.disable(held, "it is away"))
    assert {delivery.state for delivery in hooks.pages(endpoint)} == {DeliveryState.PENDING}


@pytest.mark.parametrize("change", ["replay", "disable", "rotate"])
def test_who_works_on_old_knowledge_writes_nothing(post: Post, hooks: Hooks, endpoint: Endpoint, change: str) -> None:
    held = post.held()[endpoint.id]
    changes: dict[str, Callable[[], Coroutine[Any, Any, Any]]] = {
        "replay": lambda: hooks.endpoints.replay(endpoint.id, Mark(0, ""), ANN),
        "disable": lambda: hooks.endpoints.disable(endpoint.id, ANN),
        "rotate": lambda: hooks.endpoints.rotate(endpoint.id, "new", ANN),
    }
    if change == "replay":
        changes["replay"] = lambda: hooks.endpoints.replay(endpoint.id, Mark(1, endpoint.id), ANN)
    run(changes[change]())
    assert run(post.sql.store(held, (), held.position, NOTHING)) is None


@pytest.mark.usefixtures("happened")
def test_a_replay_sends_everything_once_more(post: Post, hooks: Hooks, endpoint: Endpoint) -> None:
    held = post.held()[endpoint.id]
    parcels = post.take(held)
    post.mark(held, *map(taken, parcels[:-1]), Result(parcels[-1], BUSY, 0, 3600))
    run(hooks.endpoints.replay(endpoint.id, parcels[1].mark, ANN))
    held = post.held()[endpoint.id]
    assert post.waiting(held) == [], "what waits behind the position has its turn when that comes by"
    again = post.take(held)
    assert [one.id for one in again] == [one.id for one in parcels[2:]]
    assert {(one.attempts, one.since) for one in again} == {(0, None)}
    assert post.waiting(held, Known([one.id for one in again], ())) == []
    assert max(one.due for one in again) < monotonic() + 60
    listed = {delivery.id: delivery for delivery in hooks.pages(endpoint)}
    assert {(listed[one.id].last_status, listed[one.id].last_error) for one in again} == {(0, "")}
    assert {listed[one.id].deliver_time for one in again} == {None}


@pytest.mark.usefixtures("happened")
def test_what_somebody_wants_once_more_is_told(post: Post, hooks: Hooks, endpoint: Endpoint) -> None:
    held = post.held()[endpoint.id]
    first, second, *others = post.take(held)
    post.mark(held, taken(first), Result(second, BUSY, 0, 3600))
    known = Known([one.id for one in others], [second.id])
    assert post.waiting(held, known) == []
    for one in (first, second):
        run(hooks.endpoints.redeliver(one.id, ANN))
    assert [(one.id, one.attempts) for one in post.waiting(held, known)] == [(first.id, 0), (second.id, 0)]
    assert post.mark(held, *map(taken, others)), "the answers to all else count"


def test_who_gives_up_disables_with_an_act_and_an_event(post: Post, hooks: Hooks, endpoint: Endpoint) -> None:
    for turn in (1, 2):
        held = post.held()[endpoint.id]
        assert run(post.sql.disable(held, "it took nothing"))
        disabled = hooks.get(endpoint)
        assert (disabled.state, disabled.disabled_reason) == (EndpointState.DISABLED, "it took nothing")
        number, act, before, after, principal, _ = hooks.acts(endpoint.name)[-1]
        assert (number, act, principal) == (2 * turn, "DISABLE", "system/back-office")
        assert before == {"state": "ENABLED"}
        assert after == {"state": "DISABLED", "disabled_reason": "it took nothing"}
        told = hooks.query(
            "SELECT count(DISTINCT id), min(type) FROM transactions.event WHERE subject = %s", endpoint.name
        )
        assert told == [(turn, "webhook_endpoint.disabled")]
        run(hooks.endpoints.enable(endpoint.id, ANN))


def test_old_deliveries_that_were_taken_are_pruned_in_pieces(post: Post, hooks: Hooks, endpoint: Endpoint) -> None:
    done, waits = DeliveryState.DELIVERED, DeliveryState.PENDING
    old = hooks.deliver(endpoint.id, waits, done, done, done)
    hooks.execute("UPDATE transactions.webhook_delivery SET deliver_time = now() - interval '31 days' WHERE state = 2")
    new = hooks.deliver(endpoint.id, done)
    assert [run(post.sql.prune(30, 2)) for _ in range(3)] == [2, 1, 0]
    assert {delivery.id for delivery in hooks.pages(endpoint)} == {old[0], *new}


def test_what_was_on_its_way_to_a_deleted_endpoint_is_pruned(post: Post, hooks: Hooks, endpoint: Endpoint) -> None:
    gone = hooks.create()
    kept = hooks.deliver(endpoint.id, DeliveryState.PENDING)
    hooks.deliver(gone.id, DeliveryState.PENDING, DeliveryState.DELIVERED)
    run(hooks.endpoints.delete(gone.id, ANN))
    assert run(post.sql.prune(30, 10)) == 2
    assert hooks.query("SELECT id::text FROM transactions.webhook_delivery") == [(one,) for one in kept]
