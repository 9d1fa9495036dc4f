"""Limits of debits: per transaction, per hour, per day of a time zone, and when they reset."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from tests.kit.builders import NOON, account, book, code, told, transfer
from tests.kit.tables import rows
from transaction_service.domain.account import INT64_MAX, Account, Limits, Usage, day_ends, day_of, hour_ends, hour_of
from transaction_service.domain.ledger import decide

CAPPED = Limits(per_transaction=100, per_day=150, debits_per_hour=3)

# All on one account, with the limits above. Hours and minutes are UTC, day 0 is the day of NOON.
ATTEMPTS = """
# day  time   amount  expected
  0    10:00  101     TRANSACTION_LIMIT_EXCEEDED
  0    10:00  100     POSTED
  0    10:01  51      DAILY_LIMIT_EXCEEDED
  0    10:02  50      POSTED
  0    10:03  1       DAILY_LIMIT_EXCEEDED
  0    23:59  1       DAILY_LIMIT_EXCEEDED
  1    00:00  1       POSTED
  1    00:10  1       POSTED
  1    00:20  1       POSTED
  1    00:30  1       HOURLY_COUNT_EXCEEDED
  1    00:59  101     TRANSACTION_LIMIT_EXCEEDED
  1    00:59  100     HOURLY_COUNT_EXCEEDED
  1    00:59  1000    TRANSACTION_LIMIT_EXCEEDED
  1    01:00  100     POSTED
  1    01:00  47      POSTED
  1    01:00  1       DAILY_LIMIT_EXCEEDED
  3    01:00  100     POSTED
