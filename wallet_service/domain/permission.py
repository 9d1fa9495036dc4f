"""What only trusted callers may do with wallets: a caller that is bound to wallets of its own may not widen what it is
bound to, nor what its wallets may do."""

from wallet_service.domain.failure import Failure, Reason
from wallet_service.domain.update import Field
from wallet_service.domain.wallet import NO_LIMITS, Limits, WalletKind


def creation_beyond(bound_to: str, owner: str, kind: WalletKind, limits: Limits) -> Failure | None:
    """Why this caller may not create such a wallet. `owner` empty: the caller itself."""
    if not bound_to:
        return None
    if owner not in {"", bound_to}:
        return _denied("wallet.owner", "creates wallets for others")
    if kind is not WalletKind.USER:
        return _denied("wallet.kind", "creates wallets of providers")
    if limits != NO_LIMITS:
        return _denied("wallet.limits", "sets limits")
    return None


def update_beyond(bound_to: str, fields: frozenset[Field]) -> Failure | None:
    """Why this caller may not change these fields."""
    return _denied("wallet.limits", "changes limits") if bound_to and Field.LIMITS in fields else None


def listing_beyond(bound_to: str, owner: str) -> Failure | None:
    """Why this caller may not list this owner's wallets. Empty: all that it may see."""
    return _denied("owner", "lists wallets of others") if bound_to and owner not in {"", bound_to} else None


def _denied(field: str, act: str) -> Failure:
    return Failure(Reason.PERMISSION_DENIED, {"field": field, "act": act})
