"""The ledger's three ports over one adapter, spoken to without an event loop: for tests of every adapter alike."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from uuid import uuid4

import psycopg2
import psycopg2.extensions
from pydantic import SecretStr

from service_kit.database import Database as Connections
from tests.kit.builders import NOON, account, code, deposit
from tests.kit.postgres import Database
from tests.kit.tokens import IDENTITY
from transaction_service.adapters.accounts import SqlAccounts
from transaction_service.adapters.feed import SqlFeed
from transaction_service.adapters.holds import SqlHoldReader
from transaction_service.adapters.memory import Memory, MemoryAccounts, MemoryPostingStore
from transaction_service.adapters.memory_reader import MemoryFeed, MemoryHoldReader, MemoryLedgerReader
from transaction_service.adapters.posting_store import PostgresPostingStore
from transaction_service.adapters.reader import SqlLedgerReader
from transaction_service.domain.account import Account, Change
from transaction_service.domain.failure import Failure
from transaction_service.domain.hold import Hold, HoldState
from transaction_service.domain.movement import Answer, Movement, Transaction, Work
from transaction_service.ports import (
    Accounts,
    EntryFilter,
    Feed,
    HoldReader,
    LedgerReader,
    Line,
    Mark,
    Position,
    PostingStore,
    TransactionFilter,
)
from transaction_service.posting.lane import PostingLane
from transaction_service.posting.queue import PostingQueue
from transaction_service.settings import TransactionSettings

STATEMENT_TIMEOUT_SECONDS = 10


@dataclass
class Ledger:
    """One adapter."""

    store: PostingStore
    accounts: Accounts
    reader: LedgerReader
    holds: HoldReader
    feed: Feed
    lane: PostingLane = field(init=False)

    def __post_init__(self) -> None:
        self.lane = PostingLane(PostingQueue(1, 1), self.store, 1000, lambda _: None)

    def open(self, *accounts: Account) -> list[Account]:
        return [asyncio.run(self.accounts.open(account)) for account in accounts]

    def account(self, name: str) -> Account:
        [found] = self.get([name])
        return found

    def get(self, names: Sequence[str]) -> list[Account]:
        return asyncio.run(self.accounts.get(names))

    def change(self, name: str, rule: Callable[[Account], Change]) -> Account | Failure | None:
        return asyncio.run(self.accounts.change(name, rule))

    def post(self, *movements: Movement) -> list[Answer]:
        """As one group, each on its own."""
        return self.work(Work(movements))

    def work(self, work: Work) -> list[Answer]:
        """As one group of one piece of work."""
        answers: list[Answer] = []
        for result in self.lane.post([work])[0]:
            if isinstance(result, Exception):
                raise result
            answers.append(result)
        return answers

    def transaction(self, transaction_id: str) -> Transaction | None:
        return asyncio.run(self.reader.transaction(transaction_id))

    def transactions(self, page_size: int = 1000, **wanted: object) -> list[Transaction]:
        """All pages."""
        filters = TransactionFilter(**wanted)  # type: ignore[arg-type] # as the caller spells it

        async def page(after: Position | None) -> tuple[list[Transaction], Position | None]:
            return await self.reader.transactions(filters, after, page_size)

        return _all(page, page_size)

    def entries(self, account: Account, page_size: int = 1000, **wanted: object) -> list[Line]:
        """All pages."""
        filters = EntryFilter(**({"newest_first": True} | wanted))  # type: ignore[arg-type] # as the caller spells it

        async def page(after: Position | None) -> tuple[list[Line], Position | None]:
            return await self.reader.entries(account, filters, after, page_size)

        return _all(page, page_size)

    def list_holds(self, page_size: int = 1000, account: str = "", state: HoldState | None = None) -> list[Hold]:
        """All pages."""

        async def page(after: Position | None) -> tuple[list[Hold], Position | None]:
            return await self.holds.holds(account, state, after, page_size)

        return _all(page, page_size)

    def read_feed(self, after: Mark, page_size: int = 1000, account: str = "") -> tuple[list[Transaction], Mark]:
        """All that there is for now, and where it ends."""
        found: list[Transaction] = []
        while True:
            stretch = asyncio.run(self.feed.read(after, page_size, account))
            marks = [mark for mark, _ in stretch.committed]
            assert stretch.after == after
            assert [after, *marks, stretch.until] == sorted([after, *marks, stretch.until])
            found += [transaction for _, transaction in stretch.committed]
            after = stretch.until
            if stretch.complete:
                return found, after


def _all(page: Callable, page_size: int) -> list:  # type: ignore[type-arg] # lines or transactions
    found, after = [], None
    while True:
        part, after = asyncio.run(page(after))
        assert len(part) == page_size if after is not None else len(part) <= page_size
        found += part
        if after is None:
            return found


@dataclass
class Clock:
    """A time that goes on a little with every look."""

    now: datetime = NOON

    def __call__(self) -> datetime:
        self.now += timedelta(milliseconds=1)
        return self.now.astimezone(UTC)


def memory_ledger(clock: Callable[[], datetime] | None = None) -> Ledger:
    memory = Memory(clock or Clock())
    return Ledger(
        MemoryPostingStore(memory),
        MemoryAccounts(memory),
        MemoryLedgerReader(memory),
        MemoryHoldReader(memory),
        MemoryFeed(memory),
    )


@contextmanager
def postgres_ledger(database: Database) -> Iterator[Ledger]:
    settings = TransactionSettings(
        database_dsn=SecretStr(database.transaction_dsn),
        statement_timeout_seconds=STATEMENT_TIMEOUT_SECONDS,
        **IDENTITY,
    )
    connections = Connections(settings, "test")
    store = PostgresPostingStore(database.transaction_dsn, STATEMENT_TIMEOUT_SECONDS)
    try:
        yield Ledger(
            store,
            SqlAccounts(connections),
            SqlLedgerReader(connections),
            SqlHoldReader(connections),
            SqlFeed(connections),
        )
    finally:
        store.close()
        connections.close()


_numbers = count(1)


def named(word: str) -> str:
    """A wallet that no other test has."""
    return f"wallets/{word}-{next(_numbers)}-{uuid4().hex[:6]}"


def funded(ledger: Ledger, amount: int, *words: str) -> list[str]:
    """New wallets with so much in each."""
    names = [named(word) for word in words]
    ledger.open(*[account(name) for name in names])
    assert [code(answer) for answer in ledger.post(*[deposit(name, amount) for name in names])] == ["POSTED"] * len(
        names
    )
    return names


@contextmanager
def session(dsn: str) -> Iterator[psycopg2.extensions.cursor]:
    """A session of its own, rolled back at the end: what it locks is free again."""
    connection = psycopg2.connect(dsn)
    try:
        with connection.cursor() as cursor:
            yield cursor
        connection.rollback()  # which is answered; a server hears of a close when it likes
    finally:
        connection.close()
