"""Streams of answers: sent as fast as their callers take them, and ended in order when the service stops.

A handler of a stream is an async generator. It is cancelled where it awaits when its caller goes away and when the
service stops, never between a message and its sending: what was yielded before has been sent.
"""

from __future__ import annotations  # grpc's types are generic for type checkers only

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Any

import grpc.aio
from google.protobuf.message import Message

from service_kit.status import RETRY_AFTER_SECONDS, Refusal


class Streams:
    """All streams of one server. Of the event loop's thread only."""

    def __init__(self) -> None:
        self._waiting: set[asyncio.Task[Any]] = set()
        self._ending = False

    async def send(self, messages: AsyncGenerator[Message, None], write: Callable[[Message], Awaitable[None]]) -> None:
        """Until there is no more. The generator is closed before it returns or raises.

        Raises Refusal UNAVAILABLE when the service stops, CancelledError when the caller has gone, and what the
        generator itself raises.
        """
        async with aclosing(messages):
            while (message := await self._next(messages)) is not None:
                try:
                    await write(message)
                except grpc.aio.InternalError:
                    # Only what has no caller any more cannot be written. grpc cancels it too, sometimes later.
                    raise asyncio.CancelledError from None

    async def _next(self, messages: AsyncGenerator[Message, None]) -> Message | None:
        if self._ending:
            raise _stopping()
        task = asyncio.current_task()
        assert task is not None, "a coroutine runs in a task"  # noqa: S101 - for the type checker
        self._waiting.add(task)
        try:
            return await anext(messages, None)
        except asyncio.CancelledError:
            # More than our own cancellation is the caller's, who does not want to hear of anything.
            if self._ending and task.uncancel() == 0:
                raise _stopping() from None
            raise
        finally:
            self._waiting.discard(task)

    def end(self) -> None:
        """Ends those that run and refuses new ones. Where a message is on its way, the stream ends after it."""
        self._ending = True
        for task in self._waiting:
            task.cancel()


def _stopping() -> Refusal:
    return Refusal(
        "UNAVAILABLE",
        "the service is stopping; go on from the last cursor that came",
        retry_after_seconds=RETRY_AFTER_SECONDS,
    )
