"""The ledger's values for tests: a builder fills in what a test does not care about."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from itertools import count
from typing import Any

from transaction_service.domain.account import Account, AccountKind, AccountState, Limits, cash, system_account
from transaction_service.domain.failure import Failure
from transaction_service.domain.identity import account_id
from transaction_service.domain.ledger import Book
from transaction_service.domain.movement import Answer, Movement, Outcome, Transaction, TransactionKind, movement

NOON = datetime(2026, 3, 4, 12, 30, 15, 250_000, tzinfo=UTC)
POSTED = "POSTED"

_numbers = count(1)


def wallet(name: str) -> str:
    """`alice` is wallets/alice; names with a slash stay as they are."""
    return name if "/" in name else f"wallets/{name}"


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
    name = cash(currency)
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


def book(accounts: Sequence[Account], known: Sequence[Transaction] = (), now: datetime = NOON) -> Book:
    """As after the lock pass over these."""
    return Book({a.name: a for a in accounts}, {t.movement.id: t for t in known}, now)


def code(answer: object) -> str:
    """POSTED, the name of the reason, or the name of the exception."""
    if isinstance(answer, Outcome):
        failure = answer.transaction.failure
        return POSTED if failure is None else failure.reason.value
    failure = getattr(answer, "failure", None)
    return failure.reason.value if isinstance(failure, Failure) else type(answer).__name__


def told(answer: Answer) -> Mapping[str, str]:
    """The metadata of the failure in it."""
    failure = answer.transaction.failure if isinstance(answer, Outcome) else answer.failure
    assert failure is not None
    return failure.metadata
