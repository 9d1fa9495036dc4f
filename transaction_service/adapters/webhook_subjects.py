"""What webhooks tell of, read for many of them at once."""

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

import structlog
from sqlalchemy import Connection, Row, Select, literal, select

from service_kit.database import Database
from transaction_service.adapters import columns, payouts, webhook_endpoints
from transaction_service.adapters.conditions import any_of
from transaction_service.adapters.record_tables import event, payout, webhook_endpoint
from transaction_service.adapters.rows import to_transaction
from transaction_service.adapters.tables import transaction
from transaction_service.domain.movement import Transaction
from transaction_service.payouts.payout import Payout
from transaction_service.webhooks.endpoint import Endpoint, key_of
from transaction_service.webhooks.schedule import Parcel

log = structlog.stdlib.get_logger()

Thing = Transaction | Payout | Endpoint
Kind = tuple[Select[Any], Callable[[Row[Any]], Thing]]


class Told(NamedTuple):
    """What an event is about, as it is now, and when the event was. `thing`: None for an endpoint that is deleted."""

    thing: Thing | None
    time: datetime


KINDS: Final[Mapping[str, Kind]] = {
    "transactions": (select(*columns.TRANSACTION), to_transaction),
    "payouts": (select(*payouts.COLUMNS), payouts.to_payout),
    "webhookEndpoints": (select(*webhook_endpoints.ENDPOINT_COLUMNS, literal(0)), webhook_endpoints.to_endpoint),
}
IDS: Final = {"transactions": transaction.c.id, "payouts": payout.c.id, "webhookEndpoints": webhook_endpoint.c.id}


class SqlSubjects:
    """Of the feed's events and those of table `event`. Indexes: primary keys."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def read(self, parcels: Sequence[Parcel]) -> dict[str, Told]:
        """By the parcels' ids. What this version cannot read is logged and left out."""

        def work(connection: Connection) -> dict[str, Told]:
            things = _things(connection, {parcel.subject for parcel in parcels})
            times = _times(connection, [parcel for parcel in parcels if not _is_of_feed(parcel)])
            told: dict[str, Told] = {}
            for parcel in parcels:
                thing = things.get(parcel.subject)
                time = thing.decide_time if isinstance(thing, Transaction) else times.get(parcel.event_id)
                if time is not None:
                    told[parcel.id] = Told(thing, time)
            return told

        return await self._database.run_on_snapshot(work)


def _things(connection: Connection, subjects: Collection[str]) -> dict[str, Thing]:
    found: dict[str, Thing] = {}
    for kind, (query, to_thing) in KINDS.items():
        ids = [id_ for collection, _, id_ in (subject.partition("/") for subject in subjects) if collection == kind]
        if not ids:
            continue
        for row in connection.execute(query.where(any_of(IDS[kind], ids))):
            subject = f"{kind}/{row.id}"
            try:
                found[subject] = to_thing(row)
            except Exception:
                log.exception("webhook_unreadable", subject=subject)
    return found


def _times(connection: Connection, parcels: Sequence[Parcel]) -> dict[str, datetime]:
    if not parcels:
        return {}
    of_id = {key_of(parcel.event_id): parcel.event_id for parcel in parcels}
    rows = connection.execute(select(event.c.id, event.c.create_time).where(any_of(event.c.id, list(of_id))))
    return {of_id[id_]: time for id_, time in rows}


def _is_of_feed(parcel: Parcel) -> bool:
    return parcel.subject.startswith("transactions/")
