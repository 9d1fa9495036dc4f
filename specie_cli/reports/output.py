"""Where a report goes: a file that appears whole or not at all, or standard output."""

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex
from typing import IO

ENCODING = "utf-8"
OWNERS, EVERYBODYS = 0o600, 0o666
"""Modes of files: read by their owner alone, or by whom the umask lets."""


def flaw_of(path: Path, *, force: bool) -> str:
    """Why no file can be written here; empty: it can."""
    if not path.parent.is_dir():
        return f"there is no directory {path.parent}"
    if path.is_dir():
        return f"{path} is a directory"
    if path.exists() and not path.is_file():
        return f"{path} is no ordinary file"
    if os.path.lexists(path) and not force:
        return f"{path} exists already; --force replaces it"
    return ""


@contextmanager
def told_of(path: Path) -> Iterator[None]:
    """What goes wrong with a draft is told of the file that it was to become. Raises OSError."""
    try:
        yield
    except OSError as error:
        raise OSError(f"{path} cannot be written: {error.strerror or error}") from error


@contextmanager
def written(path: Path | None, mode: int = OWNERS) -> Iterator[IO[str]]:
    """A file that is put in its place at the end, if there was no error: until then nothing of it is there, nor after
    an error. None: standard output. `mode`: who can read it, of those whom the umask lets.

    Raises OSError.
    """
    if path is None:
        with _standard_output() as text:
            yield text
        return
    draft = path.with_name(f".{path.name}.{token_hex(4)}.part")
    with (
        told_of(path),
        os.fdopen(
            os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w", encoding=ENCODING, newline=""
        ) as file,
    ):
        try:
            yield file
            file.flush()
            os.fsync(file.fileno())
            draft.replace(path)
        except BaseException:
            draft.unlink(missing_ok=True)
            raise


@contextmanager
def _standard_output() -> Iterator[IO[str]]:
    """In UTF-8, whatever the terminal's language. Raises BrokenPipeError when its reader has gone."""
    text = io.TextIOWrapper(sys.stdout.buffer, encoding=ENCODING, newline="", write_through=True)
    try:
        yield text
        text.flush()
    except BrokenPipeError:
        discard_output()
        raise
    finally:
        text.detach()


def discard_output() -> None:
    """What standard output could not take, Python would try to write once more at its end, and complain."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
