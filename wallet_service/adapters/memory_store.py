"""Wallets in memory: what the port means, in the fewest words. Used where a test needs no database."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime, timedelta

from service_kit.acts import Act, actor_of_call
from wallet_service.adapters.acts import act_of
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


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(slots=True)
class _Row:
    wallet: Wallet
    due_time: datetime | None
    due_attempts: int = 0


class MemoryWalletStore:
    """Implements WalletStore. No method awaits anything, so each happens at once. `acts`: all that are on record."""

    def __init__(self, due_seconds: float = UNFINISHED_DUE_SECONDS, now: Callable[[], datetime] = _now) -> None:
        self.acts: list[Act] = []
        self._rows: dict[str, _Row] = {}
        self._due_seconds = due_seconds
        self._now = now

    async def insert(self, new: NewWallet) -> Inserted | SameRequestId | NameTaken:
        if new.request_id is not None:
            for row in self._rows.values():
                if (row.wallet.principal, row.wallet.request_id) == (new.principal, new.request_id):
                    return SameRequestId(row.wallet)
        if new.name in self._rows:
            return NameTaken()
        now = self._now()
        given = {field.name: getattr(new, field.name) for field in fields(NewWallet)}
        wallet = Wallet(**given, state=WalletState.CREATING, revision=1, create_time=now, update_time=now)
        self._store(None, wallet)
        return Inserted(wallet)

    async def get(self, name: str, bound_to: str = "") -> Wallet | None:
        return (await self.get_many([name], bound_to)).get(name)

    async def get_many(self, names: Sequence[str], bound_to: str = "") -> dict[str, Wallet]:
        found = {name: self._rows[name].wallet for name in names if name in self._rows}
        return {name: wallet for name, wallet in found.items() if bound_to in {"", wallet.owner}}

    async def page(self, owner: str, state: WalletState | None, after: str, count: int) -> list[Wallet]:
        wanted = [
            row.wallet
            for name, row in sorted(self._rows.items())
            if name > after and owner in {"", row.wallet.owner} and state in {None, row.wallet.state}
        ]
        return wanted[:count]

    async def replace(self, changed: Wallet) -> Wallet | None:
        row = self._rows.get(changed.name)
        if row is None or row.wallet.revision != changed.revision:
            return None
        stored = replace(
            row.wallet,
            particulars=changed.particulars,
            state=changed.state,
            attempt=changed.attempt,
            turned_down=changed.turned_down,
            update_revision=changed.update_revision,
            revision=changed.revision + 1,
            update_time=self._now(),
        )
        self._store(row.wallet, stored)
        return stored

    async def claim(self, count: int, lease_seconds: float) -> list[Due]:
        now = self._now()
        due = sorted(((row.due_time, name) for name, row in self._rows.items() if row.due_time and row.due_time <= now))
        claimed = [self._rows[name] for _, name in due[:count]]
        for row in claimed:
            row.due_time = now + timedelta(seconds=lease_seconds * 2 ** min(row.due_attempts, LEASE_DOUBLINGS_MAX))
            row.due_attempts += 1
        return [Due(row.wallet, row.due_attempts) for row in claimed]

    async def ping(self) -> None:
        pass

    def _store(self, before: Wallet | None, after: Wallet) -> None:
        self._rows[after.name] = _Row(after, self._due(after))
        self.acts.append(act_of(before, after, actor_of_call(OURSELVES)))

    def _due(self, wallet: Wallet) -> datetime | None:
        return None if wallet.settled else self._now() + timedelta(seconds=self._due_seconds)
