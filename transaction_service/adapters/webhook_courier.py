"""The courier's side of webhooks in PostgreSQL: claims of endpoints, what is to be sent, and what became of it.

Whoever changes an endpoint or its deliveries locks the endpoint's row first. Here that is one statement that finds the
row only while it is this courier's, enabled and of the generation that the courier has seen.
"""

from collections.abc import Sequence
from datetime import timedelta
from time import monotonic
from typing import Any, Final

from sqlalchemy import Connection, Row, text

from service_kit.database import Database
from transaction_service.adapters import webhook_events
from transaction_service.adapters.acts import OURSELVES, write_act
from transaction_service.adapters.events import write_event
from transaction_service.adapters.writes import array
from transaction_service.ports import Mark
from transaction_service.webhooks.courier_ports import Event, Found, Held, Known, Look, Result
from transaction_service.webhooks.endpoint import ENDPOINTS, EndpointState, Wish, delivery_id
from transaction_service.webhooks.schedule import Parcel
from transaction_service.webhooks.types import EventType

LOOKED_AT_PER_PRUNED: Final = 5

# There are at most a hundred endpoints. A row that somebody holds is left to the next look. A courier that was stalled
# and comes back must not go on with what it knew before another one had the endpoint.
CLAIM: Final = """
UPDATE transactions.webhook_endpoint SET courier = :courier, claimed_until = now() + :lease,
    generation = generation + CASE WHEN courier = :courier THEN 0 ELSE 1 END
WHERE id = ANY (ARRAY(
    SELECT id FROM transactions.webhook_endpoint
    WHERE state = 1 AND (
        claimed_until IS NULL OR claimed_until <= now() OR (courier = :courier AND claimed_until < now() + :lease / 2)
    )
    FOR UPDATE SKIP LOCKED
))
"""

HELD: Final = """
SELECT id::text, url, event_types, wallet, description, secret,
    CASE WHEN old_secret_until > now() THEN old_secret ELSE '' END AS old_secret,
    position_xid, position_id::text, generation, extract(epoch FROM claimed_until - now())::float8 AS seconds_left
FROM transactions.webhook_endpoint
WHERE state = 1 AND courier = :courier AND claimed_until > now() ORDER BY create_time, id
"""

STILL_HELD: Final = """
SELECT FROM transactions.webhook_endpoint
WHERE id = :endpoint AND courier = :courier AND generation = :generation AND state = 1 FOR UPDATE
"""

RELEASE: Final = """
UPDATE transactions.webhook_endpoint SET courier = '', claimed_until = NULL WHERE courier = :courier
"""

# Index: primary key. What is there already comes again as if it was new: somebody has moved the position back.
STORE: Final = """
INSERT INTO transactions.webhook_delivery AS delivery (
    id, endpoint_id, event_id, event_type, subject, wallets, xid, mark_id, state, attempts, next_time, last_status,
    last_error, create_time
)
SELECT id, :endpoint, event_id, event_type, subject, string_to_array(wallets, ' '), xid, mark_id, 1, 0, now(), 0, '',
    now()
FROM unnest(
    CAST(:ids AS uuid[]), CAST(:event_ids AS text[]), CAST(:types AS text[]), CAST(:subjects AS text[]),
    CAST(:wallets AS text[]), CAST(:xids AS bigint[]), CAST(:mark_ids AS uuid[])
) AS new (id, event_id, event_type, subject, wallets, xid, mark_id)
ON CONFLICT (id) DO UPDATE SET state = 1, attempts = 0, first_attempt_time = NULL, next_time = now(), last_status = 0,
    last_error = '', deliver_time = NULL
"""

MOVE: Final = """
UPDATE transactions.webhook_endpoint SET position_xid = :xid, position_id = :mark_id WHERE id = :endpoint
"""

# Index: webhook_delivery_pending_idx. What stands behind the position, because that was moved back, has its turn when
# the position comes by.
WAITING: Final = """
SELECT delivery.id::text, event_id, event_type, subject, wallets, xid, mark_id::text, attempts,
    extract(epoch FROM now() - first_attempt_time)::float8 AS since,
    extract(epoch FROM now() - coalesce(first_attempt_time, next_time))::float8 AS waiting_since,
    extract(epoch FROM next_time - now())::float8 AS due
FROM transactions.webhook_delivery AS delivery JOIN transactions.webhook_endpoint AS endpoint
    ON endpoint.id = endpoint_id AND (xid, mark_id) <= (position_xid, position_id)
WHERE endpoint_id = :endpoint AND delivery.state = 1 AND delivery.id <> ALL (CAST(:known AS uuid[]))
    AND (attempts = 0 OR delivery.id <> ALL (CAST(:tried AS uuid[])))
ORDER BY xid, delivery.mark_id, delivery.id
"""

