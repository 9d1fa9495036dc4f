"""The posting core: decides one command after the other over locked accounts.

`decide` is one list of guards in the order of precedence of `Reason`, then a line after which the command must succeed.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from transaction_service.domain.account import (
    INT64_MAX,
    INT64_MIN,
    Account,
    AccountKind,
    AccountState,
    Usage,
    day_ends,
    day_of,
    hour_ends,
    hour_of,
)
from transaction_service.domain.failure import Failure, InvariantViolation, Reason
from transaction_service.domain.movement import (
    Answer,
    Entry,
    Movement,
    Outcome,
    Refused,
    Transaction,
    TransactionState,
)


@dataclass(slots=True)
class Book:
    """The locked accounts by name, the known transactions by id, and what the group has decided so far.

    `now` is the group's one time: not before the last entry of any of its accounts.
    """

    accounts: Mapping[str, Account]
    known: Mapping[str, Transaction]
    now: datetime
    decided: dict[str, Transaction] = field(default_factory=dict)
    entries: list[Entry] = field(default_factory=list)
    changed: dict[str, Account] = field(default_factory=dict)

    def post(self, movement: Movement, source: Account, destination: Account) -> Outcome:
        """Writes the two entries. The guards have let it through: what fails here is a bug."""
        if not 0 < movement.amount <= INT64_MAX:
            raise InvariantViolation(f"{movement.id}: an amount outside 1 to 2^63 - 1")
        self._enter(movement, source, -movement.amount)
        self._enter(movement, destination, movement.amount)
        return self._decided(Transaction(movement, TransactionState.POSTED, self.now, post_time=self.now))

    def fail(self, movement: Movement, reason: Reason, **metadata: str) -> Outcome:
        """Records the attempt; no entry."""
        failure = Failure(reason, metadata)
        return self._decided(Transaction(movement, TransactionState.FAILED, self.now, failure))

    def _enter(self, movement: Movement, account: Account, amount: int) -> None:
        account.balance += amount
        account.version += 1
        if not INT64_MIN <= account.balance <= INT64_MAX:
            raise InvariantViolation(f"{account.name}: balance leaves int64")
        if amount < 0 and account.floor is not None and account.available < account.floor:
            raise InvariantViolation(f"{account.name}: below its floor after a debit")
        self.entries.append(Entry(account.id, account.version, movement.id, amount, account.balance, self.now))
        self.changed[account.name] = account

    def _decided(self, transaction: Transaction) -> Outcome:
        self.decided[transaction.movement.id] = transaction
        return Outcome(transaction, replayed=False)


def decide(book: Book, movement: Movement) -> Answer:  # noqa: C901, PLR0912 - one list of guards reads best whole
    """The answer to one command. Commands that the ledger's state refuses are recorded as FAILED."""
    if movement.source == movement.destination:
        return Refused(Failure(Reason.SAME_WALLET, {"wallet": movement.source}))
    known = book.known.get(movement.id) or book.decided.get(movement.id)
    if known is not None:
        return _again(known, movement)
    source, destination = book.accounts.get(movement.source), book.accounts.get(movement.destination)
    if source is None:
        return book.fail(movement, Reason.SOURCE_NOT_FOUND, wallet=movement.source)
    if destination is None:
        return book.fail(movement, Reason.DESTINATION_NOT_FOUND, wallet=movement.destination)
    if movement.provider and book.accounts[movement.provider].kind is not AccountKind.PROVIDER:
        return book.fail(movement, Reason.NOT_A_PROVIDER, wallet=movement.provider)
    for account in (source, destination):
        if account.currency != movement.currency:
            return book.fail(
                movement,
                Reason.CURRENCY_MISMATCH,
                wallet=account.name,
                wallet_currency=account.currency,
                currency=movement.currency,
            )
    if source.state is AccountState.CLOSED:
        return book.fail(movement, Reason.SOURCE_CLOSED, wallet=source.name)
    if source.state is AccountState.FROZEN:
        return book.fail(movement, Reason.SOURCE_FROZEN, wallet=source.name)
    if destination.state is AccountState.CLOSED:
        return book.fail(movement, Reason.DESTINATION_CLOSED, wallet=destination.name)
    if source.limits.bind_debits:
        usage = _usage(source, book.now)
        over = _over_limit(source, usage, movement.amount, book.now)
        if over is not None:
            return book.fail(movement, over.reason, **over.metadata)
    spendable = source.spendable
    if spendable is not None and spendable < movement.amount:
        return book.fail(
            movement,
            Reason.INSUFFICIENT_FUNDS,
            wallet=source.name,
            available=str(spendable),
            amount=str(movement.amount),
        )
    if source.balance - movement.amount < INT64_MIN:
        return book.fail(movement, Reason.BALANCE_OVERFLOW, wallet=source.name)
    if destination.balance + movement.amount > INT64_MAX:
        return book.fail(movement, Reason.BALANCE_OVERFLOW, wallet=destination.name)
    # From here on the movement must succeed.
    if source.limits.bind_debits:
        # Money that goes round can add up to more than int64 in a day. The count stops there: no limit is higher.
        day_amount = min(usage.day_amount + movement.amount, INT64_MAX)
        source.usage = Usage(usage.day, day_amount, usage.hour, usage.hour_count + 1)
    return book.post(movement, source, destination)


