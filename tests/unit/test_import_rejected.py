"""The file of rejected lines: what was written, why it was rejected, and fit to be imported."""

import csv
import io
import json
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from specie_cli.imports.csv_rows import CsvRows
from specie_cli.imports.json_rows import JsonRows
from specie_cli.imports.lines import Lines
from specie_cli.imports.rejected import RejectedFile, usual_path
from specie_cli.imports.row import Format, Row

CSV_HEADER = ["source", "destination", "amount", "currency", "description", "rejected_line"]
CELLS = '["alice", "bob", "1", "USD", "=1+1, \\"quoted\\"", "7"]'
TRANSFER = '{"source": "alice", "destination": "bob", "amount": {"currencyCode": "USD", "minorUnits": 1}}'
WHY = ("INSUFFICIENT_FUNDS", "wallets/alice has 0", {"available": "0"})


def test_its_usual_place_is_beside_the_file() -> None:
    assert usual_path(Path("a/pay.csv"), Format.CSV) == Path("a/pay.rejected.csv")
    assert usual_path(Path("-"), Format.JSONL) == Path("rejected.jsonl")


def test_a_rejected_row_of_csv_can_be_imported_under_its_new_id(tmp_path: Path) -> None:
    place = tmp_path / "r.csv"
    with RejectedFile(place, Format.CSV, CSV_HEADER) as rejected:
        rejected.add(3, CELLS, "next", *WHY)
        assert not place.exists()
        assert rejected.close() == place
    (line,) = csv.DictReader(io.StringIO(place.read_bytes().decode(), newline=""))
    assert (line["rejected_line"], line["rejected_reason"], line["rejected_message"]) == ("3", *WHY[:2])
    assert json.loads(line["rejected_metadata"]) == WHY[2]
    (row,) = CsvRows(Lines(io.BytesIO(place.read_bytes())))
    assert isinstance(row, Row)
    assert (row.request.request_id, row.request.description) == ("next", '=1+1, "quoted"')


def test_a_rejected_line_of_json_can_be_imported_under_its_new_id(tmp_path: Path) -> None:
    place = tmp_path / "r.jsonl"
    with RejectedFile(place, Format.JSONL, []) as rejected:
        rejected.add(3, TRANSFER, "next", *WHY)
        rejected.add(4, "{broken", "", "BROKEN_LINE", "is no JSON", {})
        rejected.close()
    first, second = map(json.loads, place.read_text().splitlines())
    assert first["rejected"] == {"line": 3, "reason": WHY[0], "message": WHY[1], "metadata": WHY[2]}
    assert second["line"] == "{broken"
    row = next(JsonRows(Lines(io.BytesIO(place.read_bytes()))))
    assert isinstance(row, Row)
    assert row.request.request_id == "next"


@pytest.mark.parametrize(
    ("place", "flaw"), [("folder", "is a directory"), ("pipe", "is no ordinary file"), ("none/r.csv", "no directory")]
)
def test_it_takes_the_place_of_an_ordinary_file_only(tmp_path: Path, place: str, flaw: str) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match=f"^no rejected lines can be written: .*{flaw}"):
        RejectedFile(tmp_path / place, Format.CSV, CSV_HEADER)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "pipe"]
    assert (tmp_path / "pipe").is_fifo()


@contextmanager
def files_of(bytes_max: int) -> Iterator[None]:
    """No file may grow longer meanwhile, as on a disk that is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_max, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_what_was_not_written_whole_takes_no_place(tmp_path: Path) -> None:
    place = tmp_path / "r.csv"
    place.write_text("as it was")
    with RejectedFile(place, Format.CSV, CSV_HEADER) as rejected:
        with files_of(1024), pytest.raises(OSError, match=r"r.csv cannot be written: File too large"):
            rejected.add(4, json.dumps(["x" * 100_000]), "next", *WHY)
        with pytest.raises(OSError, match=r"r.csv cannot be written: not all of it was"):
            rejected.close()
    assert [path.name for path in tmp_path.iterdir()] == ["r.csv"]
    assert place.read_text() == "as it was"


@pytest.mark.parametrize("original", ["", '["alice"]', '["a", "b", "c", "d", "e", "f", "g"]'])
def test_a_row_with_too_few_or_too_many_cells_keeps_those_that_fit(tmp_path: Path, original: str) -> None:
    place = tmp_path / "r.csv"
    with RejectedFile(place, Format.CSV, CSV_HEADER) as rejected:
        rejected.add(9, original, "", "BROKEN_LINE", "too few", {})
        rejected.close()
    (line,) = csv.DictReader(io.StringIO(place.read_bytes().decode(), newline=""))
    assert line["rejected_line"] == "9"
    assert line["source"] == (json.loads(original)[0] if original else "")


def test_without_rejected_lines_there_is_no_file(tmp_path: Path) -> None:
    with RejectedFile(tmp_path / "r.csv", Format.CSV, CSV_HEADER) as rejected:
        assert rejected.close() is None
    with RejectedFile(tmp_path / "r.csv", Format.CSV, CSV_HEADER) as rejected:
        rejected.add(3, CELLS, "next", *WHY)
    assert list(tmp_path.iterdir()) == []


def test_what_somebody_has_worked_on_is_kept(tmp_path: Path) -> None:
    place = tmp_path / "r.csv"
    for changed, old in ((False, False), (True, True)):
        if changed:
            place.write_text("mended\n")
        with RejectedFile(place, Format.CSV, CSV_HEADER) as rejected:
            rejected.add(3, CELLS, "next", *WHY)
            rejected.close()
        assert (tmp_path / "r.csv.old").exists() is old
    assert (tmp_path / "r.csv.old").read_text() == "mended\n"


def test_two_imports_do_not_write_the_same_file(tmp_path: Path) -> None:
    with RejectedFile(tmp_path / "r.csv", Format.CSV, []), pytest.raises(OSError, match="another import"):
        RejectedFile(tmp_path / "r.csv", Format.CSV, [])
