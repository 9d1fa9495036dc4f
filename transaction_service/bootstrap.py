"""The only wiring: settings in, a serving process out."""

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Final

import structlog
from specie.transaction.v1 import (
    add_AccountServiceServicer_to_server,
    add_AuditServiceServicer_to_server,
    add_HealthServiceServicer_to_server,
    add_PayoutServiceServicer_to_server,
    add_TransactionServiceServicer_to_server,
    add_WebhookServiceServicer_to_server,
)

from service_kit.act_table import SqlActs
from service_kit.database import Database
from service_kit.server import Application
from service_kit.server import serve as serve_application
from service_kit.settings import ProcessSettings
from service_kit.status import Refusal
from transaction_service.adapters.accounts import SqlAccounts
from transaction_service.adapters.audit_records import SqlAuditRecords
from transaction_service.adapters.blocks import SqlBlocks
from transaction_service.adapters.feed import SqlFeed
from transaction_service.adapters.holds import SqlHoldReader
from transaction_service.adapters.hosts import SystemResolver
from transaction_service.adapters.integrity import SqlIntegrity
from transaction_service.adapters.integrity_check import SqlSoundness
from transaction_service.adapters.payouts import SqlPayouts
from transaction_service.adapters.posting_store import PostgresPostingStore
from transaction_service.adapters.reader import SqlLedgerReader
from transaction_service.adapters.record_tables import act
from transaction_service.adapters.webhook_endpoints import SqlEndpoints
from transaction_service.adapters.work import SqlDueHolds, SqlPendingTransfers
from transaction_service.domain.movement import Manner
from transaction_service.integrity import LatestSums
from transaction_service.posting import metrics
from transaction_service.posting.dispatcher import Dispatcher
from transaction_service.posting.lane import PostingLane
from transaction_service.posting.pending import Pending
from transaction_service.posting.queue import PostingQueue, Result, Ticket
from transaction_service.reports import Reports
from transaction_service.rpc.account_servicer import AccountServicer
from transaction_service.rpc.audit_servicer import AuditServicer
from transaction_service.rpc.health_servicer import HealthServicer
from transaction_service.rpc.payout_servicer import PayoutServicer
from transaction_service.rpc.poster import Poster
from transaction_service.rpc.transaction_servicer import TransactionServicer
from transaction_service.rpc.webhook_servicer import WebhookServicer
from transaction_service.settings import TransactionSettings, providers
from transaction_service.tail import Tail
from transaction_service.webhooks.destination import Destinations
from transaction_service.webhooks.secrets import Secrets

WATCH_SECONDS: Final = 1.0
LANE_PATIENCE: Final = 3
"""So many times the statement timeout a group may take: to lock, to write, and once more after a conflict or a lost
connection it takes less."""
DUE_HOLDS_COUNTED_MAX: Final = 10_000
"""So far the metric tells how many expired holds wait; there should be none."""

SERVICE: Final = "specie.transaction.v1.TransactionService"
CROWDS: Final = frozenset(f"{SERVICE}/{method}" for method in ("Transfer", "Deposit", "Withdraw"))
"""The calls that come by the thousand: each stands in a line of its own, so that no other call waits behind them."""

log = structlog.stdlib.get_logger()


async def serve(settings: TransactionSettings) -> None:
    """Returns after a clean stop."""
    await serve_application(build(settings), settings)


