"""A report as lines of text: CSV for spreadsheets, JSON Lines for programs. The same fields in both."""

import csv
import json
from collections.abc import Iterable, Iterator
from datetime import UTC
from enum import StrEnum
from io import StringIO
from typing import Final

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

from specie_cli import show

FIELDS: Final = (
    "record",
    "wallet",
    "sequence",
    "time",
    "kind",
    "counterparty",
    "description",
    "amount",
    "balance",
    "currency",
    "amount_minor_units",
    "balance_minor_units",
    "transaction",
)
"""`record` is opening, entry or closing; the first and the last have no amount, so that the amounts of all lines are
the difference of the balances."""
WORDS: Final = {"counterparty", "description"}
FORMULA_STARTS: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""What spreadsheets take for the beginning of a formula (OWASP, CSV injection), in full width too."""

Value = str | int | None
Record = tuple[Value, ...]


class Format(StrEnum):
    CSV = "csv"
    JSONL = "jsonl"


def lines_of(form: Format, request: ReportEntriesRequest, messages: Iterable[ReportEntriesResponse]) -> Iterator[str]:
    """The text for each message, whole lines, as the messages come."""
    start = request.start_time if request.HasField("start_time") else None
    end = None
    for message in messages:
        if message.HasField("opening"):
            end = message.opening.end_time
            first = [_border("opening", request.wallet, message.opening, start)]
            yield _csv([FIELDS, *map(_harmless, first)]) if form is Format.CSV else _json_lines(first)
            continue
        records = [*map(_entry, message.entries)]
        if message.HasField("closing"):
            records.append(_border("closing", request.wallet, message.closing, end))
        yield _csv(map(_harmless, records)) if form is Format.CSV else _json_lines(records)


def _border(record: str, wallet: str, what: ReportOpening | ReportClosing, time: Timestamp | None) -> Record:
    told = None if time is None else _time(time)
    balance = what.balance
    return (
        *(record, wallet, what.sequence, told, None, None, None, None),
        *(_major(balance), balance.currency_code, None, balance.minor_units, None),
    )


def _entry(entry: Entry) -> Record:
    return (
        "entry",
        entry.wallet,
        entry.sequence,
        _time(entry.post_time),
        show.short(TransactionKind.Name(entry.kind), "TRANSACTION_KIND_"),
        entry.counterparty,
        entry.description,
        _major(entry.amount),
        _major(entry.balance),
        entry.amount.currency_code,
        entry.amount.minor_units,
        entry.balance.minor_units,
        entry.transaction,
    )


def _major(money: Money) -> str | None:
    return show.major(money.minor_units, money.currency_code)


def _time(stamp: Timestamp) -> str:
    return stamp.ToDatetime(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _csv(rows: Iterable[Record]) -> str:
    text = StringIO()
    csv.writer(text).writerows(rows)  # lines end as RFC 4180 has it; with other ends the writer leaves a CR unquoted
    return text.getvalue()


def _harmless(record: Record) -> Record:
    """Only other people's words are changed: amounts stay numbers, with their sign."""
    return tuple(
        harmless(value) if field in WORDS and isinstance(value, str) else value
        for field, value in zip(FIELDS, record, strict=True)
    )


def harmless(text: str) -> str:
    """The text with an apostrophe before it if a spreadsheet would take it for a formula: it then shows it as text."""
    return "'" + text if text.startswith(FORMULA_STARTS) or text.lstrip().startswith(FORMULA_STARTS) else text


def _json_lines(records: Iterable[Record]) -> str:
    """What has no value is left out. Texts are as they are."""
    return "".join(
        json.dumps({k: v for k, v in zip(FIELDS, record, strict=True) if v is not None}, ensure_ascii=False) + "\n"
        for record in records
    )
