"""The posting port and the accounts in memory: the ledger without a database, for rules that are to be tried fast.

A write is visible whole or not at all; a lock is one for the whole ledger.
"""

import threading
from collections.abc import Callable, Collection, Sequence
from copy import copy
from dataclasses import dataclass, field
from datetime import datetime
from itertools import chain

from transaction_service.domain.account import Account, Change, closes, payouts_under_way
from transaction_service.domain.book import Book, Reversed
from transaction_service.domain.failure import Failure
from transaction_service.domain.hold import Hold
from transaction_service.domain.movement import Entry, Transaction, TransactionState
from transaction_service.domain.terms import PLAIN
from transaction_service.ports import Locked, Wanted


@dataclass
class Memory:
    """What the adapters share. Time stands still unless `clock` moves it. `committed`: what is in `transactions`, as
    often as it was written."""

    clock: Callable[[], datetime]
    accounts: dict[str, Account] = field(default_factory=dict)
    transactions: dict[str, Transaction] = field(default_factory=dict)
    entries: dict[str, list[Entry]] = field(default_factory=dict)
    holds: dict[str, Hold] = field(default_factory=dict)
    committed: list[Transaction] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def owned(self, names: Collection[str], owner: str) -> list[str]:
        """Those of these accounts that are his."""
        return [name for name in names if name in self.accounts and self.accounts[name].owner == owner]


class MemoryPostingStore:
    """Fills transaction_service.ports.PostingStore."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory

    def open_system_accounts(self, accounts: Sequence[Account]) -> None:
        with self._memory.lock:
            for account in accounts:
                self._memory.accounts.setdefault(account.name, account)

    def lock(self, wanted: Wanted, *, patient: bool, seconds_left: float = float("inf")) -> Locked:  # noqa: ARG002
        memory = self._memory
        memory.lock.acquire()
        accounts = {name: copy(memory.accounts[name]) for name in wanted.accounts if name in memory.accounts}
        known = {id_: memory.transactions[id_] for id_ in wanted.transactions if id_ in memory.transactions}
        holds = {id_: memory.holds[id_] for id_ in wanted.holds if id_ in memory.holds}
        posted = chain.from_iterable(memory.entries.get(a.id, ())[-1:] for a in accounts.values())
        now = max([memory.clock(), *(e.post_time for e in posted)])
        return Locked(accounts, known, now, holds, self._reversed(wanted.reversed))

    def _reversed(self, ids: Collection[str]) -> dict[str, Reversed]:
        found: dict[str, Reversed] = {}
        for transaction in self._memory.transactions.values():
            id_ = transaction.movement.reverses
            if id_ in ids and transaction.state is TransactionState.POSTED:
                times, amount, whole = found.get(id_, Reversed())
                whole = whole or transaction.movement.terms is not PLAIN
                found[id_] = Reversed(times + 1, amount + transaction.movement.amount, whole)
        return found

    def write(self, book: Book) -> None:
        for id_ in book.decided:
            self._memory.transactions.pop(id_, None)  # kept in the order of their decisions
        self._memory.transactions |= book.decided
        self._memory.committed.extend(book.decided.values())
        for entry in book.entries:
            self._memory.entries.setdefault(entry.account_id, []).append(entry)
        self._memory.accounts |= book.changed
        self._memory.holds |= book.changed_holds
        self._memory.lock.release()

    def held(self, names: Collection[str]) -> set[str]:  # noqa: ARG002 - as the port
        return set()

    def roll_back(self) -> None:
        self._memory.lock.release()

    def close(self) -> None:
        """Nothing is held."""


class MemoryAccounts:
    """Fills transaction_service.ports.Accounts."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory

    async def open(self, account: Account) -> Account:
        with self._memory.lock:
            return copy(self._memory.accounts.setdefault(account.name, account))

    async def get(self, names: Sequence[str], bound_to: str = "") -> list[Account]:
        with self._memory.lock:
            found = [copy(self._memory.accounts[name]) for name in set(names) if name in self._memory.accounts]
        return [account for account in found if bound_to in {"", account.owner}]

    async def change(self, name: str, rule: Callable[[Account], Change]) -> Account | Failure | None:
        with self._memory.lock:
            account = self._memory.accounts.get(name)
            if account is None:
                return None
            change = rule(account)
            if closes(account, change) and (payouts := self._payouts_under_way(name)):
                return payouts_under_way(account, payouts)
            if isinstance(change, Account):
                self._memory.accounts[name] = account = change
            return change if isinstance(change, Failure) else copy(account)

    def _payouts_under_way(self, name: str) -> int:
        """Nobody pays here: what is not given back is under way."""
        posted = [t.movement for t in self._memory.transactions.values() if t.state is TransactionState.POSTED]
        given_back = {movement.reverses for movement in posted}
        paid_out = [m for m in posted if m.terms.payout is not None and m.source == name]
        return sum(movement.id not in given_back for movement in paid_out)
