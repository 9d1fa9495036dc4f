"""The lines of a file in UTF-8, with memory for one of them."""

from collections.abc import Iterator
from typing import BinaryIO, Final

from specie_cli.imports.row import Flaw, Unreadable

LINE_BYTES_MAX: Final = 128 * 1024
"""A transfer with all texts and 64 labels filled has less, also with every character escaped."""
BOM: Final = b"\xef\xbb\xbf"
NOT_TEXT: Final = {
    b"\xff\xfe": "this is UTF-16: save it as UTF-8",
    b"\xfe\xff": "this is UTF-16: save it as UTF-8",
    b"PK\x03\x04": "this is a spreadsheet or an archive: export it as CSV in UTF-8",
    b"\x1f\x8b": "this is compressed: unpack it first, or `gunzip -c FILE | specie import -`",
}


class BadLine(Exception):  # noqa: N818 - what it is
    """This line is no text; the next one can be."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


class Lines(Iterator[str]):
    """With their line ends. Raises BadLine for one line, Unreadable for the file."""

    def __init__(self, source: BinaryIO) -> None:
        self._source = source
        self.number = 0
        """Of the last line, from 1."""
        self.bytes_read = 0

    def __next__(self) -> str:
        line = self._source.readline(LINE_BYTES_MAX + 1)
        self.bytes_read += len(line)
        if not line:
            raise StopIteration
        self.number += 1
        if self.number == 1:
            line = self._first(line)
        if len(line) > LINE_BYTES_MAX:
            self._skip(line)
            raise BadLine(f"is longer than {LINE_BYTES_MAX} bytes; one transfer stands on one line")
        try:
            return line.decode()
        except UnicodeDecodeError as error:
            at = error.start + 1
            raise BadLine(
                f"is not UTF-8 at its byte {at} (0x{line[error.start]:02x}); save the file as UTF-8"
            ) from None

    @staticmethod
    def _first(line: bytes) -> bytes:
        for magic, text in NOT_TEXT.items():
            if line.startswith(magic):
                raise Unreadable(Flaw(1, "", text))
        return line.removeprefix(BOM)

    def _skip(self, line: bytes) -> None:
        while line and not line.endswith(b"\n"):
            line = self._source.readline(LINE_BYTES_MAX)
            self.bytes_read += len(line)
