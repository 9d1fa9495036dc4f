"""Transfers from CSV (RFC 4180): a header that names the columns, then a transfer a row."""

import csv
import json
from collections.abc import Iterator
from typing import Final

from specie.transaction.v1 import TransferRequest
from specie.type.v1 import Money

from specie_cli.imports.lines import LINE_BYTES_MAX, BadLine, Lines
from specie_cli.imports.row import Broken, Flaw, Row, Unreadable
from specie_cli.imports.rules import flaws_of, whole_units
from specie_cli.wallets import name_of

REQUIRED: Final = ("source", "destination", "amount", "currency")
OPTIONAL: Final = (
    "description",
    "external_reference",
    "request_id",
    "fee",
    "fee_basis_points",
    "fee_destination",
)
LABEL: Final = "label:"
REJECTED: Final = "rejected_"
"""Columns that begin so are those that a file of rejected lines has in addition; they are not read."""
SEPARATORS: Final = ",;\t"
BASIS_POINTS_DIGITS_MAX: Final = 5
COLUMN_OF: Final = {
    "amount.currency_code": "currency",
    "amount.minor_units": "amount",
    "fee.minor_units": "fee",
    "fee.basis_points": "fee_basis_points",
    "fee.destination": "fee_destination",
}


class CsvRows(Iterator[Row | Broken]):
    """Raises Unreadable for what makes the rest of the file meaningless."""

    def __init__(self, lines: Lines) -> None:
        self._lines = lines
        self._start = 1
        self._start_bytes = 0
        first = self._header_line()
        self._separator = max(SEPARATORS, key=first.count)
        self.header = self._header(first)
        # Not a generator: it goes on behind a line that is broken.
        self._cells = csv.reader(iter(self._next_line, None), strict=True, delimiter=self._separator)

    def __next__(self) -> Row | Broken:
        while True:
            self._start, self._start_bytes = self._lines.number + 1, self._lines.bytes_read
            try:
                cells = next(self._cells)
            except BadLine as bad:
                return self._broken([("", bad.text)])
            except csv.Error as error:
                text = self._explained(str(error))
                if self._lines.number > self._start:
                    text += f" (up to line {self._lines.number})"
                return self._broken([("", text)])
            if any(cell.strip() for cell in cells):
                return self._row(cells)

    def _row(self, cells: list[str]) -> Row | Broken:
        original = json.dumps(cells, ensure_ascii=False)
        if len(cells) != len(self.header):
            text = f"has {len(cells)} cells, the header has {len(self.header)}; put cells with a separator into quotes"
            return self._broken([("", text)], original)
        values = {name: cell for name, cell in zip(self.header, cells, strict=True) if not name.startswith(REJECTED)}
        request, flaws = _request(values)
        return self._broken(flaws, original) if flaws else Row(self._start, request, original)

    def _broken(self, flaws: list[tuple[str, str]], original: str = "") -> Broken:
        return Broken(self._start, [Flaw(self._start, *flaw) for flaw in flaws], original)

    def _next_line(self) -> str:
        """Of the row that is being read."""
        if self._lines.bytes_read - self._start_bytes > LINE_BYTES_MAX:
            raise Unreadable(Flaw(self._start, "", "a quote is opened and not closed; nothing behind it was read"))
        return next(self._lines)

    @staticmethod
    def _explained(error: str) -> str:
        if error == "unexpected end of data":
            return "a quote is opened and not closed"
        if error.startswith("new-line character"):
            return "has a carriage return without a line feed; save the file with the line ends of Windows or Unix"
        return f"{error}; a quote inside of quotes is written twice"

    def _header_line(self) -> str:
        try:
            return next(self._lines)
        except StopIteration:
            text = f"the file is empty; a CSV file begins with a header: {','.join(REQUIRED)}"
            raise Unreadable(Flaw(1, "", text)) from None
        except BadLine as bad:
            raise Unreadable(Flaw(1, "", bad.text)) from None

    def _header(self, line: str) -> list[str]:
        try:
            (names,) = csv.reader([line], strict=True, delimiter=self._separator)
        except (csv.Error, ValueError) as error:
            raise Unreadable(Flaw(1, "", f"is no header: {self._explained(str(error))}")) from None
        header = [name.strip().lower() for name in names]
        missing = [name for name in REQUIRED if name not in header]
        if missing:
            text = f"the header has no {', '.join(missing)}; it needs {', '.join(REQUIRED)}"
            raise Unreadable(Flaw(1, "", text))
        for name in header:
            if header.count(name) > 1:
                raise Unreadable(Flaw(1, name, "stands twice in the header"))
            if name not in (*REQUIRED, *OPTIONAL) and not name.startswith((LABEL, REJECTED)):
                known = ", ".join((*REQUIRED, *OPTIONAL, "label:KEY"))
                raise Unreadable(Flaw(1, name or "(empty)", f"is no column that there is; there are {known}"))
        return header


def _request(values: dict[str, str]) -> tuple[TransferRequest, list[tuple[str, str]]]:
    flaws: list[tuple[str, str]] = []
    currency = values["currency"].strip().upper()
    request = TransferRequest(
        source=name_of(values["source"].strip()),
        destination=name_of(values["destination"].strip()),
        amount=Money(currency_code=currency, minor_units=_units(values, "amount", currency, flaws)),
        description=values.get("description", ""),
        external_reference=values.get("external_reference", ""),
        request_id=values.get("request_id", ""),
    )
    for name, value in values.items():
        if name.startswith(LABEL) and value:
            request.labels[name.removeprefix(LABEL)] = value
    fees = [name for name in ("fee", "fee_basis_points") if values.get(name, "").strip()]
    destination = values.get("fee_destination", "").strip()
    if len(fees) > 1:
        flaws.append(("fee_basis_points", "must be empty where there is a fee"))
    elif fees == ["fee"]:
        request.fee.minor_units = _units(values, "fee", currency, flaws)
    elif fees:
        request.fee.basis_points = _basis_points(values["fee_basis_points"].strip(), flaws)
    elif destination:
        flaws.append(("fee_destination", "must be empty where there is no fee"))
    if fees and destination:
        request.fee.destination = name_of(destination)
    told = {column for column, _ in flaws}
    rules = [(column, text) for column, text in flaws_of(request, _column) if column not in told]
    return request, [*flaws, *rules]


def _units(values: dict[str, str], column: str, currency: str, flaws: list[tuple[str, str]]) -> int:
    try:
        return whole_units(values[column].strip(), currency)
    except ValueError as error:
        flaws.append((column, str(error)))
        return 0


def _basis_points(text: str, flaws: list[tuple[str, str]]) -> int:
    if text.isascii() and text.isdigit() and len(text) <= BASIS_POINTS_DIGITS_MAX:
        return int(text)
    flaws.append(("fee_basis_points", "must be 1 to 10000 hundredths of a percent, digits only: 150 is 1.5 %"))
    return 0


def _column(path: str, key: str) -> str:
    return LABEL + key if path == "labels" and key else COLUMN_OF.get(path, path)
