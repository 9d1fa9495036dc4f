"""What the posting path tells of itself."""

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

QUEUE_LENGTH: Final = Gauge("specie_posting_queue_length", "Commands that wait to be posted")
QUEUE_REFUSALS: Final = Counter("specie_posting_queue_refusals", "Commands refused because the queue was full")
GROUP_SIZE: Final = Histogram(
    "specie_posting_group_size", "Commands a group", buckets=(1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 5000)
)
GROUP_SECONDS: Final = Histogram(
    "specie_posting_group_seconds",
    "How long a group took from taking it to its commit",
    buckets=(0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 5),
)
GROUP_RETRIES: Final = Counter("specie_posting_group_retries", "Groups that were rolled back, by cause", ["cause"])
INVARIANT_VIOLATIONS: Final = Counter(
    "specie_posting_invariant_violations", "Commands that would have broken the ledger: always a bug"
)
BACKLOG: Final = Gauge(
    "specie_backlog", "What is to be posted by itself: PENDING transfers, open holds whose time is up", ["work"]
)
OVERDUE_SECONDS: Final = Gauge("specie_overdue_seconds", "How long the oldest of it has been due", ["work"])
DISPATCHED: Final = Counter("specie_dispatched", "Tries to post it, by what came of it", ["work", "outcome"])
