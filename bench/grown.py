"""`make bench-large`: the same load on an empty ledger and on a large one, side by side on one PostgreSQL server.

Each ledger is a database with a service of its own; whoever has no turn is idle.
"""

import tempfile
from contextlib import ExitStack
from pathlib import Path

import psutil
import psycopg2
from rich.console import Console
from rich.progress import Progress

from bench import floor_shapes, large
from bench.bars import GROWN, SPREAD
from bench.machine import Meter
from bench.measured import Figures, Measurement, take_turns
from bench.measurements import Place
from bench.wallets import ACTIVE
from tests.kit.postgres import Server, running_server
from tests.kit.service import transaction_service
from tests.kit.tokens import USUAL_TOKEN


def measure(accounts: int, entries: int, rounds: int, seconds: float, console: Console) -> dict[str, Figures]:
    console.print("starting PostgreSQL and two services")
    with ExitStack() as running:
        folder = Path(running.enter_context(tempfile.TemporaryDirectory(prefix="specie-bench-")))
        server = running.enter_context(running_server())
        empty, grown = (running.enter_context(server.fresh_database()) for _ in range(2))
        large.load(empty.owner_dsn, ACTIVE, 2 * ACTIVE)
        with Progress(console=console) as progress:
            task = progress.add_task(f"loading {accounts:,} accounts and {entries:,} entries", total=1)
            large.load(grown.owner_dsn, accounts, entries, told=lambda share: progress.update(task, completed=share))
        floor_shapes.prepare(empty.owner_dsn)
        checkpoint(server)
        services = [running.enter_context(transaction_service(database, folder)) for database in (empty, grown)]
        meters = [
            Meter([psutil.Process(server.postgres.part.pid), psutil.Process(service.pid)]) for service in services
        ]
        targets = [service.targets[0] for service in services]
        one = Place(meters[0], targets[0], empty.owner_dsn, USUAL_TOKEN)
        other = Place(
            meters[1], targets[1], grown.owner_dsn, USUAL_TOKEN, GROWN, "grown: ", ("--stride", str(accounts // ACTIVE))
        )
        spread = Place(
            meters[1], targets[1], grown.owner_dsn, USUAL_TOKEN, SPREAD, "grown, all: ", ("--active", str(accounts))
        )
        return take_turns(measurements(one, other, spread), rounds, seconds, console)


def measurements(empty: Place, grown: Place, spread: Place) -> list[Measurement]:
    """`grown`: as many wallets take part as in `empty`, but they lie among a large number of others. `spread`: all."""
    return [
        empty.floor(),
        empty.unary(1),
        grown.unary(1),
        empty.unary(64),
        grown.unary(64),
        empty.unary(256),
        grown.unary(256),
        spread.unary(256),
        empty.floor_set(),
        empty.batch(1),
        grown.batch(1),
        empty.batch(4),
        grown.batch(4),
        spread.batch(4),
    ]


def checkpoint(server: Server) -> None:
    """What the load has left to be written is not the measurements' to pay for."""
    connection = psycopg2.connect(server.postgres.superuser_dsn())
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("CHECKPOINT")
    finally:
        connection.close()
