"""Dates, months and output files as people name them."""

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest
import typer

from specie_cli.reports.output import flaw_of, written
from specie_cli.reports.times import moment_of, month_of, zone_of

BERLIN = "Europe/Berlin"


def at(text: str, zone: str = "UTC") -> str:
    return moment_of(text, zone_of(zone), "--from").ToDatetime(UTC).isoformat()


@pytest.mark.parametrize(
    ("text", "zone", "utc"),
    [
        ("2026-11-01", "UTC", "2026-11-01T00:00:00+00:00"),
        ("2026-11-01", BERLIN, "2026-10-31T23:00:00+00:00"),
        ("2026-07-01", BERLIN, "2026-06-30T22:00:00+00:00"),
        ("2026-11-01T14:30", BERLIN, "2026-11-01T13:30:00+00:00"),
        ("2026-11-01T14:30:00Z", BERLIN, "2026-11-01T14:30:00+00:00"),
        ("2026-11-01T14:30:00.000001-05:00", BERLIN, "2026-11-01T19:30:00.000001+00:00"),
    ],
)
def test_a_date_is_its_beginning_in_its_zone(text: str, zone: str, utc: str) -> None:
    assert at(text, zone) == utc


@pytest.mark.parametrize(
    "text", ["", "yesterday", "2026-13-01", "2026-02-30", "2026-11", "01.11.2026", "0001-01-01T00:00:00+05:00", "\x00"]
)
def test_a_broken_date_is_told(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="is not a date like 2026-11-01"):
        at(text)


def test_a_month_ends_where_the_next_begins() -> None:
    for text, zone, begin, end in (
        ("2026-11", "UTC", "2026-11-01 00:00", "2026-12-01 00:00"),
        ("2026-12", "UTC", "2026-12-01 00:00", "2027-01-01 00:00"),
        ("2026-10", BERLIN, "2026-09-30 22:00", "2026-10-31 23:00"),
    ):
        first, last = month_of(text, zone_of(zone))
        assert [f"{stamp.ToDatetime(UTC):%Y-%m-%d %H:%M}" for stamp in (first, last)] == [begin, end]


@pytest.mark.parametrize(
    "text", ["", "2026", "2026-13", "2026-00", "2026-1", "0000-01", "9999-12", "2026-11-01", "a-b"]
)
def test_a_broken_month_is_told(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="is not a month like 2026-11"):
        month_of(text, zone_of("UTC"))


@pytest.mark.parametrize(
    "name", ["", "Berlin", "../etc/passwd", "/etc/passwd", "Europe/Berlin\x00", "Europe", "x" * 300]
)
def test_an_unknown_time_zone_is_told(name: str) -> None:
    with pytest.raises(typer.BadParameter, match="there is no time zone"):
        zone_of(name)


def test_where_no_file_can_be_written(tmp_path: Path) -> None:
    taken, pipe = tmp_path / "taken", tmp_path / "pipe"
    taken.touch()
    os.mkfifo(pipe)
    (tmp_path / "dangling").symlink_to(tmp_path / "nothing")
    assert flaw_of(tmp_path / "new", force=False) == flaw_of(taken, force=True) == ""
    for path, force, flaw in (
        (taken, False, "exists already"),
        (tmp_path / "dangling", False, "exists already"),
        (tmp_path / "none" / "new", True, "there is no directory"),
        (taken / "new", True, "there is no directory"),
        (tmp_path, True, "is a directory"),
        (pipe, True, "is no ordinary file"),
        (Path(os.devnull), True, "is no ordinary file"),
    ):
        assert flaw in flaw_of(path, force=force)


def test_a_file_is_there_when_it_is_whole_and_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "report"
    with written(path) as file:
        file.write("gr\u00fc\u00dfe\n")
        assert not path.exists()
    assert path.read_bytes() == "gr\u00fc\u00dfe\n".encode()
    assert path.stat().st_mode & 0o777 == 0o600
    assert [*tmp_path.iterdir()] == [path]


@pytest.mark.parametrize("problem", [ValueError, KeyboardInterrupt])
def test_after_an_error_the_directory_is_as_before(tmp_path: Path, problem: type[BaseException]) -> None:
    path = tmp_path / "report"
    path.write_text("old")

    def fail() -> None:
        with written(path) as file:
            file.write("half")
            raise problem

    with pytest.raises(problem):
        fail()
    assert ([*tmp_path.iterdir()], path.read_text()) == ([path], "old")


def test_far_away_years_have_no_overflow() -> None:
    assert at("9999-12-31") == datetime(9999, 12, 31, tzinfo=UTC).isoformat()
