"""Why something that a user asked for did not happen: values, not exceptions. A bug raises InvariantViolation."""

from dataclasses import dataclass
from enum import StrEnum


class Reason(StrEnum):
    """The names are those of the contract's ErrorReason. Those that posting looks for stand in their order of
    precedence: the first that holds is the answer."""

    SAME_WALLET = "SAME_WALLET"
    REQUEST_ID_REUSED = "REQUEST_ID_REUSED"
    SOURCE_NOT_FOUND = "SOURCE_NOT_FOUND"
    DESTINATION_NOT_FOUND = "DESTINATION_NOT_FOUND"
    NOT_A_PROVIDER = "NOT_A_PROVIDER"
    CURRENCY_MISMATCH = "CURRENCY_MISMATCH"
    SOURCE_CLOSED = "SOURCE_CLOSED"
    SOURCE_FROZEN = "SOURCE_FROZEN"
    DESTINATION_CLOSED = "DESTINATION_CLOSED"
    TRANSACTION_LIMIT_EXCEEDED = "TRANSACTION_LIMIT_EXCEEDED"
    HOURLY_COUNT_EXCEEDED = "HOURLY_COUNT_EXCEEDED"
    DAILY_LIMIT_EXCEEDED = "DAILY_LIMIT_EXCEEDED"
    INSUFFICIENT_FUNDS = "INSUFFICIENT_FUNDS"
    BALANCE_OVERFLOW = "BALANCE_OVERFLOW"

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
