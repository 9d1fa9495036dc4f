"""Times of requests, as the services count them: in whole microseconds."""

from datetime import UTC, datetime, timedelta
from typing import Any, Final

from service_kit.status import invalid

NANOSECONDS_PER_MICROSECOND: Final = 1000
_LATEST: Final = datetime.max.replace(tzinfo=UTC)


def to_time(request: Any, field: str) -> datetime:  # noqa: ANN401 - any request
    """A Timestamp of a request, cut to whole microseconds: what is at or before it is at or before its last whole one.
    Raises Refusal INVALID_FIELD."""
    try:
        time: datetime = getattr(request, field).ToDatetime(UTC)
    except (ValueError, OverflowError):
        raise invalid(field, "timestamp", "must lie between the years 1 and 9999, with nanos below 10^9") from None
    return time


def to_bound(request: Any, field: str) -> datetime | None:  # noqa: ANN401 - as above
    """An end of a time range, in whole microseconds as the ledger's own times: what is at or after a bound between two
    of them is at or after the later one. None: it is absent. Raises as `to_time`."""
    if not request.HasField(field):
        return None
    time = to_time(request, field)
    if getattr(request, field).nanos % NANOSECONDS_PER_MICROSECOND and time < _LATEST:
        return time + timedelta(microseconds=1)
    return time
