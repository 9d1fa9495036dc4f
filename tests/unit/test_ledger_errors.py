"""What callers read of the ledger's failures."""

from string import Formatter

import pytest

from service_kit.status import CODES
from tests.kit.builders import NOON, transfer
from transaction_service.domain.failure import Failure, Reason
from transaction_service.domain.movement import Outcome, Transaction, TransactionState
from transaction_service.posting.queue import Contention, Expired, LedgerUnavailable, QueueClosed, QueueFull
from transaction_service.rpc.errors import MESSAGES, not_posted, to_refusal
from transaction_service.rpc.poster import refused, succeeded


def words_of(reason: Reason) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(MESSAGES[reason]) if name}


@pytest.mark.parametrize("reason", list(Reason))
def test_every_reason_has_a_code_and_a_message_of_its_metadata(reason: Reason) -> None:
    assert reason in CODES
    metadata = {word: f"<{word}>" for word in words_of(reason)}
    refusal = to_refusal(Failure(reason, metadata), {"transaction": "transactions/x"})
    assert refusal.reason == reason
    assert all(value in refusal.message for value in metadata.values())
    assert metadata
    assert refusal.metadata == metadata | {"transaction": "transactions/x"}


def test_what_is_stored_as_failed_is_never_an_invalid_argument() -> None:
    """Callers must be able to tell: INVALID_ARGUMENT leaves no trace."""
    no_trace = {Reason.SAME_WALLET, Reason.EXPIRE_TIME_PASSED}
    assert {reason for reason in Reason if CODES[reason].name == "INVALID_ARGUMENT"} == no_trace


@pytest.mark.parametrize(
    ("error", "reason", "retried"),
    [
        (QueueFull(), "OVERLOADED", True),
        (QueueClosed(), "UNAVAILABLE", True),
        (LedgerUnavailable(), "UNAVAILABLE", True),
        (Contention(), "CONTENTION", False),
        (Expired(), "DEADLINE_EXCEEDED", False),
    ],
)
def test_what_was_not_posted_tells_why(error: Exception, reason: str, *, retried: bool) -> None:
    refusal = not_posted(error)
    assert (getattr(refusal, "reason", ""), getattr(refusal, "retry_after_seconds", None)) == (
        reason,
        1.0 if retried else None,
    )


def test_a_bug_stays_what_it_is() -> None:
    bug = ZeroDivisionError()
    assert refused(bug) is bug
    with pytest.raises(ZeroDivisionError):
        succeeded(bug)


def test_a_success_is_no_refusal() -> None:
    outcome = Outcome(Transaction(transfer(), TransactionState.POSTED, NOON, NOON), replayed=False)
    assert succeeded(outcome) is outcome
    with pytest.raises(ValueError, match="has not failed"):
        refused(outcome)


def test_a_withdrawal_with_a_payout_is_told_apart_from_what_is_never_reversed() -> None:
    metadata = {"reverses": "transactions/x", "kind": "WITHDRAWAL", "payout": "payouts/x"}
    refusal = to_refusal(Failure(Reason.NOT_REVERSIBLE, metadata))
    assert refusal.message == "transactions/x is paid out by payouts/x, and given back by that alone, if it is refused"
