"""`specie demo` runs to its end and shows what it says."""

from tests.kit.stack import specie


def test_the_tour_runs_to_its_end_and_every_call_is_answered_as_it_says() -> None:
    done = specie("demo")
    assert done.returncode == 0, done.stderr
    for shown in (
        '"replayed": true',
        "HOLD_STATE_CAPTURED",
        "TRANSACTION_KIND_REVERSAL",
        "system/fees-usd",
        '"changes"',
    ):
        assert shown in done.stdout
    for reason in ("REQUEST_ID_REUSED", "INSUFFICIENT_FUNDS", "DESTINATION_NOT_FOUND", "SOURCE_FROZEN"):
        assert reason in done.stdout
    assert done.stdout.rstrip().endswith("starts one that stays.")
