"""The file of rejected lines: as they were, with the reason, and fit to be mended and imported in their turn."""

import csv
import fcntl
import filecmp
import json
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Final, Self

from specie_cli.imports.csv_rows import REJECTED as REJECTED_COLUMN
from specie_cli.imports.json_rows import REJECTED
from specie_cli.imports.row import Format
from specie_cli.reports.output import flaw_of, told_of

COLUMNS: Final = tuple(REJECTED_COLUMN + name for name in ("line", "reason", "message", "metadata"))
REQUEST_ID: Final = "request_id"


def usual_path(source: Path, form: Format) -> Path:
    """`transfers.rejected.csv` beside `transfers.csv`; of standard input, in the current folder."""
    return Path(f"rejected.{form}") if source == Path("-") else source.parent / f"{source.stem}.rejected.{form}"


class RejectedFile:
    """Written beside its place and put there at the end, so that it is never half of one. Raises OSError."""

    def __init__(self, path: Path, form: Format, header: Sequence[str]) -> None:
        # Neither a directory nor a device may be moved away for it.
        if flaw := flaw_of(path, force=True):
            raise OSError(f"no rejected lines can be written: {flaw}")
        self._path, self._form = path, form
        self._draft = path.with_name(f".{path.name}.part")
        self._header = [name for name in header if not name.startswith(REJECTED_COLUMN)]
        self._kept = [index for index, name in enumerate(header) if not name.startswith(REJECTED_COLUMN)]
        if REQUEST_ID not in self._header:
            self._header.append(REQUEST_ID)
        with told_of(path):
            self._file: IO[str] = self._draft.open("a", encoding="utf-8", newline="")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.close()
            raise OSError(f"{path} is being written by another import") from None
        self._file.truncate(0)
        self._csv = csv.writer(self._file)
        if form is Format.CSV:
            self._csv.writerow([*self._header, *COLUMNS])
        self.count = 0
        self._is_whole = True

    def add(
        self, line: int, original: str, request_id: str, reason: str, message: str, metadata: dict[str, str]
    ) -> None:
        """`original`: as of a Row or Broken. `request_id`: for the next attempt; empty: as the line has it."""
        self.count += 1
        self._is_whole = False
        with told_of(self._path):
            self._write(line, original, request_id, reason, message, metadata)
        self._is_whole = True

    def _write(
        self, line: int, original: str, request_id: str, reason: str, message: str, metadata: dict[str, str]
    ) -> None:
        if self._form is Format.CSV:
            cells = json.loads(original) if original else []
            kept = [cells[index] if index < len(cells) else "" for index in self._kept]
            kept += [""] * (len(self._header) - len(kept))
            if request_id:
                kept[self._header.index(REQUEST_ID)] = request_id
            self._csv.writerow([*kept, line, reason, message, json.dumps(metadata) if metadata else ""])
            return
        transfer = _object(original)
        if request_id:
            transfer.pop(REQUEST_ID, None)
            transfer["requestId"] = request_id
        transfer[REJECTED] = {"line": line, "reason": reason, "message": message, "metadata": metadata}
        self._file.write(json.dumps(transfer, ensure_ascii=False) + "\n")

    def close(self) -> Path | None:
        """Where it is; None: nothing was rejected and there is none. Another one that was there before, which somebody
        may have worked on, is kept as `{name}.old`."""
        with told_of(self._path):
            self._file.close()
            if not self._is_whole:
                # What the disk did not take is lost, also where closing it succeeds.
                raise OSError("not all of it was")
            if not self.count:
                self._draft.unlink()
                return None
            if self._path.exists() and not filecmp.cmp(self._path, self._draft, shallow=False):
                self._path.replace(self._path.with_name(f"{self._path.name}.old"))
            self._draft.replace(self._path)
            return self._path

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """If it was not closed, nothing was sent, and it does not stay."""
        self._file.close()
        self._draft.unlink(missing_ok=True)


def _object(original: str) -> dict[str, object]:
    """The line's object; of what is none, the line as text, so that it is not lost."""
    try:
        found = json.loads(original)
    except (ValueError, RecursionError):
        found = None
    if isinstance(found, dict):
        found.pop(REJECTED, None)
        return found
    return {"line": original} if original else {}
