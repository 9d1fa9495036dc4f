"""One call on its way through the interceptors, and what a handler may ask about it."""

from __future__ import annotations  # grpc's types are generic for type checkers only

from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

import grpc.aio
from google.protobuf.message import Message

from service_kit.caller import ANONYMOUS, Caller


@dataclass(slots=True)
class Call:
    """`method` is the full name `/package.Service/Method`; `raw` is the request as it came, `request` the message it
    is; `deadline` is in seconds of time.monotonic(); `streams` says that the answer is a stream;
    `caller_until` is when the caller's token expires, in seconds since 1970 (None: it has none)."""

    method: str
    raw: bytes
    deserializer: Callable[[bytes], Message]
    context: grpc.aio.ServicerContext[Any, Any]
    metadata: Mapping[str, str]
    streams: bool = False
    caller: Caller = ANONYMOUS
    caller_until: float | None = None
    trace_id: str = ""
    deadline: float = float("inf")
    code: str = "OK"
    reason: str = ""
    started: float = field(default_factory=monotonic)
    request: Message = field(init=False)

    @property
    def principal(self) -> str:
        """The caller's subject."""
        return self.caller.subject

    def seconds_left(self) -> float:
        """The time until the caller stops waiting; may be below 0."""
        return self.deadline - monotonic()


_current: ContextVar[Call] = ContextVar("call")


def current_call() -> Call:
    """The call that the running handler answers."""
    return _current.get()


def bound_to() -> str:
    """The owner to whose wallets the caller of the running call is bound; empty: to nobody's."""
    return current_call().caller.bound_to


def running_call() -> Call | None:
    """The same; None for work that answers no call."""
    return _current.get(None)


def deadline_of_call() -> float:
    """The running call's, in seconds of time.monotonic(); infinite for work that answers no call."""
    call = running_call()
    return float("inf") if call is None else call.deadline


def enter_call(call: Call) -> None:
    """Makes it the current call of this task. Each call has a task of its own, so nothing resets it."""
    _current.set(call)
