"""What is sent and how it is signed (Standard Webhooks), and what an answer means."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final, NamedTuple

import orjson
from standardwebhooks import Webhook

from service_kit.version import VERSION

USER_AGENT: Final = f"Specie/{VERSION}"
GONE: Final = 410
"""Standard Webhooks: the receiver wants nothing more."""
LAST_ERROR_LENGTH_MAX: Final = 200


class Answer(NamedTuple):
    """`status`: of HTTP; 0: there was none, and `error` says why, for people. `retry_after`: seconds; 0: no wish."""

    status: int
    error: str = ""
    retry_after: float = 0.0

    @property
    def is_taken(self) -> bool:
        """A redirect is none: to follow it would be to send to where nobody has asked us to."""
        return 200 <= self.status < 300  # noqa: PLR2004 - RFC 9110, 15.3

    @property
    def is_gone(self) -> bool:
        return self.status == GONE

    @property
    def problem(self) -> str:
        """For people; empty: it was taken."""
        if self.is_taken:
            return ""
        return (self.error or f"it answered with status {self.status}")[:LAST_ERROR_LENGTH_MAX]


def body(event_type: str, time: datetime, data: Mapping[str, Any]) -> str:
    """JSON; the same for every endpoint and attempt as long as what it tells of is the same."""
    stamp = time.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    return orjson.dumps({"type": event_type, "timestamp": stamp, "data": data}).decode()


def headers(signers: Sequence[Webhook], event_id: str, content: str, now: datetime) -> dict[str, str]:
    """Of one attempt. One signature for each secret that is in force."""
    return {
        "content-type": "application/json",
        "user-agent": USER_AGENT,
        "webhook-id": event_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": " ".join(signer.sign(event_id, now, content) for signer in signers),
    }


def retry_after_seconds(header: str, now: datetime) -> float:
    """A Retry-After header, as seconds or as a date (RFC 9110, 10.2.3); 0 where it says nothing of use."""
    if header.isascii() and header.isdigit():
        return float(header)
    try:
        return max(0.0, (parsedate_to_datetime(header).astimezone(UTC) - now).total_seconds())
    except (ValueError, OverflowError):
        return 0.0
