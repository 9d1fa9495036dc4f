"""What sealing tells Prometheus."""

from typing import Final

from prometheus_client import Counter, Gauge

SEALED: Final = Counter("specie_sealed_transactions", "Transactions that this process has sealed")
BLOCKS: Final = Counter("specie_blocks", "Blocks of the audit chain that this process has made")
LAG_SECONDS: Final = Gauge("specie_seal_lag_seconds", "Age of the oldest decided transaction that is not sealed")
