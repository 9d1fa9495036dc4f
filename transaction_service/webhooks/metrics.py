"""What the courier tells Prometheus."""

from typing import Final

from prometheus_client import Counter, Gauge

SENT: Final = Counter("specie_webhooks_sent", "Webhooks that were sent, by what became of them", ["outcome"])
WAITING: Final = Gauge("specie_webhooks_waiting", "Events on their way to the endpoints that this process serves")
LAG_SECONDS: Final = Gauge("specie_webhook_lag_seconds", "For how long the oldest of them has been waiting")
DISABLED: Final = Counter("specie_webhooks_disabled", "Endpoints that were disabled because they took nothing")
