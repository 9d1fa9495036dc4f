"""The types of events that there are."""

from enum import StrEnum


class EventType(StrEnum):
    """As receivers are told it, and as endpoints ask for it."""

    TRANSACTION_POSTED = "transaction.posted"
    TRANSACTION_FAILED = "transaction.failed"
    PAYOUT_PAID = "payout.paid"
    PAYOUT_REVERSED = "payout.reversed"
    PAYOUT_DEAD = "payout.dead"
    WEBHOOK_ENDPOINT_DISABLED = "webhook_endpoint.disabled"
