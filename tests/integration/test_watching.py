"""WatchTransactions through the real service: everything once, in order, from wherever one left off."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from specie.transaction.v1 import TransactionState, TransferMode

from service_kit import pages
from tests.kit.calls import Client, connected, failed, key
from tests.kit.postgres import Server
from tests.kit.service import transaction_service, wait_until
from tests.kit.wallets import asynchronous
from tests.kit.watching import watching

POSTED, FAILED = TransactionState.TRANSACTION_STATE_POSTED, TransactionState.TRANSACTION_STATE_FAILED
PENDING = TransactionState.TRANSACTION_STATE_PENDING
ASYNC = TransferMode.TRANSFER_MODE_ASYNC


@asynchronous
async def test_everything_comes_as_it_is_committed_and_looks_as_it_is_read(target: str) -> None:
    async with connected(target) as client:
        alice, bob = await client.open(100), await client.open()
        async with watching(client, alice) as watch:
            assert [m.HasField("transaction") for m in watch.messages] == [False]
            sent = await client.transfer(alice, bob, 30, labels={"order": "1"})
            refused = await failed(client.transfer(alice, bob, 1000))
            await client.deposit(bob, 1)
            hold = (await client.place_hold(alice, bob, 10)).hold
            await client.release(hold.name)
            came = await watch.has(4)
            assert [t.name for t in came[:2]] == [sent.transaction.name, refused.metadata["transaction"]]
            assert came[0] == sent.transaction
            assert [t.hold for t in came[2:]] == [hold.name] * 2
            listed = await client.listed(wallet=alice)
            assert came == listed[: len(came)][::-1]


@asynchronous
async def test_a_pending_transfer_comes_again_when_it_is_decided(target: str) -> None:
    async with connected(target) as client:
        alice, bob = await client.open(100), await client.open()
        async with watching(client, alice) as watch:
            good = await client.transfer(alice, bob, 30, mode=ASYNC)
            bad = await client.transfer(alice, bob, 1000, mode=ASYNC)
            came = await watch.until(lambda: sum(t.state != PENDING for t in watch.transactions) == 2)
            decided = {t.name: t.state for t in came if t.state != PENDING}
            assert decided == {good.transaction.name: POSTED, bad.transaction.name: FAILED}


@asynchronous
async def test_each_cursor_is_a_place_to_go_on_from(target: str) -> None:
    async with connected(target) as client:
        alice, bob = await client.open(100), await client.open()
        async with watching(client, alice) as watch:
            made = [(await client.transfer(alice, bob, 1)).transaction.name for _ in range(5)]
            await watch.has(5)
        cursors = [message.cursor for message in watch.messages]
        assert len(set(cursors)) == len(cursors)
        assert max(map(len, cursors)) <= 128
        for number, cursor in enumerate(cursors):
            async with watching(client, alice, cursor) as again:
                assert [t.name for t in await again.has(5 - number)] == made[number:]


@asynchronous
async def test_from_the_beginning(target: str) -> None:
    async with connected(target) as client:
        alice = await client.open(7)
        async with watching(client, alice, "beginning") as watch:
            [funding] = await watch.has(1)
            assert funding.amount.minor_units == 7
        async with watching(client, "", "beginning") as watch:
            assert (await watch.until_named(funding.name))[-1] == funding


@pytest.mark.parametrize(
    "cursor",
    [
        "nonsense",
        "\u00e4",
        pages.encode([1, "00000000-0000-0000-0000-000000000000"], "watch", "wallets/another"),
        pages.encode([1, "no id"], "watch", ""),
        pages.encode([-1, "00000000-0000-0000-0000-000000000000"], "watch", ""),
        pages.encode([True, "00000000-0000-0000-0000-000000000000"], "watch", ""),
        pages.encode([1], "watch", ""),
        pages.encode([2**62, "00000000-0000-0000-0000-000000000000"], "watch", ""),
    ],
)
def test_a_cursor_that_nobody_has_sent(target: str, cursor: str) -> None:
    async def ask() -> None:
        async with connected(target) as client, watching(client, "", cursor) as watch:
            error = await watch.ended()
            assert error is not None
            assert (error.code, error.reason) == ("INVALID_ARGUMENT", "INVALID_CURSOR")

    asyncio.run(ask())


@asynchronous
async def test_a_caller_that_goes_makes_room_for_the_next(postgres_server: Server, tmp_path: Path) -> None:
    with (
        postgres_server.fresh_database() as database,
        transaction_service(database, tmp_path, WATCHERS_MAX=2) as service,
    ):
        async with connected(service.targets[0]) as client:
            async with watching(client), watching(client) as second:
                async with watching(client) as third:
                    error = await third.ended()
                    assert error is not None
                    assert (error.code, error.reason) == ("RESOURCE_EXHAUSTED", "OVERLOADED")
                    assert error.retry_seconds
                assert second.error is None
            wait_until(lambda: service.metrics()["specie_watchers"] == 0, "both are gone")
            async with watching(client) as fourth:
                await client.open(1)
                await fourth.has(1)


@asynchronous
async def test_when_the_service_stops_streams_end_in_order_and_go_on_at_its_successor(
    postgres_server: Server, tmp_path: Path
) -> None:
    with postgres_server.fresh_database() as database, transaction_service(database, tmp_path) as service:
        async with connected(service.targets[0]) as client:
            alice, bob = await client.open(100), await client.open()
            async with watching(client, alice) as watch:
                first = await client.transfer(alice, bob, 1)
                await watch.has(1)
                service.terminate()
                error = await watch.ended()
                assert error is not None
                assert (error.code, error.reason) == ("UNAVAILABLE", "UNAVAILABLE")
                assert error.retry_seconds
            assert await asyncio.to_thread(service.wait) == 0
            await asyncio.to_thread(service.start)
            second = await client.transfer(alice, bob, 2)
            async with watching(client, alice, watch.cursor) as again:
                assert [t.name for t in await again.has(1)] == [second.transaction.name]
            assert [t.name for t in watch.transactions] == [first.transaction.name]
        assert [e for e in service.events() if e.get("level") not in ("info", "warning")] == []


@asynchronous
async def test_after_a_kill_nothing_is_missing_and_nothing_comes_twice(postgres_server: Server, tmp_path: Path) -> None:
    """Whoever keeps the last cursor goes on at another process, or at the same one once it is there again."""
    with (
        postgres_server.fresh_database() as database,
        transaction_service(database, tmp_path) as first,
        transaction_service(database, tmp_path) as second,
    ):
        async with connected(second.targets[0]) as client:
            alice, bob = await client.open(1_000_000), await client.open()
            paying = asyncio.create_task(_pay(client, alice, bob))
            seen: list[str] = []
            cursor = ""
            for number in range(3):
                async with connected(first.targets[0]) as other, watching(other, alice, cursor) as watch:
                    if number == 0:
                        start = watch.messages[0].cursor
                    await watch.has(20)
                    first.kill()
                    await watch.ended()
                    seen += [t.name for t in watch.transactions]
                    cursor = watch.cursor
                await asyncio.to_thread(first.start)
            paying.cancel()
            await asyncio.gather(paying, return_exceptions=True)
            async with watching(client, alice, start) as watch:
                last = await client.transfer(alice, bob, 1)
                await watch.until_named(last.transaction.name)
                expected = [t.name for t in watch.transactions]
            async with watching(client, alice, cursor) as watch:
                await watch.until_named(last.transaction.name)
                seen += [t.name for t in watch.transactions]
            assert seen == expected
            assert len(set(seen)) == len(seen) >= 60


async def _pay(client: Client, source: str, destination: str) -> None:
    while True:
        await client.transfer(source, destination, 1, key())


@asynchronous
async def test_many_watch_at_once(target: str) -> None:
    async with connected(target) as client, AsyncExitStack() as streams:
        alice = await client.open()
        watches = [await streams.enter_async_context(watching(client, ("", alice)[n % 2])) for n in range(50)]
        made = [(await client.deposit(alice, amount)).transaction.name for amount in (1, 2, 3)]
        for watch in watches:
            assert [t.name for t in await watch.has(3)] == made
