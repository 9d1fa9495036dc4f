"""The audit chain's end on PostgreSQL: finds what is to be sealed and stores the block."""

from collections.abc import Callable
from typing import Final
from uuid import UUID

from sqlalchemy import Connection, text

from audit_chain.header import BEGINNING, GENESIS, Mark, hash_of, parsed
from service_kit.database import Database
from transaction_service.adapters.ledger_records import OF_DECIDED, PLANNING
from transaction_service.sealing.ports import ID_BYTES, Block, Content, Decided, Round, Tip

LOCK: Final = 0x5345_414C
"""Of the advisory lock that whoever seals has until the commit. Any constant number serves."""
LOOKED_AT_MAX: Final = 1000
"""So many rows behind the tip are looked at for the oldest that is not sealed."""

# What was appended since must be in entry_post_time_idx, or it is read whole for each block.
SUMMARIZE: Final = text("SELECT transactions.summarize_entries(:done)")
NONE_DONE: Final = -1

TAKE: Final = f"{PLANNING}; SELECT pg_try_advisory_xact_lock({LOCK})"

# A statement of its own after the lock, so that it sees the block that the last holder of the lock has stored.
# Of a block only what is signed counts: a chain that went on from a column which somebody has changed would be broken
# for good. Index: block_pkey.
TIP: Final = text("SELECT number, header FROM transactions.block ORDER BY number DESC LIMIT 1")

# The horizon and the rows below it are of one snapshot: below the oldest transaction of the database that still runs
# nothing can come any more (docs/adr/0013). PENDING ones come again when they are decided, behind everything.
# Indexes: transaction_feed_idx, entry_post_time_idx.
DECIDED: Final = text(f"""
WITH decided AS MATERIALIZED (
    SELECT * FROM transactions.transaction
    WHERE (xid, id) > (:xid, :id) AND xid < pg_snapshot_xmin(pg_current_snapshot())::text::bigint AND state <> 3
    ORDER BY xid, id LIMIT :limit
),
{OF_DECIDED},
leaf AS MATERIALIZED (SELECT xid, id, sha256('\\x00'::bytea || convert_to(record, 'UTF8')) AS leaf FROM record)
SELECT string_agg(uuid_send(id), ''::bytea ORDER BY xid, id), string_agg(leaf, ''::bytea ORDER BY xid, id), max(xid),
    clock_timestamp()
FROM leaf
""")  # noqa: S608 - our own words

STORE: Final = text("""
WITH known AS (
    INSERT INTO transactions.seal_key (key_id, public_key, create_time)
    VALUES (:key_id, :public_key, :seal_time) ON CONFLICT DO NOTHING
)
INSERT INTO transactions.block (number, until_xid, until_id, ids, leaves, header, hash, signature, key_id, seal_time)
VALUES (:number, :until_xid, :until_id, :ids, :leaves, :header, :hash, :signature, :key_id, :seal_time)
""")

# Also what the horizon holds back; 0 where nothing waits. The first in the order of commits are the oldest, but for
# moments.
# Index: transaction_feed_idx.
LAG: Final = text("""
SELECT greatest(0, extract(epoch FROM clock_timestamp() - min(decide_time)))::float8
FROM (
    SELECT decide_time, state FROM transactions.transaction WHERE (xid, id) > (:xid, :id) ORDER BY xid, id LIMIT :limit
) AS behind
WHERE state <> 3
""")


class SqlSealing:
    """Fills transaction_service.sealing.ports.Sealing."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._summarized = NONE_DONE

    async def seal(self, transactions_max: int, block_of: Callable[[Tip, Decided], Block], public_key: str) -> Round:
        def work(connection: Connection) -> Round:
            is_ours = connection.exec_driver_sql(TAKE).scalar_one()
            tip = _tip(connection)
            decided = _decided(connection, tip, transactions_max) if is_ours else None
            if decided is None:
                return Round(None, 0, _lag_seconds(connection, tip.until))
            block = block_of(tip, decided)
            _store(connection, block, decided, public_key)
            return Round(block, len(decided.content.ids) // ID_BYTES, _lag_seconds(connection, block.until))

        await self._summarize()
        return await self._database.run(work)

    async def _summarize(self) -> None:
        """In a transaction of its own, which holds nobody up."""

        def work(connection: Connection) -> int:
            found: int = connection.execute(SUMMARIZE, {"done": self._summarized}).scalar_one()
            return found

        self._summarized = await self._database.run(work)


def _tip(connection: Connection) -> Tip:
    row = connection.execute(TIP).one_or_none()
    return Tip(0, GENESIS, BEGINNING) if row is None else Tip(row[0], hash_of(row[1]), parsed(row[1]).until)


def _decided(connection: Connection, tip: Tip, limit: int) -> Decided | None:
    ids, leaves, xid, now = connection.execute(DECIDED, {**_place(tip.until), "limit": limit}).one()
    if ids is None:
        return None
    content = Content(bytes(ids), bytes(leaves))
    return Decided(content, Mark(xid, str(UUID(bytes=content.ids[-ID_BYTES:]))), now)


def _store(connection: Connection, block: Block, decided: Decided, public_key: str) -> None:
    values = {
        "number": block.number,
        "until_xid": block.until.commit,
        "until_id": block.until.id,
        "ids": decided.content.ids,
        "leaves": decided.content.leaves,
        "header": block.header,
        "hash": block.hash,
        "signature": block.signature,
        "key_id": block.key_id,
        "seal_time": block.seal_time,
        "public_key": public_key,
    }
    connection.execute(STORE, values)


def _lag_seconds(connection: Connection, after: Mark) -> float:
    found: float = connection.execute(LAG, {**_place(after), "limit": LOOKED_AT_MAX}).scalar_one()
    return found


def _place(mark: Mark) -> dict[str, object]:
    return {"xid": mark.commit, "id": mark.id}
