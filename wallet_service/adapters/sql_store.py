"""Wallets in PostgreSQL. Every method is one short transaction; none waits for anything but the database. What changes
a wallet puts the act on record in the same commit."""

from collections.abc import Sequence
from typing import Final

from sqlalchemy import Connection, bindparam, func, select, update
from sqlalchemy.dialects.postgresql import insert

from service_kit.acts import Actor, actor_of_call
from service_kit.database import Database
from wallet_service.adapters import rows
from wallet_service.adapters.acts import act_of
from wallet_service.adapters.tables import act
from wallet_service.adapters.tables import wallet as table
from wallet_service.domain.wallet import NewWallet, Wallet, WalletState
from wallet_service.ports import (
    LEASE_DOUBLINGS_MAX,
    OURSELVES,
    UNFINISHED_DUE_SECONDS,
    Due,
    Inserted,
    NameTaken,
    SameRequestId,
)

# By the primary key. Built once: building takes as long as running it.
ONE_BY_NAME: Final = select(table).where(table.c.name == bindparam("name"))
MANY_BY_NAME: Final = select(table).where(table.c.name == func.any(bindparam("names")))
ITS_OWN: Final = table.c.owner == bindparam("owner")
ONE_OF_ITS_OWN: Final = ONE_BY_NAME.where(ITS_OWN)
MANY_OF_ITS_OWN: Final = MANY_BY_NAME.where(ITS_OWN)


class SqlWalletStore:
    """Implements WalletStore."""

    def __init__(self, database: Database, due_seconds: float = UNFINISHED_DUE_SECONDS) -> None:
        self._database = database
        self._due_time = func.now() + func.make_interval(0, 0, 0, 0, 0, 0, due_seconds)

    async def insert(self, new: NewWallet) -> Inserted | SameRequestId | NameTaken:
        """A conflicting insert that is under way is waited for; the SELECT after it sees what became of it."""
        row = rows.identity(new) | rows.particulars(new.particulars)
        fresh = {
            "state": int(WalletState.CREATING),
            "revision": 1,
            "create_time": func.now(),
            "update_time": func.now(),
            "due_time": self._due_time,
            "due_attempts": 0,
        }
        inserting = insert(table).values(**row, **fresh).on_conflict_do_nothing().returning(table)
        same_request = select(table).where(table.c.principal == new.principal, table.c.request_id == new.request_id)
        by = actor_of_call(OURSELVES)

        def work(connection: Connection) -> Inserted | SameRequestId | NameTaken:
            inserted = connection.execute(inserting).mappings().one_or_none()
            if inserted is not None:
                wallet = rows.wallet(inserted)
                _put_on_record(connection, None, wallet, by)
                return Inserted(wallet)
            known = connection.execute(same_request).mappings().one_or_none() if new.request_id is not None else None
            return NameTaken() if known is None else SameRequestId(rows.wallet(known))

        return await self._database.run(work)

    async def get(self, name: str, bound_to: str = "") -> Wallet | None:
        query = ONE_OF_ITS_OWN if bound_to else ONE_BY_NAME

        def work(connection: Connection) -> Wallet | None:
            row = connection.execute(query, {"name": name, "owner": bound_to}).mappings().one_or_none()
            return None if row is None else rows.wallet(row)

        return await self._database.run(work)

    async def get_many(self, names: Sequence[str], bound_to: str = "") -> dict[str, Wallet]:
        query = MANY_OF_ITS_OWN if bound_to else MANY_BY_NAME

        def work(connection: Connection) -> dict[str, Wallet]:
            found = connection.execute(query, {"names": list(names), "owner": bound_to}).mappings()
            return {row["name"]: rows.wallet(row) for row in found}

        return await self._database.run(work)

    async def page(self, owner: str, state: WalletState | None, after: str, count: int) -> list[Wallet]:
        """Each combination of filters has an index that ends in the name."""
        query = select(table).where(table.c.name > after).order_by(table.c.name).limit(count)
        if owner:
            query = query.where(table.c.owner == owner)
        if state is not None:
            query = query.where(table.c.state == int(state))

        def work(connection: Connection) -> list[Wallet]:
            return [rows.wallet(row) for row in connection.execute(query).mappings()]

        return await self._database.run(work)

    async def replace(self, changed: Wallet) -> Wallet | None:
        """Locks the one row, to know what it was before."""
        same = (table.c.name == changed.name, table.c.revision == changed.revision)
        locking = select(table).where(*same).with_for_update()
        statement = (
            update(table)
            .where(*same)
            .values(
                **rows.particulars(changed.particulars),
                **rows.progress(changed),
                revision=table.c.revision + 1,
                update_time=func.now(),
                due_time=None if changed.settled else self._due_time,
                due_attempts=0,
            )
            .returning(table)
        )
        by = actor_of_call(OURSELVES)

        def work(connection: Connection) -> Wallet | None:
            before = connection.execute(locking).mappings().one_or_none()
            if before is None:
                return None
            after = rows.wallet(connection.execute(statement).mappings().one())
            _put_on_record(connection, rows.wallet(before), after, by)
            return after

        return await self._database.run(work)

    async def claim(self, count: int, lease_seconds: float) -> list[Due]:
        """Rows that another worker is claiming, or a call is changing, are passed over."""
        due = (
            select(table.c.name)
            .where(table.c.due_time <= func.now())
            .order_by(table.c.due_time)
            .limit(count)
            .with_for_update(skip_locked=True)
            .cte("due")
        )
        seconds = lease_seconds * func.power(2, func.least(table.c.due_attempts, LEASE_DOUBLINGS_MAX))
        statement = (
            update(table)
            .where(table.c.name == due.c.name)
            .values(
                due_time=func.now() + func.make_interval(0, 0, 0, 0, 0, 0, seconds),
                due_attempts=table.c.due_attempts + 1,
            )
            .returning(table)
        )

        def work(connection: Connection) -> list[Due]:
            claimed = connection.execute(statement).mappings()
            return [Due(rows.wallet(row), row["due_attempts"]) for row in claimed]

        return await self._database.run(work)

    async def ping(self) -> None:
        await self._database.ping()


def _put_on_record(connection: Connection, before: Wallet | None, after: Wallet, by: Actor) -> None:
    connection.execute(insert(act).values(act_of(before, after, by)._asdict()))
