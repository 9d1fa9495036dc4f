"""What a caller that is bound to wallets of its own may not do."""

import pytest

from wallet_service.domain.failure import Failure, Reason
from wallet_service.domain.permission import creation_beyond, listing_beyond, update_beyond
from wallet_service.domain.update import ALL, Field
from wallet_service.domain.wallet import NO_LIMITS, Limits, WalletKind

USER, PROVIDER = WalletKind.USER, WalletKind.PROVIDER
CREDIT = Limits(credit_minor_units=1)


@pytest.mark.parametrize(
    ("owner", "kind", "limits", "field"),
    [
        ("", USER, NO_LIMITS, ""),
        ("ann", USER, NO_LIMITS, ""),
        ("bob", USER, NO_LIMITS, "wallet.owner"),
        ("ann", PROVIDER, NO_LIMITS, "wallet.kind"),
        ("ann", USER, CREDIT, "wallet.limits"),
        ("", USER, Limits(max_debits_per_hour=1), "wallet.limits"),
        ("bob", PROVIDER, CREDIT, "wallet.owner"),
    ],
)
def test_who_is_bound_creates_plain_wallets_of_its_own(
    owner: str, kind: WalletKind, limits: Limits, field: str
) -> None:
    assert denied(creation_beyond("ann", owner, kind, limits)) == field
    assert creation_beyond("", owner, kind, limits) is None


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        (frozenset[Field](), ""),
        (frozenset({Field.DISPLAY_NAME, Field.LABELS}), ""),
        (frozenset({Field.LIMITS}), "wallet.limits"),
        (ALL, "wallet.limits"),
    ],
)
def test_who_is_bound_does_not_change_what_its_wallets_may_do(fields: frozenset[Field], field: str) -> None:
    assert denied(update_beyond("ann", fields)) == field
    assert update_beyond("", fields) is None


@pytest.mark.parametrize(("owner", "field"), [("", ""), ("ann", ""), ("bob", "owner"), ("Ann", "owner")])
def test_who_is_bound_lists_its_own(owner: str, field: str) -> None:
    assert denied(listing_beyond("ann", owner)) == field
    assert listing_beyond("", owner) is None


def denied(failure: Failure | None) -> str:
    """The field; empty: nothing is."""
    if failure is None:
        return ""
    assert failure.reason is Reason.PERMISSION_DENIED
    return failure.metadata["field"]
