"""Dates and months as people write them."""

import re
from datetime import UTC, datetime
from typing import Protocol
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import typer
from google.protobuf.timestamp_pb2 import Timestamp

DECEMBER = 12


class WithTimes(Protocol):
    """A request for what lies within a time range."""

    @property
    def start_time(self) -> Timestamp: ...
    @property
    def end_time(self) -> Timestamp: ...


def zone_of(name: str) -> ZoneInfo:
    """Raises typer.BadParameter."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        text = f"there is no time zone {name!r}; it has a name like Europe/Berlin"
        raise typer.BadParameter(text, param_hint="--time-zone") from None


def moment_of(text: str, zone: ZoneInfo, option: str) -> Timestamp:
    """`2026-11-01`, which is its beginning, or `2026-11-01T14:30:00`, in this zone unless it says its own, as
    `2026-11-01T14:30:00Z` does (ISO 8601). Raises typer.BadParameter."""
    try:
        time = datetime.fromisoformat(text)
        return _stamp(time if time.tzinfo is not None else time.replace(tzinfo=zone))
    except (ValueError, OverflowError):
        wanted = "a date like 2026-11-01 or a time like 2026-11-01T14:30:00Z"
        raise typer.BadParameter(f"{text!r} is not {wanted}", param_hint=option) from None


def bound(request: WithTimes, start: str | None, end: str | None, zone: ZoneInfo) -> None:
    """Puts what `--from` and `--to` say into the request. Raises typer.BadParameter."""
    if start is not None:
        request.start_time.CopyFrom(moment_of(start, zone, "--from"))
    if end is not None:
        request.end_time.CopyFrom(moment_of(end, zone, "--to"))
    if start is not None and end is not None and request.start_time.ToNanoseconds() >= request.end_time.ToNanoseconds():
        raise typer.BadParameter("must be after --from", param_hint="--to")


def month_of(text: str, zone: ZoneInfo) -> tuple[Timestamp, Timestamp]:
    """`2026-11`: when it begins in this zone, and when the next one does. Raises typer.BadParameter."""
    try:
        year, month = map(int, re.fullmatch(r"([0-9]{4})-([0-9]{2})", text).groups())  # type: ignore[union-attr] # caught
        following = (year + 1, 1) if month == DECEMBER else (year, month + 1)
        first, next_first = datetime(year, month, 1, tzinfo=zone), datetime(*following, 1, tzinfo=zone)
        return _stamp(first), _stamp(next_first)
    except (ValueError, OverflowError, AttributeError):
        raise typer.BadParameter(f"{text!r} is not a month like 2026-11", param_hint="--month") from None


def _stamp(time: datetime) -> Timestamp:
    stamp = Timestamp()
    stamp.FromDatetime(time.astimezone(UTC))
    return stamp
