"""Events that are no transactions, written in the commit of what they tell of."""

from sqlalchemy import Connection, func, insert

from transaction_service.adapters.record_tables import event
from transaction_service.webhooks.endpoint import event_key


def write_event(connection: Connection, type_: str, subject: str, wallet: str = "", turn: int = 1) -> None:
    """`type_`: `payout.paid` and the like, see transaction_service.webhooks. `turn`: which one of this type it is for
    this subject, for what can happen to it several times."""
    connection.execute(
        insert(event).values(
            id=event_key(type_, subject, turn),
            type=type_,
            subject=subject,
            wallet=wallet,
            create_time=func.clock_timestamp(),
        )
    )
