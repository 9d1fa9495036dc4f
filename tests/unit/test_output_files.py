"""A file that a command cannot write is named as it was asked for, not as its draft, and leaves nothing behind."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from specie_cli.audits.files import replace
from specie_cli.reports.output import written


def report(path: Path) -> None:
    with written(path) as file:
        file.write("line\n")


@pytest.mark.parametrize("write", [report, lambda path: replace(path, "line\n")])
def test_a_file_that_cannot_be_written_is_named(tmp_path: Path, write: Callable[[Path], None]) -> None:
    no_folder = tmp_path / "file"
    no_folder.write_text("as it was")
    path = no_folder / "report.csv"
    with pytest.raises(OSError, match=f"^{re.escape(str(path))} cannot be written: Not a directory$"):
        write(path)
    assert [found.name for found in tmp_path.iterdir()] == ["file"]
    assert no_folder.read_text() == "as it was"
