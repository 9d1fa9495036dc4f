"""What a group has locked, and what it has decided so far."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from transaction_service.domain.account import INT64_MAX, INT64_MIN, Account, Usage
from transaction_service.domain.failure import Failure, InvariantViolation
from transaction_service.domain.hold import Hold
from transaction_service.domain.movement import Entry, Movement, Outcome, Transaction, TransactionState
from transaction_service.domain.terms import Posting


class Reversed(NamedTuple):
    """How often a transaction was reversed, and how much of what its destination got, in minor units. `whole`: all that
    there was went back, where that is more than what its destination got."""

    times: int = 0
    amount: int = 0
    whole: bool = False


class Amounts(NamedTuple):
    """What an account has, in minor units."""

    balance: int
    held: int


@dataclass(slots=True)
class Book:
    """The locked accounts by name; by id the known transactions, the holds, and what was reversed of transactions.

    `now` is the group's one time: not before the last entry of any of its accounts.
    """

    accounts: Mapping[str, Account]
    known: Mapping[str, Transaction]
    now: datetime
    holds: dict[str, Hold] = field(default_factory=dict)
    reversed: dict[str, Reversed] = field(default_factory=dict)
    decided: dict[str, Transaction] = field(default_factory=dict)
    entries: list[Entry] = field(default_factory=list)
    changed: dict[str, Account] = field(default_factory=dict)
    changed_holds: dict[str, Hold] = field(default_factory=dict)

    def post(self, movement: Movement, postings: Iterable[Posting]) -> Outcome:
        """Writes an entry for each posting. The guards have let it through: what fails here is a bug."""
        for name, amount, _ in postings:
            account = self.accounts[name]
            balance = account.balance + amount
            if not (INT64_MIN <= balance <= INT64_MAX and amount):
                raise InvariantViolation(f"{movement.id}: {name} leaves int64, or a posting of 0")
            account.balance = balance
            account.version += 1
            if amount < 0 and account.floor is not None and balance - account.held < account.floor:
                raise InvariantViolation(f"{name}: below its floor after a debit")
            self.entries.append(Entry(account.id, account.version, movement.id, amount, balance, self.now))
            self.changed[name] = account
        return self.record(movement)

    def reserve(self, account: Account, amount: int) -> None:
        """Adds to what is held of it; below 0 frees it."""
        account.held += amount
        if account.held < 0:
            raise InvariantViolation(f"{account.name}: less than nothing is held")
        if amount > 0 and account.floor is not None and account.available < account.floor:
            raise InvariantViolation(f"{account.name}: below its floor after a hold")
        self.changed[account.name] = account

    def keep(self, hold: Hold) -> None:
        """The hold as it is from now on."""
        self.holds[hold.id] = self.changed_holds[hold.id] = hold

    def record(self, movement: Movement) -> Outcome:
        """It took effect."""
        return self._decided(movement, TransactionState.POSTED)

    def pend(self, movement: Movement) -> Outcome:
        """It is stored, to be posted when its time comes."""
        return self._decided(movement, TransactionState.PENDING)

    def fail(self, movement: Movement, failure: Failure) -> Outcome:
        """Records the attempt; no entry."""
        return self._decided(movement, TransactionState.FAILED, failure)

    def find(self, transaction_id: str) -> Transaction | None:
        """As it is now."""
        return self.decided.get(transaction_id) or self.known.get(transaction_id)

    def _decided(self, movement: Movement, state: TransactionState, failure: Failure | None = None) -> Outcome:
        before = self.known.get(movement.id)
        create_time = self.now if before is None else before.create_time
        transaction = Transaction(movement, state, create_time, self.now, failure)
        self.decided[movement.id] = transaction
        return Outcome(transaction, replayed=False)


class Savepoint:
    """Takes a book back to where it was, as to these accounts: what was decided since must be all about them."""

    def __init__(self, book: Book, names: Iterable[str]) -> None:
        self._book = book
        self._decided, self._entries = len(book.decided), len(book.entries)
        self._changed, self._changed_holds = dict(book.changed), dict(book.changed_holds)
        self._holds, self._reversed = dict(book.holds), dict(book.reversed)
        self._accounts: list[tuple[Account, int, int, int, Usage]] = [
            (account, account.balance, account.held, account.version, account.usage)
            for account in (book.accounts.get(name) for name in names)
            if account is not None
        ]

    def restore(self) -> None:
        book = self._book
        for account, balance, held, version, usage in self._accounts:
            account.balance, account.held, account.version, account.usage = balance, held, version, usage
        del book.entries[self._entries :]
        while len(book.decided) > self._decided:
            book.decided.popitem()
        book.changed, book.changed_holds = self._changed, self._changed_holds
        book.holds, book.reversed = self._holds, self._reversed


def check_group(book: Book, before: Mapping[str, Amounts], holds_before: Mapping[str, Hold]) -> None:
    """Asserts of the whole group, before it is written, what each step should have kept.

    The entries of every transaction sum to 0 in each currency; every changed balance is the old one plus its entries;
    what is held of an account has changed as its holds have. `before`: by account name.
    """
    currencies = {account.id: account.currency for account in book.changed.values()}
    per_transaction: dict[tuple[str, str], int] = {}
    per_account: dict[str, int] = {}
    for account_id, _, transaction_id, amount, _, _ in book.entries:
        key = (transaction_id, currencies[account_id])
        per_transaction[key] = per_transaction.get(key, 0) + amount
        per_account[account_id] = per_account.get(account_id, 0) + amount
    if any(per_transaction.values()):
        unbalanced = [name for (name, _), total in per_transaction.items() if total]
        raise InvariantViolation(f"transactions whose entries do not sum to 0: {unbalanced}")
    held: dict[str, int] = {}
    for hold in book.changed_holds.values():
        old = holds_before.get(hold.id)
        held[hold.source] = held.get(hold.source, 0) + hold.remaining - (0 if old is None else old.remaining)
    drifted = [
        name
        for name, account in book.changed.items()
        if account.balance != before[name].balance + per_account.get(account.id, 0)
        or account.held != before[name].held + held.get(name, 0)
    ]
    if drifted:
        raise InvariantViolation(f"balances or holds that are not the old ones plus what was moved: {drifted}")
