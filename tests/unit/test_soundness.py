"""What is said of the books as a whole."""

from datetime import UTC, datetime, timedelta

import pytest
from specie.transaction.v1 import IntegrityState

from transaction_service.back_office.settings import BackOfficeSettings
from transaction_service.rpc.soundness import STALE_AFTER, state_of

LATELY = datetime(2999, 1, 1, tzinfo=UTC)
"""However long the tests before have taken."""
LONG_AGO = datetime.now(UTC) - STALE_AFTER - timedelta(seconds=1)
EVEN, ODD = {"USD": 0, "EUR": 0}, {"USD": 0, "EUR": -1}


@pytest.mark.parametrize(
    ("sums", "check_time", "findings", "expected"),
    [
        (EVEN, LATELY, 0, "SOUND"),
        (EVEN, LATELY, 1, "BROKEN"),
        (ODD, LATELY, 0, "BROKEN"),
        (ODD, None, 0, "BROKEN"),
        (EVEN, None, 0, "UNSPECIFIED"),
        (EVEN, LONG_AGO, 0, "STALE"),
        (EVEN, LONG_AGO, 1, "BROKEN"),
        ({}, LATELY, 0, "SOUND"),
    ],
)
def test_the_books_are(sums: dict[str, int], check_time: datetime | None, findings: int, expected: str) -> None:
    assert IntegrityState.Name(state_of(sums, check_time, findings)) == f"INTEGRITY_STATE_{expected}"


def test_a_check_that_runs_as_seldom_as_it_may_is_not_stale() -> None:
    bounds = BackOfficeSettings.model_fields["integrity_seconds"].metadata
    assert max(bound.le for bound in bounds if hasattr(bound, "le")) < STALE_AFTER.total_seconds()
