"""How many webhooks may be sent a second."""

import pytest

from transaction_service.webhooks.pace import AT_ONCE_MAX, TICK_SECONDS, Pace


def sent(pace: Pace, start: float, seconds: float) -> int:
    """By who sends whatever he may, looking when he is told to."""
    now, count = start, 0
    while now < start + seconds:
        for _ in range(pace.room(now)):
            pace.used()
            count += 1
        now = max(now, pace.open_at(now))
    return count


@pytest.mark.parametrize("per_second", [1, 3, 19, 20, 21, 100, 500, 1234])
def test_so_many_are_sent_and_no_more(per_second: int) -> None:
    pace = Pace(per_second)
    pace.room(1000.0)
    for number in range(1, 4):
        # What is a part of one waits for the rest of it.
        assert abs(sent(pace, 1000.0 + 60 * number, 60) - 60 * per_second) <= 60 * per_second * 0.06 + 2


def test_what_nobody_used_is_not_sent_later_all_at_once() -> None:
    pace = Pace(100)
    pace.room(1000.0)
    assert sent(pace, 2000.0, TICK_SECONDS / 2) <= 100 * TICK_SECONDS + 1


def test_one_takes_a_few_at_a_time_and_the_next_one_finds_some() -> None:
    pace = Pace(1000)
    assert pace.room(1000.0) == AT_ONCE_MAX
    for _ in range(AT_ONCE_MAX):
        pace.used()
    assert pace.room(1000.0) == AT_ONCE_MAX
    assert pace.open_at(1000.0) == 1000.0


def test_there_is_room_again_with_the_next_portion() -> None:
    pace = Pace(10)
    assert pace.room(1000.01) == 1
    pace.used()
    assert pace.room(1000.02) == 0
    later = pace.open_at(1000.02)
    assert 1000.02 < later <= 1000.02 + TICK_SECONDS
    assert pace.room(later) + pace.room(later + TICK_SECONDS) >= 1
