"""What the record costs: the same batches with the back office at work and with it held.

At work it seals, checks the books and sends every event to one receiver. Held it is stopped where it stands (SIGSTOP),
so both are measured on one ledger, in turn.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Final

import grpc
import psutil
import psycopg2
from specie.transaction.v1 import CreateWebhookEndpointRequest, WebhookEndpoint, WebhookServiceStub

from bench.machine import part_of
from bench.measured import Measurement
from bench.measurements import BEHIND_GRPC, Place
from tests.kit.stack import Stack

IN_FLIGHT: Final = 4
PATIENCE_SECONDS: Final = 300
POLL_SECONDS: Final = 0.2

BEHIND: Final = """
SELECT count(*) FROM transactions.transaction WHERE state <> 3 AND (xid, id) > (
    SELECT until_xid, until_id FROM transactions.{table} ORDER BY until_xid DESC LIMIT 1)
"""


@dataclass(frozen=True)
class BackOffice:
    """Of a running stack."""

    process: psutil.Process
    owner_dsn: str

    @classmethod
    def of(cls, stack: Stack) -> "BackOffice":
        children = psutil.Process(stack.process.pid).children(recursive=True)
        return cls(next(child for child in children if part_of(child) == "back_office"), stack.owner_dsn)

    def hold(self) -> None:
        self.process.send_signal(signal.SIGSTOP)

    @contextmanager
    def held(self) -> Iterator[None]:
        """At the end it goes on: it could not be stopped otherwise."""
        self.hold()
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)

    def behind(self, table: str) -> int:
        """How many transactions are not sealed yet (`block`), or not checked (`integrity`)."""
        connection = psycopg2.connect(self.owner_dsn)
        try:
            with connection.cursor() as cursor:
                cursor.execute(BEHIND.format(table=table))
                found: int = cursor.fetchone()[0]  # type: ignore[index]  # a count has one row
        finally:
            connection.close()
        return found

    def catch_up(self) -> None:
        """Goes on until nothing waits but webhooks, which come after batches much later."""
        self.process.send_signal(signal.SIGCONT)
        last = time.monotonic() + PATIENCE_SECONDS
        while self.behind("block") or self.behind("integrity"):
            if time.monotonic() > last:
                raise RuntimeError("the back office does not catch up")
            time.sleep(POLL_SECONDS)


@contextmanager
def one_webhook(stack: Stack) -> Iterator[None]:
    """Every event goes to a receiver that takes all."""
    command = [sys.executable, "-m", "bench.receiver"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ) as receiver:
        try:
            url = receiver.stdout.readline().strip() if receiver.stdout else ""
            with grpc.insecure_channel(stack.transaction[0]) as channel:
                stub: Any = stack.authorised(WebhookServiceStub(channel))
                stub.CreateWebhookEndpoint(CreateWebhookEndpointRequest(endpoint=WebhookEndpoint(url=url)))
            yield
        finally:
            receiver.terminate()


def measurements(place: Place, office: BackOffice) -> list[Measurement]:
    """The same load twice. Before the back office is at work it has come after what went before."""
    load, at_work = place.batch(IN_FLIGHT), (*BEHIND_GRPC, "back_office")
    return [
        replace(load, name="batch_held", says="batches, record held", prepare=office.hold),
        replace(load, name="batch_record", says="batches, record at work", prepare=office.catch_up, parts=at_work),
    ]
