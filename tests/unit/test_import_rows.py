"""Files of transfers as they are read: what people and their programs write, and what they are told of flaws."""

import io
import json
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from specie.transaction.v1 import Fee, TransferRequest
from specie.type.v1 import Money

from specie_cli.imports.checking import check
from specie_cli.imports.csv_rows import CsvRows
from specie_cli.imports.json_rows import JsonRows
from specie_cli.imports.lines import LINE_BYTES_MAX, Lines
from specie_cli.imports.row import Broken, Row, Unreadable
from specie_cli.imports.spool import Spool

HEADER = "source,destination,amount,currency"
USUAL = "alice,bob,2500,USD"


def of_csv(content: str | bytes) -> CsvRows:
    return CsvRows(Lines(io.BytesIO(content.encode() if isinstance(content, str) else content)))


def of_json(*lines: str) -> JsonRows:
    return JsonRows(Lines(io.BytesIO("\n".join(lines).encode())))


def request(rows: Iterator[Row | Broken]) -> TransferRequest:
    (row,) = rows
    assert isinstance(row, Row), row
    return row.request


def told(rows: Iterator[Row | Broken]) -> list[str]:
    return [str(flaw) for row in rows if isinstance(row, Broken) for flaw in row.flaws]


def lines_of(rows: Iterator[Row | Broken]) -> list[tuple[int, bool]]:
    return [(row.line, isinstance(row, Row)) for row in rows]


def json_line(**changes: object) -> str:
    usual = {"source": "alice", "destination": "bob", "amount": {"currencyCode": "USD", "minorUnits": 2500}}
    return json.dumps(usual | changes)


def test_a_row_of_csv_with_all_columns() -> None:
    header = f"{HEADER},description,external_reference,request_id,fee_basis_points,fee_destination,label:run,label:team"
    found = request(of_csv(f'{header}\nalice,wallets/bob,2500,usd,"rent, ""may""",inv 7,r-1,150,fees,2026-05,\n'))
    assert found == TransferRequest(
        source="wallets/alice",
        destination="wallets/bob",
        amount=Money(currency_code="USD", minor_units=2500),
        description='rent, "may"',
        external_reference="inv 7",
        request_id="r-1",
        fee=Fee(basis_points=150, destination="wallets/fees"),
        labels={"run": "2026-05"},
    )


def test_a_row_of_json_lines_has_the_contracts_names() -> None:
    line = json_line(fee={"minorUnits": "5", "destination": "fees"}, labels={"run": "x"}, externalReference="inv 7")
    found = request(of_json(line))
    assert (found.source, found.destination, found.amount.minor_units) == ("wallets/alice", "wallets/bob", 2500)
    assert (found.fee.minor_units, found.fee.destination) == (5, "wallets/fees")
    assert (dict(found.labels), found.external_reference) == ({"run": "x"}, "inv 7")


@pytest.mark.parametrize(
    "content",
    [
        f"{HEADER}\n{USUAL}\n",
        f"{HEADER}\n{USUAL}",
        f"{HEADER}\r\n{USUAL}\r\n",
        f"\ufeff{HEADER}\n{USUAL}\n",
        f'"{HEADER.replace(",", chr(34) + "," + chr(34))}"\n"alice","bob","2500","USD"\n',
        f"{HEADER}\n{USUAL}\n".replace(",", ";"),
        f"{HEADER}\n{USUAL}\n".replace(",", "\t"),
        f"{HEADER.upper()}\n alice , bob , 2500 , usd \n",
        "amount,currency,destination,source\n02500,USD,wallets/bob,wallets/alice\n",
        f"{HEADER}\n\n,,,\n{USUAL}\n\n",
        f"{HEADER},rejected_reason\n{USUAL},INSUFFICIENT_FUNDS\n",
    ],
)
def test_the_same_transfer_written_in_other_ways(content: str) -> None:
    assert request(of_csv(content)) == request(of_csv(f"{HEADER}\n{USUAL}\n")) == request(of_json(json_line()))


def test_lines_are_counted_as_an_editor_does() -> None:
    rows = of_csv(f'{HEADER},description\n{USUAL},"two\nlines"\n\n{USUAL},\nalice,bob,0,USD,\n')
    assert lines_of(rows) == [(2, True), (5, True), (6, False)]
    assert lines_of(of_json("", json_line(), "", "{}")) == [(2, True), (4, False)]


