"""The bounded queue before the database threads: who gives up frees a place, and a full queue is not an outage."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from sqlalchemy import Connection

from service_kit.database import Database as Connections
from service_kit.status import Refusal
from tests.kit.postgres import Database
from tests.kit.wallets import asynchronous, wallet_settings


@asynccontextmanager
async def busy(database: Database) -> AsyncIterator[tuple[Connections, threading.Event]]:
    """One thread, which is at work until the event is set; two more calls may wait."""
    connections = Connections(wallet_settings(database, 1, read_threads=1, read_queue_length=2), "test")
    begun, go_on = threading.Event(), threading.Event()

    def work(_: Connection) -> None:
        begun.set()
        go_on.wait()

    working = asyncio.create_task(connections.run(work))
    await asyncio.to_thread(begun.wait)
    try:
        yield connections, go_on
    finally:
        go_on.set()
        await working
        connections.close()


async def one_turn() -> None:
    for _ in range(3):
        await asyncio.sleep(0)


def nothing(_: Connection) -> None:
    pass


@asynchronous
async def test_calls_that_give_up_while_they_wait_free_their_places(database: Database) -> None:
    async with busy(database) as (connections, go_on):
        for _ in range(5):
            waiting = [asyncio.create_task(connections.run(nothing)) for _ in range(2)]
            await one_turn()
            for call in waiting:
                call.cancel()
            outcomes = await asyncio.gather(*waiting, return_exceptions=True)
            assert [type(outcome) for outcome in outcomes] == 2 * [asyncio.CancelledError]
        go_on.set()
        await asyncio.gather(connections.run(nothing), connections.run(nothing))


@asynchronous
async def test_a_full_queue_refuses_at_once_and_is_not_taken_for_an_outage(database: Database) -> None:
    async with busy(database) as (connections, go_on):
        waiting = [asyncio.create_task(connections.run(nothing)) for _ in range(2)]
        await one_turn()
        with pytest.raises(Refusal) as caught:
            await connections.run(nothing)
        assert caught.value.reason == "OVERLOADED"
        assert caught.value.retry_after_seconds
        await connections.ping()
        go_on.set()
        await asyncio.gather(*waiting)


@asynchronous
async def test_no_database_is_an_outage(database: Database) -> None:
    settings = wallet_settings(database, 1, database_dsn="postgresql://nobody:x@127.0.0.1:1/none")
    connections = Connections(settings, "test")
    with pytest.raises(Refusal) as caught:
        await connections.ping()
    assert caught.value.reason == "UNAVAILABLE"
    connections.close()
