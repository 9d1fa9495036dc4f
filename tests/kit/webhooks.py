"""Webhook endpoints and deliveries on PostgreSQL, made beside the service as a courier makes them."""

import asyncio
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar
from uuid import UUID, uuid4

from pydantic import SecretStr

from service_kit.acts import Actor
from service_kit.database import Database as Connections
from tests.kit.ledgers import session
from tests.kit.postgres import Database
from tests.kit.tokens import IDENTITY
from transaction_service.adapters.webhook_endpoints import SqlEndpoints
from transaction_service.ports import Mark
from transaction_service.settings import TransactionSettings
from transaction_service.webhooks.endpoint import Delivery, DeliveryState, Endpoint, Wish, delivery_id

T = TypeVar("T")

ANN = Actor("ann", "trace-1")
PLACE = Mark(1000, str(UUID(int=0)))
HTTPS = Wish("https://shop.example/hooks")


@dataclass
class Hooks:
    """The endpoints of one database, spoken to without an event loop."""

    endpoints: SqlEndpoints
    dsn: str

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run(work)

    def create(self, wish: Wish = HTTPS, position: Mark = PLACE) -> Endpoint:
        made = self.run(self.endpoints.create(wish, "sealed", position, ANN))
        assert made is not None
        return made

    def get(self, endpoint: Endpoint) -> Endpoint:
        found = self.run(self.endpoints.get(endpoint.id))
        assert found is not None
        return found

    def query(self, text: str, *values: object) -> list[tuple[Any, ...]]:
        with session(self.dsn) as cursor:
            cursor.execute(text, values)
            found: list[tuple[Any, ...]] = cursor.fetchall()
        return found

    def execute(self, text: str, *values: object) -> None:
        with session(self.dsn) as cursor:
            cursor.execute(text, values)
            cursor.connection.commit()

    def acts(self, subject: str) -> list[tuple[Any, ...]]:
        """In their order: number, act, before, after, principal, trace id."""
        return self.query(
            "SELECT number, act, before, after, principal, trace_id FROM transactions.act"
            " WHERE subject = %s ORDER BY number",
            subject,
        )

    def deliver(self, endpoint_id: str, *states: DeliveryState, commit: int = 2000, batch: int = 0) -> list[str]:
        """Stores deliveries in these states, with commits that follow each other; their ids. A PENDING one has been
        tried in vain for long. `batch`: later ones were stored later."""
        made = []
        for index, state in enumerate(states):
            event = f"evt_{uuid4().hex}"
            made.append(delivery_id(endpoint_id, event))
            is_pending = state is DeliveryState.PENDING
            self.execute(
                "INSERT INTO transactions.webhook_delivery (id, endpoint_id, event_id, event_type, subject, wallets,"
                " xid, mark_id, state, attempts, first_attempt_time, next_time, last_status, last_error, create_time,"
                " deliver_time) VALUES (%s, %s, %s, 'transaction.posted', %s, '{wallets/alice}', %s, %s, %s, 7,"
                " now() - interval '2 days', CASE WHEN %s THEN now() + interval '5 hours' END, 503, 'it was busy',"
                " timestamptz '2026-01-01' + %s * interval '1 second', CASE WHEN NOT %s THEN now() END)",
                made[-1],
                endpoint_id,
                event,
                f"transactions/{uuid4()}",
                commit + index,
                str(uuid4()),
                state.value,
                is_pending,
                batch,
                is_pending,
            )
        return made

    def pages(self, endpoint: Endpoint, state: DeliveryState | None = None, size: int = 100) -> list[Delivery]:
        """All deliveries, page by page."""
        listed: list[Delivery] = []
        after: Sequence[Any] | None = None
        while True:
            page = self.run(self.endpoints.deliveries(endpoint.id, state, None if after is None else [*after], size))
            assert page is not None
            found, after = page
            listed += found
            if after is None:
                return listed
            assert len(found) == size


@contextmanager
def hooks_on(database: Database) -> Iterator[Hooks]:
    settings = TransactionSettings(database_dsn=SecretStr(database.transaction_dsn), **IDENTITY)
    connections = Connections(settings, "test")
    try:
        yield Hooks(SqlEndpoints(connections), database.owner_dsn)
    finally:
        connections.close()
