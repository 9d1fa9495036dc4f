"""The addresses of hosts, as this machine finds them."""

import asyncio
import socket
from collections.abc import Sequence
from typing import Final

RESOLVE_SECONDS: Final = 3.0
"""Resolvers try again after 5 s by default: a name that takes longer than this one try is as good as unknown."""


class SystemResolver:
    """Fills transaction_service.webhooks.ports.Resolver: /etc/hosts, DNS, whatever the machine is set up for."""

    async def addresses(self, host: str) -> Sequence[str]:
        """The event loop looks it up in a thread of its own pool, which a slow answer keeps longer than the caller."""
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(RESOLVE_SECONDS):
            try:
                found = await loop.getaddrinfo(host, None, type=socket.SOCK_STREAM)
            except socket.gaierror:
                return ()
        return [str(address[0]) for *_, address in found]
