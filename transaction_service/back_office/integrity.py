"""Checks the books, always."""

from service_kit.database import Database
from transaction_service.adapters.integrity_check import SqlChecks
from transaction_service.back_office.part import Part
from transaction_service.back_office.settings import BackOfficeSettings
from transaction_service.integrity.checker import Checker


def part(database: Database, settings: BackOfficeSettings) -> Part:
    """It needs no setting, and is never off."""
    return Part(Checker(SqlChecks(database), settings.integrity_seconds, settings.integrity_lap_seconds).run)
