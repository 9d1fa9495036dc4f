"""Payouts on PostgreSQL: for who pays them, and for who asks about them.

Every change names the states that it may change, so that of two who believe that a payout is theirs only one does it.
What is no last word of the provider's or the ledger's also names the claim that it was made under.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import timedelta
from functools import partial
from typing import Any, Final

import structlog
from sqlalchemy import ColumnElement, Connection, and_, func, or_, select, text, update

from service_kit.database import Database
from transaction_service.adapters import columns
from transaction_service.adapters.acts import Actor, write_act
from transaction_service.adapters.conditions import any_of, owned
from transaction_service.adapters.events import write_event
from transaction_service.adapters.record_tables import payout as table
from transaction_service.adapters.rows import to_transaction
from transaction_service.adapters.tables import transaction
from transaction_service.adapters.walk import Page, page
from transaction_service.adapters.walks import TimeWalk
from transaction_service.domain.movement import Transaction, TransactionKind, TransactionState, received
from transaction_service.domain.terms import PayoutDestination
from transaction_service.payouts.payout import Payout, PayoutState
from transaction_service.payouts.ports import Backlog
from transaction_service.ports import Position

log = structlog.stdlib.get_logger()

COLUMNS: Final = [table.c[name] for name in Payout.__dataclass_fields__]
NAMES: Final = ", ".join(Payout.__dataclass_fields__)

PAID, REVERSED, DEAD = "payout.paid", "payout.reversed", "payout.dead"
"""Types of events, as transaction_service.webhooks has them."""
RETRY: Final = "RETRY"
NOT_ASKED: Final = "it is not what a withdrawal has asked for: somebody has changed the table"

# Index: payout_provider_idx, then the primary key. From provider to provider, of which there are few, however many
# payouts of one of them are overdue. A range and its order instead of an equal provider: where nearly all payouts are
# of one provider, PostgreSQL would take payout_next_time_idx and walk past its overdue ones to those of another.
CLAIM: Final = f"""
WITH RECURSIVE those AS (
    (SELECT provider FROM transactions.payout WHERE state IN (1, 3) ORDER BY provider LIMIT 1)
    UNION ALL
    SELECT (
        SELECT provider FROM transactions.payout WHERE state IN (1, 3) AND provider > those.provider
        ORDER BY provider LIMIT 1
    ) FROM those WHERE provider IS NOT NULL
), due AS MATERIALIZED (
    SELECT of_one.id FROM those CROSS JOIN LATERAL (
        SELECT id FROM transactions.payout
        WHERE state IN (1, 3) AND (claimed_until IS NULL OR claimed_until <= now())
            AND (provider, next_time) > (those.provider, '-infinity')
            AND (provider, next_time) <= (those.provider, now())
        ORDER BY provider, next_time, id
        LIMIT greatest(0, :each_max - coalesce((CAST(:under_way AS jsonb) ->> those.provider)::int, 0))
        FOR UPDATE SKIP LOCKED
    ) AS of_one
)
UPDATE transactions.payout SET claimed_until = now() + :lease, failures = failures + 1,
    attempts = attempts + CASE state WHEN 1 THEN 1 ELSE 0 END
WHERE id = ANY (ARRAY(SELECT id FROM due)) RETURNING {NAMES}
"""  # noqa: S608 - names of our own

# Indexes: payout_next_time_idx, payout_dead_idx.
BACKLOG: Final = """
WITH under_way AS MATERIALIZED (
    SELECT state, next_time FROM transactions.payout WHERE state IN (1, 3) ORDER BY next_time, id LIMIT :count_max
)
SELECT count(*) FILTER (WHERE state = 1), count(*) FILTER (WHERE state = 3),
    (SELECT count(*) FROM (SELECT FROM transactions.payout WHERE state = 5 LIMIT :count_max) AS dead),
    extract(epoch FROM now() - min(next_time) FILTER (WHERE next_time <= now()))::float8
