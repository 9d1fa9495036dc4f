"""The way to webhooks' receivers, by HTTP.

Every address that a connection goes to is judged when its socket is made, so that neither a name that got a new address
nor an address written in an odd way leads into a network that is not allowed (docs/adr/0033).
"""

import socket
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from errno import EACCES
from typing import Final

from aiohttp import (
    ClientConnectorError,
    ClientError,
    ClientResponse,
    ClientSession,
    ClientTimeout,
    DummyCookieJar,
    TCPConnector,
)
from aiohttp.connector import AddrInfoType

from transaction_service.adapters.webhook_names import Names
from transaction_service.webhooks.addresses import is_allowed, is_private
from transaction_service.webhooks.sending import Answer, retry_after_seconds

ANSWER_BYTES_MAX: Final = 16 * 1024
"""So much of an answer is read, and thrown away, for the sake of the connection; one that says more loses it."""
RECEIVED_AT_ONCE_MAX: Final = 16 * 1024
"""Bytes that a connection takes before they are looked at. With the system's own megabytes, receivers that say without
end that they will go on (1xx) would keep the event loop, and all other work, for seconds at a time."""
KEEP_ALIVE_SECONDS: Final = 4.0
"""Shorter than what receivers' servers keep idle connections for (Node.js: 5 s), or a request meets their end."""
NAMES_KEPT_SECONDS: Final = 30
"""How long a host's addresses are remembered."""


class HttpSender:
    """Fills transaction_service.webhooks.courier_ports.Sender. To be made and used in one event loop."""

    def __init__(self, timeout_seconds: float, *, private: bool) -> None:
        """`private`: whether it may go to private networks and to this machine. In plain text it goes nowhere else."""
        self._timeout_seconds = timeout_seconds
        self._private = private
        self._encrypted = self._session(plain=False)
        self._plain = self._session(plain=True)

    async def send(self, url: str, headers: Mapping[str, str], content: str) -> Answer:
        session = self._encrypted if url[:6].lower() == "https:" else self._plain
        try:
            async with session.post(url, data=content.encode(), headers=headers, allow_redirects=False) as answer:
                await _drain(answer)
                asked = answer.headers.get("retry-after")
                return Answer(answer.status, "", retry_after_seconds(asked, datetime.now(UTC)) if asked else 0.0)
        except TimeoutError:
            return Answer(0, f"no answer within {self._timeout_seconds:g} s")
        except ClientConnectorError as error:
            return Answer(0, f"no connection: {error.os_error.strerror or type(error).__name__}")
        except (ClientError, ValueError, OSError) as error:
            return Answer(0, f"no answer: {type(error).__name__}")

    async def close(self) -> None:
        await self._encrypted.close()
        await self._plain.close()

    def _session(self, *, plain: bool) -> ClientSession:
        def connect(found: AddrInfoType) -> socket.socket:
            family, kind, protocol, _, place = found
            address = str(place[0])
            if not is_allowed(address, self._private) or (plain and not is_private(address)):
                # Which one is not told: it would be a way to read the inner DNS.
                raise PermissionError(EACCES, "it has an address that webhooks may not go to")
            made = socket.socket(family, kind, protocol)
            made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVED_AT_ONCE_MAX)
            return made

        return ClientSession(
            connector=TCPConnector(
                limit=0,  # the courier sees to it
                keepalive_timeout=KEEP_ALIVE_SECONDS,
                ttl_dns_cache=NAMES_KEPT_SECONDS,
                resolver=Names(),
                socket_factory=connect,
            ),
            timeout=ClientTimeout(total=self._timeout_seconds),
            cookie_jar=DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
        )


async def _drain(answer: ClientResponse) -> None:
    """What it says is of no interest: its status is there already, whatever becomes of the rest."""
    read = 0
    with suppress(TimeoutError, ClientError):
        async for piece in answer.content.iter_any():
            read += len(piece)
            if read > ANSWER_BYTES_MAX:
                break
        else:
            return
    answer.close()
