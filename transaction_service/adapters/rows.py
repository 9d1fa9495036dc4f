"""Rows to domain values, in the column orders of statements.py."""

from collections.abc import Mapping, Sequence
from typing import Any

from transaction_service.domain.account import (
    NO_LIMITS,
    NOTHING_USED,
    SYSTEM_PREFIX,
    Account,
    AccountKind,
    AccountState,
    Limits,
    Usage,
)
from transaction_service.domain.failure import Failure, Reason
from transaction_service.domain.hold import Hold, HoldState
from transaction_service.domain.movement import Movement, Transaction, TransactionKind, TransactionState
from transaction_service.domain.terms import read

KINDS: Mapping[int, AccountKind] = {kind.value: kind for kind in AccountKind}
STATES: Mapping[int, AccountState] = {state.value: state for state in AccountState}

_NO_LIMITS_ROW = (0, 0, 0, "UTC", 0, 0, 0, 0)


def to_account(row: Sequence[Any]) -> Account:
    """A row of ACCOUNT_COLUMNS."""
    (id_, name, owner, currency, kind, state, balance, held, floor, version, revision) = row[:11]
    limits, usage = NO_LIMITS, NOTHING_USED
    if row[11:19] != _NO_LIMITS_ROW or floor:
        limits = Limits(row[11], row[12], row[13], row[14], -(floor or 0))
        usage = Usage(*row[15:19])
    return Account(
        id_, name, owner, currency, KINDS[kind], STATES[state], balance, held, floor, version, revision, limits, usage
    )


def to_transaction(row: Sequence[Any]) -> Transaction:
    """A row of TRANSACTION_COLUMNS."""
    (id_, kind_number, state, source, destination, amount, currency, description, external_reference) = row[:9]
    (labels, principal, request_id, trace_id, fingerprint, reason, failure_metadata, create_time, decide_time) = row[
        9:18
    ]
    terms, hold, reverses = row[18:21]
    kind = TransactionKind(kind_number)
    movement = Movement(
        id_,
        fingerprint,
        kind,
        source,
        destination,
        amount,
        currency,
        _provider(kind, source, destination),
        description,
        external_reference,
        labels,
        principal,
        request_id,
        trace_id,
        read(terms),
        hold or "",
        reverses or "",
    )
    failure = Failure(Reason(reason), failure_metadata) if reason else None
    return Transaction(movement, TransactionState(state), create_time, decide_time, failure)


def to_hold(row: Sequence[Any]) -> Hold:
    """A row of HOLD_COLUMNS."""
    return Hold(row[0], HoldState(row[1]), *row[2:13])


def _provider(kind: TransactionKind, source: str, destination: str) -> str:
    """The outer side of a deposit or withdrawal, unless it is the outside world itself."""
    outer = {TransactionKind.DEPOSIT: source, TransactionKind.WITHDRAWAL: destination}.get(kind, SYSTEM_PREFIX)
    return "" if outer.startswith(SYSTEM_PREFIX) else outer
