"""What stands against postings, in the order of precedence of `Reason`: the part that all commands share."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

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
from transaction_service.domain.book import Book
from transaction_service.domain.failure import Failure, Reason
from transaction_service.domain.movement import Movement, postings_of
from transaction_service.domain.terms import PLAIN, Posting
from transaction_service.domain.visibility import is_foreign

PRECEDENCE: Final = {reason: place for place, reason in enumerate(Reason)}
Net = Mapping[str, int]
"""What all postings together do to each account, by name."""


def net_of(postings: Sequence[Posting]) -> Net:
    """An account that pays and is paid is judged by the sum."""
    net: dict[str, int] = {}
    for name, amount, _ in postings:
        net[name] = net.get(name, 0) + amount
    return net


def obstacle(
    book: Book, movement: Movement, postings: Sequence[Posting], net: Net, bound_to: str, *, limited: bool = True
) -> Failure | None:
    """The first reason against them, debits before credits. `bound_to`: the owner to whose wallets the caller is bound;
    empty: to nobody's. `limited`: the limits of those who pay bind."""
    failure = missing(book, movement, postings, bound_to) or _standing(book, movement, postings)
    if failure is not None:
        return failure
    accounts, terms = book.accounts, movement.terms
    if terms.expected_version is not None:
        source = accounts[movement.source]
        if source.version != terms.expected_version:
            told = {"version": str(source.version), "expected_version": str(terms.expected_version)}
            return Failure(Reason.VERSION_MISMATCH, {"wallet": source.name, **told})
    over: Failure | None = None
    for name, total in net.items():
        account = accounts[name]
        if total < 0 and limited and account.limits.bind_debits:
            over = _first(over, _over_limit(account, -total, book.now))
    if over is not None:
        return over
    return _unaffordable(book, movement, net) or _overflow(book, postings, net)


def missing(book: Book, movement: Movement, postings: Sequence[Posting], bound_to: str) -> Failure | None:
    """The first account that is not there, for this caller."""
    for name, amount, _ in postings:
        account = book.accounts.get(name)
        if account is None or (bound_to and is_foreign(account, amount, movement.kind, bound_to)):
            reason = Reason.SOURCE_NOT_FOUND if amount < 0 else Reason.DESTINATION_NOT_FOUND
            return Failure(reason, {"wallet": name})
    return None


def not_its_own(book: Book, movement: Movement, bound_to: str) -> Failure | None:
    """The first debit of an account that is not there for a caller who is bound; of who is not, nothing is asked."""
    if not bound_to:
        return None
    return missing(book, movement, [posting for posting in postings_of(movement) if posting.amount < 0], bound_to)


def _standing(book: Book, movement: Movement, postings: Sequence[Posting]) -> Failure | None:
    """Whether the accounts are of the right kind and currency, and may pay and be paid."""
    accounts = book.accounts
    if movement.provider and accounts[movement.provider].kind is not AccountKind.PROVIDER:
        return Failure(Reason.NOT_A_PROVIDER, {"wallet": movement.provider})
    for name, _, currency in postings:
        account = accounts[name]
        if account.currency != currency:
            told = {"wallet": name, "wallet_currency": account.currency, "currency": currency}
            return Failure(Reason.CURRENCY_MISMATCH, told)
    shut: Failure | None = None
    for name, amount, _ in postings:
        state = accounts[name].state
        if state is AccountState.CLOSED:
            reason = Reason.SOURCE_CLOSED if amount < 0 else Reason.DESTINATION_CLOSED
            shut = _first(shut, Failure(reason, {"wallet": name}))
        elif state is AccountState.FROZEN and amount < 0:
            shut = _first(shut, Failure(Reason.SOURCE_FROZEN, {"wallet": name}))
    return shut


def _first(one: Failure | None, other: Failure | None) -> Failure | None:
    """Of two accounts' failures the one whose reason is looked for first; of equal reasons the first account's."""
    if one is None or other is None:
        return one or other
    return other if PRECEDENCE[other.reason] < PRECEDENCE[one.reason] else one


def _unaffordable(book: Book, movement: Movement, net: Net) -> Failure | None:
    """Whether those who pay have it, above their floors and what is to be left."""
    accounts, terms = book.accounts, movement.terms
    for name, total in net.items():
        spendable = accounts[name].spendable
        if total < 0 and spendable is not None and spendable < -total:
            return Failure(
                Reason.INSUFFICIENT_FUNDS, {"wallet": name, "available": str(spendable), "amount": str(-total)}
            )
    if terms is not PLAIN and terms.minimum_after is not None:
        left = accounts[movement.source].available + net[movement.source]
        if left < terms.minimum_after:
            told = {"available": str(left), "minimum": str(terms.minimum_after)}
            return Failure(Reason.BALANCE_BELOW_MINIMUM, {"wallet": movement.source, **told})
    return None


def _overflow(book: Book, postings: Sequence[Posting], net: Net) -> Failure | None:
    for name, total in net.items():
        if not INT64_MIN <= book.accounts[name].balance + total <= INT64_MAX:
            return Failure(Reason.BALANCE_OVERFLOW, {"wallet": name})
    if len(net) < len(postings):
        # An account with several postings: what comes in is entered before what goes out.
        for name, total in net_of([posting for posting in postings if posting.amount > 0]).items():
            if book.accounts[name].balance + total > INT64_MAX:
                return Failure(Reason.BALANCE_OVERFLOW, {"wallet": name})
    return None


def use_limits(book: Book, net: Net) -> None:
    """Counts what was paid against the limits of those who have some."""
    for name, total in net.items():
        account = book.accounts[name]
        if total < 0 and account.limits.bind_debits:
            usage = _usage(account, book.now)
            # Money that goes round can add up to more than int64 in a day. The count stops there: no limit is higher.
            day_amount = min(usage.day_amount - total, INT64_MAX)
            account.usage = Usage(usage.day, day_amount, usage.hour, usage.hour_count + 1)


def _usage(account: Account, now: datetime) -> Usage:
    """What is used of the windows that are open now."""
    used, day, hour = account.usage, day_of(now, account.limits.time_zone), hour_of(now)
    return Usage(
        day,
        used.day_amount if used.day == day else 0,
        hour,
        used.hour_count if used.hour == hour else 0,
    )


def _over_limit(account: Account, amount: int, now: datetime) -> Failure | None:
    limits, usage = account.limits, _usage(account, now)
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
