"""Why something that a user asked for did not happen: values, not exceptions. A bug raises InvariantViolation."""

from dataclasses import dataclass
from enum import StrEnum


class Reason(StrEnum):
    """The names are those of the contract's ErrorReason. Those that posting looks for stand in their order of
    precedence: the first that holds is the answer."""

    SAME_WALLET = "SAME_WALLET"
    REQUEST_ID_REUSED = "REQUEST_ID_REUSED"
    TRANSFER_CANCELLED = "TRANSFER_CANCELLED"
    TRANSACTION_NOT_FOUND = "TRANSACTION_NOT_FOUND"
    NOT_REVERSIBLE = "NOT_REVERSIBLE"
    TRANSACTION_NOT_POSTED = "TRANSACTION_NOT_POSTED"
    NOT_DIVISIBLE = "NOT_DIVISIBLE"
    EXPIRE_TIME_PASSED = "EXPIRE_TIME_PASSED"
    HOLD_NOT_FOUND = "HOLD_NOT_FOUND"
    HOLD_CAPTURED = "HOLD_CAPTURED"
    HOLD_RELEASED = "HOLD_RELEASED"
    HOLD_EXPIRED = "HOLD_EXPIRED"
    SOURCE_NOT_FOUND = "SOURCE_NOT_FOUND"
    DESTINATION_NOT_FOUND = "DESTINATION_NOT_FOUND"
    NOT_A_PROVIDER = "NOT_A_PROVIDER"
    CURRENCY_MISMATCH = "CURRENCY_MISMATCH"
    ALREADY_REVERSED = "ALREADY_REVERSED"
    REVERSAL_ABOVE_ORIGINAL = "REVERSAL_ABOVE_ORIGINAL"
    CAPTURE_ABOVE_HOLD = "CAPTURE_ABOVE_HOLD"
    SOURCE_CLOSED = "SOURCE_CLOSED"
    SOURCE_FROZEN = "SOURCE_FROZEN"
    DESTINATION_CLOSED = "DESTINATION_CLOSED"
    VERSION_MISMATCH = "VERSION_MISMATCH"
    TRANSACTION_LIMIT_EXCEEDED = "TRANSACTION_LIMIT_EXCEEDED"
    HOURLY_COUNT_EXCEEDED = "HOURLY_COUNT_EXCEEDED"
    DAILY_LIMIT_EXCEEDED = "DAILY_LIMIT_EXCEEDED"
    INSUFFICIENT_FUNDS = "INSUFFICIENT_FUNDS"
    BALANCE_BELOW_MINIMUM = "BALANCE_BELOW_MINIMUM"
    BALANCE_OVERFLOW = "BALANCE_OVERFLOW"
    BATCH_STOPPED = "BATCH_STOPPED"

    ACCOUNT_NOT_FOUND = "ACCOUNT_NOT_FOUND"
    ACCOUNT_ALREADY_EXISTS = "ACCOUNT_ALREADY_EXISTS"
    STALE_REVISION = "STALE_REVISION"
    WALLET_STATE = "WALLET_STATE"
    WALLET_NOT_EMPTY = "WALLET_NOT_EMPTY"
    FLOOR_ABOVE_BALANCE = "FLOOR_ABOVE_BALANCE"


@dataclass(frozen=True, slots=True)
class Failure:
    """The reason, and every changing word of its message."""

    reason: Reason
    metadata: dict[str, str]


class InvariantViolation(Exception):  # noqa: N818 - the word the field uses
    """A rule that must always hold does not: a bug. Nothing of the group may be written."""