@pytest.mark.parametrize(
    ("cells", "flaw"),
    [
        ("alice,bob,12.50,USD", "amount: must be whole minor units of USD: 1250 is 12.50 USD"),
        ("alice,bob,12.50,JPY", "amount: must be a whole number of minor units, digits only: 2500 is 25.00 USD"),
        ('alice,bob,"1,250",USD', "amount: must be a whole number of minor units, digits only: 2500 is 25.00 USD"),
        ("alice,bob,-5,USD", "amount: must be a whole number of minor units, digits only: 2500 is 25.00 USD"),
        ("alice,bob,٢٥,USD", "amount: must be a whole number of minor units, digits only: 2500 is 25.00 USD"),
        ("alice,bob,,USD", "amount: must be a whole number of minor units, digits only: 2500 is 25.00 USD"),
        ("alice,bob,0,USD", "amount: must be 1 or more, in minor units: 2500 is 25.00 USD"),
        ("alice,bob,9223372036854775808,USD", "amount: must be 9223372036854775807 at the most"),
        ("alice,bob,1,US", "currency: must be an ISO 4217 code, as in USD"),
        ("alice,bob,1,USX", "currency: ISO 4217 has no currency USX"),
        ("alice,alice,1,USD", "destination: must be another wallet than the source"),
        ("Alice,bob,1,USD", "source: must be a wallet: 1 to 63 of a-z, 0-9 and -, as in alice or wallets/alice"),
        ("alice,,1,USD", "destination: must be a wallet: 1 to 63 of a-z, 0-9 and -, as in alice or wallets/alice"),
        ("alice,bob,1", "has 3 cells, the header has 4; put cells with a separator into quotes"),
        ('alice,"bob"x,1,USD', "',' expected after '\"'; a quote inside of quotes is written twice"),
        ('alice,"bob,1,USD', "a quote is opened and not closed"),
    ],
)
def test_a_broken_row_of_csv_is_told_with_its_line_and_column(cells: str, flaw: str) -> None:
    separator = ": " if flaw.startswith(("has", "a quote", "','")) else ", "
    assert told(of_csv(f"{HEADER}\n{USUAL}\n{cells}\n")) == [f"line 3{separator}{flaw}"]


def test_all_flaws_of_a_row_and_of_all_rows_are_told() -> None:
    rows = of_csv(f"{HEADER},label:9\nalice,Bob,1.5,USX,x\n{USUAL},\nalice,bob,x,USD,\n")
    found = [flaw.partition(":")[0] for flaw in told(rows)]
    assert found == ["line 2, amount", "line 2, destination", "line 2, label", "line 2, currency", "line 4, amount"]


@pytest.mark.parametrize(
    ("columns", "cells", "column"),
    [
        ("fee,fee_basis_points", "1,1", "fee_basis_points"),
        ("fee_basis_points", "10001", "fee_basis_points"),
        ("fee_basis_points", "1.5", "fee_basis_points"),
        ("fee", "0", "fee"),
        ("fee,fee_destination", ",fees", "fee_destination"),
        ("description", "x" * 501, "description"),
        ("request_id", "x" * 129, "request_id"),
        ("external_reference", "a\tb", "external_reference"),
    ],
)
def test_optional_columns_have_rules_too(columns: str, cells: str, column: str) -> None:
    (flaw,) = told(of_csv(f"{HEADER},{columns}\n{USUAL},{cells}\n"))
    assert flaw.startswith(f"line 2, {column}: must ")


