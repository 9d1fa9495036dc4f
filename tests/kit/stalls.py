"""What stands still in a running stack, and what is left of it in PostgreSQL afterwards."""

import os
import signal
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg2

from specie_cli.stack.postgres import SUPERUSER
from specie_cli.stack.secret import password
from tests.kit.stack import Stack


@contextmanager
def halted(pids: Iterable[int]) -> Iterator[None]:
    """These processes do nothing, and nobody is told: their connections stay open."""
    found = list(pids)
    assert found
    try:
        _send(found, signal.SIGSTOP)
        yield
    finally:
        _send(found, signal.SIGCONT)


def _send(pids: Iterable[int], number: signal.Signals) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):  # it has ended by itself
            os.kill(pid, number)


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def part(stack: Stack, word: str) -> int:
    """The process of the stack whose program, or module, has this name."""
    commands = {pid: Path(f"/proc/{pid}/cmdline").read_text().split("\0") for pid in children(stack.process.pid)}
    (found,) = [pid for pid, command in commands.items() if word in {Path(command[0]).name, *command[1:3]}]
    return found


def database_processes(stack: Stack) -> list[int]:
    """PostgreSQL's, that which would make new connections included."""
    server = part(stack, "postgres")
    return [server, *children(server)]


def idle_in_transaction(stack: Stack) -> list[str]:
    """The programs whose transactions wait for them to go on. Only a superuser sees what others do."""
    place = stack.owner_dsn.rpartition("@")[2]
    connection = psycopg2.connect(f"postgresql://{SUPERUSER}:{password(stack.data_dir / 'secrets', SUPERUSER)}@{place}")
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT application_name FROM pg_stat_activity WHERE state LIKE 'idle in transaction%'")
            return [name for (name,) in cursor.fetchall()]
    finally:
        connection.close()
