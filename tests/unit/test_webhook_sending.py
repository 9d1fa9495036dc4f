"""What is sent, how it is signed, and what answers mean."""

import json
from datetime import UTC, datetime, timedelta, timezone
from email.utils import format_datetime

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from transaction_service.webhooks.sending import (
    LAST_ERROR_LENGTH_MAX,
    Answer,
    body,
    headers,
    retry_after_seconds,
)

NEW, OLD, OTHER = (Webhook(bytes([number]) * 32) for number in (1, 2, 3))
NOON = datetime(2026, 3, 4, 12, 30, 15, 250_000, tzinfo=UTC)


def test_a_body_tells_type_time_and_data() -> None:
    time = NOON.astimezone(timezone(timedelta(hours=2)))
    told = json.loads(body("payout.paid", time, {"payout": {"name": "payouts/1"}}))
    assert told == {
        "type": "payout.paid",
        "timestamp": "2026-03-04T12:30:15.250000Z",
        "data": {"payout": {"name": "payouts/1"}},
    }


def test_each_secret_in_force_verifies_and_no_other() -> None:
    content, now = body("payout.paid", NOON, {"payout": {"name": "Zürich"}}), datetime.now(UTC)
    sent = headers([NEW, OLD], "evt_1", content, now)
    assert NEW.verify(content.encode(), sent) == OLD.verify(content.encode(), sent) == json.loads(content)
    with pytest.raises(WebhookVerificationError):
        OTHER.verify(content.encode(), sent)
    assert sent["webhook-id"] == "evt_1"
    assert int(sent["webhook-timestamp"]) == int(now.timestamp())


@pytest.mark.parametrize("status", [200, 201, 204, 299])
def test_2xx_takes_it(status: int) -> None:
    assert Answer(status).is_taken
    assert Answer(status).problem == ""


@pytest.mark.parametrize("status", [100, 199, 300, 301, 302, 307, 400, 404, 410, 429, 500, 503])
def test_nothing_else_does(status: int) -> None:
    assert not Answer(status).is_taken
    assert Answer(status).problem == f"it answered with status {status}"
    assert Answer(status).is_gone == (status == 410)


def test_what_is_no_answer_says_why_in_few_words() -> None:
    assert Answer(0, "no connection").problem == "no connection"
    assert len(Answer(0, "x" * 1000).problem) == LAST_ERROR_LENGTH_MAX


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("120", 120),
        ("0", 0),
        ("9" * 400, float("inf")),
        (format_datetime(NOON + timedelta(seconds=90)), 89.75),
        (format_datetime(NOON - timedelta(seconds=90)), 0),
        ("-5", 0),
        ("soon", 0),
        ("", 0),
        ("Wed, 99 Foo 2026 99:99:99 GMT", 0),
    ],
)
def test_a_receiver_may_ask_for_time(header: str, seconds: float) -> None:
    assert retry_after_seconds(header, NOON) == seconds
