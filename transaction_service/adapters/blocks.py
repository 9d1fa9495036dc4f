"""The audit chain on PostgreSQL, to be read: blocks, what they have sealed, and the records as the rows are now."""

from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Connection, Row, Select, select, text, tuple_

from audit_chain.header import Mark
from service_kit.database import Database
from transaction_service.adapters.ledger_records import OF_DECIDED, PLANNING
from transaction_service.adapters.record_tables import block, seal_key
from transaction_service.adapters.tables import transaction
from transaction_service.domain.movement import TransactionState
from transaction_service.sealing.ports import Block, Content, Key, Proven, Unsealed

BLOCK: Final = (
    block.c.number,
    block.c.until_xid,
    block.c.until_id,
    block.c.header,
    block.c.hash,
    block.c.signature,
    block.c.key_id,
    block.c.seal_time,
)

# Indexes: transaction_feed_idx, entry_post_time_idx.
RECORDS: Final = text(f"""
WITH decided AS MATERIALIZED (
    SELECT * FROM transactions.transaction
    WHERE (xid, id) > (:after_xid, :after_id) AND (xid, id) <= (:until_xid, :until_id) AND state <> 3
    ORDER BY xid, id LIMIT :limit
),
{OF_DECIDED}
SELECT xid, id::text, record FROM record ORDER BY xid, id
""")  # noqa: S608 - our own words

# Indexes: primary key, entry_post_time_idx.
RECORD: Final = text(f"""
WITH decided AS MATERIALIZED (SELECT * FROM transactions.transaction WHERE id = :id),
{OF_DECIDED}
SELECT record FROM record
""")  # noqa: S608 - our own words


class SqlBlocks:
    """Fills transaction_service.sealing.ports.Blocks."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def latest(self) -> Block | None:
        return await self._database.run(lambda c: _block(c, _blocks().order_by(block.c.number.desc()).limit(1)))

    async def block(self, number: int) -> Block | None:
        return await self._database.run(lambda c: _block(c, _blocks().where(block.c.number == number)))

    async def following(self, after: int, until: int) -> tuple[Block, Content] | None:
        wanted = select(*BLOCK, block.c.ids, block.c.leaves).where(block.c.number > after, block.c.number <= until)

        def work(connection: Connection) -> tuple[Block, Content] | None:
            row = connection.execute(wanted.order_by(block.c.number).limit(1)).one_or_none()
            return None if row is None else (_to_block(row), Content(bytes(row.ids), bytes(row.leaves)))

        return await self._database.run(work)

    async def records(self, after: Mark, until: Mark, limit: int) -> Sequence[tuple[Mark, str]]:
        values = {
            "after_xid": after.commit,
            "after_id": after.id,
            "until_xid": until.commit,
            "until_id": until.id,
            "limit": limit,
        }

        def work(connection: Connection) -> Sequence[tuple[Mark, str]]:
            connection.exec_driver_sql(PLANNING)
            return [(Mark(xid, id_), record) for xid, id_, record in connection.execute(RECORDS, values)]

        return await self._database.run(work)

    async def proof(self, transaction_id: str) -> Proven | Unsealed | None:
        return await self._database.run_on_snapshot(lambda connection: _proof(connection, transaction_id))

    async def keys(self) -> Sequence[Key]:
        wanted = select(seal_key.c.key_id, seal_key.c.public_key, seal_key.c.create_time)
        wanted = wanted.order_by(seal_key.c.create_time, seal_key.c.key_id)
        return await self._database.run(lambda connection: [Key(*row) for row in connection.execute(wanted)])


def _blocks() -> Select[Any]:
    return select(*BLOCK)


def _block(connection: Connection, wanted: Select[Any]) -> Block | None:
    row = connection.execute(wanted).one_or_none()
    return None if row is None else _to_block(row)


def _to_block(row: Row[*tuple[Any, ...]]) -> Block:
    until = Mark(row.until_xid, row.until_id)
    return Block(row.number, until, row.header, bytes(row.hash), bytes(row.signature), row.key_id, row.seal_time)


def _proof(connection: Connection, transaction_id: str) -> Proven | Unsealed | None:
    wanted = select(transaction.c.xid, transaction.c.state).where(transaction.c.id == transaction_id)
    found = connection.execute(wanted).one_or_none()
    if found is None:
        return None
    if found.state == TransactionState.PENDING:
        return Unsealed.PENDING
    mark = tuple_(found.xid, transaction_id)
    # Index: block_until_idx.
    behind = select(*BLOCK, block.c.ids, block.c.leaves).where(tuple_(block.c.until_xid, block.c.until_id) >= mark)
    row = connection.execute(behind.order_by(block.c.until_xid, block.c.until_id).limit(1)).one_or_none()
    if row is None:
        return Unsealed.WAITS
    content = Content(bytes(row.ids), bytes(row.leaves))
    place = content.place_of(UUID(transaction_id).bytes)
    if place is None:
        return Unsealed.STRAY
    connection.exec_driver_sql(PLANNING)
    record: str = connection.execute(RECORD, {"id": transaction_id}).scalar_one()
    return Proven(_to_block(row), content, place, record)
