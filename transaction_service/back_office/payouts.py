"""Pays out, and gives back what is refused through a posting lane of its own."""

import asyncio
from functools import partial
from typing import Final

from service_kit.database import Database
from service_kit.tls import channel_credentials
from transaction_service.adapters.payout_provider import GrpcPayoutProvider
from transaction_service.adapters.payouts import SqlPayoutStore
from transaction_service.adapters.reader import SqlLedgerReader
from transaction_service.back_office.part import Part
from transaction_service.back_office.settings import BackOfficeSettings
from transaction_service.bootstrap import end_lanes, lane_patience, start_lane, watch
from transaction_service.domain.movement import Answer, Movement, Transaction, Work
from transaction_service.payouts.pauses import Patience
from transaction_service.payouts.ports import LedgerBusy
from transaction_service.payouts.worker import AT_ONCE_MAX, PayoutWorker
from transaction_service.ports import LedgerReader
from transaction_service.posting.queue import (
    Contention,
    Expired,
    LedgerUnavailable,
    PostingQueue,
    QueueClosed,
    QueueFull,
)
from transaction_service.settings import providers

QUEUE_BYTES: Final = 2**20
"""Movements of our own have no bytes: it never binds."""


def part(database: Database, settings: BackOfficeSettings) -> Part | None:
    """None: the settings name no provider. Call it on the running event loop."""
    targets = providers(settings.payout_providers)
    if not targets:
        return None
    credentials, timeout = channel_credentials(settings), settings.payout_timeout_seconds
    clients = {name: GrpcPayoutProvider(target, credentials, timeout) for name, target in targets.items()}
    at_once_max = AT_ONCE_MAX * len(targets)
    queue = PostingQueue(at_once_max, QUEUE_BYTES)
    lane = start_lane(queue, settings, at_once_max)
    patience = Patience(
        settings.payout_attempts_max,
        settings.payout_first_pause_seconds,
        settings.payout_pause_seconds_max,
        timeout,
    )
    worker = PayoutWorker(SqlPayoutStore(database), clients, QueuedLedger(SqlLedgerReader(database), queue), patience)

    async def run() -> None:
        async with asyncio.TaskGroup() as group:
            for work in (worker.run, partial(watch, [lane])):
                group.create_task(work())

    async def close() -> None:
        await end_lanes(queue, [lane], lane_patience(settings))
        for client in clients.values():
            await client.close()

    return Part(run, close)


class QueuedLedger:
    """Fills transaction_service.payouts.ports.Ledger."""

    def __init__(self, reader: LedgerReader, queue: PostingQueue) -> None:
        self._reader = reader
        self._queue = queue

    async def find(self, transaction_id: str) -> Transaction | None:
        return await self._reader.transaction(transaction_id)

    async def post(self, movement: Movement) -> Answer:
        try:
            result = (await self._queue.post(Work([movement])))[0]
        except (QueueFull, QueueClosed) as error:
            raise LedgerBusy(type(error).__name__) from None
        match result:
            case Contention() | LedgerUnavailable() | Expired():
                raise LedgerBusy(type(result).__name__)
            case Exception():
                raise result
        return result
