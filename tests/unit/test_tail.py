"""The tail of the feed, over a feed in memory: who is at the end shares one reading, who is behind reads alone."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

import pytest

from service_kit.call import Call, deadline_of_call, enter_call
from service_kit.status import Refusal
from tests.kit.builders import transfer
from tests.kit.ledgers import Ledger, funded, memory_ledger
from tests.kit.service import wait_until_async
from tests.kit.wallets import asynchronous
from transaction_service import tail
from transaction_service.domain.movement import Movement
from transaction_service.ports import Feed, Mark, Stretch
from transaction_service.tail import News, Tail, TooManyWatchers

LONG = 1000.0


class Counted:
    """A feed that counts how often it was asked and what it has given, and can fail."""

    def __init__(self, feed: Feed) -> None:
        self.beginning = feed.beginning
        self._feed = feed
        self.reads = 0
        self.found = 0
        self.deadlines: set[float] = set()
        self.trouble: Exception | None = None

    async def end(self) -> Mark:
        return await self._feed.end()

    async def read(self, after: Mark, limit: int, account: str = "") -> Stretch:
        self.reads += 1
        self.deadlines.add(deadline_of_call())
        if self.trouble is not None:
            raise self.trouble
        stretch = await self._feed.read(after, limit, account)
        self.found += len(stretch.committed)
        return stretch


class Watched:
    """A ledger in memory with alice and bob, and its tail."""

    def __init__(self, *, watchers_max: int = 10, every: float = 0.001, heartbeat: float = LONG) -> None:
        self.ledger: Ledger = memory_ledger()
        self.feed = Counted(self.ledger.feed)
        self.tail = Tail(self.feed, watchers_max, every, heartbeat)
        self.alice, self.bob, self.carol = "wallets/alice", "wallets/bob", "wallets/carol"

    async def fund(self) -> None:
        names = await asyncio.to_thread(funded, self.ledger, 1000, "alice", "bob", "carol")
        self.alice, self.bob, self.carol = names

    async def pay(self, count: int = 1) -> list[Movement]:
        made = [transfer(self.alice, self.bob, 1) for _ in range(count)]
        await asyncio.to_thread(self.ledger.post, *made)
        return made

    @asynccontextmanager
    async def watching(self, account: str = "", after: Mark | None = None) -> AsyncIterator[AsyncGenerator[News, None]]:
        """A stream whose first message has come."""
        async with aclosing(self.tail.watch(account, after)) as news:
            mark, transaction = await anext(news)
            assert transaction is None
            assert after in (None, mark)
            yield news


async def watched(**options: float) -> Watched:
    made = Watched(**options)  # type: ignore[arg-type] # by their names
    await made.fund()
    return made


async def ids(news: AsyncGenerator[News, None], count: int) -> list[str]:
    found = []
    for _ in range(count):
        _, transaction = await anext(news)
        assert transaction is not None
        found.append(transaction.movement.id)
    return found


@asynchronous
async def test_a_watcher_hears_of_what_is_committed_from_now_on() -> None:
    one = await watched()
    await one.pay()
    async with one.watching() as news:
        first, second = await one.pay(), await one.pay(2)
        assert await ids(news, 3) == [m.id for m in (*first, *second)]


@asynchronous
async def test_a_watcher_goes_on_from_a_mark() -> None:
    one = await watched()
    made = [*await one.pay(), *await one.pay(3)]
    async with one.watching(one.alice, one.feed.beginning) as news:
        await anext(news)  # what alice was funded with
        assert await ids(news, 2) == [m.id for m in made[:2]]
        mark, _ = await anext(news)
    async with one.watching(one.alice, mark) as news:
        assert await ids(news, 1) == [made[3].id]
        later = await one.pay()
        assert await ids(news, 1) == [later[0].id]


@asynchronous
async def test_a_watcher_of_one_account_hears_of_no_other() -> None:
    one = await watched()
    async with one.watching(one.carol) as news:
        await one.pay(3)
        mine = transfer(one.bob, one.carol, 1)
        await asyncio.to_thread(one.ledger.post, mine)
        assert await ids(news, 1) == [mine.id]


@asynchronous
async def test_all_who_are_at_the_end_share_one_reading() -> None:
    one = await watched()
    async with one.watching() as a, one.watching() as b, one.watching(one.alice) as c:
        await wait_until_async(lambda: one.tail._latest is not None, "the end is known")
        for _ in range(5):
            [made] = await one.pay()
            for news in (a, b, c):
                assert await ids(news, 1) == [made.id]
        assert one.feed.found == 5, "for all three together"


@asynchronous
async def test_who_takes_slowly_reads_alone_and_misses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tail, "STRETCH_MAX", 2)
    one = await watched()
    async with one.watching() as slow, one.watching() as fast:
        made: list[Movement] = []
        for _ in range(20):
            made += await one.pay(3)
            assert await ids(fast, 3) == [m.id for m in made[-3:]]
        assert await ids(slow, 60) == [m.id for m in made]


@asynchronous
async def test_the_shared_reading_is_nobody_s_call_and_has_nobody_s_deadline() -> None:
    one = await watched()
    method: Any = None
    enter_call(Call("/of/who.came.first", b"", method, method, {}, deadline=0))
    async with one.watching():
        await wait_until_async(lambda: one.feed.reads > 0, "the feed is read")
    assert one.feed.deadlines == {float("inf")}


@asynchronous
async def test_nothing_is_asked_while_nobody_watches() -> None:
    one = await watched()
    async with one.watching():
        await wait_until_async(lambda: one.feed.reads > 3, "it is asked")
    await wait_until_async(lambda: asyncio.all_tasks() == {asyncio.current_task()}, "nothing runs any more")
    await one.pay()
    async with one.watching() as news:
        made = await one.pay()
        assert await ids(news, 1) == [made[0].id]


@asynchronous
async def test_a_silent_stream_gives_signs_of_life_and_goes_on_from_there() -> None:
    one = await watched(heartbeat=0.02)
    async with one.watching(one.carol) as news:
        before = await one.feed.end()
        await one.pay(3)
        await wait_until_async(lambda: one.tail._latest and one.tail._latest.until > before, "it has moved on")
        for _ in range(3):
            mark, transaction = await anext(news)
            assert transaction is None
        assert mark == await one.feed.end()


@asynchronous
async def test_who_is_far_behind_gets_signs_of_life_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tail, "STRETCH_MAX", 1)
    one = await watched(heartbeat=0)
    await one.pay(3)
    async with one.watching(one.carol, one.feed.beginning) as news:
        found = [await anext(news) for _ in range(6)]
    assert [transaction for _, transaction in found if transaction is not None]
    assert [mark for mark, _ in found] == sorted(mark for mark, _ in found)


@asynchronous
async def test_there_may_be_so_many_and_no_more() -> None:
    one = await watched(watchers_max=2)
    async with one.watching():
        async with one.watching():
            with pytest.raises(TooManyWatchers):
                await anext(one.tail.watch("", None))
        async with one.watching():
            pass


@asynchronous
async def test_short_trouble_is_not_heard_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tail, "AGAIN_SECONDS", 0.001)
    one = await watched()
    async with one.watching() as news:
        await wait_until_async(lambda: one.feed.reads > 1, "it is at the end")
        one.feed.trouble = Refusal("UNAVAILABLE", "gone")
        made = await one.pay()
        await wait_until_async(lambda: one.tail._trouble is not None, "it is in trouble")
        one.feed.trouble = None
        assert await ids(news, 1) == [made[0].id]


@asynchronous
async def test_lasting_trouble_ends_the_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tail, "AGAIN_SECONDS", 0.001)
    one = await watched(heartbeat=0.05)
    async with one.watching() as news:
        await wait_until_async(lambda: one.feed.reads > 1, "it is at the end")
        one.feed.trouble = Refusal("UNAVAILABLE", "gone")
        await wait_until_async(lambda: one.tail._trouble is not None, "it is in trouble")
        with pytest.raises(Refusal, match="gone"):
            await ids(news, 1)
    one.feed.trouble = None
    async with one.watching() as news:
        made = await one.pay()
        assert await ids(news, 1) == [made[0].id]
