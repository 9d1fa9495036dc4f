"""A caller of WatchTransactions for tests: what has come, and where to go on."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc.aio
from specie.transaction.v1 import Transaction, WatchTransactionsRequest

from tests.kit.calls import Client, Failed, to_failed
from tests.kit.service import wait_until_async


class Watch:
    """One stream, taken as it comes."""

    def __init__(self, call: Any) -> None:  # noqa: ANN401 - the types of stubs are of blocking ones
        self.call = call
        self.messages: list[Any] = []
        self.error: Failed | None = None
        self.over = False

    @property
    def transactions(self) -> list[Transaction]:
        return [message.transaction for message in self.messages if message.HasField("transaction")]

    @property
    def cursor(self) -> str:
        cursor: str = self.messages[-1].cursor
        return cursor

    async def run(self) -> None:
        try:
            async for message in self.call:
                self.messages.append(message)
        except grpc.aio.AioRpcError as error:
            self.error = to_failed(error)
        finally:
            self.over = True

    async def has(self, count: int) -> list[Transaction]:
        """Waits for so many transactions; all that have come."""
        return await self.until(lambda: len(self.transactions) >= count)

    async def until(self, enough: Callable[[], object]) -> list[Transaction]:
        """Waits until what has come is enough; all that has."""
        await wait_until_async(lambda: self.error or enough(), "what is awaited comes")
        assert self.error is None, self.error
        return self.transactions

    async def until_named(self, name: str) -> list[Transaction]:
        """Waits for the transaction of this name; all that have come."""
        return await self.until(lambda: any(t.name == name for t in self.transactions))

    async def ended(self) -> Failed | None:
        """Waits for the end; the error, if it was one."""
        await wait_until_async(lambda: self.over, "the stream ends")
        return self.error


@asynccontextmanager
async def watching(client: Client, wallet: str = "", cursor: str = "") -> AsyncIterator[Watch]:
    """A stream whose first message has come, or that has ended."""
    watch = Watch(client.transactions.WatchTransactions(WatchTransactionsRequest(wallet=wallet, cursor=cursor)))
    running = asyncio.create_task(watch.run())
    try:
        await wait_until_async(lambda: watch.messages or watch.over, "the first message comes")
        yield watch
    finally:
        watch.call.cancel()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
