"""The addresses of receivers' hosts, each looked up beside the others.

The event loop's own pool has a few threads: some names whose servers do not answer would hold up all others.
"""

import asyncio
import socket
from collections.abc import Sequence
from contextlib import suppress
from threading import Thread
from typing import Any, Final

from aiohttp.abc import AbstractResolver, ResolveResult

Found = Sequence[tuple[Any, ...]]

AS_THEY_ARE: Final = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
"""What is found needs no further look."""


class Names(AbstractResolver):
    """A thread for each look-up. aiohttp has one at once for each host, and there are no more hosts than endpoints.
    Nothing waits for their ends when the process ends."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Raises OSError where there is none."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Found] = loop.create_future()

        def look_up() -> None:
            found: Found = ()
            failure: Exception | None = None
            try:
                found = socket.getaddrinfo(host, port, family, socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
            except Exception as error:  # noqa: BLE001 - it is raised where it is waited for
                failure = error
            with suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(_settle, answer, found, failure)

        Thread(target=look_up, name="names", daemon=True).start()
        return [
            ResolveResult(
                hostname=host, host=str(place[0]), port=port, family=of_family, proto=protocol, flags=AS_THEY_ARE
            )
            for of_family, _, protocol, _, place in await answer
        ]

    async def close(self) -> None:
        """There is nothing to end."""


def _settle(answer: "asyncio.Future[Found]", found: Found, failure: Exception | None) -> None:
    if answer.cancelled():
        return
    if failure is None:
        answer.set_result(found)
    else:
        answer.set_exception(failure)
