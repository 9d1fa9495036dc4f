"""Administrative acts: who did what to which resource. Each service keeps those on its own resources, in a table of the
same columns (service_kit.act_table)."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple, Protocol

from specie.type.v1 import Act as ActMessage

from service_kit.call import running_call

Position = list[Any]
"""Where a page ends, of JSON values; only the adapter that made it can read it."""


class Actor(NamedTuple):
    """Who does it, and by which call: no trace id where nobody called."""

    principal: str
    trace_id: str = ""
    request_id: str = ""


def actor_of_call(ourselves: str) -> Actor:
    """Who has made the running call; `ourselves` where there is none, as in what a service does by itself."""
    call = running_call()
    return Actor(ourselves) if call is None else Actor(call.principal, call.trace_id)


class Act(NamedTuple):
    """One act on record, as the contract's message. `number`: of its subject, 1, 2, 3, ... without gaps."""

    subject: str
    number: int
    act: str
    before: Mapping[str, str]
    after: Mapping[str, str]
    principal: str
    request_id: str
    trace_id: str
    create_time: datetime


@dataclass(frozen=True, slots=True)
class ActFilter:
    """Which acts to list; None and empty: any. The time range is [start, end)."""

    subject: str = ""
    principal: str = ""
    act: str = ""
    trace_id: str = ""
    start: datetime | None = None
    end: datetime | None = None


class Acts(Protocol):
    """What is on record. May raise service_kit.status.Refusal."""

    async def page(self, wanted: ActFilter, after: Position | None, limit: int) -> tuple[list[Act], Position | None]:
        """The newest first, and where the page ends; None: it is the last one. Where filters let little through, a page
        that is not the last one may have less than the limit."""


def differences(before: Mapping[str, str], after: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """Of each only the fields that are not the same in the other."""
    changed = {field for field in {*before, *after} if before.get(field) != after.get(field)}
    return (
        {field: value for field, value in before.items() if field in changed},
        {field: value for field, value in after.items() if field in changed},
    )


def act_message(act: Act) -> ActMessage:
    message = ActMessage(
        subject=act.subject,
        number=act.number,
        act=act.act,
        before=act.before,
        after=act.after,
        principal=act.principal,
        request_id=act.request_id,
        trace_id=act.trace_id,
    )
    message.create_time.FromDatetime(act.create_time)
    return message
