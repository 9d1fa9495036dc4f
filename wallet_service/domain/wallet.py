"""A wallet as it is stored, and what its account is to be told of it.

`revision` grows by one with every stored change. Whoever changes a wallet names the revision it read, and every order
to the account carries the revision of the row that it was read from: a late one is refused on both sides.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum
from hashlib import blake2b
from typing import Final

from wallet_service.domain.failure import Failure

NAME_PREFIX: Final = "wallets/"
ETAG_BYTES: Final = 8


class WalletKind(IntEnum):
    """The numbers are stored and are those of the contract."""

    USER = 1
    PROVIDER = 2


class WalletState(IntEnum):
    """The numbers are stored and are those of the contract."""

    CREATING = 1
    ACTIVE = 2
    FREEZING = 3
    FROZEN = 4
    UNFREEZING = 5
    CLOSING = 6
    CLOSED = 7


PASSING: Final = frozenset(
    {WalletState.CREATING, WalletState.FREEZING, WalletState.UNFREEZING, WalletState.CLOSING},
)
"""The states that the service brings to their end by itself."""


class AccountState(IntEnum):
    """The numbers are those of the contract."""

    OPEN = 1
    FROZEN = 2
    CLOSED = 3


@dataclass(frozen=True, slots=True)
class Limits:
    """Amounts in minor units; 0: no such limit. `credit_minor_units` is how far below 0 the balance may go."""

    max_minor_units_per_transaction: int = 0
    max_minor_units_per_day: int = 0
    max_debits_per_hour: int = 0
    time_zone: str = ""
    credit_minor_units: int = 0


NO_LIMITS: Final = Limits()


@dataclass(frozen=True, slots=True)
class Particulars:
    """What people may change of a wallet."""

    display_name: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    limits: Limits = NO_LIMITS


@dataclass(frozen=True, slots=True)
class Closing:
    """A close under way, which the account may refuse. `revision` is the row's when it began, and names it.

    `turned_down`: it was refused, and the account is being told the state that stays, so that no late order of this
    close can still take effect.
    """

    revision: int
    back_to: WalletState
    turned_down: bool = False


@dataclass(frozen=True, slots=True)
class Updating:
    """Changed limits under way, with all that was asked for together with them, which the account may refuse.

    `revision` and `turned_down` are as in Closing; once turned down, `particulars` are the ones that stay.
    """

    revision: int
    particulars: Particulars
    turned_down: bool = False


@dataclass(frozen=True, slots=True)
class TurnedDown:
    """The last attempt that the account refused: the revision that names it, and why."""

    revision: int
    failure: Failure


@dataclass(frozen=True, slots=True, kw_only=True)
class NewWallet:
    """What a wallet is created from. `fingerprint` tells whether another request under the same id is the same."""

    name: str
    owner: str
    currency_code: str
    kind: WalletKind
    particulars: Particulars
    principal: str
    request_id: str | None
    fingerprint: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Wallet(NewWallet):
    """One stored wallet. `attempt` is what is under way that the account may refuse; `turned_down` the last that it
    did refuse; `update_revision` names the last update of limits that it took."""

    state: WalletState
    revision: int
    create_time: datetime
    update_time: datetime
    attempt: Closing | Updating | None = None
    turned_down: TurnedDown | None = None
    update_revision: int | None = None

    @property
    def settled(self) -> bool:
        """Whether nothing is under way. What is not settled is the reconciler's to finish."""
        return self.state not in PASSING and self.attempt is None

    @property
    def etag(self) -> str:
        """Opaque, so that nobody counts with it."""
        return blake2b(f"{self.name} {self.revision}".encode(), digest_size=ETAG_BYTES).hexdigest()


@dataclass(frozen=True, slots=True)
class Balance:
    """Amounts in minor units of `currency_code`; `version` is the number of entries."""

    currency_code: str
    posted: int
    held: int
    available: int
    version: int


@dataclass(frozen=True, slots=True)
class Account:
    """What the wallet service needs to know of the account behind a wallet."""

    name: str
    state: AccountState
    balance: Balance
