"""A wallet as a row of the table, and back."""

from dataclasses import asdict
from typing import Any

from sqlalchemy import RowMapping

from wallet_service.domain.failure import Failure, Reason
from wallet_service.domain.wallet import (
    Closing,
    Limits,
    NewWallet,
    Particulars,
    TurnedDown,
    Updating,
    Wallet,
    WalletKind,
    WalletState,
)


def identity(new: NewWallet) -> dict[str, Any]:
    """The columns that are written once."""
    return {
        "name": new.name,
        "owner": new.owner,
        "currency": new.currency_code,
        "kind": int(new.kind),
        "principal": new.principal,
        "request_id": new.request_id,
        "fingerprint": new.fingerprint,
    }


def particulars(values: Particulars) -> dict[str, Any]:
    """The columns that people change."""
    return {
        "display_name": values.display_name,
        "labels": dict(values.labels),
        "limit_per_transaction": values.limits.max_minor_units_per_transaction,
        "limit_per_day": values.limits.max_minor_units_per_day,
        "limit_debits_per_hour": values.limits.max_debits_per_hour,
        "time_zone": values.limits.time_zone,
        "credit": values.limits.credit_minor_units,
    }


def progress(wallet: Wallet) -> dict[str, Any]:
    """The columns that tell where the wallet is on its way."""
    attempt, refused = wallet.attempt, wallet.turned_down
    return {
        "state": int(wallet.state),
        "attempt_revision": attempt.revision if attempt else None,
        "attempt_turned_down": attempt.turned_down if attempt else None,
        "attempt_back_to": int(attempt.back_to) if isinstance(attempt, Closing) else None,
        "attempt_particulars": asdict(attempt.particulars) if isinstance(attempt, Updating) else None,
        "refused_revision": refused.revision if refused else None,
        "refused_reason": refused.failure.reason.value if refused else None,
        "refused_metadata": dict(refused.failure.metadata) if refused else None,
        "update_revision": wallet.update_revision,
    }


def wallet(row: RowMapping) -> Wallet:
    return Wallet(
        name=row["name"],
        owner=row["owner"],
        currency_code=row["currency"],
        kind=WalletKind(row["kind"]),
        particulars=Particulars(
            display_name=row["display_name"],
            labels=row["labels"],
            limits=Limits(
                max_minor_units_per_transaction=row["limit_per_transaction"],
                max_minor_units_per_day=row["limit_per_day"],
                max_debits_per_hour=row["limit_debits_per_hour"],
                time_zone=row["time_zone"],
                credit_minor_units=row["credit"],
            ),
        ),
        principal=row["principal"],
        request_id=row["request_id"],
        fingerprint=bytes(row["fingerprint"]),
        state=WalletState(row["state"]),
        revision=row["revision"],
        create_time=row["create_time"],
        update_time=row["update_time"],
        attempt=_attempt(row),
        turned_down=_turned_down(row),
        update_revision=row["update_revision"],
    )


def _attempt(row: RowMapping) -> Closing | Updating | None:
    revision, turned_down = row["attempt_revision"], row["attempt_turned_down"]
    if row["attempt_back_to"] is not None:
        return Closing(revision, WalletState(row["attempt_back_to"]), turned_down)
    asked = row["attempt_particulars"]
    if asked is not None:
        kept = Particulars(asked["display_name"], asked["labels"], Limits(**asked["limits"]))
        return Updating(revision, kept, turned_down)
    return None


def _turned_down(row: RowMapping) -> TurnedDown | None:
    if row["refused_revision"] is None:
        return None
    return TurnedDown(row["refused_revision"], Failure(Reason(row["refused_reason"]), row["refused_metadata"]))
