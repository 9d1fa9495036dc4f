"""No query needs more than a walk along an index, on a ledger of a million transactions: every statement that the
readers, the feed and the claims of due work send is caught and explained."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from itertools import product
from typing import Any

import pytest
from pydantic import SecretStr

from service_kit.database import Database as Connections
from tests.kit import large
from tests.kit.plans import Plan, caught, explain
from tests.kit.postgres import Database
from tests.kit.tokens import IDENTITY
from transaction_service.adapters.accounts import SqlAccounts
from transaction_service.adapters.audit_records import SqlAuditRecords
from transaction_service.adapters.feed import SqlFeed
from transaction_service.adapters.holds import SqlHoldReader
from transaction_service.adapters.reader import SqlLedgerReader
from transaction_service.adapters.walk import WALKED_MAX
from transaction_service.adapters.work import SqlDueHolds, SqlPendingTransfers
from transaction_service.domain.account import Account, Unchanged
from transaction_service.domain.hold import HoldState
from transaction_service.domain.movement import TransactionKind, TransactionState
from transaction_service.ports import EntryFilter, HoldFilter, Mark, TransactionFilter
from transaction_service.reports import PAGE as REPORT_PAGE
from transaction_service.settings import TransactionSettings

Call = Callable[[], Awaitable[Any]]

PAGE = 50
ROWS_MAX = 1500
"""In one statement. None is asked for more than 1000, and some are looked at to find where to begin."""
BLOCKS_PER_ROW = 6
"""Down an index to a row of a table, and some for chance. Whole, the table of transactions has some 30,000 blocks."""
ROWS_PER_CHANGE = 60
"""Down to an entry by halving: some twenty steps for a million entries, twice."""
BLOCKS_PER_CHANGED_ROW = 60
"""A new version of a row may have to go into every index."""
FORBIDDEN = {"Seq Scan", "Parallel Seq Scan", "Hash Join", "Merge Join", "Materialize", "Bitmap And"}
NO_ID = "00000000-0000-0000-0000-000000000001"
FAR = [large.time_of(large.TRANSACTIONS // 3), large.time_of(large.TRANSACTIONS // 2)]


class Adapters:
    """Everything that reads, over the large ledger."""

    def __init__(self, connections: Connections) -> None:
        self.accounts = SqlAccounts(connections)
        self.reader = SqlLedgerReader(connections)
        self.holds = SqlHoldReader(connections)
        self.feed = SqlFeed(connections)
        self.pending = SqlPendingTransfers(connections)
        self.due_holds = SqlDueHolds(connections)

    async def account(self, name: str) -> Account:
        [account] = await self.accounts.get([name])
        return account

    def calls(self) -> Mapping[str, list[Call]]:
        """For each method of each adapter that asks something, calls with every kind of value."""
        return {
            "accounts.get": [self._accounts(owner) for owner in ("", large.OWNER, "nobody")],
            "accounts.change": [lambda: self.accounts.change(large.HOT, lambda _: Unchanged.UNCHANGED)],
            "reader.transaction": [
                self._transaction(id_, owner)
                for id_, owner in product(
                    [NO_ID, *map(large.transaction_id, (7, 10, 501))], ["", large.OWNER, "nobody"]
                )
            ],
            "reader.known": [self._known],
            "reader.transactions": [*map(self._transactions, _filters())],
            "reader.entries": [*self._entries()],
            "reader.balance_at": [*self._balances()],
            "reader.period": [*self._periods()],
            "reader.lines": [*self._lines()],
            "holds.hold": [
                self._hold(id_, owner) for id_, owner in product([NO_ID, large.hold_id(7)], ["", large.OWNER, "nobody"])
            ],
            "holds.holds": [
                self._holds(account, state)
                for account, state in product(["", large.HOT, large.ORDINARY], [None, *HoldState])
            ],
            "holds.open_holds": [*self._open_holds()],
            "feed.end": [self.feed.end],
            "feed.read": [*self._stretches()],
            "pending.claim": [lambda: self.pending.claim(100, 10)],
            "pending.give_back": [self._give_back],
            "pending.backlog": [lambda: self.pending.backlog(1000)],
            "due_holds.claim": [lambda: self.due_holds.claim(100, 10)],
            "due_holds.give_back": [self._give_back_holds],
            "due_holds.backlog": [lambda: self.due_holds.backlog(1000)],
        }

    def _accounts(self, owner: str) -> Call:
        return lambda: self.accounts.get([large.HOT, large.ORDINARY, "wallets/nobody"], owner)

    def _transaction(self, id_: str, owner: str) -> Call:
        return lambda: self.reader.transaction(id_, owner)

    def _hold(self, id_: str, owner: str) -> Call:
        return lambda: self.holds.hold(id_, owner)

    async def _known(self) -> None:
        found, _ = await self.reader.transactions(TransactionFilter(), None, 10 * PAGE)
        assert await self.reader.known([transaction.movement.id for transaction in found])

    def _transactions(self, wanted: TransactionFilter) -> Call:
        async def two_pages() -> None:
            _, after = await self.reader.transactions(wanted, None, PAGE)
            if after is not None:
                await self.reader.transactions(wanted, after, PAGE)

        return two_pages

    def _entries(self) -> Iterator[Call]:
        values: Iterator[Any] = product([large.HOT, large.ORDINARY], [True, False], [None, *FAR], [None, *FAR])
        for name, newest_first, start, end in values:
            wanted = EntryFilter(newest_first, start, end)

            async def two_pages(name: str = name, wanted: EntryFilter = wanted) -> None:
                account = await self.account(name)
                _, after = await self.reader.entries(account, wanted, None, PAGE)
                if after is not None:
                    await self.reader.entries(account, wanted, after, PAGE)

            yield two_pages

    def _balances(self) -> Iterator[Call]:
        for name, time in product([large.HOT, large.ORDINARY], [large.START, *FAR, large.time_of(10**9)]):

            async def balance(name: str = name, time: Any = time) -> None:  # noqa: ANN401 - a time
                await self.reader.balance_at(await self.account(name), time)

            yield balance

    def _periods(self) -> Iterator[Call]:
        bounds = [(None, None), (FAR[0], None), (None, FAR[1]), (FAR[0], FAR[1])]
        for name, (start, end) in product([large.HOT, large.ORDINARY], bounds):

            async def period(name: str = name, start: Any = start, end: Any = end) -> None:  # noqa: ANN401 - times
                assert await self.reader.period(await self.account(name), start, end)

            yield period

    def _lines(self) -> Iterator[Call]:
        for name, after in product([large.HOT, large.ORDINARY], [0, 300, 300_000]):

            async def page(name: str = name, after: int = after) -> None:
                await self.reader.lines(await self.account(name), after, after + REPORT_PAGE)

            yield page

    def _holds(self, account: str, state: HoldState | None) -> Call:
        async def two_pages() -> None:
            _, after = await self.holds.holds(account, state, None, PAGE)
            if after is not None:
                await self.holds.holds(account, state, after, PAGE)

        return two_pages

    def _open_holds(self) -> Iterator[Call]:
        parties = ["", large.HOT, large.ORDINARY]
        for source, destination, reference, before in product(parties, parties, ["", large.REFERENCE], [None, FAR[0]]):
            wanted = HoldFilter(source, destination, reference, before)
            yield lambda wanted=wanted: self.holds.open_holds(wanted, PAGE)  # type: ignore[misc] # its default is its type

    def _stretches(self) -> Iterator[Call]:
        for after, account in product(
            [SqlFeed.beginning, Mark(50, "77777777-0000-0000-0000-000000000000")], ["", large.HOT, "wallets/nobody"]
        ):
            yield lambda after=after, account=account: self.feed.read(after, 200, account)  # type: ignore[misc] # as above

    async def _give_back(self) -> None:
        await self.pending.give_back(await self.pending.claim(10, 10))

    async def _give_back_holds(self) -> None:
        await self.due_holds.give_back(await self.due_holds.claim(10, 10))


def _filters() -> Iterator[TransactionFilter]:
    accounts = ["", large.HOT, large.ORDINARY, "wallets/nobody"]
    states = [None, TransactionState.POSTED, TransactionState.FAILED, TransactionState.PENDING]
    kinds = [None, TransactionKind.REVERSAL, TransactionKind.HOLD]
    for account, state, kind in product(accounts, states, kinds):
        yield TransactionFilter(account, state, kind)
    for account, state in product(accounts[1:], states):
        yield TransactionFilter(account, state, shown_to=large.OWNER)
    for account, id_ in product(accounts[:2], [NO_ID, large.transaction_id(8)]):
        yield TransactionFilter(account, id=id_, principal="local")
    for account, principal, trace_id in product(accounts[:2], ["local", "nobody"], ["", "nothing"]):
        yield TransactionFilter(account, principal=principal, trace_id=trace_id)
    marks = product(["", large.REFERENCE, large.RARE_REFERENCE], [None, large.LABEL, ("team", "nobody")])
    for account, (reference, label), times in product(accounts[:2], marks, [(None, None), FAR]):
        yield TransactionFilter(
            account=account, start=times[0], end=times[1], external_reference=reference, label=label
        )


@pytest.fixture(scope="module")
def loaded(database: Database) -> Database:
    large.load(database.owner_dsn)
    return database


@pytest.fixture(scope="module")
def connections(loaded: Database) -> Iterator[Connections]:
    settings = TransactionSettings(database_dsn=SecretStr(loaded.transaction_dsn), **IDENTITY)
    opened = Connections(settings, "test")
    try:
        yield opened
    finally:
        opened.close()


@pytest.fixture(scope="module")
def adapters(connections: Connections) -> Adapters:
    return Adapters(connections)


NAMES = [*Adapters(None).calls()]  # type: ignore[arg-type] # none of them is called


@pytest.mark.parametrize("name", NAMES)
def test_every_statement_is_a_walk_along_an_index(adapters: Adapters, loaded: Database, name: str) -> None:
    for call in adapters.calls()[name]:
        with caught() as statements:
            asyncio.run(call())  # type: ignore[arg-type] # it is a coroutine
        assert statements
        plans = [explain(loaded.transaction_dsn, statement) for statement in _first_and_last(statements)]
        strange = [plan for plan in plans if not _is_a_walk(plan)]
        assert not strange, strange
        assert sum(plan.rows for plan in plans) <= 3 * WALKED_MAX, plans


def _first_and_last(statements: list[str]) -> list[str]:
    """A page that walks far sends the same statements again and again."""
    return [*statements[:4], *statements[4:][-4:]]


def _is_a_walk(plan: Plan) -> bool:
    return (
        not plan.nodes & FORBIDDEN
        and plan.rows <= ROWS_MAX
        and plan.sorted_rows <= ROWS_MAX
        and plan.blocks <= BLOCKS_PER_ROW * max(plan.rows, PAGE) + BLOCKS_PER_CHANGED_ROW * plan.changed_rows
    )


@pytest.mark.parametrize(("account", "page_size"), [*product(["", large.HOT, "wallets/ordinary-3"], [PAGE, 1000])])
def test_what_a_page_has_changed_is_found_down_the_primary_key(
    loaded: Database, connections: Connections, account: str, page_size: int
) -> None:
    """Two halvings for each account and time."""
    wanted = TransactionFilter(account=account, end=FAR[0])
    with caught() as statements:
        found, _ = asyncio.run(SqlAuditRecords(connections).page(wanted, None, page_size))
    changes = sum(len(record.changes) for record in found)
    assert changes >= len(found)
    [statement] = [statement for statement in statements if "RECURSIVE search" in statement]
    plan = explain(loaded.transaction_dsn, statement)
    assert not plan.nodes & FORBIDDEN - {"Materialize"}, plan  # of two rows
    assert plan.rows <= ROWS_PER_CHANGE * changes, plan


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT count(*) FROM transactions.entry",
        "SELECT id FROM transactions.transaction WHERE principal = 'nobody' ORDER BY decide_time, id LIMIT 1",
        "SELECT id FROM transactions.transaction WHERE decide_time > '2026-01-01' ORDER BY amount, id LIMIT 1",
        "SELECT seq FROM transactions.entry WHERE transaction_id = '80000000-0000-0000-0000-000000000000' LIMIT 1",
        "SELECT key FROM transactions.listing WHERE transaction_id = '80000000-0000-0000-0000-000000000000'",
    ],
)
def test_what_is_no_walk_is_told(loaded: Database, statement: str) -> None:
    assert not _is_a_walk(explain(loaded.transaction_dsn, statement))


def test_no_question_is_left_out(adapters: Adapters) -> None:
    asked = {
        f"{field}.{method}"
        for field, adapter in vars(adapters).items()
        for method in vars(type(adapter))
        if not method.startswith("_") and callable(getattr(adapter, method))
    }
    assert asked - set(NAMES) == {"accounts.open"}
