"""What a change of a wallet is on record as: a word for it, and all that a wallet is, by field, before and after.

Nothing of a wallet can change that is not among the fields: applied one after the other, its acts give the wallet.
"""

from dataclasses import fields
from enum import StrEnum

from wallet_service.domain.wallet import Closing, Limits, Particulars, Updating, Wallet, WalletState


class Word(StrEnum):
    """What was done. Each step of it is an act of its own, up to the one that ends it, whoever does that."""

    CREATE = "CREATE"
    UPDATE = "UPDATE"
    FREEZE = "FREEZE"
    UNFREEZE = "UNFREEZE"
    CLOSE = "CLOSE"


PASSING = {
    WalletState.FREEZING: Word.FREEZE,
    WalletState.UNFREEZING: Word.UNFREEZE,
    WalletState.CLOSING: Word.CLOSE,
}


def word_of(before: Wallet | None, after: Wallet) -> Word:
    """What is under way before or after it tells what it belongs to. `before` is None of a wallet that is new."""
    if before is None or before.state is WalletState.CREATING:
        return Word.CREATE
    return PASSING.get(before.state) or PASSING.get(after.state) or Word.UPDATE


def told(wallet: Wallet) -> dict[str, str]:
    """The wallet by field, as text. Fields that are empty, or 0, are left out."""
    shown = {
        "state": wallet.state.name,
        "owner": wallet.owner,
        "currency_code": wallet.currency_code,
        "kind": wallet.kind.name,
        **_particulars(wallet.particulars),
    }
    match wallet.attempt:
        case Closing() as closing:
            shown |= {"under_way": Word.CLOSE, "under_way.back_to": closing.back_to.name}
        case Updating() as updating:
            # All of what was asked for, which is not in force yet.
            asked = {f"under_way.{field}": value for field, value in _particulars(updating.particulars).items()}
            shown |= {"under_way": Word.UPDATE, **asked}
    if wallet.attempt is not None:
        shown["under_way.since"] = str(wallet.attempt.revision)
        if wallet.attempt.turned_down:
            shown["under_way.refused"] = "true"
    if wallet.turned_down is not None:
        failure = wallet.turned_down.failure
        shown |= {"refused": str(wallet.turned_down.revision), "refused.reason": failure.reason.value}
        shown |= {f"refused.{field}": value for field, value in failure.metadata.items()}
    if wallet.update_revision is not None:
        shown["limits.since"] = str(wallet.update_revision)
    return shown


def _particulars(values: Particulars) -> dict[str, str]:
    shown = {"display_name": values.display_name} if values.display_name else {}
    shown |= {f"labels.{key}": value for key, value in values.labels.items()}
    limits = {field.name: getattr(values.limits, field.name) for field in fields(Limits)}
    return shown | {f"limits.{name}": str(value) for name, value in limits.items() if value}