@pytest.mark.parametrize(
    ("line", "flaw"),
    [
        ("{", "line 1: is no JSON at its character 2: "),
        ("[]", "line 1: must be one object"),
        ("[" * 100_000, "line 1: is no JSON that can be read: "),
        (json_line(foo=1), "line 1, foo: is no field that there is; there are source, destination, amount"),
        (json_line(amount=2500), 'line 1, amount: must be an object: {"currencyCode": "USD", "minorUnits": 2500}'),
        (json_line(amount={"currencyCode": "USD", "minorUnits": "12.50"}), "line 1, amount.minorUnits: "),
        (json_line(amount={"currencyCode": "USD", "minorUnits": 0}), "line 1, amount: must be 1 or more"),
        (json_line(amount={"currencyCode": "usd", "minorUnits": 1}), "line 1, amount.currencyCode: must be an ISO"),
        (json_line(labels={"Run": "x"}), 'line 1, labels["Run"]: must have a key'),
        (json_line(source=5), "line 1, source: expected string"),
        (json_line(description="\ud800"), "line 1, description: "),
        ('{"source": "a", "source": "b"}', 'line 1: is no JSON that can be read: "source" stands twice'),
        (
            json_line(amount={"currencyCode": "USD", "minor_units": 1, "minorUnits": 100}),
            'line 1: is no JSON that can be read: "minor_units" stands twice',
        ),
        (
            json_line(amount={"currencyCode": "USD", "minorUnits": "1_0"}),
            'line 1, amount.minorUnits: "1_0" is no whole',
        ),
        (json_line(amount={"currencyCode": "USD", "minor_units": "٢٥"}), 'line 1, amount.minorUnits: "٢٥" is no whole'),
        (json_line(fee={"basis_points": "+5"}), 'line 1, fee.basisPoints: "+5" is no whole'),
    ],
)
def test_a_broken_line_of_json_is_told_with_its_field(line: str, flaw: str) -> None:
    (found,) = told(of_json(line))
    assert found.startswith(flaw)


def test_decimals_in_json_say_what_to_do() -> None:
    (flaw,) = told(of_json(json_line(amount={"currencyCode": "USD", "minorUnits": 12.5})))
    assert flaw == "line 1, amount.minorUnits: 12.5 is no whole number; write whole minor units: 2500 is 25.00 USD"


@pytest.mark.parametrize(
    ("content", "flaw"),
    [
        (b"", "line 1: the file is empty"),
        (b"source,amount,currency\n", "line 1: the header has no destination"),
        (f"{HEADER},amount\n".encode(), "line 1, amount: stands twice in the header"),
        (f"{HEADER},descripton\n".encode(), "line 1, descripton: is no column that there is"),
        (f"{HEADER}\n".encode("utf-16"), "line 1: this is UTF-16: save it as UTF-8"),
        (b"PK\x03\x04rest", "line 1: this is a spreadsheet or an archive"),
        (b"x" * (LINE_BYTES_MAX + 1), f"line 1: is longer than {LINE_BYTES_MAX} bytes"),
    ],
)
def test_a_file_that_cannot_be_read_at_all(content: bytes, flaw: str) -> None:
    with pytest.raises(Unreadable) as unreadable:
        of_csv(content)
    assert str(unreadable.value).startswith(flaw)


def test_a_quote_that_is_never_closed_swallows_no_memory() -> None:
    rows = of_csv(f'{HEADER}\n{USUAL}\nalice,"bob,1,USD\n' + f"{USUAL}\n" * 20_000)
    next(rows)
    with pytest.raises(Unreadable, match="line 3: a quote is opened and not closed"):
        next(rows)


def test_a_line_that_is_no_text_or_too_long_does_not_hide_the_next_ones() -> None:
    content = f"{HEADER}\n".encode() + b"alice,b\xfcb,1,USD\n" + b"y" * 400_000 + f"\n{USUAL}\n".encode()
    assert lines_of(of_csv(content)) == [(2, False), (3, False), (4, True)]
    assert told(of_csv(content)) == [
        "line 2: is not UTF-8 at its byte 8 (0xfc); save the file as UTF-8",
        f"line 3: is longer than {LINE_BYTES_MAX} bytes; one transfer stands on one line",
    ]


def test_a_line_without_an_end_takes_no_memory(tmp_path: Path) -> None:
    file = tmp_path / "endless.csv"
    with file.open("wb") as endless:
        endless.write(f"{HEADER}\n".encode())
        endless.truncate(50_000_000)
    with file.open("rb") as source, measured() as peak:
        assert lines_of(CsvRows(Lines(source))) == [(2, False)]
    assert peak() < 8 * LINE_BYTES_MAX


def test_lines_take_8_bytes_each(tmp_path: Path) -> None:
    file, lines = tmp_path / "many.csv", 4_000
    file.write_text("\n".join([HEADER, *(f"alice,bob,{1 + number},USD" for number in range(lines))]))
    with file.open("rb") as source, Spool("") as spool, measured() as peak:
        checked = check(CsvRows(Lines(source)), spool, lambda _: None)
    assert checked.to_send == lines
    assert peak() < 100 * lines


@contextmanager
def measured() -> Iterator[Callable[[], int]]:
    """The most bytes that Python had for what was done inside."""
    tracemalloc.start()
    try:
        yield lambda: peak
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
