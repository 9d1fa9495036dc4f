"""The columns that rows.py takes, for the statements that SQLAlchemy makes."""

from typing import Final

from transaction_service.adapters import statements
from transaction_service.adapters.tables import entry, hold, transaction
from transaction_service.domain.movement import Entry

TRANSACTION: Final = [transaction.c[name.strip()] for name in statements.TRANSACTION_COLUMNS.split(",")]
HOLD: Final = [hold.c[name.strip()] for name in statements.HOLD_COLUMNS.split(",")]
ENTRY: Final = [entry.c[name] for name in Entry._fields]
