"""What is told of a payout that was not paid: why, and whether its provider is called again."""

from datetime import UTC, datetime

import pytest

from transaction_service.payouts.payout import NOT_GIVEN_BACK, Payout, PayoutState
from transaction_service.rpc.convert import payout_message

NOW = datetime(2026, 11, 21, tzinfo=UTC)
UNREACHABLE = "UNAVAILABLE: failed to connect to all addresses; last error: ipv4:10.0.0.7:50091"
REFUSED = "the account is closed"
STUCK = f"{REFUSED}{NOT_GIVEN_BACK}SOURCE_FROZEN (wallet wallets/bank)"


def payout(
    state: PayoutState, reversal_attempts: int = 0, last_error: str = "", next_time: datetime | None = None
) -> Payout:
    return Payout(
        id="1", state=state, wallet="wallets/ann", provider="bank", account="DE02", beneficiary="", reference="",
        amount=1, currency="EUR", attempts=1, failures=1, taken=False, next_time=next_time, provider_reference="",
        last_error=last_error, reversal=None, reversal_attempts=reversal_attempts, deaths=0, create_time=NOW,
        update_time=NOW,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("state", "reversal_attempts", "last_error", "told"),
    [
        (PayoutState.PENDING, 0, UNREACHABLE, ""),
        (PayoutState.DEAD, 0, UNREACHABLE, ""),
        (PayoutState.PAID, 0, "", ""),
        (PayoutState.REFUSED, 0, REFUSED, REFUSED),
        (PayoutState.REVERSED, 0, REFUSED, REFUSED),
        (PayoutState.DEAD, 1, STUCK, REFUSED),
        (PayoutState.REFUSED, 1, STUCK, REFUSED),
        (PayoutState.REVERSED, 1, STUCK, REFUSED),
    ],
)
def test_it_is_why_the_provider_refused(state: PayoutState, reversal_attempts: int, last_error: str, told: str) -> None:
    assert payout(state, reversal_attempts, last_error).refusal == told


@pytest.mark.parametrize(("state", "is_called"), [(PayoutState.PENDING, True), (PayoutState.REFUSED, False)])
def test_only_while_it_is_to_be_paid_the_provider_is_called_next(state: PayoutState, is_called: bool) -> None:
    assert payout_message(payout(state, next_time=NOW)).HasField("next_attempt_time") is is_called