def build(settings: TransactionSettings) -> Application:
    """Starts the lanes. Call it on the running event loop, whose callers the lanes will answer. Raises OSError when a
    file that the settings name cannot be used."""
    # First: nothing runs yet that would have to be ended.
    secrets = Secrets.from_file(settings.webhook_keys_file) if settings.webhook_keys_file else None
    database = Database(settings, "specie transaction reads")
    accounts, holds = SqlAccounts(database), SqlHoldReader(database)
    reader, tail = SqlLedgerReader(database), Tail(SqlFeed(database), settings.watchers_max)
    queue = PostingQueue(settings.queue_length, settings.queue_bytes)
    metrics.QUEUE_LENGTH.set_function(lambda: len(queue))
    lanes = [start_lane(queue, settings, settings.group_max) for _ in range(settings.lanes)]
    pending = Pending(settings.max_pending)
    reports = Reports(settings.reports_max)
    payout_providers = providers(settings.payout_providers)
    servicer = TransactionServicer(Poster(queue), pending, reader, holds, accounts, tail, reports, payout_providers)
    internal = AccountServicer(accounts)
    payouts = PayoutServicer(SqlPayouts(database), accounts)
    sums = LatestSums(SqlIntegrity(database))
    audit = AuditServicer(
        SqlAuditRecords(database),
        SqlActs(database, act),
        SqlBlocks(database),
        reports,
        accounts,
        sums,
        SqlSoundness(database),
    )
    health = HealthServicer(sums, queue)
    destinations = Destinations(SystemResolver(), private=settings.webhook_private_networks)
    webhooks = WebhookServicer(SqlEndpoints(database), destinations, secrets, tail.feed)
    # Of their own, so that what falls due is posted also while more is read than this process can read.
    due_database = Database(settings.model_copy(update={"read_threads": 1}), "specie transaction dispatchers")
    dispatchers = dispatchers_of(due_database, queue, pending, settings)

    patience = lane_patience(settings)

    async def check() -> None:
        """The server's own time limits do not end a wait for a server that has stopped answering."""
        await database.ping()
        if any(lane.busy_seconds > patience for lane in lanes):
            raise Refusal("UNAVAILABLE", "a posting lane waits for an answer of PostgreSQL that does not come")

    async def close() -> None:
        await end_lanes(queue, lanes, patience)
        for connections in (due_database, database):
            await asyncio.to_thread(connections.close)

    return Application(
        servicers={
            SERVICE: partial(add_TransactionServiceServicer_to_server, servicer),
            "specie.transaction.v1.AccountService": partial(add_AccountServiceServicer_to_server, internal),
            "specie.transaction.v1.AuditService": partial(add_AuditServiceServicer_to_server, audit),
            "specie.transaction.v1.HealthService": partial(add_HealthServiceServicer_to_server, health),
            "specie.transaction.v1.PayoutService": partial(add_PayoutServiceServicer_to_server, payouts),
            "specie.transaction.v1.WebhookService": partial(add_WebhookServiceServicer_to_server, webhooks),
        },
        check=check,
        background=(partial(watch, lanes), *(dispatcher.run for dispatcher in dispatchers)),
        close=close,
        crowds=CROWDS,
    )


def dispatchers_of(
    database: Database, queue: PostingQueue, pending: Pending, settings: TransactionSettings
) -> list[Dispatcher]:
    """One for each kind of work that falls due."""
    transfers = Dispatcher(
        "transfers",
        SqlPendingTransfers(database),
        Manner.DUE,
        queue,
        settings.dispatch_seconds,
        count_max=pending.limit + 1,
        seen=lambda backlog: pending.counted(backlog.waiting),
        bell=pending.stored,
    )
    expiries = Dispatcher(
        "holds",
        SqlDueHolds(database),
        Manner.EACH,
        queue,
        settings.sweep_seconds,
        count_max=DUE_HOLDS_COUNTED_MAX,
    )
    return [transfers, expiries]


async def watch(lanes: Sequence[PostingLane]) -> None:
    """Returns only by an error: a process that takes commands and posts none must end, so that it is started again."""
    while all(lane.running for lane in lanes):  # noqa: ASYNC110 - the end of a thread sets no event
        await asyncio.sleep(WATCH_SECONDS)
    raise RuntimeError("a posting lane has ended")


def start_lane(queue: PostingQueue, settings: ProcessSettings, group_max: int) -> PostingLane:
    """Call it on the running event loop, whose callers the lane will answer."""
    loop = asyncio.get_running_loop()

    def deliver(results: Sequence[tuple[Ticket, list[Result]]]) -> None:
        loop.call_soon_threadsafe(_resolve, results)

    store = PostgresPostingStore(settings.database_dsn.get_secret_value(), settings.statement_timeout_seconds)
    lane = PostingLane(queue, store, group_max, deliver)
    lane.start()
    return lane


def lane_patience(settings: ProcessSettings) -> float:
    """For how many seconds a lane may be at one group."""
    return LANE_PATIENCE * settings.statement_timeout_seconds


async def end_lanes(queue: PostingQueue, lanes: Sequence[PostingLane], patience: float) -> None:
    """They post what waits, and take no more."""
    queue.close()
    for lane in lanes:
        await asyncio.to_thread(lane.join, patience)
        if lane.running:
            log.error("lane_abandoned", seconds=patience)


def _resolve(results: Sequence[tuple[Ticket, list[Result]]]) -> None:
    for ticket, of_ticket in results:
        ticket.resolve(of_ticket)
