"""`specie audit verify`: the whole ledger against its audit chain."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from specie.transaction.v1 import AuditServiceStub

from audit_chain import checkpoint as checkpoints
from audit_chain.header import hash_of
from audit_chain.verification import ChainVerification
from specie_cli import show
from specie_cli.audits.files import (
    DataDir,
    PublicKey,
    checkpoint_of,
    replace,
    trusted_keys,
)
from specie_cli.audits.reading import read
from specie_cli.ending import Refused, messages, told
from specie_cli.gateway import DEFAULT_SERVER, Server, connection

EXIT_NOT_CHECKED: Final = 2
"""What is asked is whether all is right, and it could not be found out."""


def verify(
    public_key: PublicKey = None,
    checkpoint: Annotated[Path | None, typer.Option(help="A checkpoint that must stand in the ledger")] = None,
    save_checkpoint: Annotated[
        Path | None,
        typer.Option(help="Where the new checkpoint goes; the one that is there already must stand in the ledger"),
    ] = None,
    data_dir: DataDir = Path(".specie"),
    server: Server = DEFAULT_SERVER,
) -> None:
    """Compares every transaction with what was sealed, and every block with its signature and the block before it.

    Ends with 0 if all of it is as it was sealed; names the first block and row where it is not, and ends with 1. Ends
    with 2 where it could not be checked, with 3 where nothing answers.
    """
    with told(EXIT_NOT_CHECKED):
        keys = trusted_keys(public_key, data_dir)
        if save_checkpoint is not None and not save_checkpoint.absolute().parent.is_dir():
            raise Refused(f"there is no directory {save_checkpoint.absolute().parent}")
        # So that no run can replace a checkpoint by one that does not follow from it.
        kept = [] if checkpoint is None else [checkpoint]
        kept += [save_checkpoint] if save_checkpoint is not None and save_checkpoint.exists() else []
        seals = [checkpoint_of(path, keys) for path in kept]
        verification = ChainVerification(keys, seals)
        with connection(server) as channel, _progress(verification) as watch:
            read(AuditServiceStub(channel).ReadBlocks, verification, watch)
        _tell(verification)
        if save_checkpoint is not None and verification.last is not None:
            replace(save_checkpoint, checkpoints.written(verification.last))


def _tell(verification: ChainVerification) -> None:
    last, header = verification.last, verification.header
    if last is None or header is None:
        print("Nothing is sealed yet.")
        return
    print("Every transaction and every block is as it was sealed.")
    show.as_facts(
        [
            ("blocks", str(verification.blocks)),
            ("transactions", str(verification.transactions)),
            ("until", moment(header.sealed)),
            ("checkpoint", f"block {header.number}, {hash_of(last.header).hex()}"),
        ]
    )


def moment(time: datetime) -> str:
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")


@contextmanager
def _progress(verification: ChainVerification) -> Iterator[Callable[[int, int], None]]:
    """A bar over the blocks, where a person looks on."""
    console, began, records = messages(), time.monotonic(), 0
    speed = TextColumn("{task.fields[speed]}")
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), speed, TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("blocks", total=None, speed="")

        def watch(came: int, latest_block: int) -> None:
            nonlocal records
            records += came
            rate = f"{records / max(time.monotonic() - began, 0.001):,.0f} transactions/s"
            bar.update(task, completed=verification.blocks, speed=rate)
            if latest_block:
                bar.update(task, total=latest_block)

        yield watch