"""


def _at(day: str, time: str) -> datetime:
    hour, minute = map(int, time.split(":"))
    return NOON.replace(hour=hour, minute=minute) + timedelta(days=int(day))


def _try(source: Account, amount: int, now: datetime) -> str:
    return code(decide(book([source, account("bob")], now=now), transfer(amount=amount)))


def test_every_attempt_of_the_table_gets_its_code() -> None:
    alice = account("alice", 10_000, limits=CAPPED)
    attempts = list(rows(ATTEMPTS))
    answered = [_try(alice, int(amount), _at(day, time)) for day, time, amount, _ in attempts]
    assert answered == [expected for *_, expected in attempts]


@pytest.mark.parametrize(
    ("limits", "amounts", "expected"),
    [
        (Limits(per_transaction=10), [11, 10, 10], ["TRANSACTION_LIMIT_EXCEEDED", "POSTED", "POSTED"]),
        (Limits(debits_per_hour=1), [500, 1], ["POSTED", "HOURLY_COUNT_EXCEEDED"]),
        (Limits(per_day=10), [11, 9, 2, 1, 1], ["DAILY_LIMIT_EXCEEDED", "POSTED", "DAILY_LIMIT_EXCEEDED", "POSTED"]),
        (Limits(), [500, 400, 90], ["POSTED", "POSTED", "POSTED"]),
        (Limits(credit=10), [1000, 10, 1], ["POSTED", "POSTED", "INSUFFICIENT_FUNDS"]),
        (Limits(per_transaction=5000), [1001, 1000], ["INSUFFICIENT_FUNDS", "POSTED"]),
    ],
)
def test_each_limit_binds_by_itself_and_0_is_none(limits: Limits, amounts: list[int], expected: list[str]) -> None:
    alice = account("alice", 1000, limits=limits, credit=limits.credit)
    group = book([alice, account("bob")])
    answers = [code(decide(group, transfer(amount=amount))) for amount in amounts]
    assert answers[: len(expected)] == expected


def test_what_fails_uses_nothing() -> None:
    alice = account("alice", 100, limits=CAPPED)
    for amount in (101, 151, 1000):
        assert _try(alice, amount, NOON) != "POSTED"
    assert alice.usage == Usage()
    alice.balance = 5
    assert _try(alice, 6, NOON) == "INSUFFICIENT_FUNDS"
    assert alice.usage == Usage()


def test_a_replay_uses_nothing() -> None:
    alice = account("alice", 100, limits=CAPPED)
    group, movement = book([alice, account("bob")]), transfer()
    for _ in range(5):
        assert code(decide(group, movement)) == "POSTED"
    assert (alice.usage.day_amount, alice.usage.hour_count) == (10, 1)


@pytest.mark.parametrize(
    ("limits", "used", "expected"),
    [
        (CAPPED, Usage(), {"limit": "100", "amount": "120"}),
        (
            Limits(debits_per_hour=3),
            Usage(day_of(NOON, "UTC"), 7, hour_of(NOON), 3),
            {"limit": "3", "used": "3", "resets_at": "2026-03-04T13:00:00+00:00"},
        ),
        (
            Limits(per_day=150, time_zone="America/New_York"),
            Usage(day_of(NOON, "America/New_York"), 31, hour_of(NOON), 3),
            {"limit": "150", "used": "31", "amount": "120", "resets_at": "2026-03-05T00:00:00-05:00"},
        ),
    ],
)
def test_the_answer_tells_the_limit_what_is_used_and_when_it_resets(
    limits: Limits, used: Usage, expected: dict[str, str]
) -> None:
    alice = account("alice", 1000, limits=limits, usage=used)
    answer = decide(book([alice, account("bob")]), transfer(amount=120))
    assert told(answer) == {"wallet": "wallets/alice", **expected}


@pytest.mark.parametrize(
    ("zone", "now", "day", "ends"),
    [
        ("UTC", "2026-03-04T23:59:59.999999+00:00", "2026-03-04", "2026-03-05T00:00:00+00:00"),
        ("UTC", "2026-03-05T00:00:00+00:00", "2026-03-05", "2026-03-06T00:00:00+00:00"),
        ("Asia/Kolkata", "2026-03-04T18:29:59+00:00", "2026-03-04", "2026-03-04T18:30:00+00:00"),
        ("Asia/Kolkata", "2026-03-04T18:30:00+00:00", "2026-03-05", "2026-03-05T18:30:00+00:00"),
        ("Pacific/Kiritimati", "2026-03-04T10:00:00+00:00", "2026-03-05", "2026-03-05T10:00:00+00:00"),
        # The time that the store hands over may be written in any zone.
        ("UTC", "2026-03-05T04:00:00+05:30", "2026-03-04", "2026-03-05T00:00:00+00:00"),
        # Berlin's day of 23 hours, and its day of 25.
        ("Europe/Berlin", "2026-03-28T23:00:00+00:00", "2026-03-29", "2026-03-29T22:00:00+00:00"),
        ("Europe/Berlin", "2026-03-29T21:59:59+00:00", "2026-03-29", "2026-03-29T22:00:00+00:00"),
        ("Europe/Berlin", "2026-10-24T22:00:00+00:00", "2026-10-25", "2026-10-25T23:00:00+00:00"),
        ("Europe/Berlin", "2026-10-25T22:59:59+00:00", "2026-10-25", "2026-10-25T23:00:00+00:00"),
        # Santiago's clocks change at midnight: a midnight that does not exist, and an hour before one that comes twice.
        ("America/Santiago", "2025-09-07T03:59:59+00:00", "2025-09-06", "2025-09-07T04:00:00+00:00"),
        ("America/Santiago", "2025-09-07T04:00:00+00:00", "2025-09-07", "2025-09-08T03:00:00+00:00"),
        ("America/Santiago", "2025-04-06T02:59:59+00:00", "2025-04-05", "2025-04-06T04:00:00+00:00"),
        ("America/Santiago", "2025-04-06T03:00:00+00:00", "2025-04-05", "2025-04-06T04:00:00+00:00"),
        # Samoa skipped a day.
        ("Pacific/Apia", "2011-12-30T09:59:59+00:00", "2011-12-29", "2011-12-30T10:00:00+00:00"),
        ("Pacific/Apia", "2011-12-30T10:00:00+00:00", "2011-12-31", "2011-12-31T10:00:00+00:00"),
    ],
)
def test_days_are_local_and_end_at_the_local_midnight(zone: str, now: str, day: str, ends: str) -> None:
    time = datetime.fromisoformat(now)
    assert day_of(time, zone) == datetime.fromisoformat(day).toordinal()
    # Through text, as callers get it.
    assert datetime.fromisoformat(day_ends(time, zone).isoformat()) == datetime.fromisoformat(ends)


def test_the_count_of_a_day_starts_again_when_it_says_so() -> None:
    """Through a year in a zone with a change of clocks: the last moment counts for the day, the next for a new one."""
    now = datetime(2026, 1, 1, tzinfo=UTC)
    for _ in range(365):
        ends = day_ends(now, "Europe/Berlin").astimezone(UTC)
        assert timedelta(hours=0) < ends - now <= timedelta(hours=25)
        last = ends - timedelta(microseconds=1)
        assert day_of(last, "Europe/Berlin") == day_of(now, "Europe/Berlin") == day_of(ends, "Europe/Berlin") - 1
        now = ends


@pytest.mark.parametrize("offset_minutes", [0, 330, -210, 345, 60])
def test_an_hour_is_of_utc_and_ends_when_its_count_does(offset_minutes: int) -> None:
    """Whatever zone the time is written in: a database session may live in India."""
    now = NOON.astimezone(timezone(timedelta(minutes=offset_minutes)))
    assert hour_ends(now) == datetime(2026, 3, 4, 13, tzinfo=UTC)
    assert hour_of(hour_ends(now)) == hour_of(now) + 1
    assert hour_of(hour_ends(now) - timedelta(microseconds=1)) == hour_of(now)


def test_a_days_sum_stops_at_int64() -> None:
    """Money that goes round and round in one day."""
    alice, bob = account("alice", INT64_MAX, limits=Limits(debits_per_hour=9)), account("bob")
    group = book([alice, bob])
    for _ in range(2):
        assert code(decide(group, transfer("alice", "bob", INT64_MAX))) == "POSTED"
        assert code(decide(group, transfer("bob", "alice", INT64_MAX))) == "POSTED"
    assert (alice.usage.day_amount, alice.usage.hour_count) == (INT64_MAX, 2)
    alice.limits = Limits(per_day=INT64_MAX)
    assert code(decide(group, transfer("alice", "bob", 1))) == "DAILY_LIMIT_EXCEEDED"
