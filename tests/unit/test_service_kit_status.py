"""Errors on their way out, and the contract that tells their codes and metadata."""

import re
from pathlib import Path
from string import Formatter

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status.rpc_status import to_status as to_grpc_status
from specie.type.v1 import ErrorReason

from service_kit.status import CODES, Refusal, Violation, invalid, invalid_fields, to_status
from transaction_service.domain.failure import Failure, Reason
from transaction_service.posting import queue
from transaction_service.rpc.errors import MESSAGES, check_currency, not_posted, to_refusal

CONTRACT = Path(__file__).parents[2] / "proto" / "specie" / "type" / "v1" / "error_reason.proto"
BESIDE_THE_MESSAGE = {"REQUEST_ID_REUSED": {"transaction"}, "NOT_REVERSIBLE": {"payout"}}
"""Where the metadata has a word more than the message, or has it in another message."""
TRAILERS_BYTES_MAX = 8 * 1024


def documented() -> dict[str, set[str]]:
    """The metadata that each reason's comment in the contract tells."""
    entries = re.findall(r"((?:  //[^\n]*\n)+)  ERROR_REASON_(\w+) = \d+", CONTRACT.read_text())
    found = {}
    for comment, reason in entries:
        words = " ".join(line.strip().removeprefix("//").strip() for line in comment.splitlines())
        found[reason] = set(re.findall(r"`(\w+)`", words.partition("Metadata:")[2]))
    return found


DOCUMENTED = documented()


@pytest.mark.parametrize("reason", [name.removeprefix("ERROR_REASON_") for name in list(ErrorReason.keys())[1:]])
def test_every_reason_of_the_contract_has_a_code_that_is_an_error(reason: str) -> None:
    assert reason in DOCUMENTED
    assert CODES[reason] is not grpc.StatusCode.OK
    assert to_status(Refusal(reason, "")).code == CODES[reason].value[0]


@pytest.mark.parametrize("reason", list(Reason))
def test_the_message_of_a_failure_is_made_of_the_metadata_that_the_contract_tells(reason: Reason) -> None:
    words = {word for _, word, _, _ in Formatter().parse(MESSAGES[reason]) if word is not None}
    assert words | BESIDE_THE_MESSAGE.get(reason, set()) == DOCUMENTED[reason]


def test_a_failure_tells_its_words_and_what_is_beside_them() -> None:
    refusal = to_refusal(Failure(Reason.SOURCE_FROZEN, {"wallet": "wallets/a{b}"}), {"replayed": "true"})
    assert (refusal.reason, refusal.metadata) == ("SOURCE_FROZEN", {"wallet": "wallets/a{b}", "replayed": "true"})
    assert "wallets/a{b}" in refusal.message


@pytest.mark.parametrize(
    ("error", "reason", "retry"),
    [
        (queue.QueueFull(), "OVERLOADED", True),
        (queue.QueueClosed(), "UNAVAILABLE", True),
        (queue.LedgerUnavailable(), "UNAVAILABLE", True),
        (queue.Contention(), "CONTENTION", False),
        (queue.Expired(), "DEADLINE_EXCEEDED", False),
    ],
)
def test_why_a_command_has_no_answer(error: Exception, reason: str, *, retry: bool) -> None:
    refusal = not_posted(error)
    assert isinstance(refusal, Refusal)
    assert refusal.reason == reason
    assert (refusal.retry_after_seconds is not None) is retry


def test_what_is_not_known_is_a_bug_and_stays_one() -> None:
    error = ValueError("inside")
    assert not_posted(error) is error


@pytest.mark.parametrize("code", ["USD", "JPY", "BHD", "CLF"])
def test_currencies_of_the_standard(code: str) -> None:
    check_currency(code)


@pytest.mark.parametrize("code", ["ZZZ", "usd", "", "US", "DEM"])
def test_other_currencies_are_refused(code: str) -> None:
    with pytest.raises(Refusal) as raised:
        check_currency(code)
    assert (raised.value.reason, raised.value.metadata) == ("UNKNOWN_CURRENCY", {"currency": code})


def test_a_refusal_with_everything_becomes_a_status_with_everything() -> None:
    violations = [Violation("amount", "rule.id", "is wrong")]
    status = to_status(Refusal("OVERLOADED", "full", {"a": "b"}, violations=violations, retry_after_seconds=1.5))
    info, bad, retry = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest(), error_details_pb2.RetryInfo()
    for detail, message in zip(status.details, (info, bad, retry), strict=True):
        assert detail.Unpack(message)
    assert (status.code, status.message) == (grpc.StatusCode.RESOURCE_EXHAUSTED.value[0], "full")
    assert (info.domain, info.reason, dict(info.metadata)) == ("specie", "OVERLOADED", {"a": "b"})
    (told,) = bad.field_violations
    assert (told.field, told.reason, told.description) == ("amount", "rule.id", "is wrong")
    assert retry.retry_delay.ToTimedelta().total_seconds() == 1.5


def test_a_refusal_without_more_is_an_error_info_alone() -> None:
    assert len(to_status(Refusal("CANCELLED", "gone")).details) == 1


def test_one_field_that_is_wrong() -> None:
    refusal = invalid("end_time", "timestamp", "is too late")
    assert (refusal.reason, refusal.message) == ("INVALID_FIELD", "end_time: is too late")
    assert refusal.metadata == {"fields": "end_time"}


def test_a_rule_over_the_whole_request_says_request() -> None:
    assert invalid("", "time_range", "is empty").message == "request: is empty"


@pytest.mark.parametrize(
    "violations",
    [
        [Violation(f'labels["\u00fc{number}"]', "rule", "does not match \u00fc" * 4) for number in range(1000)],
        [Violation('labels["' + "\U0001f600" * 10_000 + '"]', "string.pattern", "does not match")],
        [Violation("x", "rule", "d" * 100) for _ in range(10)],
    ],
)
def test_what_is_wrong_fits_into_the_trailers_of_a_call(violations: list[Violation]) -> None:
    refusal = invalid_fields(violations)
    rich = to_grpc_status(to_status(refusal))
    details = sum(len(value) for _, value in rich.trailing_metadata or ())
    percent_encoded = sum(1 if byte < 128 else 3 for byte in refusal.message.encode())
    assert details * 4 / 3 + percent_encoded < TRAILERS_BYTES_MAX
    assert refusal.violations


def test_what_does_not_fit_is_counted() -> None:
    refusal = invalid_fields([Violation(f"names[{number}]", "rule", "is no name") for number in range(1000)])
    told = len(refusal.violations)
    assert refusal.message.endswith(f"; and {1000 - told} more")
    assert refusal.metadata["fields"].split(",") == [f"names[{number}]" for number in range(told)]
    assert told > 10