# Index: primary key.
MARK: Final = """
UPDATE transactions.webhook_delivery AS delivery SET
    state = CASE WHEN pause IS NULL THEN 2 ELSE 1 END,
    attempts = attempts + 1,
    first_attempt_time = coalesce(first_attempt_time, now() - make_interval(secs => since)),
    next_time = now() + make_interval(secs => pause),
    last_status = status,
    last_error = error,
    deliver_time = CASE WHEN pause IS NULL THEN now() END
FROM unnest(
    CAST(:ids AS uuid[]), CAST(:statuses AS int[]), CAST(:errors AS text[]), CAST(:sinces AS float8[]),
    CAST(:pauses AS float8[])
) AS result (id, status, error, since, pause)
WHERE delivery.id = result.id AND delivery.state = 1
"""

DISABLE: Final = """
UPDATE transactions.webhook_endpoint
SET state = 2, disabled_reason = :reason, courier = '', claimed_until = NULL, generation = generation + 1,
    update_time = now()
WHERE id = :endpoint
"""

ACTS: Final = "SELECT max(number) FROM transactions.act WHERE subject = :subject"

# Index: webhook_delivery_endpoint_idx, for each endpoint apart; of its oldest ones so many are looked at, because those
# that wait, and those that were sent once more, stand among them.
PRUNE: Final = """
DELETE FROM transactions.webhook_delivery WHERE id = ANY (ARRAY(
    SELECT old.id FROM transactions.webhook_endpoint AS endpoint CROSS JOIN LATERAL (
        SELECT id, state, deliver_time FROM transactions.webhook_delivery WHERE endpoint_id = endpoint.id
        ORDER BY create_time, xid, mark_id LIMIT :looked_at
    ) AS old
    WHERE old.state = 2 AND old.deliver_time < now() - :keep LIMIT :limit
))
"""

# Index: webhook_delivery_endpoint_idx, from each endpoint that has deliveries to the next one. Sorted as the index is,
# so that it is walked: left to choose, PostgreSQL reads the whole table where no endpoint was deleted.
PRUNE_DELETED: Final = """
WITH RECURSIVE addressed AS (
    (SELECT endpoint_id FROM transactions.webhook_delivery ORDER BY endpoint_id LIMIT 1)
    UNION ALL
    SELECT (
        SELECT next.endpoint_id FROM transactions.webhook_delivery AS next
        WHERE next.endpoint_id > addressed.endpoint_id ORDER BY next.endpoint_id LIMIT 1
    ) FROM addressed WHERE addressed.endpoint_id IS NOT NULL
)
DELETE FROM transactions.webhook_delivery WHERE id = ANY (ARRAY(
    SELECT lost.id FROM addressed CROSS JOIN LATERAL (
        SELECT id FROM transactions.webhook_delivery WHERE endpoint_id = addressed.endpoint_id
        ORDER BY create_time, xid, mark_id LIMIT :limit
    ) AS lost
    WHERE NOT EXISTS (SELECT FROM transactions.webhook_endpoint AS endpoint WHERE endpoint.id = addressed.endpoint_id)
    LIMIT :limit
))
"""


