"""UpdateWallet's rules: which fields an update mask names, and what an update does to a wallet (AIP-134)."""

from collections.abc import Sequence
from dataclasses import replace
from enum import StrEnum
from typing import Final

from wallet_service.domain.failure import Failure, Reason
from wallet_service.domain.lifecycle import Then, wrong_state
from wallet_service.domain.wallet import NO_LIMITS, Particulars, Updating, Wallet, WalletState


class Field(StrEnum):
    """What can be set."""

    DISPLAY_NAME = "display_name"
    LABELS = "labels"
    LIMITS = "limits"


ALL: Final = frozenset(Field)
WILDCARD: Final = "*"
FIXED: Final = frozenset(
    {"name", "owner", "currency_code", "kind", "state", "balance", "create_time", "update_time", "etag"},
)
"""The wallet's other fields: set once, or by the service."""


def fields(mask: Sequence[str], values: Particulars) -> frozenset[Field] | Failure:
    """The fields to set. An empty mask names those that are not empty in `values`."""
    if not mask:
        given = {
            Field.DISPLAY_NAME: values.display_name != "",
            Field.LABELS: bool(values.labels),
            Field.LIMITS: values.limits != NO_LIMITS,
        }
        return frozenset(field for field, present in given.items() if present)
    if WILDCARD in mask:
        return ALL if len(mask) == 1 else _unknown(WILDCARD, "`*` stands for all fields and stands alone")
    for path in mask:
        if path in FIXED:
            return Failure(Reason.IMMUTABLE_FIELD, {"field": path})
        if path not in ALL:
            return _unknown(path, f"{path!r} is none of display_name, labels, limits and *")
    return frozenset(Field(path) for path in mask)


def _unknown(path: str, description: str) -> Failure:
    found = {"field": "update_mask", "rule": "update_mask.path", "description": description, "path": path}
    return Failure(Reason.INVALID_FIELD, found)


UPDATABLE: Final = frozenset({WalletState.ACTIVE, WalletState.FROZEN})


def update(wallet: Wallet, named: frozenset[Field], values: Particulars, etag: str) -> Wallet | Then | Failure:
    """What an update does to this wallet: the row to store, or what to do instead. Only changed limits concern the
    account; with them the other changes wait for its answer too, so that all of them happen or none."""
    if wallet.state not in UPDATABLE:
        return wrong_state(wallet)
    if wallet.attempt is not None:
        return Then.SETTLE
    if etag not in {"", wallet.etag}:
        return Failure(Reason.ETAG_MISMATCH, {"wallet": wallet.name, "etag": etag})
    wanted = replace(wallet.particulars, **{field.value: getattr(values, field.value) for field in named})
    if wanted == wallet.particulars:
        return Then.DONE
    if wanted.limits != wallet.particulars.limits:
        return replace(wallet, attempt=Updating(wallet.revision + 1, wanted))
    return replace(wallet, particulars=wanted)


def outcome(wallet: Wallet, updating_revision: int) -> Failure | None:
    """What a caller hears whose changed limits were carried to their end. None: they are in force."""
    if wallet.update_revision == updating_revision:
        return None
    if wallet.turned_down is not None and wallet.turned_down.revision == updating_revision:
        return wallet.turned_down.failure
    # Others have finished this update and later ones besides: what is in force now is theirs.
    return Failure(Reason.ETAG_MISMATCH, {"wallet": wallet.name, "etag": wallet.etag})
