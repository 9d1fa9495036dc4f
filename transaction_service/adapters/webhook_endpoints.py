"""Webhook endpoints and what was sent to them, for those who run them.

Every change locks the endpoint's row first, as the courier does: so they wait for each other and never in a ring.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Connection, Row, Select, delete, func, insert, literal, select, tuple_, update
from uuid_utils import uuid7

from service_kit.acts import Actor
from service_kit.database import Database
from service_kit.pages import refused
from transaction_service.adapters.acts import write_act
from transaction_service.adapters.record_tables import webhook_delivery as delivery
from transaction_service.adapters.record_tables import webhook_endpoint as endpoint
from transaction_service.domain.account import INT64_MAX
from transaction_service.ports import Mark, Position
from transaction_service.webhooks.endpoint import (
    DELIVERIES,
    ENDPOINTS,
    ENDPOINTS_MAX,
    OLD_SECRET_LASTS,
    WAITING_COUNTED_MAX,
    Delivery,
    DeliveryState,
    Endpoint,
    EndpointState,
    Wish,
)

CREATING_KEY: Final = 0x7765_6268_6F6F_6B73
"""Of the advisory lock that lets one endpoint be created at a time, or they would be counted past each other: the
bytes of `webhooks`."""
AS_NEW: Final[Mapping[str, Any]] = {
    "state": DeliveryState.PENDING.value,
    "attempts": 0,
    "first_attempt_time": None,
    "next_time": func.clock_timestamp(),
    "deliver_time": None,
}
"""A delivery that is to be sent at once, and for as long as one that never was."""
IS_PENDING: Final = delivery.c.state == literal(DeliveryState.PENDING.value, literal_execute=True)
"""The condition of the partial index, also where PostgreSQL keeps a plan for any values."""

ENDPOINT_COLUMNS: Final = (
    endpoint.c.id,
    endpoint.c.url,
    endpoint.c.event_types,
    endpoint.c.wallet,
    endpoint.c.description,
    endpoint.c.state,
    endpoint.c.disabled_reason,
    endpoint.c.position_xid,
    endpoint.c.position_id,
    endpoint.c.generation,
    endpoint.c.create_time,
    endpoint.c.update_time,
)
"""Not the secrets."""
DELIVERY_COLUMNS: Final = tuple(delivery.c)
Place = tuple[datetime, int, str]
"""Of a delivery in a list: when it was stored, and its mark."""


class SqlEndpoints:
    """Fills transaction_service.webhooks.ports.Endpoints."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(self, wish: Wish, sealed_secret: str, position: Mark, by: Actor) -> Endpoint | None:
        def work(connection: Connection) -> Endpoint | None:
            connection.execute(select(func.pg_advisory_xact_lock(CREATING_KEY)))
            # A statement of its own, so that it sees whom the lock was waited for.
            if connection.execute(select(func.count()).select_from(endpoint)).scalar_one() >= ENDPOINTS_MAX:
                return None
            now = connection.execute(select(func.clock_timestamp())).scalar_one()
            new = Endpoint(str(uuid7()), wish, EndpointState.ENABLED, "", position, 1, now, now)
            own = {
                "id": new.id,
                **_columns_of(wish),
                "state": new.state.value,
                "disabled_reason": "",
                "secret": sealed_secret,
                "old_secret": "",
                "position_xid": position.commit,
                "position_id": position.id,
                "generation": new.generation,
                "courier": "",
                "create_time": now,
                "update_time": now,
            }
            connection.execute(insert(endpoint).values(own))
            write_act(connection, new.name, "CREATE", {}, _told(new), by)
            return new

        return await self._database.run(work)

    async def get(self, endpoint_id: str) -> Endpoint | None:
        return await self._database.run(lambda connection: _get(connection, endpoint_id))

    async def all(self) -> list[Endpoint]:
        def work(connection: Connection) -> list[Endpoint]:
            oldest_first = _counted().order_by(endpoint.c.create_time, endpoint.c.id)
            return [to_endpoint(row) for row in connection.execute(oldest_first)]

        return await self._database.run(work)

    async def update(self, endpoint_id: str, rule: Callable[[Wish], Wish], by: Actor) -> Endpoint | None:
        def change(_connection: Connection, before: Endpoint) -> dict[str, Any]:
            wanted = rule(before.wish)
            return _columns_of(wanted) if wanted != before.wish else {}

        return await self._change(endpoint_id, "UPDATE", change, by)

    async def delete(self, endpoint_id: str, by: Actor) -> bool:
        def work(connection: Connection) -> bool:
            before = _locked(connection, endpoint_id)
            if before is None:
                return False
            connection.execute(delete(endpoint).where(endpoint.c.id == endpoint_id))
            write_act(connection, before.name, "DELETE", _told(before), {}, by)
            return True

        return await self._database.run(work)

    async def rotate(self, endpoint_id: str, sealed_secret: str, by: Actor) -> Endpoint | None:
        def change(connection: Connection, _before: Endpoint) -> dict[str, Any]:
            until = connection.execute(select(func.clock_timestamp() + OLD_SECRET_LASTS)).scalar_one()
            return {"secret": sealed_secret, "old_secret": endpoint.c.secret, "old_secret_until": until}

        return await self._change(endpoint_id, "ROTATE_SECRET", change, by)

    async def enable(self, endpoint_id: str, by: Actor) -> Endpoint | None:
        def change(connection: Connection, before: Endpoint) -> dict[str, Any]:
            if before.state is EndpointState.ENABLED:
                return {}
            waiting = update(delivery).where(delivery.c.endpoint_id == endpoint_id, IS_PENDING)
            connection.execute(waiting.values(AS_NEW))
            return {"state": EndpointState.ENABLED.value, "disabled_reason": ""}

        return await self._change(endpoint_id, "ENABLE", change, by)

    async def disable(self, endpoint_id: str, by: Actor) -> Endpoint | None:
        def change(_connection: Connection, before: Endpoint) -> dict[str, Any]:
            if before.state is EndpointState.DISABLED:
                return {}
            return {"state": EndpointState.DISABLED.value, "disabled_reason": f"disabled by {by.principal}"}

        return await self._change(endpoint_id, "DISABLE", change, by)

    async def replay(self, endpoint_id: str, position: Mark, by: Actor) -> Endpoint | None:
        def change(_connection: Connection, before: Endpoint) -> dict[str, Any]:
            # Also from where it stands: deliveries that are under way were asked for once more.
            start = min(position, before.position)
            return {"position_xid": start.commit, "position_id": start.id}

        return await self._change(endpoint_id, "REPLAY", change, by)

    async def deliveries(
        self, endpoint_id: str, state: DeliveryState | None, after: Position | None, limit: int
    ) -> tuple[list[Delivery], Position | None] | None:
        query = _deliveries(endpoint_id, state, None if after is None else _place(after)).limit(limit + 1)

        def work(connection: Connection) -> tuple[list[Delivery], Position | None] | None:
            if connection.execute(select(endpoint.c.id).where(endpoint.c.id == endpoint_id)).one_or_none() is None:
                return None
            found = [_to_delivery(row) for row in connection.execute(query)]
            if len(found) <= limit:
                return found, None
            last = found[limit - 1]
            return found[:limit], [last.create_time.isoformat(), *last.mark]

        return await self._database.run_on_snapshot(work)

    async def redeliver(self, delivery_id: str, by: Actor) -> Delivery | None:
        def work(connection: Connection) -> Delivery | None:
            of = select(delivery.c.endpoint_id).where(delivery.c.id == delivery_id)
            endpoint_id = connection.execute(of).scalar_one_or_none()
            if endpoint_id is None or _locked(connection, endpoint_id) is None:
                return None
            one = select(*DELIVERY_COLUMNS).where(delivery.c.id == delivery_id).with_for_update()
            row = connection.execute(one).one_or_none()
            if row is None:  # tidied away meanwhile
                return None
            before = _to_delivery(row)
            changed = update(delivery).where(delivery.c.id == delivery_id).values(AS_NEW)
            after = _to_delivery(connection.execute(changed.returning(*DELIVERY_COLUMNS)).one())
            # The courier sees it when it looks. To make it begin anew would be to lose the answers that are under way,
            # and where many are redelivered one after the other, to send everything again with each of them.
            write_act(
                connection,
                ENDPOINTS + endpoint_id,
                "REDELIVER",
                {"state": before.state.name},
                {"delivery": DELIVERIES + delivery_id, "event": after.event_id, "state": after.state.name},
                by,
            )
            return after

        return await self._database.run(work)

    async def _change(
        self, endpoint_id: str, word: str, change: Callable[[Connection, Endpoint], dict[str, Any]], by: Actor
    ) -> Endpoint | None:
        """`change` gives the new values of the columns; none: nothing changes, and nothing is on record."""

        def work(connection: Connection) -> Endpoint | None:
            before = _locked(connection, endpoint_id)
            if before is None:
                return None
            changed = change(connection, before)
            if changed:
                changed |= {"generation": endpoint.c.generation + 1, "update_time": func.clock_timestamp()}
                connection.execute(update(endpoint).where(endpoint.c.id == endpoint_id).values(changed))
            after = _get(connection, endpoint_id)
            if changed and after is not None:
                write_act(connection, after.name, word, _told(before), _told(after) | _rotated(changed), by)
            return after

        return await self._database.run(work)


