"""Messages as tables for people and as JSON for machines."""

import sys
from collections.abc import Collection, Iterable, Sequence
from datetime import UTC
from decimal import Decimal
from typing import Literal

from google.protobuf.json_format import MessageToJson
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from iso4217 import Currency
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text
from specie.type.v1 import Money


def as_json(message: Message) -> None:
    """The same JSON as the gateway's, on standard output and nothing else there."""
    sys.stdout.write(MessageToJson(message, always_print_fields_with_no_presence=True) + "\n")


def as_table(columns: Sequence[str], rows: Iterable[Sequence[str]], right: Collection[str] = ()) -> None:
    """As narrow as it can be; what is too wide for the terminal goes on in the next line, and nothing is cut. `right`:
    the columns of numbers."""
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, collapse_padding=True)
    for column in columns:
        table.add_column(column, overflow="fold", justify="right" if column in right else "left")
    for row in rows:
        table.add_row(*map(plain, row))
    Console().print(table)


def as_facts(facts: Iterable[tuple[str, str]]) -> None:
    """One thing, a line for each of its fields, none of which is cut."""
    table = Table(show_header=False)
    table.add_column()
    table.add_column(overflow="fold")
    for name, value in facts:
        table.add_row(name, plain(value))
    Console().print(table)


def plain(text: str) -> Text:
    """Other people's words: neither markup nor control sequences of the terminal."""
    return Text("".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text))


def money(amount: Money) -> str:
    """`25.00 USD (2500)`: for people, and the minor units that the commands take."""
    return units(amount.minor_units, amount.currency_code)


def units(minor_units: int, currency_code: str) -> str:
    """The same of any number, also one that is too large for an amount."""
    told = major(minor_units, currency_code, grouping=",")
    return f"{minor_units} {currency_code}" if told is None else f"{told} {currency_code} ({minor_units})"


def major(minor_units: int, currency_code: str, *, grouping: Literal["", ","] = "") -> str | None:
    """`-1234.50` of -123450 minor units. None: the currency is newer than this list."""
    try:
        exponent = Currency(currency_code).exponent or 0
    except ValueError:
        return None
    return f"{Decimal(minor_units).scaleb(-exponent):{grouping}.{exponent}f}"


def time(stamp: Timestamp) -> str:
    return stamp.ToDatetime(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def day_and_time(stamp: Timestamp) -> str:
    """In UTC, to the second; in a narrow table it breaks at the space."""
    return f"{stamp.ToDatetime(UTC):%Y-%m-%d %H:%M:%S}"


def short(enum_name: str, prefix: str) -> str:
    """`ACTIVE` of `WALLET_STATE_ACTIVE`."""
    return enum_name.removeprefix(prefix)
