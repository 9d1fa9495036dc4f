"""What the contract says of the books as a whole, from what was read of them."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

from specie.transaction.v1 import IntegrityState

from transaction_service.domain.account import INT64_MAX

STALE_AFTER: Final = timedelta(minutes=1)
"""As the contract says."""


def state_of(sums: Mapping[str, int], check_time: datetime | None, findings: int) -> IntegrityState.ValueType:
    """`sums`: of all balances by currency. `check_time`: None where the check that always runs never has."""
    if findings or any(sums.values()):
        return IntegrityState.INTEGRITY_STATE_BROKEN
    if check_time is None:
        return IntegrityState.INTEGRITY_STATE_UNSPECIFIED
    if datetime.now(UTC) - check_time > STALE_AFTER:
        return IntegrityState.INTEGRITY_STATE_STALE
    return IntegrityState.INTEGRITY_STATE_SOUND


def told(sums: Mapping[str, int]) -> dict[str, int]:
    """What is beyond the range is so wrong that by how much does not matter."""
    return {currency: max(-INT64_MAX, min(total, INT64_MAX)) for currency, total in sums.items()}