def _counted() -> Select[Any]:
    """Endpoints with how many deliveries wait: index webhook_delivery_pending_idx, no further than is told."""
    waiting = select(literal(1)).where(delivery.c.endpoint_id == endpoint.c.id, IS_PENDING).correlate(endpoint)
    few = waiting.limit(WAITING_COUNTED_MAX).lateral()
    count = select(func.count()).select_from(few).scalar_subquery()
    return select(*ENDPOINT_COLUMNS, count)


def _get(connection: Connection, endpoint_id: str) -> Endpoint | None:
    row = connection.execute(_counted().where(endpoint.c.id == endpoint_id)).one_or_none()
    return None if row is None else to_endpoint(row)


def _locked(connection: Connection, endpoint_id: str) -> Endpoint | None:
    """Its deliveries are not counted."""
    one = select(*ENDPOINT_COLUMNS, literal(0)).where(endpoint.c.id == endpoint_id).with_for_update()
    row = connection.execute(one).one_or_none()
    return None if row is None else to_endpoint(row)


def _deliveries(endpoint_id: str, state: DeliveryState | None, after: Place | None) -> Select[Any]:
    """Index: webhook_delivery_endpoint_idx. A courier stores many at once: they stand in the order of their commits.

    PENDING ones are few, for a courier takes no more events before it is rid of them: they are found by
    webhook_delivery_pending_idx and sorted. Left to choose, PostgreSQL might look for them among all."""
    found = select(*DELIVERY_COLUMNS).where(delivery.c.endpoint_id == endpoint_id)
    if state is DeliveryState.PENDING:
        found = found.where(IS_PENDING).offset(0)  # apart from what is around it
    elif state is not None:
        found = found.where(delivery.c.state == state.value)
    rows = found.subquery()
    place = (rows.c.create_time, rows.c.xid, rows.c.mark_id)
    query = select(*rows.c).order_by(*(column.desc() for column in place))
    return query if after is None else query.where(tuple_(*place) < tuple_(*after))


