"""Holds end by themselves when their time is up: each exactly once, with two worker processes that look for them."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from specie.transaction.v1 import AccountState, GetBalanceRequest, GetHoldRequest, Hold, HoldState, TransactionKind

from tests.kit.auditor import audit
from tests.kit.calls import Client, connected, failed, usd
from tests.kit.ledger import Ledger, unreachable
from tests.kit.postgres import Database, Server
from tests.kit.scenario import sound_service
from tests.kit.service import ServiceProcess, transaction_service, wait_until_async
from tests.kit.wallets import asynchronous

EXPIRED = HoldState.HOLD_STATE_EXPIRED
MANY = 1_200
"""More than two claims."""
WAITING = "SELECT count(DISTINCT pid) FROM pg_locks WHERE NOT granted"


@pytest.fixture(scope="module")
def service(database: Database, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    with sound_service(database, tmp_path_factory.mktemp("expiry"), SWEEP_SECONDS=0.05) as running:
        yield running
        audit(database.owner_dsn, floors_never_changed=True)


@pytest.fixture(scope="module")
def ledger(database: Database) -> Ledger:
    return Ledger(database)


def change(ledger: Ledger, statement: str, *values: object) -> None:
    """As the owner of the tables."""
    with ledger.session() as cursor:
        cursor.execute(statement, values)
        cursor.connection.commit()


def all_are_due(ledger: Ledger, *sources: str) -> None:
    """The time of all their holds is up at one moment: now."""
    change(ledger, "UPDATE transactions.hold SET expire_time = now() WHERE source = ANY(%s)", list(sources))


def open_holds(ledger: Ledger, *sources: str) -> int:
    found = ledger.query("SELECT count(*) FROM transactions.hold WHERE state = 1 AND source = ANY(%s)", list(sources))
    number: int = found[0][0]
    return number


def expiries(ledger: Ledger, *sources: str) -> list[tuple[Any, ...]]:
    """How many transactions there are of how many holds, and of which state."""
    return ledger.query(
        "SELECT count(*), count(DISTINCT hold), min(state), max(state) FROM transactions.transaction"
        " WHERE kind = 9 AND source = ANY(%s)",
        list(sources),
    )


async def all_have_ended(ledger: Ledger, *sources: str) -> None:
    await wait_until_async(lambda: open_holds(ledger, *sources) == 0, "no hold is open")


async def available(client: Client, wallet: str) -> int:
    answer = await client.transactions.GetBalance(GetBalanceRequest(wallet=wallet))
    minor_units: int = answer.balance.available.minor_units
    return minor_units


async def read(client: Client, hold: str) -> Hold:
    found: Hold = (await client.transactions.GetHold(GetHoldRequest(name=hold))).hold
    return found


def dispatched(service: ServiceProcess, outcome: str) -> float:
    """By all workers."""
    name = f'specie_dispatched_total{{outcome="{outcome}",work="holds"}}'
    return sum(service.metrics(worker).get(name, 0) for worker in range(service.workers))


@asynchronous
async def test_what_is_left_of_a_hold_is_freed_and_that_is_on_record(service: ServiceProcess, ledger: Ledger) -> None:
    async with connected(service.targets[0]) as client:
        alice, bob = await client.open(100), await client.open()
        hold = (await client.place_hold(alice, bob, 60)).hold.name
        await client.capture(hold, 10)
        all_are_due(ledger, alice)
        await all_have_ended(ledger, alice)
        found = await read(client, hold)
        assert (found.state, found.captured, found.released) == (EXPIRED, usd(10), usd(50))
        assert (await client.balance(alice), await available(client, alice)) == (90, 90)
        newest = (await client.listed(wallet=alice))[0]
        assert newest.kind == TransactionKind.TRANSACTION_KIND_EXPIRY
        assert (newest.amount, newest.hold, newest.destination) == (usd(50), hold, bob)
        assert (newest.principal, newest.request_id) == ("system/expiry", f"expire {hold}")
        assert (await failed(client.capture(hold))).reason == "HOLD_EXPIRED"


@asynchronous
async def test_each_of_many_expires_exactly_once(service: ServiceProcess, ledger: Ledger) -> None:
    async with connected(service.targets[0]) as client:
        wallets = [await client.open(MANY) for _ in range(6)]
        before = dispatched(service, "posted")
        await asyncio.gather(*[client.place_hold(wallets[i % 6], wallets[(i + 1) % 6], 1 + i % 3) for i in range(MANY)])
        all_are_due(ledger, *wallets)
        await all_have_ended(ledger, *wallets)
        assert expiries(ledger, *wallets) == [(MANY, MANY, 1, 1)]
        assert [await available(client, wallet) for wallet in wallets] == [MANY] * 6
        assert dispatched(service, "posted") == before + MANY


@asynchronous
async def test_two_workers_that_have_the_same_hold_expire_it_once(service: ServiceProcess, ledger: Ledger) -> None:
    """Claims only share the work: without them both try, and meet at the account."""
    async with connected(service.targets[0]) as client:
        alice, bob = await client.open(100), await client.open()
        await client.place_hold(alice, bob, 60)

        def both_wait() -> bool:
            change(ledger, "UPDATE transactions.hold SET claimed_until = NULL WHERE state = 1 AND source = %s", alice)
            return ledger.query(WAITING) == [(2,)]

        with ledger.locked(alice):
            all_are_due(ledger, alice)
            await wait_until_async(both_wait, "both lanes wait for the account")
        await all_have_ended(ledger, alice)
        assert expiries(ledger, alice) == [(1, 1, 1, 1)]
        assert await available(client, alice) == 100


@asynchronous
async def test_a_wallet_that_somebody_holds_delays_only_its_own(service: ServiceProcess, ledger: Ledger) -> None:
    async with connected(service.targets[0]) as client:
        alice, bob, carol = await client.open(100), await client.open(100), await client.open()
        await client.place_hold(alice, carol, 60)
        await client.place_hold(bob, carol, 60)
        with ledger.locked(alice):
            all_are_due(ledger, alice, bob)
            await all_have_ended(ledger, bob)
            assert open_holds(ledger, alice) == 1
        await all_have_ended(ledger, alice)
        assert await available(client, alice) == 100


@asynchronous
async def test_what_another_process_has_claimed_is_left_to_it_until_its_lease_is_over(
    service: ServiceProcess, ledger: Ledger
) -> None:
    async with connected(service.targets[0]) as client:
        alice, bob, carol = await client.open(100), await client.open(100), await client.open()
        await client.place_hold(alice, carol, 60)
        claim = "UPDATE transactions.hold SET claimed_until = now() + %s::interval WHERE source = %s"
        change(ledger, claim, "1 hour", alice)
        all_are_due(ledger, alice)
        # What came later is expired: they have looked.
        await client.place_hold(bob, carol, 60)
        all_are_due(ledger, bob)
        await all_have_ended(ledger, bob)
        assert open_holds(ledger, alice) == 1
        change(ledger, claim, "0", alice)
        await all_have_ended(ledger, alice)


@asynchronous
async def test_frozen_and_closed_wallets_keep_no_hold(service: ServiceProcess, ledger: Ledger) -> None:
    async with connected(service.targets[0]) as client:
        alice, bob = await client.open(100), await client.open()
        await client.place_hold(alice, bob, 60)
        await client.set_state(alice, AccountState.ACCOUNT_STATE_FROZEN)
        await client.set_state(bob, AccountState.ACCOUNT_STATE_CLOSED)
        all_are_due(ledger, alice)
        await all_have_ended(ledger, alice)
        assert await available(client, alice) == 100


@asynchronous
async def test_they_expire_as_soon_as_the_database_is_back(postgres_server: Server, tmp_path: Path) -> None:
    with (
        postgres_server.fresh_database() as database,
        transaction_service(database, tmp_path, SWEEP_SECONDS=0.05, DISPATCH_SECONDS=0.05) as service,
    ):
        async with connected(service.targets[0]) as client:
            alice, bob = await client.open(100), await client.open()
            hold = (await client.place_hold(alice, bob, 60)).hold.name
            change(Ledger(database), "UPDATE transactions.hold SET expire_time = now() + interval '1 second'")
            with unreachable(database, postgres_server):
                await wait_until_async(lambda: _have_failed(service, {"holds", "transfers"}), "both have failed")
            await all_have_ended(Ledger(database), alice)
            assert (await read(client, hold)).state == EXPIRED
        assert service.stop() == 0
        assert {event["level"] for event in service.events("dispatch_failed")} == {"warning"}
        audit(database.owner_dsn)


def _have_failed(service: ServiceProcess, works: set[str]) -> bool:
    return {event["work"] for event in service.events("dispatch_failed")} == works
