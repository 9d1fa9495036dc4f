"""What the service needs of the outside, as protocols. Adapters keep the ledger in PostgreSQL or in memory."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple, Protocol

from transaction_service.domain.account import Account, Change
from transaction_service.domain.book import Book, Reversed
from transaction_service.domain.failure import Failure
from transaction_service.domain.hold import Hold, HoldState
from transaction_service.domain.movement import Entry, Movement, Transaction, TransactionKind, TransactionState


class Conflict(Exception):  # noqa: N818 - what happened, in the field's word
    """Another session wanted the same rows at the same time. Nothing was written; the same group may be tried again."""


class LockTimeout(Exception):  # noqa: N818 - as above
    """An account stayed locked by another session. Nothing was written."""


class StoreUnavailable(Exception):  # noqa: N818 - as above
    """The store cannot be reached. Whether the last write came through is not known: the transactions' ids tell."""


class Wanted(NamedTuple):
    """What a group's lock pass is to find: accounts by name, the others by id.

    `transactions`: those of the commands and those that are to be reversed; `reversed`: only the latter; `pending`:
    those whose time has come or that are to be cancelled, to be locked.
    """

    accounts: Collection[str]
    transactions: Collection[str]
    holds: Collection[str] = ()
    reversed: Collection[str] = ()
    pending: Collection[str] = ()


class Locked(NamedTuple):
    """What a group's lock pass found. `now` is not before the last entry of any of the accounts."""

    accounts: dict[str, Account]
    known: dict[str, Transaction]
    now: datetime
    holds: dict[str, Hold]
    reversed: dict[str, Reversed]


class PostingStore(Protocol):
    """The ledger as one posting lane sees it: lock, then write or roll back. Used by one thread at a time."""

    def open_system_accounts(self, accounts: Sequence[Account]) -> None:
        """Opens those that do not exist yet, in a transaction of its own."""

    def lock(self, wanted: Wanted, *, patient: bool, seconds_left: float = float("inf")) -> Locked:
        """Begins. Locks the accounts in the order of their ids, which also guard their holds and reversals, and what is
        pending. Not patient: gives up after some milliseconds when somebody else holds an account. `seconds_left`: no
        statement until the end may take longer, but for the commit itself; what does raises LockTimeout.

        Raises Conflict, LockTimeout, StoreUnavailable; then nothing is begun.
        """

    def write(self, book: Book) -> None:
        """Writes what the book has decided, and commits. Raises as `lock`; then nothing is begun any more."""

    def roll_back(self) -> None:
        """Ends what `lock` began, without effect."""

    def held(self, names: Collection[str]) -> set[str]:
        """Which of these accounts another session holds now. Nothing must be begun."""

    def close(self) -> None:
        """Frees the connection."""


class Accounts(Protocol):
    """Accounts, beside posting."""

    async def open(self, account: Account) -> Account:
        """Stores it unless there is one of this name; the one that is there."""

    async def get(self, names: Sequence[str], bound_to: str = "") -> list[Account]:
        """Those that exist and are of this owner (empty: of anybody), in no particular order."""

    async def change(self, name: str, rule: Callable[[Account], Change]) -> Account | Failure | None:
        """Applies the rule under the account's row lock and stores what it gives, unless that closes an account that
        has payouts under way: PAYOUTS_UNDER_WAY. None: there is no such account."""


@dataclass(frozen=True, slots=True)
class TransactionFilter:
    """Which transactions to list; None and empty: any. The time range is [start, end) of their decide time.

    `account`: those that name it, in whatever part. `label`: a key and a value. `shown_to`: only what the owner of the
    account sees, this principal (domain.visibility.shows). `id`: only this one. `principal`: who asked for it;
    `trace_id`: of the call that did.
    """

    account: str = ""
    state: TransactionState | None = None
    kind: TransactionKind | None = None
    start: datetime | None = None
    end: datetime | None = None
    external_reference: str = ""
    label: tuple[str, str] | None = None
    shown_to: str = ""
    id: str = ""
    principal: str = ""
    trace_id: str = ""


@dataclass(frozen=True, slots=True)
class EntryFilter:
    """Which entries of an account to list. The time range is [start, end) of their post time; None: without end."""

    newest_first: bool = False
    start: datetime | None = None
    end: datetime | None = None


class Line(NamedTuple):
    """One line of a statement: the entry and what made it."""

    entry: Entry
    transaction: Transaction


class PastBalance(NamedTuple):
    """What an account had, in minor units, and how many entries, when a moment had passed."""

    amount: int = 0
    version: int = 0


class Period(NamedTuple):
    """The entries of an account within a time range that is over: those behind the version of `opening`, up to that of
    `closing`. No later posting changes it. `end`: of the range."""

    opening: PastBalance
    closing: PastBalance
    end: datetime


Position = list[Any]
"""Where a page ends, of JSON values; only the adapter that made it can read it."""


