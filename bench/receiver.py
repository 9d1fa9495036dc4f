"""A receiver of webhooks that does as little as one can: it takes every event. Prints its URL.

python -m bench.receiver
"""

import asyncio
from typing import Any, Final

import uvloop

TAKEN: Final = b"HTTP/1.1 204 No Content\r\n\r\n"
HEAD_END: Final = b"\r\n\r\n"
LENGTH: Final = b"content-length:"


class Receiver(asyncio.Protocol):
    """One connection, kept. Requests come one after the other, each with its length."""

    def __init__(self) -> None:
        self._transport: Any = None
        """asyncio.Transport; uvloop's does not say that it is one."""
        self._read = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._read += data
        while (end := self._read.find(HEAD_END)) != -1:
            head = self._read[:end].lower()
            length = int(head.partition(LENGTH)[2].partition(b"\r\n")[0])
            whole = end + len(HEAD_END) + length
            if len(self._read) < whole:
                return
            self._read = self._read[whole:]
            self._transport.write(TAKEN)


async def serve() -> None:
    server = await asyncio.get_running_loop().create_server(Receiver, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    print(f"http://127.0.0.1:{port}/", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve())
