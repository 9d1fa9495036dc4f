"""Pays out."""

from service_kit.database import Database
from transaction_service.back_office.part import Part
from transaction_service.back_office.settings import BackOfficeSettings


def part(database: Database, settings: BackOfficeSettings) -> Part | None:  # noqa: ARG001 - it has none yet
    """None: the settings do not ask for it."""
    return None
