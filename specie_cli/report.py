"""`specie report`: all entries of a wallet within a time range, of any number, for other programs."""

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from specie.transaction.v1 import ReportEntriesRequest, ReportEntriesResponse, TransactionServiceStub

from specie_cli import show
from specie_cli.ending import messages, told
from specie_cli.gateway import DEFAULT_SERVER, Server, connection
from specie_cli.reports.output import flaw_of, written
from specie_cli.reports.reading import read
from specie_cli.reports.records import Format, lines_of
from specie_cli.reports.times import bound, zone_of
from specie_cli.wallets import name_of

Wallet = Annotated[str, typer.Option(help="Its name")]
TimeZone = Annotated[str, typer.Option(help="Of dates and times that do not say their own, for example Europe/Berlin")]


def report(
    wallet: Wallet,
    start: Annotated[
        str | None, typer.Option("--from", help="A date or time. Default: the wallet's first entry")
    ] = None,
    end: Annotated[
        str | None,
        typer.Option("--to", help="A date or time, and not itself in it: 2026-12-01 is all of November. Default: now"),
    ] = None,
    time_zone: TimeZone = "UTC",
    form: Annotated[Format, typer.Option("--format", help="For spreadsheets, or for programs")] = Format.CSV,
    output: Annotated[Path | None, typer.Option(help="Write it to this file instead of printing it")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the file if there is one")] = False,
    server: Server = DEFAULT_SERVER,
) -> None:
    """Writes all that came into a wallet and went out of it, with the balances before and after."""
    zone = zone_of(time_zone)
    request = ReportEntriesRequest(wallet=name_of(wallet))
    bound(request, start, end, zone)
    if output is not None and (flaw := flaw_of(output, force=force)):
        raise typer.BadParameter(flaw, param_hint="--output")
    seen: list[ReportEntriesResponse] = []
    with told(), connection(server) as channel, written(output) as file:
        came = read(TransactionServiceStub(channel).ReportEntries, request)
        for text in lines_of(form, request, _watched(came, messages(), output, seen)):
            file.write(text)
    if output is not None:
        opening, closing = seen[0].opening, seen[-1].closing
        print(f"{output}: {opening.entry_count} entries of {request.wallet}")
        print(f"opening {show.money(opening.balance)}, closing {show.money(closing.balance)}")


def _watched(
    came: Iterable[ReportEntriesResponse], console: Console, output: Path | None, seen: list[ReportEntriesResponse]
) -> Iterator[ReportEntriesResponse]:
    """The same messages, with a bar where a person looks on and the report itself is not in the way. `seen`: gets the
    opening and the closing."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    hidden = not console.is_terminal or (output is None and sys.stdout.isatty())
    with Progress(*columns, console=console, transient=True, disable=hidden) as bar:
        task = bar.add_task("entries", total=None)
        for message in came:
            if message.HasField("opening"):
                bar.update(task, total=message.opening.entry_count)
            if not message.entries:
                seen.append(message)
            bar.advance(task, len(message.entries))
            yield message
