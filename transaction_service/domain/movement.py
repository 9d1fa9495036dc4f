"""What is asked of the ledger and what becomes of it: commands, transactions, entries.

Named tuples, because thousands are made a second: immutable, and several times cheaper to make than frozen dataclasses.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import Enum, IntEnum
from typing import Final, NamedTuple

from transaction_service.domain.failure import Failure
from transaction_service.domain.hold import Hold
from transaction_service.domain.identity import derived_id, transaction_id
from transaction_service.domain.terms import PLAIN, Posting, Terms, written


class TransactionKind(IntEnum):
    """The numbers are stored and are those of the contract."""

    TRANSFER = 1
    DEPOSIT = 2
    WITHDRAWAL = 3
    COMPOUND = 4
    REVERSAL = 5
    HOLD = 6
    CAPTURE = 7
    RELEASE = 8
    EXPIRY = 9


WITHOUT_ENTRIES: Final = frozenset({TransactionKind.HOLD, TransactionKind.RELEASE, TransactionKind.EXPIRY})
"""They move no money: what they change is what is held."""


class TransactionState(IntEnum):
    """The numbers are stored and are those of the contract."""

    POSTED = 1
    FAILED = 2
    PENDING = 3


class Movement(NamedTuple):
    """One command. Its amount, in minor units, goes from one account to another; 0 where the ledger finds it: all that
    is left of a hold or of what is reversed, or what the postings in its terms say.

    `provider` is the account, if any, that must be a provider's. `hold` and `reverses` are ids.
    """

    id: str
    fingerprint: str
    kind: TransactionKind
    source: str
    destination: str
    amount: int
    currency: str
    provider: str
    description: str
    external_reference: str
    labels: Mapping[str, str]
    principal: str
    request_id: str
    trace_id: str
    terms: Terms = PLAIN
    hold: str = ""
    reverses: str = ""


def movement(
    kind: TransactionKind,
    source: str,
    destination: str,
    amount: int,
    currency: str,
    *,
    principal: str,
    request_id: str,
    provider: str = "",
    description: str = "",
    external_reference: str = "",
    labels: Mapping[str, str] | None = None,
    trace_id: str = "",
    terms: Terms = PLAIN,
    hold: str = "",
    reverses: str = "",
    own: str = "",
) -> Movement:
    """The command, with its id from who asks for it and a fingerprint of all that makes it this request and no other.

    The trace id is not part of the fingerprint: a retry has another one. `own`: the id of what no caller asks for.
    """
    labels = labels or {}
    id_ = own or transaction_id(principal, request_id)
    words = [kind.name, source, destination, str(amount), currency, description, external_reference]
    for key in sorted(labels):
        words += (key, labels[key])
    if terms != PLAIN or hold or reverses:
        words += ("terms", json.dumps(written(terms), sort_keys=True), "hold", hold, "reverses", reverses)
    return Movement(
        id_,
        derived_id(*words),
        kind,
        source,
        destination,
        amount,
        currency,
        provider,
        description,
        external_reference,
        labels,
        principal,
        request_id,
        trace_id,
        terms,
        hold or (id_ if kind is TransactionKind.HOLD else ""),
        reverses,
    )


def postings_of(movement: Movement) -> Sequence[Posting]:
    """What it does to which account, the debits first."""
    terms, source, destination = movement.terms, movement.source, movement.destination
    amount, currency = movement.amount, movement.currency
    if terms.postings:
        return sorted(terms.postings, key=_is_credit)
    if terms.fee is None:
        return Posting(source, -amount, currency), Posting(destination, amount, currency)
    fee = terms.fee
    paid, received = (amount, amount - fee.amount) if fee.included else (amount + fee.amount, amount)
    return (
        Posting(source, -paid, currency),
        Posting(destination, received, currency),
        Posting(fee.destination, fee.amount, currency),
    )


def received(movement: Movement) -> int:
    """What its destination gets. 0 for a compound one."""
    fee = movement.terms.fee
    return movement.amount - (fee.amount if fee is not None and fee.included else 0)


def _is_credit(posting: Posting) -> bool:
    return posting.amount > 0


def accounts_of(movement: Movement) -> set[str]:
    """The names of all accounts that it speaks of."""
    return accounts_named(movement.source, movement.destination, movement.terms)


def accounts_named(source: str, destination: str, terms: Terms) -> set[str]:
    """As `accounts_of`, of what a movement has of it."""
    names = {source, destination}
    if terms is not PLAIN:
        names.update(posting.account for posting in terms.postings)
        if terms.fee is not None:
            names.add(terms.fee.destination)
    names.discard("")
    return names


class Transaction(NamedTuple):
    """A movement that was stored. POSTED: `decide_time` is when it moved the money. FAILED: it has a failure. PENDING:
    not decided yet, `decide_time` is `create_time`."""

    movement: Movement
    state: TransactionState
    create_time: datetime
    decide_time: datetime
    failure: Failure | None = None

    @property
    def has_entries(self) -> bool:
        """Whether it is found through its accounts' entries."""
        return self.state is TransactionState.POSTED and self.movement.kind not in WITHOUT_ENTRIES


class Entry(NamedTuple):
    """What a transaction did to one account. `seq` is the account's version after it, `balance` its balance."""

    account_id: str
    seq: int
    transaction_id: str
    amount: int
    balance: int
    post_time: datetime


class Manner(Enum):
    """How the movements of one piece of work are decided."""

    EACH = "each on its own; deferred ones are stored as PENDING"
    ATOMIC = "all or none"
    DUE = "they are PENDING, and their time has come"
    CANCEL = "they are PENDING, and are to be no more"


class Work(NamedTuple):
    """What one caller hands over at once. `principal`: who cancels. `bound_to`: the owner to whose wallets the caller
    is bound; empty: to nobody's."""

    movements: Sequence[Movement]
    manner: Manner = Manner.EACH
    principal: str = ""
    bound_to: str = ""


class Outcome(NamedTuple):
    """The stored transaction that answers a command, whether it had been stored before, and the hold it has changed."""

    transaction: Transaction
    replayed: bool
    hold: Hold | None = None


class Refused(NamedTuple):
    """An answer that leaves no trace: what the request alone decides."""

    failure: Failure


Answer = Outcome | Refused
