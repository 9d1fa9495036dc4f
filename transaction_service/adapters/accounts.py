"""The accounts port on PostgreSQL, through SQLAlchemy and the database threads."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Select, func, select, update
from sqlalchemy.dialects.postgresql import insert

from service_kit.database import Database
from transaction_service.adapters import statements, tables
from transaction_service.adapters.record_tables import payout
from transaction_service.adapters.rows import to_account
from transaction_service.domain.account import Account, Change, closes, payouts_under_way
from transaction_service.domain.failure import Failure
from transaction_service.domain.identity import account_id
from transaction_service.payouts.payout import UNDER_WAY

_COLUMNS = [tables.account.c[name.strip()] for name in statements.ACCOUNT_COLUMNS.split(",")]


class SqlAccounts:
    """Fills transaction_service.ports.Accounts."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def open(self, account: Account) -> Account:
        def work(connection: Connection) -> Account:
            new = insert(tables.account).values(_values(account)).on_conflict_do_nothing()
            connection.execute(new)
            # A statement of its own, so that it sees what another session has just committed.
            return to_account(connection.execute(_one(account.name)).one())

        return await self._database.run(work)

    async def get(self, names: Sequence[str], bound_to: str = "") -> list[Account]:
        wanted = select(*_COLUMNS).where(tables.account.c.id.in_([account_id(name) for name in names]))
        if bound_to:
            wanted = wanted.where(tables.account.c.owner == bound_to)
        return await self._database.run(lambda connection: [to_account(row) for row in connection.execute(wanted)])

    async def change(self, name: str, rule: Callable[[Account], Change]) -> Account | Failure | None:
        def work(connection: Connection) -> Account | Failure | None:
            row = connection.execute(_one(name).with_for_update()).one_or_none()
            if row is None:
                return None
            account = to_account(row)
            change = rule(account)
            if closes(account, change) and (payouts := connection.execute(_under_way(name)).scalar_one()):
                return payouts_under_way(account, payouts)
            if isinstance(change, Account):
                connection.execute(update(tables.account).where(tables.account.c.id == account.id), _values(change))
                return change
            return change if isinstance(change, Failure) else account

        return await self._database.run(work)


def _one(name: str) -> Any:  # noqa: ANN401 - the type of this select is its twenty columns
    return select(*_COLUMNS).where(tables.account.c.id == account_id(name))


def _under_way(name: str) -> Select[int]:
    """How many payouts have no known end: under the account's lock no new one comes. Index: payout_open_wallet_idx."""
    return select(func.count()).where(payout.c.wallet == name, payout.c.state.in_([state.value for state in UNDER_WAY]))


def _values(account: Account) -> Mapping[str, Any]:
    limits, usage = account.limits, account.usage
    return {
        "id": account.id,
        "name": account.name,
        "owner": account.owner,
        "currency": account.currency,
        "kind": int(account.kind),
        "state": int(account.state),
        "balance": account.balance,
        "held": account.held,
        "floor": account.floor,
        "version": account.version,
        "revision": account.revision,
        "limit_per_transaction": limits.per_transaction,
        "limit_per_day": limits.per_day,
        "limit_debits_per_hour": limits.debits_per_hour,
        "time_zone": limits.time_zone,
        "used_day": usage.day,
        "used_day_amount": usage.day_amount,
        "used_hour": usage.hour,
        "used_hour_count": usage.hour_count,
    }