FROM under_way
"""


class SqlPayoutStore:
    """Fills transaction_service.payouts.ports.PayoutStore."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def claim(self, each_max: int, lease_seconds: float, under_way: Mapping[str, int]) -> list[Payout]:
        lease = timedelta(seconds=lease_seconds)
        values = {"each_max": each_max, "under_way": json.dumps(under_way), "lease": lease}

        def work(connection: Connection) -> list[Payout]:
            claimed = [to_payout(row) for row in connection.execute(text(CLAIM).columns(*COLUMNS), values)]
            asked, unreadable = _withdrawals(connection, [payout.id for payout in claimed])
            claimed = [payout for payout in claimed if payout.id not in unreadable]
            strays = [payout for payout in claimed if not _is_asked(payout, asked.get(payout.id))]
            for stray in strays:
                log.error("payout_not_asked", payout=stray.id)
                change = update(table).where(table.c.id == stray.id).values(update_time=func.clock_timestamp())
                connection.execute(change.values(**_died(NOT_ASKED)))
            return [payout for payout in claimed if payout not in strays]

        return await self._database.run(work)

    async def paid(self, payout: Payout, reference: str) -> bool:
        given_up = and_(table.c.state == PayoutState.DEAD.value, table.c.reversal_attempts == 0)
        values = {"provider_reference": reference, "last_error": "", **_ended(PayoutState.PAID)}
        return await self._change(payout, or_(_is(PayoutState.PENDING), given_up), values, PAID) is not None

    async def refused(self, payout: Payout, reference: str, refusal: str) -> Payout | None:
        values = {
            "state": PayoutState.REFUSED.value,
            "provider_reference": reference,
            "last_error": refusal,
            "failures": 1,
            "next_time": func.clock_timestamp(),
        }
        return await self._change(payout, _is(PayoutState.PENDING), values)

    async def taken(self, payout: Payout, reference: str, pause_seconds: float) -> bool:
        values = {"taken": True, "provider_reference": reference, "last_error": "", "failures": 0}
        return await self._change(payout, _as_claimed(payout), values | _later(pause_seconds)) is not None

    async def postponed(self, payout: Payout, error: str, pause_seconds: float) -> bool:
        values = {"last_error": error} | _later(pause_seconds)
        return await self._change(payout, _as_claimed(payout), values) is not None

    async def reversed(self, payout: Payout, reversal: str) -> bool:
        # What kept an earlier reversal from being posted is mended.
        values = {"reversal": reversal, "last_error": payout.refusal, **_ended(PayoutState.REVERSED)}
        return await self._change(payout, _is(PayoutState.REFUSED), values, REVERSED) is not None

    async def irreversible(self, payout: Payout, error: str) -> bool:
        this_one = and_(_is(PayoutState.REFUSED), table.c.reversal_attempts == payout.reversal_attempts)
        values = {"reversal_attempts": table.c.reversal_attempts + 1, **_died(error)}
        return await self._change(payout, this_one, values, DEAD) is not None

    async def dead(self, payout: Payout, error: str) -> bool:
        return await self._change(payout, _as_claimed(payout), _died(error), DEAD) is not None

    async def state(self, payout_id: str) -> PayoutState:
        def work(connection: Connection) -> PayoutState:
            return PayoutState(connection.execute(select(table.c.state).where(table.c.id == payout_id)).scalar_one())

        return await self._database.run(work)

    async def backlog(self, count_max: int) -> Backlog:
        def work(connection: Connection) -> Backlog:
            pending, refused, dead, overdue = connection.execute(text(BACKLOG), {"count_max": count_max}).one()
            return Backlog(pending, refused, dead, overdue or 0.0)

        return await self._database.run(work)

    async def _change(
        self, payout: Payout, condition: ColumnElement[bool], values: dict[str, Any], event: str = ""
    ) -> Payout | None:
        """As it is now; None: it is not as the condition has it. Index: primary key."""
        change = update(table).where(table.c.id == payout.id, condition)
        change = change.values(update_time=func.clock_timestamp(), **values)

        def work(connection: Connection) -> Payout | None:
            row = connection.execute(change.returning(*COLUMNS)).one_or_none()
            if row is None:
                return None
            changed = to_payout(row)
            if event:
                turn = changed.deaths if event == DEAD else 1
                write_event(connection, event, changed.name, changed.wallet, turn)
            return changed

        return await self._database.run(work)


