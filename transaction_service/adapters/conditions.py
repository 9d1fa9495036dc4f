"""Conditions that several queries share."""

from collections.abc import Collection

from sqlalchemy import ColumnElement, Uuid, any_, literal, or_
from sqlalchemy.dialects.postgresql import ARRAY

from transaction_service.adapters.tables import transaction


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