class LedgerReader(Protocol):
    """What was posted and what was not."""

    async def transaction(self, transaction_id: str, bound_to: str = "") -> Transaction | None:
        """One transaction. With an owner: if he has asked for it, or one of his accounts shows it."""

    async def known(self, ids: Collection[str]) -> set[str]:
        """Those that are ids of transactions."""

    async def transactions(
        self, wanted: TransactionFilter, after: Position | None, limit: int
    ) -> tuple[list[Transaction], Position | None]:
        """A page, the newest first, and where it ends; None: it is the last one. Where filters let little through, a
        page that is not the last one may have less than the limit."""

    async def entries(
        self, account: Account, wanted: EntryFilter, after: Position | None, limit: int
    ) -> tuple[list[Line], Position | None]:
        """A page of an account's statement, and where it ends; None: it is the last one."""

    async def balance_at(self, account: Account, time: datetime) -> PastBalance | None:
        """After the account's last entry at or before this time. No later posting changes it any more. None: the time
        is still to come."""

    async def period(self, account: Account, start: datetime | None, end: datetime | None) -> Period | None:
        """[start, end): which entries are in it. Without a start: from the first one on; without an end: up to now.
        None: the end is still to come. What is in one that starts at its end or later is undefined."""

    async def lines(self, account: Account, after: int, until: int) -> list[Line]:
        """The entries behind one number, up to another, in their order: all of them."""


class AccountChange(NamedTuple):
    """What an entry did to its account, which has this name and currency."""

    account: str
    currency: str
    entry: Entry


class AuditRecord(NamedTuple):
    """An attempt and what it did to balances, in the order of the accounts' names."""

    transaction: Transaction
    changes: Sequence[AccountChange]


class AuditRecords(Protocol):
    """What was attempted, with what it changed."""

    async def page(
        self, wanted: TransactionFilter, after: Position | None, limit: int
    ) -> tuple[list[AuditRecord], Position | None]:
        """A page, as LedgerReader.transactions."""


@dataclass(frozen=True, slots=True)
class HoldFilter:
    """Which OPEN holds to find; None and empty: any. `placed_before`: their create time is before it."""

    source: str = ""
    destination: str = ""
    external_reference: str = ""
    placed_before: datetime | None = None


class HoldReader(Protocol):
    """What is reserved, and was."""

    async def hold(self, hold_id: str, bound_to: str = "") -> Hold | None:
        """One hold. With an owner: if its source or its destination is his."""

    async def holds(
        self, account: str, state: HoldState | None, after: Position | None, limit: int
    ) -> tuple[list[Hold], Position | None]:
        """A page of the holds that name this account as source or destination (empty: of all), the newest first, and
        where it ends; None: it is the last one. May have less than the limit, as LedgerReader.transactions."""

    async def open_holds(self, wanted: HoldFilter, limit: int) -> list[Hold]:
        """The OPEN ones that match, the oldest first, at most so many."""


class Backlog(NamedTuple):
    """How much there is to do, and for how long the oldest has been due already."""

    waiting: int
    overdue_seconds: float


class DueWork(Protocol):
    """Movements whose time comes by itself, by the database's clock. All processes share them: what one has claimed the
    others leave alone for a while. That nothing is done twice does not rest on claims."""

    async def claim(self, limit: int, lease_seconds: float) -> list[Movement]:
        """Those that have been due for longest, at most so many. Until the lease is over they are this caller's."""

    async def give_back(self, movements: Sequence[Movement]) -> None:
        """They could not be posted now. They can be claimed again after a while: the more overdue, the longer."""

    async def backlog(self, count_max: int) -> Backlog:
        """Counts no further than to the maximum."""


class Mark(NamedTuple):
    """A place in the order of commits, behind what stands there. Marks compare as that order does."""

    commit: int
    id: str


class Stretch(NamedTuple):
    """A piece of the feed: what was committed after one mark and up to another, each with its own mark. `complete`:
    there is no more for now."""

    after: Mark
    committed: Sequence[tuple[Mark, Transaction]]
    until: Mark
    complete: bool


class Feed(Protocol):
    """The transactions in the order of their commits, without a gap: behind a mark that was given nothing new appears.

    One that was PENDING leaves its place when it is decided, and comes again at another.
    """

    beginning: Mark

    async def end(self) -> Mark:
        """Behind everything that can be read now."""

    async def read(self, after: Mark, limit: int, account: str = "") -> Stretch:
        """The next ones that name this account (empty: any), at most so many, among a bounded number of transactions:
        there may be none before more."""


class Sums(NamedTuple):
    """The sum of all balances by currency, in minor units, as they were at one time: 0 each, or the ledger is
    broken. With them what the check that always runs knew then: when it last looked at what is new (None: never), and
    how many things it has found that do not hold."""

    by_currency: Mapping[str, int]
    time: datetime
    check_time: datetime | None = None
    findings: int = 0


class Integrity(Protocol):
    """What must hold of the whole ledger."""

    async def sums(self) -> Sums:
        """Reads every account: not for every call."""
