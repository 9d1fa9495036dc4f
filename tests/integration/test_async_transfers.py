"""ASYNC transfers are posted exactly once and never before their time, with two worker processes that look for them."""

import asyncio
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from specie.transaction.v1 import AccountState, GetTransactionRequest, Transaction, TransferMode, TransferRequest

from tests.kit.auditor import audit
from tests.kit.calls import Client, Failed, connected, failed, key, outcome, usd, wallet_name
from tests.kit.crowd import at_once, both
from tests.kit.ledger import Ledger
from tests.kit.postgres import Database, Server
from tests.kit.scenario import sound_service
from tests.kit.service import ServiceProcess, wait_until, wait_until_async
from tests.kit.tampering import set_guards
from tests.kit.wallets import asynchronous

ASYNC = TransferMode.TRANSFER_MODE_ASYNC
IN_2100 = Timestamp(seconds=4_102_444_800)
MANY = 2_000
"""Several claims."""
WAITING = "SELECT count(DISTINCT pid) FROM pg_locks WHERE NOT granted"


@pytest.fixture(scope="module")
def service(database: Database, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    with sound_service(database, tmp_path_factory.mktemp("async"), DISPATCH_SECONDS=0.05) as running:
        yield running
        audit(database.owner_dsn, floors_never_changed=True)


@pytest.fixture
def other_database(postgres_server: Server) -> Iterator[Database]:
    """One that the service above does not work on."""
    with postgres_server.fresh_database() as fresh:
        yield fresh


@pytest.fixture(scope="module")
def ledger(database: Database) -> Ledger:
    return Ledger(database)


def asked(source: str, destination: str, amount: int = 1, time: Timestamp | None = None) -> TransferRequest:
    return TransferRequest(
        source=source, destination=destination, amount=usd(amount), request_id=key(), mode=ASYNC, execute_time=time
    )


async def sent(client: Client, transfers: list[TransferRequest]) -> list[str]:
    """Their names, in one batch."""
    answer = await client.batch(transfers)
    assert all(result.HasField("transaction") for result in answer.results)
    return [result.transaction.name for result in answer.results]


async def scheduled(client: Client, source: str, destination: str, amount: int = 1) -> str:
    """Not due while a test runs, unless `due` makes it so; its id."""
    [name] = await sent(client, [asked(source, destination, amount, IN_2100)])
    return name.partition("/")[2]


def change(ledger: Ledger, statement: str, values: Mapping[str, object]) -> None:
    """As the owner of the tables."""
    with ledger.session() as cursor:
        cursor.execute(statement, values)
        cursor.connection.commit()


def due(ledger: Ledger, *ids: str) -> None:
    """They were to be posted at this very moment."""
    values = {"ids": list(ids)}
    # As the lanes lock: what is pending, then the table that they write into. Or two could wait for each other.
    with ledger.session() as cursor:
        cursor.execute(
            "SELECT FROM transactions.pending WHERE id = ANY(%(ids)s::uuid[]) ORDER BY id FOR UPDATE;"
            "UPDATE transactions.pending SET execute_time = now() WHERE id = ANY(%(ids)s::uuid[])",
            values,
        )
        set_guards(cursor, "DISABLE", tables=["transaction"])
        cursor.execute(
            "UPDATE transactions.transaction SET terms = jsonb_set(terms, '{execute_time}', to_jsonb(now()))"
            " WHERE id = ANY(%(ids)s::uuid[]) AND state = 3",
            values,
        )
        set_guards(cursor, "ENABLE", tables=["transaction"])
        cursor.connection.commit()


def claim(ledger: Ledger, id_: str, lease: str | None) -> None:
    """For somebody else; None: nobody has claimed it."""
    statement = "UPDATE transactions.pending SET claimed_until = now() + %(lease)s::interval WHERE id = %(id)s"
    change(ledger, statement, values={"lease": lease, "id": id_})


def pending(ledger: Ledger, *sources: str) -> int:
    found = ledger.query(
        "SELECT count(*) FROM transactions.transaction WHERE state = 3 AND source = ANY(%s)", list(sources)
    )
    number: int = found[0][0]
    return number


async def all_are_decided(ledger: Ledger, *sources: str) -> None:
    await wait_until_async(lambda: pending(ledger, *sources) == 0, "nothing is pending")


def stored(ledger: Ledger, id_: str) -> tuple[Any, ...]:
    """Its state, the reason of its failure, and how many entries it has."""
    [found] = ledger.query(
        "SELECT state, failure_reason, (SELECT count(*) FROM transactions.entry WHERE transaction_id = t.id)"
        " FROM transactions.transaction AS t WHERE id = %s",
        id_,
    )
    return found


def dispatched(service: ServiceProcess, outcome: str) -> float:
    """By all workers."""
    name = f'specie_dispatched_total{{outcome="{outcome}",work="transfers"}}'
    return sum(service.metrics(worker).get(name, 0) for worker in range(service.workers))


@asynchronous
async def test_each_of_many_is_posted_exactly_once(service: ServiceProcess, ledger: Ledger) -> None:
    async with both(service) as clients:
        wallets = [await clients[0].open(MANY) for _ in range(6)]
        before = dispatched(service, "posted")
        transfers = [asked(wallets[i % 6], wallets[(i + 1 + i // 6 % 5) % 6], 1 + i % 3) for i in range(MANY)]
        halves = [transfers[: MANY // 2], transfers[MANY // 2 :]]
        names = await asyncio.gather(*[sent(client, half) for client, half in zip(clients, halves, strict=True)])
        await all_are_decided(ledger, *wallets)
        found = ledger.query(
            "SELECT count(*), min(state), max(state), (SELECT count(*) FROM transactions.pending)"
            " FROM transactions.transaction WHERE 'transactions/' || id = ANY(%s)",
            names[0] + names[1],
        )
        assert found == [(MANY, 1, 1, 0)]
        assert sum([await clients[0].balance(wallet) for wallet in wallets]) == 6 * MANY
        assert dispatched(service, "posted") == before + MANY


@asynchronous
async def test_none_is_posted_before_its_time(service: ServiceProcess, ledger: Ledger) -> None:
    async with connected(service.targets[0]) as client:
        alice, bob = await client.open(300), await client.open()
        start = datetime.now(UTC)

        def at(number: int) -> Timestamp:
            time = Timestamp()
            time.FromDatetime(start + timedelta(milliseconds=10 * number))
            return time

        await sent(client, [asked(alice, bob, 1, at(number)) for number in range(300)])
        await all_are_decided(ledger, alice)
        early = ledger.query(
            "SELECT count(*) FILTER (WHERE decide_time < (terms->>'execute_time')::timestamptz), count(*)"
            " FROM transactions.transaction WHERE source = %s",
            alice,
        )
        assert early == [(0, 300)]
        assert await client.balance(bob) == 300


@asynchronous
async def test_what_cannot_be_posted_becomes_failed_with_its_reason(service: ServiceProcess, ledger: Ledger) -> None:
    async with connected(service.targets[0]) as client:
        alice, bob, euros = await client.open(100), await client.open(), await client.open(currency="EUR")
        frozen, closed = await client.open(100), await client.open()
        await client.set_state(frozen, AccountState.ACCOUNT_STATE_FROZEN)
        await client.set_state(closed, AccountState.ACCOUNT_STATE_CLOSED)
        conditional, careful = asked(alice, bob), asked(alice, bob, 60)
        conditional.expected_version, careful.minimum_balance_after = 7, 41
        transfers = {
            "INSUFFICIENT_FUNDS": asked(alice, bob, 101),
            "SOURCE_NOT_FOUND": asked(wallet_name(), bob),
            "DESTINATION_NOT_FOUND": asked(alice, wallet_name()),
            "CURRENCY_MISMATCH": asked(alice, euros),
            "SOURCE_FROZEN": asked(frozen, bob),
            "DESTINATION_CLOSED": asked(alice, closed),
            "VERSION_MISMATCH": conditional,
            "BALANCE_BELOW_MINIMUM": careful,
        }
        names = await sent(client, list(transfers.values()))
        await all_are_decided(ledger, *{transfer.source for transfer in transfers.values()})
        assert [stored(ledger, name.partition("/")[2]) for name in names] == [(2, reason, 0) for reason in transfers]
        read = await client.transactions.GetTransaction(GetTransactionRequest(name=names[0]))
        told: Transaction = read.transaction
        assert told.error.message == f"{alice} has 100 available and needs 101"
        assert told.decide_time.ToDatetime() > told.create_time.ToDatetime()


@asynchronous
async def test_two_workers_that_have_the_same_transfer_post_it_once(service: ServiceProcess, ledger: Ledger) -> None:
    """Claims only share the work: without them both try, and meet at the account and at its row in `pending`."""
    async with connected(service.targets[0]) as client:
        alice, bob = await client.open(100), await client.open()
        id_ = await scheduled(client, alice, bob, 60)

        def both_wait() -> bool:
            claim(ledger, id_, None)
            return ledger.query(WAITING) == [(2,)]

        with ledger.locked(alice):
            due(ledger, id_)
            await wait_until_async(both_wait, "both lanes wait for the account")
        await all_are_decided(ledger, alice)
        assert stored(ledger, id_) == (1, None, 2)
        assert await client.balance(bob) == 60


@asynchronous
async def test_a_wallet_that_somebody_holds_delays_only_its_own(service: ServiceProcess, ledger: Ledger) -> None:
    async with connected(service.targets[0]) as client:
        alice, bob, carol = await client.open(100), await client.open(100), await client.open()
        with ledger.locked(alice):
            await sent(client, [asked(alice, carol), asked(bob, carol)])
            await all_are_decided(ledger, bob)
            assert pending(ledger, alice) == 1
        await all_are_decided(ledger, alice)
        assert await client.balance(carol) == 2


@asynchronous
async def test_what_another_process_has_claimed_is_left_to_it_until_its_lease_is_over(
    service: ServiceProcess, ledger: Ledger
) -> None:
    async with connected(service.targets[0]) as client:
        alice, bob, carol = await client.open(100), await client.open(100), await client.open()
        first = await scheduled(client, alice, carol)
        claim(ledger, first, "1 hour")
        due(ledger, first)
        # What came later is posted: they have looked.
        await sent(client, [asked(bob, carol)])
        await all_are_decided(ledger, bob)
        assert pending(ledger, alice) == 1
        claim(ledger, first, "0")
        await all_are_decided(ledger, alice)


@asynchronous
async def test_what_is_cancelled_while_it_waits_for_its_wallet_is_not_posted(
    service: ServiceProcess, ledger: Ledger
) -> None:
    async with both(service) as clients:
        alice, bob = await clients[0].open(100), await clients[0].open()
        id_ = await scheduled(clients[0], alice, bob)
        with ledger.locked(alice):
            due(ledger, id_)
            await wait_until_async(lambda: ledger.query(WAITING) == [(1,)], "a lane waits for the account")
            # One of them is at the lane that waits; the other lane is free.
            await asyncio.gather(*[client.cancel(f"transactions/{id_}") for client in clients])
        assert stored(ledger, id_) == (2, "TRANSFER_CANCELLED", 0)
        # The lane that had it has gone on.
        await sent(clients[0], [asked(alice, bob)])
        await all_are_decided(ledger, alice)
        assert await clients[0].balance(bob) == 1


@asynchronous
async def test_of_cancelling_and_posting_one_wins(service: ServiceProcess, ledger: Ledger) -> None:
    async with both(service) as clients:
        alice, bob = await clients[0].open(100), await clients[0].open()
        ids = [await scheduled(clients[0], alice, bob) for _ in range(100)]
        told: dict[str, object] = {}

        async def call(caller: int) -> None:
            """Two of them cancel one after the other, while all become due."""
            if caller == len(clients):
                await asyncio.to_thread(due, ledger, *ids)
                return
            for id_ in ids[caller :: len(clients)]:
                told[id_] = answer = Failed("ABORTED", "CONTENTION", "", {})
                while isinstance(answer, Failed) and answer.reason == "CONTENTION":  # by a machine with much to do
                    told[id_] = answer = await outcome(clients[caller].cancel(f"transactions/{id_}"))

        await at_once(len(clients) + 1, call)
        await all_are_decided(ledger, alice)
        posted = [id_ for id_ in ids if stored(ledger, id_) == (1, None, 2)]
        for id_ in ids:
            answer = told[id_]
            if id_ in posted:
                assert isinstance(answer, Failed)
                assert answer.reason == "NOT_PENDING"
            else:
                assert not isinstance(answer, Failed)
                assert stored(ledger, id_) == (2, "TRANSFER_CANCELLED", 0)
        assert await clients[0].balance(bob) == len(posted)


def test_a_service_that_stops_leaves_no_claims_and_the_next_one_goes_on(
    other_database: Database, tmp_path: Path
) -> None:
    ledger = Ledger(other_database)
    with sound_service(other_database, tmp_path) as service:

        async def send() -> str:
            async with connected(service.targets[0]) as client:
                alice, bob = await client.open(MANY), await client.open()
                await sent(client, [asked(alice, bob) for _ in range(MANY)])
                return alice

        alice = asyncio.run(send())
        assert service.stop() == 0
        assert ledger.query("SELECT count(*) FROM transactions.pending WHERE claimed_until > now()") == [(0,)]
        service.start()
        wait_until(lambda: pending(ledger, alice) == 0, "nothing is pending")
    audit(other_database.owner_dsn, floors_never_changed=True)


def test_a_service_that_starts_knows_how_many_are_pending(other_database: Database, tmp_path: Path) -> None:
    with sound_service(other_database, tmp_path, WORKERS=1, MAX_PENDING=5) as service:

        async def fill() -> tuple[str, str]:
            async with connected(service.targets[0]) as client:
                alice, bob = await client.open(100), await client.open()
                for _ in range(5):
                    await scheduled(client, alice, bob)
                return alice, bob

        async def one_more(alice: str, bob: str) -> None:
            async with connected(service.targets[0]) as client:
                refused = await failed(client.transfer(alice, bob, 1, mode=ASYNC))
                assert (refused.code, refused.reason) == ("RESOURCE_EXHAUSTED", "TOO_MANY_PENDING")

        alice, bob = asyncio.run(fill())
        assert service.stop() == 0
        service.start()
        counted = 'specie_backlog{work="transfers"}'
        wait_until(lambda: service.metrics().get(counted) == 5, "they are counted")
        asyncio.run(one_more(alice, bob))
