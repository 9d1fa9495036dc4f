"""Errors on their way out: a refusal with its reason becomes a google.rpc.Status.

The gRPC code of a reason stands in the contract (specie.type.v1.ErrorReason), so there is no table of it here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2, status_pb2
from specie.type.v1 import ErrorReason
from specie.type.v1 import error_reason_pb2 as contract

DOMAIN: Final = "specie"
PREFIX: Final = "ERROR_REASON_"
VIOLATIONS_BYTES_MAX: Final = 800
"""Each stands three times in a Status, which travels in base64 in the trailers, beside the message in percent code; and
a client refuses a call whose trailers are above 8 KiB (gRPC's default)."""
FIELD_LENGTH_MAX: Final = 100
RETRY_AFTER_SECONDS: Final = 1.0
"""What RetryInfo proposes to a caller that meets a service with too much to do, or one that stops."""


@dataclass(frozen=True, slots=True)
class Violation:
    """One field that breaks a rule: its path in the request, the rule's id and what is wrong."""

    field: str
    rule: str
    description: str


class Refusal(Exception):  # noqa: N818 - a refusal is an answer, not a fault
    """A call is answered with an error. `reason` is a name of ErrorReason without its prefix."""

    def __init__(
        self,
        reason: str,
        message: str,
        metadata: Mapping[str, str] | None = None,
        *,
        violations: Sequence[Violation] = (),
        retry_after_seconds: float | None = None,
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.metadata = dict(metadata or {})
        self.violations = tuple(violations)
        self.retry_after_seconds = retry_after_seconds


def invalid(field: str, rule: str, description: str) -> Refusal:
    """The refusal of a request whose one field breaks a rule that the contract's own rules cannot express."""
    return invalid_fields([Violation(field, rule, description)])


def invalid_fields(violations: Sequence[Violation]) -> Refusal:
    told = _as_many_as_fit(violations)
    listed = [f"{v.field or 'request'}: {v.description}" for v in told]
    if len(told) < len(violations):
        listed.append(f"and {len(violations) - len(told)} more")
    return Refusal("INVALID_FIELD", "; ".join(listed), {"fields": ",".join(v.field for v in told)}, violations=told)


def within(path: str, refusal: Refusal) -> Refusal:
    """The refusal of a part of a request, as one of the whole: its fields are below this path."""
    if not refusal.violations:
        return refusal
    return invalid_fields([replace(v, field=f"{path}.{v.field}" if v.field else path) for v in refusal.violations])


def internal(trace_id: str) -> Refusal:
    """What a caller is told of a bug, which is in the log under the trace id."""
    return Refusal("INTERNAL", f"an internal error, logged under trace id {trace_id}", {"trace_id": trace_id})


def late() -> Refusal:
    """What a caller is told whose time is up."""
    return Refusal(
        "DEADLINE_EXCEEDED",
        "the call's time was up; if it was to move money, the same request id tells what became of it",
    )


def _as_many_as_fit(violations: Sequence[Violation]) -> list[Violation]:
    """The first always, its field cut if need be: the field can be a label's key, of any length."""
    told: list[Violation] = []
    left = VIOLATIONS_BYTES_MAX
    for violation in violations:
        left -= len(violation.field.encode()) + len(violation.description.encode())
        if left < 0 and told:
            break
        told.append(violation if left >= 0 else _cut(violation))
    return told


def _cut(violation: Violation) -> Violation:
    return replace(violation, field=_short(violation.field), description=_short(violation.description))


def _short(text: str) -> str:
    return text if len(text) <= FIELD_LENGTH_MAX else text[:FIELD_LENGTH_MAX] + "..."


def _codes() -> dict[str, grpc.StatusCode]:
    by_number = {code.value[0]: code for code in grpc.StatusCode}
    return {
        value.name.removeprefix(PREFIX): by_number[value.GetOptions().Extensions[contract.code]]
        for value in ErrorReason.DESCRIPTOR.values
        if value.number != 0
    }


CODES: Final[Mapping[str, grpc.StatusCode]] = _codes()
"""The gRPC code of each reason."""


def to_status(refusal: Refusal) -> status_pb2.Status:
    """The refusal as the caller sees it."""
    status = status_pb2.Status(code=CODES[refusal.reason].value[0], message=refusal.message)
    info = error_details_pb2.ErrorInfo(reason=refusal.reason, domain=DOMAIN, metadata=refusal.metadata)
    _pack(status, info)
    if refusal.violations:
        bad = error_details_pb2.BadRequest()
        for violation in refusal.violations:
            bad.field_violations.add(field=violation.field, description=violation.description, reason=violation.rule)
        _pack(status, bad)
    if refusal.retry_after_seconds is not None:
        delay = Duration()
        delay.FromMilliseconds(int(refusal.retry_after_seconds * 1000))
        _pack(status, error_details_pb2.RetryInfo(retry_delay=delay))
    return status


def _pack(
    status: status_pb2.Status,
    detail: error_details_pb2.ErrorInfo | error_details_pb2.BadRequest | error_details_pb2.RetryInfo,
) -> None:
    packed = AnyMessage()
    packed.Pack(detail)
    status.details.append(packed)
