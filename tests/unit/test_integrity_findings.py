"""Findings are kept from the first time they are seen until a whole lap sees them no more."""

from datetime import UTC, datetime, timedelta

from transaction_service.integrity.findings import FINDINGS_MAX, Broken, Check, Finding, merged, still_there

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
LATER = NOON + timedelta(minutes=1)


def gap(subject: str = "wallets/alice", detail: str = "its version is 2, its last entry is 1") -> Broken:
    return Broken(Check.NO_GAP, subject, detail)


def test_what_is_seen_for_the_first_time_is_new() -> None:
    finding = Finding(gap(), NOON, NOON)
    assert merged([], [gap()], NOON) == ([finding], [finding])


def test_what_is_seen_again_keeps_its_time_and_has_the_last_words() -> None:
    again = gap(detail="its version is 3, its last entry is 1")
    assert merged([Finding(gap(), NOON, NOON)], [again], LATER) == ([Finding(again, NOON, LATER)], [])


def test_what_is_seen_twice_at_once_is_one_finding() -> None:
    again = gap(detail="has no entry 1 but has 2")
    assert merged([], [gap(), again], NOON) == ([Finding(again, NOON, NOON)],) * 2


def test_another_check_or_another_subject_is_another_finding() -> None:
    others = [gap("wallets/bob"), Broken(Check.BALANCE_IS_SUM, "wallets/alice", "")]
    kept, new = merged([Finding(gap(), NOON, NOON)], others, LATER)
    assert [finding.broken for finding in kept] == [gap(), *others]
    assert new == kept[1:]


def test_so_many_are_kept_and_no_more() -> None:
    seen = [gap(f"wallets/{number}") for number in range(FINDINGS_MAX + 1)]
    kept, new = merged([], seen, NOON)
    assert [finding.broken for finding in kept] == seen[:-1]
    assert new == kept
    assert merged(kept, seen, LATER)[1] == []


def test_what_a_lap_has_seen_outlives_it() -> None:
    before, at, after = [
        Finding(gap(), NOON - timedelta(days=1), time) for time in (NOON, LATER, LATER + (LATER - NOON))
    ]
    assert still_there([before, at, after], LATER) == [at, after]
