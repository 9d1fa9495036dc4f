"""What the check tells of itself."""

from typing import Final

from prometheus_client import Counter, Gauge

BROKEN: Final = Gauge("specie_integrity_broken", "What does not hold in the ledger: findings of the integrity check")
CHECKED: Final = Counter("specie_integrity_checked_entries", "Entries that this process has checked when they were new")
LAP_SECONDS: Final = Gauge("specie_integrity_lap_seconds", "How long the last lap that ended here took, with its rests")
LAG_SECONDS: Final = Gauge(
    "specie_integrity_lag_seconds", "How long the oldest transaction that was not looked at has been there"
)
