"""`specie import`: sends a file of transfers, each line once, however often the command is run."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, BinaryIO

import grpc
import typer
from specie.transaction.v1 import BatchTransferRequest, BatchTransferResponse, TransactionServiceStub

from specie_cli.ending import EXIT_INTERRUPTED
from specie_cli.gateway import CALL_TIMEOUT_SECONDS, DEFAULT_SERVER, Json, Server, connection
from specie_cli.imports.checking import Checked, check, sendable
from specie_cli.imports.csv_rows import CsvRows
from specie_cli.imports.json_rows import JsonRows
from specie_cli.imports.lines import Lines
from specie_cli.imports.rejected import RejectedFile, usual_path
from specie_cli.imports.report import Report, Tally
from specie_cli.imports.request_ids import following
from specie_cli.imports.row import Broken, Format, Row, Unreadable
from specie_cli.imports.sender import ITEMS_MAX, GaveUp, Kind, Outcome, Sender, batches
from specie_cli.imports.spool import Numbered, Spool

EXIT_REJECTED = 1
EXIT_BROKEN_FILE = 2
EXIT_UNFINISHED = 3
CONNECT_SECONDS = 2
LINES_A_STEP = 500
"""Between two movements of the progress bar."""
BROKEN_LINE = "BROKEN_LINE"
"""The reason of a line that was not sent."""
STDIN = Path("-")


@dataclass(frozen=True)
class Manner:
    """How to send."""

    server: str
    batch_size: int
    patience_seconds: float


def import_file(
    file: Annotated[Path, typer.Argument(help="Of transfers, CSV or JSON Lines; - is standard input")],
    form: Annotated[Format | None, typer.Option("--format", help="Default: as the file's name ends")] = None,
    series: Annotated[
        str, typer.Option(help="The same lines in another series are other transfers, for example 2026-11")
    ] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check the file and send nothing")] = False,
    skip_broken: Annotated[
        bool, typer.Option("--skip-broken", help="Send the lines that are right; the broken ones are rejected")
    ] = False,
    rejected: Annotated[Path | None, typer.Option(help="Where rejected lines go. Default: beside the file")] = None,
    batch_size: Annotated[int, typer.Option(min=1, max=ITEMS_MAX, help="Transfers a call, at most")] = 1000,
    patience: Annotated[float, typer.Option(min=0, help="For how many seconds to send again what has no answer")] = 60,
    server: Server = DEFAULT_SERVER,
    json: Json = False,
) -> None:
    """Sends a file of transfers, each line once, however often it is run."""
    form = form or _format_of(file)
    place = rejected or usual_path(file, form)
    if file != STDIN and os.path.realpath(place) == os.path.realpath(file):
        raise typer.BadParameter("is the file itself", param_hint="--rejected")
    report, began = Report(json), False
    try:
        with Spool(series) as spool, _opened(file) as source:
            lines = Lines(source)
            rows = CsvRows(lines) if form is Format.CSV else JsonRows(lines)
            with nullcontext() if dry_run else RejectedFile(place, form, rows.header) as rejects:
                checked = _check(rows, lines, source, spool, rejects, report)
                if checked.flaws:
                    report.flaws(checked, skip_broken)
                    if not (skip_broken and checked.is_whole):
                        raise typer.Exit(EXIT_BROKEN_FILE)
                report.totals(checked)
                if rejects is None:
                    raise typer.Exit(EXIT_REJECTED if checked.flaws else 0)
                began = True
                raise typer.Exit(_send(spool, checked, rejects, Manner(server, batch_size, patience), report))
    except (Unreadable, OSError) as error:
        report.error(str(error))
        raise typer.Exit(EXIT_BROKEN_FILE) from None
    except KeyboardInterrupt:
        report.error("interrupted" if began else "interrupted; nothing was sent")
        raise typer.Exit(EXIT_INTERRUPTED) from None


def _check(
    rows: CsvRows | JsonRows,
    lines: Lines,
    source: BinaryIO,
    spool: Spool,
    rejects: RejectedFile | None,
    report: Report,
) -> Checked:
    def refuse(broken: Broken) -> None:
        if rejects is not None:
            rejects.add(broken.line, broken.original, "", BROKEN_LINE, "; ".join(map(str, broken.flaws)), {})

    with report.progress("checking", os.fstat(source.fileno()).st_size or None) as (done, _):

        def watched() -> Iterator[Row | Broken]:
            for row in rows:
                if lines.number % LINES_A_STEP == 0:
                    done(lines.bytes_read)
                yield row

        return check(watched(), spool, refuse)


def _send(spool: Spool, checked: Checked, rejects: RejectedFile, manner: Manner, report: Report) -> int:
    """The exit code."""
    tally, code, place = Tally(), 0, None
    try:
        with connection(manner.server) as channel, report.progress("sending", checked.to_send) as (done, waiting):
            _reach(channel, manner.server)
            sender = Sender(_caller(channel), manner.patience_seconds, waiting)
            for batch in batches(sendable(spool), manner.batch_size):
                for index, outcome in sender.send([numbered.row.request for numbered in batch]):
                    tally.count(outcome)
                    if outcome.kind is Kind.REJECTED:
                        _reject(rejects, batch[index], outcome)
                done(tally.finished)
    except (GaveUp, OSError) as error:
        report.error(str(error))
        code = EXIT_UNFINISHED
    except typer.Exit as exited:
        # It was told why: a token that has expired, say. Whatever it is, the file is not done.
        code = EXIT_INTERRUPTED if exited.exit_code == EXIT_INTERRUPTED else EXIT_UNFINISHED
    try:
        place = rejects.close()
    except OSError as error:
        report.error(f"{error}. Run the same again for the rejected lines.")
        code = code or EXIT_UNFINISHED
    if not report.outcome(checked, tally, place):
        code = code or EXIT_UNFINISHED
    return code or (EXIT_REJECTED if place else 0)


def _caller(channel: grpc.Channel) -> Callable[[BatchTransferRequest], BatchTransferResponse]:
    stub = TransactionServiceStub(channel)

    def call(request: BatchTransferRequest) -> BatchTransferResponse:
        answer: BatchTransferResponse = stub.BatchTransfer(request, timeout=CALL_TIMEOUT_SECONDS)
        return answer

    return call


def _reach(channel: grpc.Channel, server: str) -> None:
    """So that a wrong address is told at once, and not only when patience ends. Raises GaveUp."""
    try:
        grpc.channel_ready_future(channel).result(timeout=CONNECT_SECONDS)
    except grpc.FutureTimeoutError:
        raise GaveUp(f"nothing answers at {server}; --server names another gateway") from None


def _reject(rejects: RejectedFile, numbered: Numbered, outcome: Outcome) -> None:
    """What failed for good gets another id, so that the file of rejected lines is a new attempt at it."""
    row = numbered.row
    known = row.request.request_id
    request_id = following(known) if outcome.is_on_record else known
    rejects.add(row.line, row.original, request_id, outcome.reason, outcome.message, outcome.metadata)


def _format_of(file: Path) -> Format:
    try:
        return Format(file.suffix.lower().removeprefix("."))
    except ValueError:
        text = f"{file} ends neither in .csv nor in .jsonl: say --format csv or --format jsonl"
        raise typer.BadParameter(text, param_hint="FILE") from None


@contextmanager
def _opened(file: Path) -> Iterator[BinaryIO]:
    """Raises OSError."""
    if file == STDIN:
        if sys.stdin is None:
            raise OSError("standard input is closed")
        yield sys.stdin.buffer
        return
    try:
        source = file.open("rb")
    except OSError as error:
        raise OSError(f"{file} cannot be read: {error.strerror}") from error
    with source:
        yield source
