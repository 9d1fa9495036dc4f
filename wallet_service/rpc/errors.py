"""The one table from the domain's failures to what callers read. The gRPC codes stand in the contract."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from service_kit.status import Refusal, invalid
from wallet_service.domain.failure import Declined, Failure, InvariantViolation, Reason

MESSAGES: Final = {
    Reason.UNKNOWN_CURRENCY: "ISO 4217 has no currency {currency} that money is counted in",
    Reason.UNKNOWN_TIME_ZONE: "the IANA database has no time zone {time_zone}",
    Reason.IMMUTABLE_FIELD: "{field} cannot be changed",
    Reason.REQUEST_ID_REUSED: "request id {request_id} was used before for another request",
    Reason.WALLET_ALREADY_EXISTS: "{wallet} exists already",
    Reason.WALLET_NOT_FOUND: "{wallet} does not exist",
    Reason.WALLET_NOT_EMPTY: "{wallet} has {posted} posted and {held} held; both must be 0 to close it",
    Reason.PAYOUTS_UNDER_WAY: "{wallet} has {payouts} payouts whose money may come back; close it when they have ended",
    Reason.WALLET_STATE: "{wallet} is {state}, which does not allow this call",
    Reason.FLOOR_ABOVE_BALANCE: "{wallet} has {available} available, which is below a floor of -{credit}",
    Reason.ETAG_MISMATCH: "{wallet} has changed since etag {etag} was read; read it again",
    Reason.PERMISSION_DENIED: "{field}: only a trusted caller {act}; its token has the scope admin or service",
}


def to_refusal(failure: Failure) -> Refusal:
    """Raises InvariantViolation for a reason that no caller of this service is to see."""
    if failure.reason is Reason.INVALID_FIELD:
        return invalid(**{key: failure.metadata[key] for key in ("field", "rule", "description")})
    message = MESSAGES.get(failure.reason)
    if message is None:
        raise InvariantViolation(f"{failure.reason} would reach a caller: {dict(failure.metadata)}")
    return Refusal(failure.reason, message.format_map(failure.metadata), failure.metadata)


@contextmanager
def failures_as_refusals() -> Iterator[None]:
    """Around every use case."""
    try:
        yield
    except Declined as declined:
        raise to_refusal(declined.failure) from None
