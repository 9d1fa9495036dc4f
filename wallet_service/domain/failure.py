"""Why something that a user asked for did not happen: values of one enum. A bug raises InvariantViolation."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Reason(StrEnum):
    """The names are those of the contract's ErrorReason."""

    INVALID_FIELD = "INVALID_FIELD"
    UNKNOWN_CURRENCY = "UNKNOWN_CURRENCY"
    UNKNOWN_TIME_ZONE = "UNKNOWN_TIME_ZONE"
    IMMUTABLE_FIELD = "IMMUTABLE_FIELD"
    REQUEST_ID_REUSED = "REQUEST_ID_REUSED"
    WALLET_ALREADY_EXISTS = "WALLET_ALREADY_EXISTS"
    WALLET_NOT_FOUND = "WALLET_NOT_FOUND"
    WALLET_NOT_EMPTY = "WALLET_NOT_EMPTY"
    PAYOUTS_UNDER_WAY = "PAYOUTS_UNDER_WAY"
    WALLET_STATE = "WALLET_STATE"
    FLOOR_ABOVE_BALANCE = "FLOOR_ABOVE_BALANCE"
    ETAG_MISMATCH = "ETAG_MISMATCH"
    PERMISSION_DENIED = "PERMISSION_DENIED"

    # What only the account behind a wallet answers; a caller never sees these.
    ACCOUNT_ALREADY_EXISTS = "ACCOUNT_ALREADY_EXISTS"
    ACCOUNT_NOT_FOUND = "ACCOUNT_NOT_FOUND"
    STALE_REVISION = "STALE_REVISION"


@dataclass(frozen=True, slots=True)
class Failure:
    """The reason, and every changing word of its message. INVALID_FIELD has `field`, `rule` and `description`."""

    reason: Reason
    metadata: Mapping[str, str] = field(default_factory=dict)


class Declined(Exception):  # noqa: N818 - an answer, not a fault
    """Carries a failure out of a use case, or out of the account's answer to one."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.reason)
        self.failure = failure


class InvariantViolation(Exception):  # noqa: N818 - the word the field uses
    """A rule that must always hold does not: a bug, or two databases that do not belong together."""
