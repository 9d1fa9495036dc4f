"""What callers read of the domain's failures."""

import pytest

from service_kit.status import CODES
from wallet_service.domain.failure import Declined, Failure, InvariantViolation, Reason
from wallet_service.rpc import errors

WORDS = (
    "wallet",
    "state",
    "currency",
    "time_zone",
    "field",
    "request_id",
    "posted",
    "held",
    "available",
    "credit",
    "payouts",
)
EVERY_WORD = {word: f"<{word}>" for word in (*WORDS, "etag", "rule", "description", "act")}
NEVER_SEEN = {Reason.ACCOUNT_ALREADY_EXISTS, Reason.ACCOUNT_NOT_FOUND, Reason.STALE_REVISION}


@pytest.mark.parametrize("reason", list(Reason))
def test_every_reason_stands_in_the_contract(reason: Reason) -> None:
    assert reason in CODES


@pytest.mark.parametrize("reason", sorted(set(Reason) - NEVER_SEEN))
def test_every_failure_has_a_message_of_its_metadata(reason: Reason) -> None:
    refusal = errors.to_refusal(Failure(reason, EVERY_WORD))
    assert refusal.reason == reason
    assert "<" in refusal.message


def test_an_invalid_field_is_named() -> None:
    refusal = errors.to_refusal(Failure(Reason.INVALID_FIELD, EVERY_WORD))
    assert [(v.field, v.rule, v.description) for v in refusal.violations] == [("<field>", "<rule>", "<description>")]


@pytest.mark.parametrize("reason", sorted(NEVER_SEEN))
def test_an_account_s_inner_reasons_are_a_bug_when_they_would_get_out(reason: Reason) -> None:
    with pytest.raises(InvariantViolation), errors.failures_as_refusals():
        raise Declined(Failure(reason))