def _columns_of(wish: Wish) -> dict[str, Any]:
    return {
        "url": wish.url,
        "event_types": list(wish.event_types),
        "wallet": wish.wallet,
        "description": wish.description,
    }


def _told(told: Endpoint) -> dict[str, str]:
    """What goes on record of it."""
    return {
        "url": told.wish.url,
        "event_types": ",".join(told.wish.event_types),
        "wallet": told.wish.wallet,
        "description": told.wish.description,
        "state": told.state.name,
        "disabled_reason": told.disabled_reason,
        "position": f"{told.position.commit}/{told.position.id}",
    }


def _rotated(changed: Mapping[str, Any]) -> dict[str, str]:
    """Of a rotation there is nothing to tell but until when the old secret signs."""
    until = changed.get("old_secret_until")
    return {"old_secret_until": until.isoformat()} if isinstance(until, datetime) else {}


def to_endpoint(row: Sequence[Any]) -> Endpoint:
    id_, url, types, wallet, description, state, reason, commit, mark_id, generation, created, updated, waiting = row
    return Endpoint(
        id=id_,
        wish=Wish(url, tuple(types), wallet, description),
        state=EndpointState(state),
        disabled_reason=reason,
        position=Mark(commit, mark_id),
        generation=generation,
        create_time=created,
        update_time=updated,
        waiting=waiting,
    )


def _to_delivery(row: Row[Any]) -> Delivery:
    return Delivery(
        id=row.id,
        endpoint_id=row.endpoint_id,
        event_id=row.event_id,
        event_type=row.event_type,
        subject=row.subject,
        wallets=tuple(row.wallets),
        mark=Mark(row.xid, row.mark_id),
        state=DeliveryState(row.state),
        attempts=row.attempts,
        first_attempt_time=row.first_attempt_time,
        next_time=row.next_time,
        last_status=row.last_status,
        last_error=row.last_error,
        create_time=row.create_time,
        deliver_time=row.deliver_time,
    )


def _place(after: Position) -> Place:
    """Anybody can make a page token: what it says may be any JSON."""
    match after:
        case [str(time), int(commit), str(mark_id)] if not isinstance(commit, bool) and 0 <= commit <= INT64_MAX:
            with suppress(ValueError, OverflowError):
                return datetime.fromisoformat(time).astimezone(UTC), commit, str(UUID(mark_id))
    raise refused()
