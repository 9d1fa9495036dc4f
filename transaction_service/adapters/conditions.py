"""Conditions that several queries share."""

from collections.abc import Collection

from sqlalchemy import ColumnElement, Uuid, and_, any_, literal, or_, select
from sqlalchemy.dialects.postgresql import ARRAY

from transaction_service.adapters.tables import account, transaction
from transaction_service.domain.failure import Reason
from transaction_service.domain.identity import account_id
from transaction_service.domain.movement import TransactionState


def any_of(column: ColumnElement[str], ids: Collection[str]) -> ColumnElement[bool]:
    """Whether it is one of these, which go over as one array: a list of them would be a statement of its own for every
    length."""
    return column == any_(literal(list(ids), ARRAY(Uuid(as_uuid=False))))


def names(account: str) -> ColumnElement[bool]:
    """Whether a transaction names this account, in whatever part: as domain.movement.accounts_of."""
    terms = transaction.c.terms
    return or_(
        transaction.c.source == account,
        transaction.c.destination == account,
        terms.contains({"postings": [[account]]}),
        terms.contains({"fee": [account]}),
    )


def owned(names: Collection[str], owner: str) -> ColumnElement[bool]:
    """Whether one of these accounts is his. Index: the accounts' primary key."""
    ids = [account_id(name) for name in names]
    return select(account.c.id).where(any_of(account.c.id, ids), account.c.owner == owner).exists()


def was_to_pay(wallet: str) -> ColumnElement[bool]:
    """Whether the money was to come out of this wallet, by who may, and did not fail for a third one's: as
    domain.visibility.shows has it."""
    refused, about = transaction.c.failure_reason, transaction.c.failure_metadata["wallet"].astext
    return and_(
        transaction.c.source == wallet,
        refused.is_distinct_from(Reason.SOURCE_NOT_FOUND.value),
        or_(about.is_(None), about == wallet, about == transaction.c.destination),
    )


def shows(wallet: str, principal: str) -> ColumnElement[bool]:
    """As domain.visibility.shows."""
    posted = transaction.c.state == TransactionState.POSTED.value
    return or_(posted, transaction.c.principal == principal, was_to_pay(wallet))


def seen_by(owner: str, source: str, accounts: Collection[str]) -> ColumnElement[bool]:
    """Whether he has asked for it, or an account of his shows it. `accounts`: all that it names."""
    posted = transaction.c.state == TransactionState.POSTED.value
    return or_(
        transaction.c.principal == owner,
        and_(posted, owned(accounts, owner)),
        and_(was_to_pay(source), owned([source], owner)),
    )