def _again(known: Transaction, movement: Movement) -> Answer:
    """The same request gets the stored answer, another one under the same id is refused."""
    if known.movement.fingerprint == movement.fingerprint:
        return Outcome(known, replayed=True)
    reused = {"request_id": movement.request_id, "transaction": f"transactions/{movement.id}"}
    return Refused(Failure(Reason.REQUEST_ID_REUSED, reused))


def _usage(account: Account, now: datetime) -> Usage:
    """What is used of the windows that are open now."""
    used, day, hour = account.usage, day_of(now, account.limits.time_zone), hour_of(now)
    return Usage(
        day,
        used.day_amount if used.day == day else 0,
        hour,
        used.hour_count if used.hour == hour else 0,
    )


def _over_limit(account: Account, usage: Usage, amount: int, now: datetime) -> Failure | None:
    limits = account.limits
    if limits.per_transaction and amount > limits.per_transaction:
        told = {"wallet": account.name, "limit": str(limits.per_transaction), "amount": str(amount)}
        return Failure(Reason.TRANSACTION_LIMIT_EXCEEDED, told)
    if limits.debits_per_hour and usage.hour_count >= limits.debits_per_hour:
        told = {"limit": str(limits.debits_per_hour), "used": str(usage.hour_count)}
        told["resets_at"] = hour_ends(now).isoformat()
        return Failure(Reason.HOURLY_COUNT_EXCEEDED, {"wallet": account.name, **told})
    if limits.per_day and usage.day_amount + amount > limits.per_day:
        told = {"limit": str(limits.per_day), "used": str(usage.day_amount), "amount": str(amount)}
        told["resets_at"] = day_ends(now, limits.time_zone).isoformat()
        return Failure(Reason.DAILY_LIMIT_EXCEEDED, {"wallet": account.name, **told})
    return None


def check_group(book: Book, before: Mapping[str, int]) -> None:
    """Asserts of the whole group, before it is written, what each step should have kept.

    The entries of every transaction sum to 0; every changed balance is the old one plus its entries. `before`: balances
    by account id.
    """
    per_transaction: dict[str, int] = {}
    per_account: dict[str, int] = {}
    for entry in book.entries:
        per_transaction[entry.transaction_id] = per_transaction.get(entry.transaction_id, 0) + entry.amount
        per_account[entry.account_id] = per_account.get(entry.account_id, 0) + entry.amount
    unbalanced = [name for name, total in per_transaction.items() if total]
    if unbalanced:
        raise InvariantViolation(f"transactions whose entries do not sum to 0: {unbalanced}")
    drifted = _drifted(book.changed.values(), before, per_account)
    if drifted:
        raise InvariantViolation(f"balances that are not the old one plus the entries: {drifted}")


def _drifted(accounts: Iterable[Account], before: Mapping[str, int], moved: Mapping[str, int]) -> list[str]:
    return [a.name for a in accounts if a.balance != before[a.id] + moved.get(a.id, 0)]
