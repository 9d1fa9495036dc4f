"""What was read and is right, on disk until it is sent: the file is read once, so nobody can change it in between."""

import struct
from collections.abc import Iterator
from tempfile import TemporaryFile
from types import TracebackType
from typing import Final, NamedTuple, Self

from specie.transaction.v1 import TransferRequest

from specie_cli.imports.request_ids import KEY_BYTES, Repeats, derived, key_of
from specie_cli.imports.row import Row

HEAD: Final = struct.Struct(f"<QII{KEY_BYTES}s")


class Numbered(NamedTuple):
    """A row with its request id."""

    row: Row
    nth: int
    """How often the same has stood in the file: the same transfer, or the same id where the file gives it."""
    is_given: bool
    """The file gave the id."""


class Spool:
    """Without a name, so that nothing of it stays when the process is killed."""

    def __init__(self, series: str) -> None:
        self._series = series
        self._file = TemporaryFile(prefix="specie-import-")  # noqa: SIM115 - closed by __exit__
        self.repeats: Final = Repeats()
        self.count = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def add(self, row: Row) -> None:
        request, original = row.request.SerializeToString(), row.original.encode()
        key = key_of(row.request, self._series)
        self._file.write(HEAD.pack(row.line, len(request), len(original), key) + request + original)
        self.repeats.add(key)
        self.count += 1

    def close(self) -> None:
        """All have been added."""
        self._file.flush()
        self.repeats.close()

    def __iter__(self) -> Iterator[Numbered]:
        """From the first row on."""
        self._file.seek(0)
        self.repeats.begin()
        while head := self._file.read(HEAD.size):
            line, request_length, original_length, key = HEAD.unpack(head)
            request = TransferRequest.FromString(self._file.read(request_length))
            original = self._file.read(original_length).decode()
            nth, is_given = self.repeats.nth(key), bool(request.request_id)
            if not is_given:
                request.request_id = derived(key, nth)
            yield Numbered(Row(line, request, original), nth, is_given)
