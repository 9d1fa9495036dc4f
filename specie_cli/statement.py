"""`specie statement`: a wallet's month, for people."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Annotated
from zoneinfo import ZoneInfo

import typer
from google.protobuf.timestamp_pb2 import Timestamp
from specie.transaction.v1 import (
    Entry,
    ReportClosing,
    ReportEntriesRequest,
    ReportOpening,
    TransactionKind,
    TransactionServiceStub,
)

from specie_cli import show
from specie_cli.ending import Refused, told
from specie_cli.gateway import DEFAULT_SERVER, Server, connection
from specie_cli.report import Wallet
from specie_cli.reports.reading import read
from specie_cli.reports.times import month_of, zone_of
from specie_cli.wallets import name_of

LINES_MAX = 10_000
"""More than that nobody reads."""


@dataclass
class Month:
    """What came."""

    opening: ReportOpening = field(default_factory=ReportOpening)
    entries: list[Entry] = field(default_factory=list)
    closing: ReportClosing = field(default_factory=ReportClosing)


class TooLong(Exception):  # noqa: N818 - what it is
    """The month has more entries than anybody reads."""


def statement(
    wallet: Wallet,
    month: Annotated[str, typer.Option(help="For example 2026-11")],
    time_zone: Annotated[str, typer.Option(help="In which its days begin, for example Europe/Berlin")] = "UTC",
    server: Server = DEFAULT_SERVER,
) -> None:
    """Prints a wallet's month: what it had, what came and went, and what it has."""
    zone = zone_of(time_zone)
    first, next_first = month_of(month, zone)
    request = ReportEntriesRequest(wallet=name_of(wallet), start_time=first)
    if next_first.ToDatetime(UTC) <= datetime.now(UTC):
        request.end_time.CopyFrom(next_first)
    with told(), connection(server) as channel:
        stub = TransactionServiceStub(channel)
        try:
            found = _read(stub, request)
            if found.opening.end_time.ToDatetime(UTC) > next_first.ToDatetime(UTC):  # this clock goes behind
                request.end_time.CopyFrom(next_first)
                found = _read(stub, request)
        except TooLong as error:
            of_month = f"--from {_day(first, zone)} --to {_day(next_first, zone)} --time-zone {time_zone}"
            raise Refused(f"{error}; `specie report --wallet {wallet} {of_month}` writes them all") from error
        _show(request, month, zone, found)


def _read(stub: TransactionServiceStub, request: ReportEntriesRequest) -> Month:
    """Raises TooLong, Unsound, grpc.RpcError."""
    found = Month()
    for message in read(stub.ReportEntries, request):
        if message.HasField("opening"):
            found.opening = message.opening
            if message.opening.entry_count > LINES_MAX:
                raise TooLong(f"{request.wallet} has {message.opening.entry_count} entries in this month")
        found.entries += message.entries
        found.closing = message.closing
    return found


def _show(request: ReportEntriesRequest, month: str, zone: ZoneInfo, found: Month) -> None:
    amounts = [entry.amount.minor_units for entry in found.entries]
    currency = found.opening.balance.currency_code
    until = "" if request.HasField("end_time") else f", until {_time(found.opening.end_time, zone)}"
    show.as_facts(
        [
            ("wallet", request.wallet),
            ("month", f"{month}, {zone.key}{until}"),
            ("opening balance", show.money(found.opening.balance)),
            ("in", show.units(sum(amount for amount in amounts if amount > 0), currency)),
            ("out", show.units(sum(amount for amount in amounts if amount < 0), currency)),
            ("closing balance", show.money(found.closing.balance)),
        ]
    )
    if not found.entries:
        print("Nothing came and nothing went.")
        return
    columns = ["time", "kind", "counterparty", currency, "balance"]
    rows = [
        [
            _time(entry.post_time, zone),
            show.short(TransactionKind.Name(entry.kind), "TRANSACTION_KIND_"),
            entry.counterparty,
            _amount(entry.amount.minor_units, currency),
            _amount(entry.balance.minor_units, currency),
        ]
        for entry in found.entries
    ]
    if any(entry.description for entry in found.entries):
        columns.append("description")
        for row, entry in zip(rows, found.entries, strict=True):
            row.append(entry.description)
    show.as_table(columns, rows, right={currency, "balance"})


def _amount(minor_units: int, currency: str) -> str:
    return show.major(minor_units, currency, grouping=",") or str(minor_units)


def _time(stamp: Timestamp, zone: ZoneInfo) -> str:
    return f"{stamp.ToDatetime(UTC).astimezone(zone):%Y-%m-%d %H:%M:%S}"


def _day(stamp: Timestamp, zone: ZoneInfo) -> str:
    return f"{stamp.ToDatetime(UTC).astimezone(zone):%Y-%m-%d}"
