"""The reading ports in memory: each says in a few lines what its fellow on PostgreSQL must say too."""

from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import datetime
from typing import TypeVar

from transaction_service.adapters.memory import Memory
from transaction_service.domain.account import Account
from transaction_service.domain.hold import Hold, HoldState
from transaction_service.domain.movement import Entry, Transaction, accounts_of
from transaction_service.domain.visibility import shows
from transaction_service.ports import (
    EntryFilter,
    HoldFilter,
    Line,
    Mark,
    PastBalance,
    Period,
    Position,
    Stretch,
    TransactionFilter,
)

T = TypeVar("T")


class MemoryLedgerReader:
    """Fills transaction_service.ports.LedgerReader."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory

    async def transaction(self, transaction_id: str, bound_to: str = "") -> Transaction | None:
        found = self._memory.transactions.get(transaction_id)
        if found is None or not bound_to or found.movement.principal == bound_to:
            return found
        own = self._memory.owned(accounts_of(found.movement), bound_to)
        return found if any(shows(found, wallet, bound_to) for wallet in own) else None

    async def known(self, ids: Collection[str]) -> set[str]:
        return {id_ for id_ in ids if id_ in self._memory.transactions}

    async def transactions(
        self, wanted: TransactionFilter, after: Position | None, limit: int
    ) -> tuple[list[Transaction], Position | None]:
        matching = [t for t in self._memory.transactions.values() if _matches(t, wanted)]
        return _newest_first(matching, _decided, after, limit)

    async def entries(
        self, account: Account, wanted: EntryFilter, after: Position | None, limit: int
    ) -> tuple[list[Line], Position | None]:
        entries = [
            e for e in self._memory.entries.get(account.id, []) if _within(e.post_time, wanted.start, wanted.end)
        ]
        if wanted.newest_first:
            entries = [e for e in reversed(entries) if after is None or e.seq < after[0]]
        else:
            entries = [e for e in entries if after is None or e.seq > after[0]]
        lines = [Line(e, self._memory.transactions[e.transaction_id]) for e in entries[:limit]]
        return lines, [lines[-1].entry.seq] if len(entries) > limit else None

    async def balance_at(self, account: Account, time: datetime) -> PastBalance | None:
        with self._memory.lock:
            if self._memory.clock() < time:
                return None
            entries = [e for e in self._memory.entries.get(account.id, []) if e.post_time <= time]
        return _after_last(entries)

    async def period(self, account: Account, start: datetime | None, end: datetime | None) -> Period | None:
        with self._memory.lock:
            now = self._memory.clock()
            end = now if end is None else end
            if now < end:
                return None
            entries = [e for e in self._memory.entries.get(account.id, []) if e.post_time < end]
        before = [e for e in entries if start is not None and e.post_time < start]
        return Period(_after_last(before), _after_last(entries), end)

    async def lines(self, account: Account, after: int, until: int) -> list[Line]:
        entries = self._memory.entries.get(account.id, [])
        return [Line(e, self._memory.transactions[e.transaction_id]) for e in entries if after < e.seq <= until]


class MemoryHoldReader:
    """Fills transaction_service.ports.HoldReader."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory

    async def hold(self, hold_id: str, bound_to: str = "") -> Hold | None:
        found = self._memory.holds.get(hold_id)
        if found is None or not bound_to or self._memory.owned({found.source, found.destination}, bound_to):
            return found
        return None

    async def holds(
        self, account: str, state: HoldState | None, after: Position | None, limit: int
    ) -> tuple[list[Hold], Position | None]:
        matching = [
            h
            for h in self._memory.holds.values()
            if account in ("", h.source, h.destination) and state in (None, h.state)
        ]
        return _newest_first(matching, _placed, after, limit)

    async def open_holds(self, wanted: HoldFilter, limit: int) -> list[Hold]:
        matching = [
            h
            for h in self._memory.holds.values()
            if h.state is HoldState.OPEN
            and wanted.source in ("", h.source)
            and wanted.destination in ("", h.destination)
            and wanted.external_reference in ("", h.external_reference)
            and _within(h.create_time, None, wanted.placed_before)
        ]
        return sorted(matching, key=_placed)[:limit]


class MemoryFeed:
    """Fills transaction_service.ports.Feed. A mark is how many were committed up to there."""

    beginning = Mark(0, "")

    def __init__(self, memory: Memory) -> None:
        self._memory = memory

    async def end(self) -> Mark:
        return Mark(len(self._memory.committed), "")

    async def read(self, after: Mark, limit: int, account: str = "") -> Stretch:
        end = max(after.commit, min(after.commit + limit, len(self._memory.committed)))
        committed = [
            (Mark(number, ""), transaction)
            for number, transaction in enumerate(self._memory.committed[after.commit : end], after.commit + 1)
            if self._memory.transactions[transaction.movement.id] is transaction  # it has not come again since
            and (not account or account in accounts_of(transaction.movement))
        ]
        return Stretch(after, committed, Mark(end, ""), complete=end - after.commit < limit)


def _after_last(entries: Sequence[Entry]) -> PastBalance:
    return PastBalance(entries[-1].balance, entries[-1].seq) if entries else PastBalance()


def _newest_first(
    matching: Iterable[T], key: Callable[[T], tuple[datetime, str]], after: Position | None, limit: int
) -> tuple[list[T], Position | None]:
    ordered = sorted(matching, key=key, reverse=True)
    if after is not None:
        last = (datetime.fromisoformat(after[0]), after[1])
        ordered = [one for one in ordered if key(one) < last]
    if len(ordered) <= limit:
        return ordered, None
    time, id_ = key(ordered[limit - 1])
    return ordered[:limit], [time.isoformat(), id_]


def _decided(transaction: Transaction) -> tuple[datetime, str]:
    return transaction.decide_time, transaction.movement.id


def _placed(hold: Hold) -> tuple[datetime, str]:
    return hold.create_time, hold.id


def _matches(transaction: Transaction, wanted: TransactionFilter) -> bool:
    movement = transaction.movement
    return (
        (not wanted.account or wanted.account in accounts_of(movement))
        and (not wanted.shown_to or shows(transaction, wanted.account, wanted.shown_to))
        and wanted.state in (None, transaction.state)
        and wanted.kind in (None, movement.kind)
        and wanted.id in ("", movement.id)
        and wanted.principal in ("", movement.principal)
        and wanted.trace_id in ("", movement.trace_id)
        and wanted.external_reference in ("", movement.external_reference)
        and (wanted.label is None or wanted.label in movement.labels.items())
        and _within(transaction.decide_time, wanted.start, wanted.end)
    )


def _within(time: datetime, start: datetime | None, end: datetime | None) -> bool:
    return (start is None or start <= time) and (end is None or time < end)
