"""How long a payout waits between two calls."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transaction_service.payouts.pauses import Patience, pause_seconds

PATIENCE = Patience(attempts_max=20, first_pause_seconds=1, pause_seconds_max=600, timeout_seconds=10)


@pytest.mark.parametrize(
    ("tries", "longest"), [(1, 1), (2, 2), (3, 4), (10, 512), (11, 600), (1000, 600), (10**6, 600)]
)
def test_the_longest_pause_doubles_up_to_the_limit(tries: int, longest: float) -> None:
    assert pause_seconds(PATIENCE, tries, lambda: 1.0) == longest


@given(st.integers(1, 2000))
def test_a_pause_is_any_time_up_to_the_longest(tries: int) -> None:
    longest = pause_seconds(PATIENCE, tries, lambda: 1.0)
    assert pause_seconds(PATIENCE, tries, lambda: 0.0) == 0
    assert 0 <= pause_seconds(PATIENCE, tries) <= longest
