"""Seals what is committed into the audit chain."""

from pathlib import Path

import structlog

from audit_chain.signing import KeyUnreadable, Signer
from service_kit.database import Database
from transaction_service.adapters.sealing import SqlSealing
from transaction_service.back_office.part import Part
from transaction_service.back_office.settings import BackOfficeSettings
from transaction_service.sealing.sealer import Sealer

log = structlog.stdlib.get_logger()


def part(database: Database, settings: BackOfficeSettings) -> Part | None:
    """None: the settings name no key. Raises OSError when its file has none: who wants blocks must not go without."""
    if not settings.seal_key_file:
        log.info("sealing_off")
        return None
    sealer = Sealer(SqlSealing(database), _signer(settings.seal_key_file), settings.seal_seconds)
    return Part(sealer.run)


def _signer(file: str) -> Signer:
    try:
        return Signer.from_pem(Path(file).read_bytes())
    except KeyUnreadable as error:
        raise OSError(f"the seal key {file} cannot be used: {error}") from error
