"""Accounts as posting knows them, and what may be set on them."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import Enum, IntEnum
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

from transaction_service.domain.failure import Failure, Reason

INT64_MAX: Final = 2**63 - 1
INT64_MIN: Final = -(2**63)
SYSTEM_PREFIX: Final = "system/"
SECONDS_PER_HOUR: Final = 3600


class AccountKind(IntEnum):
    """The numbers are stored and are those of the contract; SYSTEM is ours alone."""

    USER = 1
    PROVIDER = 2
    SYSTEM = 3


class AccountState(IntEnum):
    """The numbers are stored and are those of the contract."""

    OPEN = 1
    FROZEN = 2
    CLOSED = 3


@dataclass(frozen=True, slots=True)
class Limits:
    """What one account may do, amounts in minor units; 0 means no such limit. `credit` is how far below 0 it may go."""

    per_transaction: int = 0
    per_day: int = 0
    debits_per_hour: int = 0
    time_zone: str = "UTC"
    credit: int = 0

    @property
    def bind_debits(self) -> bool:
        """Whether a debit must be looked at more closely."""
        return bool(self.per_transaction or self.per_day or self.debits_per_hour)


NO_LIMITS: Final = Limits()


@dataclass(frozen=True, slots=True)
class Usage:
    """What was used of the windows: `day` is the local date's ordinal, `hour` the hours since 1970 in UTC."""

    day: int = 0
    day_amount: int = 0
    hour: int = 0
    hour_count: int = 0


NOTHING_USED: Final = Usage()


@dataclass(slots=True)
class Account:
    """One account under its lock. `floor` None: it may go down without end. `version` is the number of its entries."""

    id: str
    name: str
    owner: str
    currency: str
    kind: AccountKind
    state: AccountState
    balance: int = 0
    held: int = 0
    floor: int | None = 0
    version: int = 0
    revision: int = 0
    limits: Limits = NO_LIMITS
    usage: Usage = NOTHING_USED

    @property
    def available(self) -> int:
        """What is not held. With the floor it tells what can be spent."""
        return self.balance - self.held

    @property
    def spendable(self) -> int | None:
        """What a debit may take. None: without floor there is no end."""
        return None if self.floor is None else self.available - self.floor


@lru_cache(1024)
def zone(name: str) -> ZoneInfo:
    """Raises ZoneInfoNotFoundError or ValueError for a name that the IANA database does not have."""
    return ZoneInfo(name)


def day_of(now: datetime, time_zone: str) -> int:
    """The ordinal of the local date."""
    return now.astimezone(zone(time_zone)).date().toordinal()


def day_ends(now: datetime, time_zone: str) -> datetime:
    """The next local midnight."""
    local = now.astimezone(zone(time_zone))
    tomorrow = local.date() + timedelta(days=1)
    return datetime(tomorrow.year, tomorrow.month, tomorrow.day, tzinfo=local.tzinfo)


def hour_of(now: datetime) -> int:
    """Hours since 1970 in UTC."""
    return int(now.timestamp()) // SECONDS_PER_HOUR


def hour_ends(now: datetime) -> datetime:
    """The next full hour of UTC: `now` may come in a zone that is half an hour beside it."""
    return datetime.fromtimestamp((hour_of(now) + 1) * SECONDS_PER_HOUR, UTC)


def system_account(name: str, account_id: str) -> Account:
    """`system/cash-usd` and its like: opened on first use, in the currency that the name ends with, without floor."""
    return Account(
        id=account_id,
        name=name,
        owner="system",
        currency=name.rpartition("-")[2].upper(),
        kind=AccountKind.SYSTEM,
        state=AccountState.OPEN,
        floor=None,
    )


def cash(currency: str) -> str:
    """The name of the account that stands for the outside world."""
    return f"{SYSTEM_PREFIX}cash-{currency.lower()}"


def fees(currency: str) -> str:
    """The name of the account that is paid the fees for which nobody else is named."""
    return f"{SYSTEM_PREFIX}fees-{currency.lower()}"


class Unchanged(Enum):
    """The account is as it is asked to be."""

    UNCHANGED = 0


Change = Account | Unchanged | Failure


def set_state(account: Account, state: AccountState, revision: int) -> Change:
    """Opens, freezes or closes. CLOSED is for ever and needs a balance and holds of 0."""
    if revision < account.revision:
        return _stale(account)
    if state is not account.state:
        if account.state is AccountState.CLOSED:
            return Failure(Reason.WALLET_STATE, {"wallet": account.name, "state": account.state.name})
        if state is AccountState.CLOSED and (account.balance or account.held):
            amounts = {"posted": str(account.balance), "held": str(account.held)}
            return Failure(Reason.WALLET_NOT_EMPTY, {"wallet": account.name, **amounts})
    elif revision == account.revision:
        return Unchanged.UNCHANGED
    return replace(account, state=state, revision=revision)


def closes(account: Account, change: Change) -> bool:
    """Whether this change of the account closes it."""
    return (
        isinstance(change, Account) and change.state is AccountState.CLOSED and account.state is not AccountState.CLOSED
    )


def payouts_under_way(account: Account, payouts: int) -> Failure:
    """Why it is not closed: the money of so many payouts out of it may come back."""
    return Failure(Reason.PAYOUTS_UNDER_WAY, {"wallet": account.name, "payouts": str(payouts)})


def set_limits(account: Account, limits: Limits, revision: int) -> Change:
    """Replaces all limits. A floor above what is available is refused."""
    if revision < account.revision:
        return _stale(account)
    if account.state is AccountState.CLOSED:
        return Failure(Reason.WALLET_STATE, {"wallet": account.name, "state": account.state.name})
    if account.available < -limits.credit:
        used = {"available": str(account.available), "credit": str(limits.credit)}
        return Failure(Reason.FLOOR_ABOVE_BALANCE, {"wallet": account.name, **used})
    if limits == account.limits and revision == account.revision:
        return Unchanged.UNCHANGED
    # Days of another zone are other days: what was used under the old one does not count in the new one.
    usage = (
        account.usage if limits.time_zone == account.limits.time_zone else replace(account.usage, day=0, day_amount=0)
    )
    return replace(account, limits=limits, floor=-limits.credit, usage=usage, revision=revision)


def _stale(account: Account) -> Failure:
    return Failure(Reason.STALE_REVISION, {"account": account.name, "revision": str(account.revision)})


def same_identity(account: Account, other: Account) -> bool:
    """Whether opening `other` finds what it wants in `account`."""
    return (account.owner, account.currency, account.kind) == (other.owner, other.currency, other.kind)
