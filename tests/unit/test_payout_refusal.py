"""What the owner of a wallet is told of a payout that was not paid."""

from datetime import UTC, datetime

import pytest

from transaction_service.payouts.payout import NOT_GIVEN_BACK, Payout, PayoutState

NOW = datetime(2026, 11, 21, tzinfo=UTC)
UNREACHABLE = "UNAVAILABLE: failed to connect to all addresses; last error: ipv4:10.0.0.7:50091"
REFUSED = "the account is closed"
STUCK = f"{REFUSED}{NOT_GIVEN_BACK}SOURCE_FROZEN (wallet wallets/bank)"


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
    payout = Payout(
        id="1", state=state, wallet="wallets/ann", provider="bank", account="DE02", beneficiary="", reference="",
        amount=1, currency="EUR", attempts=1, failures=1, taken=False, next_time=None, provider_reference="",
        last_error=last_error, reversal=None, reversal_attempts=reversal_attempts, deaths=0, create_time=NOW,
        update_time=NOW,
    )  # fmt: skip
    assert payout.refusal == told