class SqlPayouts:
    """Fills transaction_service.payouts.ports.Payouts."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def payout(self, payout_id: str, bound_to: str = "") -> Payout | None:
        wanted = select(*COLUMNS).where(table.c.id == payout_id)

        def work(connection: Connection) -> Payout | None:
            row = connection.execute(wanted).one_or_none()
            if row is None or not bound_to:
                return None if row is None else to_payout(row)
            # The id of its wallet's account comes of its name, which never changes.
            his = connection.execute(select(owned([row.wallet], bound_to))).scalar_one()
            return to_payout(row) if his else None

        return await self._database.run(work)

    async def payouts(self, wallet: str, state: PayoutState | None, after: Position | None, limit: int) -> Page[Payout]:
        key = (table.c.wallet, wallet) if wallet else None
        # Of all wallets, DEAD ones have an index of their own; any other state is looked at when the payout is fetched.
        of_index = [_is(PayoutState.DEAD)] if state is PayoutState.DEAD and key is None else []
        walk = TimeWalk(key, table.c.create_time, table.c.id, *of_index)
        conditions = [] if state is None else [_is(state)]

        def work(connection: Connection) -> Page[Payout]:
            return page(connection, [walk], after, limit, partial(_find, connection, conditions))

        return await self._database.run_on_snapshot(work)

    async def retry(self, payout_id: str, principal: str, trace_id: str) -> Payout | None:
        wanted = select(*COLUMNS).where(table.c.id == payout_id)

        def work(connection: Connection) -> Payout | None:
            row = connection.execute(wanted.with_for_update()).one_or_none()
            if row is None or row.state != PayoutState.DEAD.value:
                return None if row is None else to_payout(row)
            # Of what was refused only the reversal can have failed.
            state = PayoutState.REFUSED if row.reversal_attempts else PayoutState.PENDING
            values = {"state": state.value, "attempts": 0, "failures": 0, "taken": False} | _later(0)
            change = update(table).where(table.c.id == payout_id).values(update_time=func.clock_timestamp(), **values)
            retried = to_payout(connection.execute(change.returning(*COLUMNS)).one())
            before, now = {"state": PayoutState.DEAD.name}, {"state": state.name}
            write_act(connection, retried.name, RETRY, before, now, Actor(principal, trace_id))
            return retried

        return await self._database.run(work)


def to_payout(row: Sequence[Any]) -> Payout:
    """A row of COLUMNS."""
    id_, state, *rest = row
    return Payout(id_, PayoutState(state), *rest)


def _withdrawals(connection: Connection, ids: Sequence[str]) -> tuple[dict[str, Transaction], set[str]]:
    """By their ids, and the ids of those that this version cannot read: one of them must not hold up the others. It is
    claimed once more when its lease is over."""
    asked: dict[str, Transaction] = {}
    unreadable: set[str] = set()
    if not ids:
        return asked, unreadable
    for row in connection.execute(select(*columns.TRANSACTION).where(any_of(transaction.c.id, ids))):
        try:
            asked[row[0]] = to_transaction(row)
        except Exception:
            log.exception("payout_unreadable", payout=row[0])
            unreadable.add(row[0])
    return asked, unreadable


def _is_asked(payout: Payout, withdrawal: Transaction | None) -> bool:
    """Whether a POSTED withdrawal asks for just this, whatever has been written into the table meanwhile. What was
    refused is given back by what the withdrawal says alone."""
    if payout.state is PayoutState.REFUSED:
        return True
    if withdrawal is None or withdrawal.state is not TransactionState.POSTED:
        return False
    movement = withdrawal.movement
    told = PayoutDestination(payout.provider, payout.account, payout.beneficiary)
    if (movement.kind, movement.terms.payout) != (TransactionKind.WITHDRAWAL, told):
        return False
    of_payout = (payout.wallet, payout.reference, payout.amount, payout.currency)
    return of_payout == (movement.source, movement.description, received(movement), movement.currency)


def _is(state: PayoutState) -> ColumnElement[bool]:
    return table.c.state == state.value


def _as_claimed(payout: Payout) -> ColumnElement[bool]:
    """Whether nobody has claimed, ended or retried it since."""
    return and_(
        _is(payout.state),
        table.c.attempts == payout.attempts,
        table.c.failures == payout.failures,
        table.c.deaths == payout.deaths,
    )


def _ended(state: PayoutState) -> dict[str, Any]:
    return {"state": state.value, "next_time": None, "claimed_until": None}


def _died(error: str) -> dict[str, Any]:
    return {"last_error": error, "deaths": table.c.deaths + 1, **_ended(PayoutState.DEAD)}


def _later(pause_seconds: float) -> dict[str, Any]:
    return {"next_time": func.clock_timestamp() + timedelta(seconds=pause_seconds), "claimed_until": None}


def _find(connection: Connection, conditions: Sequence[ColumnElement[bool]], ids: Sequence[str]) -> dict[str, Payout]:
    query = select(*COLUMNS).where(any_of(table.c.id, ids), *conditions)
    return {row[0]: to_payout(row) for row in connection.execute(query)}
