"""What the use cases need of the outside, as protocols.

Every method may raise service_kit.status.Refusal when what stands behind it cannot answer (UNAVAILABLE,
DEADLINE_EXCEEDED, OVERLOADED, CONTENTION): then a change has happened or not.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from wallet_service.domain.wallet import Account, AccountState, Limits, NewWallet, Wallet, WalletState

UNFINISHED_DUE_SECONDS: Final = 5.0
"""How long a call has a wallet for itself before it is due to be finished by the reconciler."""

OURSELVES: Final = "system/reconciler"
"""Who is on record for what no call has done: in this service only the reconciler changes wallets by itself."""

LEASE_DOUBLINGS_MAX: Final = 3
"""A wallet that cannot be finished is tried more and more seldom, but soon enough after an outage."""


@dataclass(frozen=True, slots=True)
class Inserted:
    """The wallet is new."""

    wallet: Wallet


@dataclass(frozen=True, slots=True)
class SameRequestId:
    """This principal has created this wallet under this request id before."""

    wallet: Wallet


@dataclass(frozen=True, slots=True)
class NameTaken:
    """There is a wallet of this name, from another request."""


@dataclass(frozen=True, slots=True)
class Due:
    """A wallet to be finished; `attempts` counts how often it has been claimed since its last change."""

    wallet: Wallet
    attempts: int


class WalletStore(Protocol):
    """Wallets, for good. No wallet is ever deleted. Each insertion and each replacement puts an act on record, all or
    nothing, of the running call's caller: numbered by the wallet's new revision (service_kit.acts)."""

    async def insert(self, new: NewWallet) -> Inserted | SameRequestId | NameTaken:
        """Stores a wallet as CREATING with revision 1. What the request id finds goes before what the name finds."""

    async def get(self, name: str, bound_to: str = "") -> Wallet | None:
        """One wallet, if it is of this owner (empty: of anybody). An owner never changes."""

    async def get_many(self, names: Sequence[str], bound_to: str = "") -> dict[str, Wallet]:
        """Those that exist, by name, and are of this owner (empty: of anybody)."""

    async def page(self, owner: str, state: WalletState | None, after: str, count: int) -> list[Wallet]:
        """Up to `count` wallets whose names come after `after`, in the order of their names' bytes. An empty owner is
        any owner."""

    async def replace(self, changed: Wallet) -> Wallet | None:
        """Stores `changed` over the row of the same name and revision, whose revision grows by one; the row as stored.
        None: the row has another revision by now, and nothing was done. What is never to change is not looked at."""

    async def claim(self, count: int, lease_seconds: float) -> list[Due]:
        """Up to `count` unfinished wallets that are due, the longest due first. None is due again, here or in another
        worker, before the lease ends, which doubles with every claim since the wallet's last change, as often as
        LEASE_DOUBLINGS_MAX says."""

    async def ping(self) -> None:
        """Raises when the store does not answer."""


class AccountServiceFault(Exception):  # noqa: N818 - whose fault it is is what the name tells
    """The account service answered with something that the contract does not have it answer: a bug on one side."""


class AccountGateway(Protocol):
    """The accounts behind the wallets. All orders are idempotent. One with a revision below the account's is declined.

    Orders raise Declined with the contract's reason, and AccountServiceFault.
    """

    async def open(self, wallet: Wallet) -> Account:
        """Opens the wallet's account, or finds it open."""

    async def set_state(self, name: str, state: AccountState, revision: int) -> Account:
        """Brings the account to this state."""

    async def set_limits(self, name: str, limits: Limits, revision: int) -> Account:
        """Puts these limits in force."""

    async def get_many(self, names: Sequence[str]) -> Mapping[str, Account]:
        """Those that exist, by name; up to 1000."""
