"""What happens, as webhooks tell it: the decided transactions and the table `event`, along (xid, id) up to one horizon.

Below the horizon nothing new can come (see feed.py), in neither table, so what was read there is complete.
"""

from collections.abc import Sequence
from operator import attrgetter
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Table, select, tuple_
from sqlalchemy.sql import Select

from transaction_service.adapters.conditions import names
from transaction_service.adapters.feed import end_of_feed
from transaction_service.adapters.record_tables import event
from transaction_service.adapters.tables import transaction
from transaction_service.domain.movement import TransactionState, accounts_named
from transaction_service.domain.terms import read
from transaction_service.ports import Mark
from transaction_service.webhooks.courier_ports import Event, Found, Held
from transaction_service.webhooks.endpoint import event_id, sent_as, wants
from transaction_service.webhooks.types import EventType

WALKED_PER_FOUND: Final = 5
"""Where an endpoint wants only some events, it looks at so many times more rows at once as it is given at the most."""
WALLETS: Final = "wallets/"
TYPE_OF_STATE: Final = {
    TransactionState.POSTED.value: EventType.TRANSACTION_POSTED.value,
    TransactionState.FAILED.value: EventType.TRANSACTION_FAILED.value,
}
"""A PENDING one comes again, at another place, when it is decided."""


def newest(connection: Connection) -> Mark:
    """Of what can be read for good."""
    end = end_of_feed(connection)
    marks = [_last(connection, table, end) for table in (transaction, event)]
    return max(mark for mark in marks if mark is not None) if any(marks) else Mark(0, "")


def find(connection: Connection, endpoint: Held, position: Mark, limit: int) -> Found:
    """As courier_ports.Post.find. In one snapshot. Indexes: transaction_feed_idx, event_feed_idx."""
    end = end_of_feed(connection)
    if end <= position:
        return Found((), position, complete=True)
    until = end
    # How far it goes at the most is found before the rows are looked at, so that it is bounded whatever is wanted.
    for table in (transaction, event):
        last = select(table.c.xid, table.c.id).where(*_between(table, position, until))
        last = last.order_by(table.c.xid, table.c.id).offset(limit * WALKED_PER_FOUND - 1).limit(1)
        row = connection.execute(last).one_or_none()
        until = until if row is None else Mark(*row)
    found = [*_transactions(connection, endpoint, position, until, limit)]
    found += _others(connection, endpoint, position, until, limit)
    found.sort(key=attrgetter("mark"))
    if len(found) >= limit:
        found = found[:limit]
        return Found(found, found[-1].mark, complete=False)
    return Found(found, until, complete=until == end)


def _transactions(connection: Connection, endpoint: Held, after: Mark, until: Mark, limit: int) -> Sequence[Event]:
    wish, c = endpoint.wish, transaction.c
    states = [s for s, type_ in TYPE_OF_STATE.items() if not wish.event_types or type_ in wish.event_types]
    if not states:
        return ()
    rows = select(c.xid, c.id, c.state, c.source, c.destination, c.terms)
    rows = rows.where(*_between(transaction, after, until), c.state.in_(states))
    if wish.wallet:
        rows = rows.where(names(wish.wallet))
    return [_of_transaction(*row) for row in connection.execute(_in_order(rows, transaction, limit))]


def _of_transaction(xid: int, id_: str, state: int, source: str, destination: str, terms: dict[str, Any]) -> Event:
    named = accounts_named(source, destination, read(terms))
    wallets = tuple(sorted(name for name in named if name.startswith(WALLETS)))
    type_, subject = TYPE_OF_STATE[state], f"transactions/{id_}"
    return Event(event_id(type_, subject), type_, subject, wallets, Mark(xid, id_))


def _others(connection: Connection, endpoint: Held, after: Mark, until: Mark, limit: int) -> Sequence[Event]:
    wish, c = endpoint.wish, event.c
    rows = select(c.xid, c.id, c.type, c.subject, c.wallet).where(*_between(event, after, until))
    if wish.event_types:
        rows = rows.where(c.type.in_(wish.event_types))
    if wish.wallet:
        rows = rows.where(c.wallet == wish.wallet)
    found = []
    for xid, id_, type_, subject, wallet in connection.execute(_in_order(rows, event, limit)):
        wallets = (wallet,) if wallet else ()
        if wants(endpoint.id, wish, type_, subject, wallets):
            found.append(Event(sent_as(id_), type_, subject, wallets, Mark(xid, id_)))
    return found


def _last(connection: Connection, table: Table, end: Mark) -> Mark | None:
    place = tuple_(table.c.xid, table.c.id)
    last = select(table.c.xid, table.c.id).where(place <= tuple_(*end))
    row = connection.execute(last.order_by(table.c.xid.desc(), table.c.id.desc()).limit(1)).one_or_none()
    return None if row is None else Mark(*row)


def _between(table: Table, after: Mark, until: Mark) -> tuple[ColumnElement[bool], ...]:
    place = tuple_(table.c.xid, table.c.id)
    return place > tuple_(*after), place <= tuple_(*until)


def _in_order(rows: Select[Any], table: Table, limit: int) -> Select[Any]:
    return rows.order_by(table.c.xid, table.c.id).limit(limit)
