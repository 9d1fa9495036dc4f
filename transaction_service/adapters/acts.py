"""Puts administrative acts on record, in the commit of the change itself."""

from collections.abc import Mapping
from typing import Final

from sqlalchemy import Connection, func, insert, select

from service_kit.acts import Actor, differences
from transaction_service.adapters.record_tables import act

__all__ = ["OURSELVES", "Actor", "write_act"]

OURSELVES: Final = Actor("system/back-office")


def write_act(
    connection: Connection, subject: str, word: str, before: Mapping[str, str], after: Mapping[str, str], by: Actor
) -> None:
    """`before`, `after`: by field; what did not change is left out. The caller has locked the subject's row, or has
    just made it: so its acts are numbered without a gap. No secret may be among the values."""
    was, became = differences(before, after)
    last = select(func.coalesce(func.max(act.c.number), 0) + 1).where(act.c.subject == subject).scalar_subquery()
    connection.execute(
        insert(act).values(
            subject=subject,
            number=last,
            act=word,
            before=was,
            after=became,
            principal=by.principal,
            request_id=by.request_id,
            trace_id=by.trace_id,
            create_time=func.clock_timestamp(),
        )
    )
