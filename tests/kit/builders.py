"""The ledger's values for tests: a builder fills in what a test does not care about."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

from transaction_service.domain.account import Account, AccountKind, AccountState, Limits, cash, fees, system_account
from transaction_service.domain.book import Amounts, Book, Reversed
from transaction_service.domain.failure import Failure
from transaction_service.domain.hold import EXPIRY_PRINCIPAL, Hold
from transaction_service.domain.identity import account_id
from transaction_service.domain.movement import Answer, Movement, Outcome, Transaction, TransactionKind, movement
from transaction_service.domain.reversal import reversal_terms
from transaction_service.domain.terms import Fee, Posting, Terms

NOON = datetime(2026, 3, 4, 12, 30, 15, 250_000, tzinfo=UTC)
POSTED = "POSTED"
FEES = fees("USD")

_numbers = count(1)


def wallet(name: str) -> str:
    """`alice` is wallets/alice; names with a slash stay as they are, and no name is none."""
    return name if "/" in name or not name else f"wallets/{name}"


def account(name: str = "alice", balance: int = 0, *, credit: int = 0, **changed: Any) -> Account:  # noqa: ANN401
    """An open USD account of a user. `changed`: any of its fields."""
    limits = replace(changed.pop("limits", Limits()), credit=credit)
    values: dict[str, Any] = {
        "owner": f"owner of {name}",
        "currency": "USD",
        "kind": AccountKind.USER,
        "state": AccountState.OPEN,
        "floor": -credit,
        "limits": limits,
    }
    return Account(id=account_id(wallet(name)), name=wallet(name), balance=balance, **(values | changed))


def cash_account(currency: str = "USD", balance: int = 0) -> Account:
    """The outside world."""
    return _system(cash(currency), balance)


def fees_account(balance: int = 0) -> Account:
    """Where fees go that nobody else is paid."""
    return _system(FEES, balance)


def _system(name: str, balance: int) -> Account:
    return replace(system_account(name, account_id(name)), balance=balance)


def transfer(
    source: str = "alice",
    destination: str = "bob",
    amount: int = 10,
    request_id: str = "",
    **changed: Any,  # noqa: ANN401
) -> Movement:
    """A transfer in USD, each under a request id of its own. `changed`: any argument of `movement`."""
    values: dict[str, Any] = {
        "kind": TransactionKind.TRANSFER,
        "currency": "USD",
        "principal": "local",
        "request_id": request_id or f"request-{next(_numbers)}",
    }
    return movement(source=wallet(source), destination=wallet(destination), amount=amount, **(values | changed))


def deposit(destination: str = "alice", amount: int = 10, request_id: str = "", **changed: Any) -> Movement:  # noqa: ANN401
    """Through `provider` if it is given, else from cash."""
    provider, currency = changed.get("provider", ""), changed.get("currency", "USD")
    changed |= {"kind": TransactionKind.DEPOSIT}
    return transfer(provider or cash(currency), destination, amount, request_id, **changed)


def withdrawal(source: str = "alice", amount: int = 10, request_id: str = "", **changed: Any) -> Movement:  # noqa: ANN401
    """Through `provider` if it is given, else to cash."""
    provider, currency = changed.get("provider", ""), changed.get("currency", "USD")
    changed |= {"kind": TransactionKind.WITHDRAWAL}
    return transfer(source, provider or cash(currency), amount, request_id, **changed)


def fee(amount: int, destination: str = FEES, *, included: bool = False) -> Terms:
    """The terms of a movement with this fee."""
    return Terms(fee=Fee(amount, wallet(destination), included))


def compound(*postings: tuple[str, int] | tuple[str, int, str], request_id: str = "", **changed: Any) -> Movement:  # noqa: ANN401
    """Postings as account, amount and, unless it is USD, currency."""
    made = tuple(Posting(wallet(p[0]), p[1], p[2] if len(p) > 2 else "USD") for p in postings)
    values: dict[str, Any] = {"kind": TransactionKind.COMPOUND, "currency": "", "terms": Terms(postings=made)}
    return transfer("", "", 0, request_id, **(values | changed))


def placing(
    source: str = "alice",
    destination: str = "bob",
    amount: int = 10,
    request_id: str = "",
    *,
    ttl: timedelta | None = None,
    expire_time: datetime | None = None,
    **changed: Any,  # noqa: ANN401
) -> Movement:
    """Of a hold, whose id is the movement's."""
    microseconds = None if ttl is None else ttl // timedelta(microseconds=1)
    terms = Terms(expire_time=expire_time, ttl_microseconds=microseconds)
    changed |= {"kind": TransactionKind.HOLD, "terms": terms}
    return transfer(source, destination, amount, request_id, **changed)


def capture(
    placed: Movement,
    amount: int = 0,
    request_id: str = "",
    *,
    final: bool = False,
    **changed: Any,  # noqa: ANN401
) -> Movement:
    """Of the hold that was placed so; 0: of all that is left."""
    return _of_hold(TransactionKind.CAPTURE, placed, amount, request_id, {"terms": Terms(final=final)} | changed)


def release(placed: Movement, request_id: str = "", **changed: Any) -> Movement:  # noqa: ANN401
    """Of all that is left of the hold that was placed so."""
    return _of_hold(TransactionKind.RELEASE, placed, 0, request_id, changed)


def expiry(placed: Movement) -> Movement:
    """As the sweeper asks for it."""
    return _of_hold(TransactionKind.EXPIRY, placed, 0, placed.id, {"principal": EXPIRY_PRINCIPAL})


def _of_hold(
    kind: TransactionKind, placed: Movement, amount: int, request_id: str, changed: dict[str, Any]
) -> Movement:
    values: dict[str, Any] = {"kind": kind, "currency": placed.currency, "hold": placed.id}
    return transfer(placed.source, placed.destination, amount, request_id, **(values | changed))


def reversal(original: Movement, amount: int = 0, request_id: str = "", **changed: Any) -> Movement:  # noqa: ANN401
    """0: of all that is left."""
    values: dict[str, Any] = {
        "kind": TransactionKind.REVERSAL,
        "currency": original.currency,
        "reverses": original.id,
        "terms": reversal_terms(original),
    }
    return transfer(original.destination, original.source, amount, request_id, **(values | changed))


def book(
    accounts: Sequence[Account],
    known: Sequence[Transaction] = (),
    now: datetime = NOON,
    holds: Sequence[Hold] = (),
    gone_back: Mapping[str, Reversed] | None = None,
) -> Book:
    """As after the lock pass over these."""
    return Book(
        {a.name: a for a in accounts},
        {t.movement.id: t for t in known},
        now,
        {h.id: h for h in holds},
        dict(gone_back or {}),
    )


def amounts(accounts: Iterable[Account]) -> dict[str, Amounts]:
    """What they have, by name."""
    return {a.name: Amounts(a.balance, a.held) for a in accounts}


def code(answer: object) -> str:
    """POSTED, PENDING, the name of the reason, or the name of the exception."""
    if isinstance(answer, Outcome):
        failure = answer.transaction.failure
        return answer.transaction.state.name if failure is None else failure.reason.value
    failure = getattr(answer, "failure", None)
    return failure.reason.value if isinstance(failure, Failure) else type(answer).__name__


def told(answer: Answer) -> Mapping[str, str]:
    """The metadata of the failure in it."""
    failure = answer.transaction.failure if isinstance(answer, Outcome) else answer.failure
    assert failure is not None
    return failure.metadata