class SqlPost:
    """Fills transaction_service.webhooks.courier_ports.Post."""

    def __init__(self, database: Database, courier: str) -> None:
        """`courier`: a name that no other has."""
        self._database = database
        self._courier = courier

    async def look(self, lease_seconds: float) -> Look:
        values = {"courier": self._courier, "lease": timedelta(seconds=lease_seconds)}

        def work(connection: Connection) -> Look:
            connection.execute(text(CLAIM), values)
            held = [_to_held(row) for row in connection.execute(text(HELD), {"courier": self._courier})]
            return Look(held, webhook_events.newest(connection) if held else Mark(0, ""))

        return await self._database.run(work)

    async def find(self, endpoint: Held, position: Mark, limit: int) -> Found:
        return await self._database.run_on_snapshot(
            lambda connection: webhook_events.find(connection, endpoint, position, limit)
        )

    async def store(self, endpoint: Held, events: Sequence[Event], until: Mark, known: Known) -> list[Parcel] | None:
        new = _to_columns(endpoint.id, events) if events else None

        def work(connection: Connection) -> list[Parcel] | None:
            if not self._holds(connection, endpoint):
                return None
            if new is not None:
                connection.execute(text(STORE), new)
            place = {"endpoint": endpoint.id, "xid": until.commit, "mark_id": until.id}
            connection.execute(text(MOVE), place)
            return _waiting(connection, endpoint.id, known) if new is not None else []

        return await self._database.run(work)

    async def waiting(self, endpoint: Held, known: Known) -> list[Parcel]:
        return await self._database.run(lambda connection: _waiting(connection, endpoint.id, known))

    async def mark(self, endpoint: Held, results: Sequence[Result]) -> bool:
        values = {
            "ids": array(result.parcel.id for result in results),
            "statuses": [result.answer.status for result in results],
            "errors": [result.answer.problem for result in results],
            "sinces": [result.since for result in results],
            "pauses": [result.pause for result in results],
        }

        def work(connection: Connection) -> bool:
            if not self._holds(connection, endpoint):
                return False
            connection.execute(text(MARK), values)
            return True

        return await self._database.run(work)

    async def disable(self, endpoint: Held, reason: str) -> bool:
        subject = ENDPOINTS + endpoint.id

        def work(connection: Connection) -> bool:
            if not self._holds(connection, endpoint):
                return False
            connection.execute(text(DISABLE), {"endpoint": endpoint.id, "reason": reason})
            before, after = {"state": EndpointState.ENABLED.name}, {"state": EndpointState.DISABLED.name}
            write_act(connection, subject, "DISABLE", before, after | {"disabled_reason": reason}, OURSELVES)
            # The number of the act, because it can be disabled several times.
            turn: int = connection.execute(text(ACTS), {"subject": subject}).scalar_one()
            write_event(connection, EventType.WEBHOOK_ENDPOINT_DISABLED.value, subject, turn=turn)
            return True

        return await self._database.run(work)

    async def release(self) -> None:
        def work(connection: Connection) -> None:
            connection.execute(text(RELEASE), {"courier": self._courier})

        await self._database.run(work)

    async def prune(self, keep_days: int, limit: int) -> int:
        values = {"keep": timedelta(days=keep_days), "limit": limit, "looked_at": LOOKED_AT_PER_PRUNED * limit}

        def work(connection: Connection) -> int:
            deleted = connection.execute(text(PRUNE), values).rowcount
            return deleted + connection.execute(text(PRUNE_DELETED), {"limit": limit}).rowcount

        return await self._database.run(work)

    def _holds(self, connection: Connection, endpoint: Held) -> bool:
        values = {"endpoint": endpoint.id, "courier": self._courier, "generation": endpoint.generation}
        return connection.execute(text(STILL_HELD), values).first() is not None


def _to_held(row: Row[Any]) -> Held:
    wish = Wish(row.url, tuple(row.event_types), row.wallet, row.description)
    secrets = tuple(secret for secret in (row.secret, row.old_secret) if secret)
    return Held(row.id, wish, secrets, Mark(row.position_xid, row.position_id), row.generation, row.seconds_left)


def _to_columns(endpoint_id: str, events: Sequence[Event]) -> dict[str, Any]:
    """Array literals: the server parses them much faster than a list of constants. Names of wallets need quotes only
    where there are several of them, or none."""
    return {
        "endpoint": endpoint_id,
        "ids": array(delivery_id(endpoint_id, event.id) for event in events),
        "event_ids": array(event.id for event in events),
        "types": array(event.type for event in events),
        "subjects": array(event.subject for event in events),
        "wallets": array(f'"{" ".join(event.wallets)}"' for event in events),
        "xids": array(str(event.mark.commit) for event in events),
        "mark_ids": array(event.mark.id for event in events),
    }


def _waiting(connection: Connection, endpoint_id: str, known: Known) -> list[Parcel]:
    values = {"endpoint": endpoint_id, "known": array(known.untried), "tried": array(known.tried)}
    rows, now = connection.execute(text(WAITING), values), monotonic()
    return [
        Parcel(
            row.id,
            row.event_id,
            row.event_type,
            row.subject,
            tuple(row.wallets),
            Mark(row.xid, row.mark_id),
            row.attempts,
            None if row.since is None else now - row.since,
            now - row.waiting_since,
            now + row.due,
        )
        for row in rows
    ]
