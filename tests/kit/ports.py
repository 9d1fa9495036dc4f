"""TCP ports for the servers of a test."""

import secrets
import socket
from contextlib import ExitStack

FIRST, COUNT = 20_000, 10_000
"""Below what systems give to outgoing connections (Linux: 32768 and up). One of those could hold a server's port, also
for a minute after it ended, while the server is to be started again."""


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on now."""
    return free_ports(1)[0]


def free_ports(count: int) -> list[int]:
    """As many, one after the other."""
    while True:
        first = FIRST + secrets.randbelow(COUNT)
        ports = list(range(first, first + count))
        try:
            with ExitStack() as held:
                for port in ports:
                    held.enter_context(socket.create_server(("127.0.0.1", port)))
        except OSError:
            continue
        return ports
