"""What payouts tell of themselves."""

from typing import Final

from prometheus_client import Counter, Gauge

PAYOUTS: Final = Gauge("specie_payouts", "Payouts whose end is not known", ["state"])
CALLS: Final = Counter("specie_payout_calls", "Answers of payout providers, by what they told", ["provider", "outcome"])
OVERDUE_SECONDS: Final = Gauge("specie_payout_overdue_seconds", "How long the oldest payout has been due")
