"""The commands about a hold that is there, made from it: the ledger must know both of its wallets to lock them."""

from collections.abc import Mapping
from typing import Any, Final

from transaction_service.domain.hold import EXPIRY_PRINCIPAL, Hold
from transaction_service.domain.identity import own_id
from transaction_service.domain.movement import Movement, TransactionKind, movement
from transaction_service.domain.terms import PLAIN, Terms

ALL_THAT_IS_LEFT: Final = 0


def capture(hold: Hold, amount: int, currency: str, *, final: bool, **particulars: Any) -> Movement:  # noqa: ANN401 - those of `movement`
    """Pays so much of it, in minor units; 0: all that is left."""
    terms = Terms(final=True) if final else PLAIN
    return _about(hold, TransactionKind.CAPTURE, amount, currency, particulars, terms)


def release(hold: Hold, **particulars: Any) -> Movement:  # noqa: ANN401 - as above
    """Frees all that is left."""
    return _about(hold, TransactionKind.RELEASE, ALL_THAT_IS_LEFT, hold.currency, particulars)


def release_of_many(hold: Hold, principal: str, **particulars: Any) -> Movement:  # noqa: ANN401 - as above
    """As `release`. A hold is released once, so its name does for a request id."""
    own = own_id("release", principal, hold.id)
    return release(hold, principal=principal, request_id=f"release holds/{hold.id}", own=own, **particulars)


def expiry(hold: Hold) -> Movement:
    """Frees what is left of it because its time is up. Whoever notices it, it is one and the same command."""
    own = own_id("expire", EXPIRY_PRINCIPAL, hold.id)
    asked = {"principal": EXPIRY_PRINCIPAL, "request_id": f"expire holds/{hold.id}", "own": own}
    return _about(hold, TransactionKind.EXPIRY, ALL_THAT_IS_LEFT, hold.currency, asked)


def _about(
    hold: Hold, kind: TransactionKind, amount: int, currency: str, particulars: Mapping[str, Any], terms: Terms = PLAIN
) -> Movement:
    return movement(kind, hold.source, hold.destination, amount, currency, terms=terms, hold=hold.id, **particulars)
