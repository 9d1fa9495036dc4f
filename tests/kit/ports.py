"""TCP ports for the servers of a test."""

import socket


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on now."""
    return free_ports(1)[0]


def free_ports(count: int) -> list[int]:
    """As many different ones: all are held until the last is found."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    try:
        return [s.getsockname()[1] for s in sockets]
    finally:
        for s in sockets:
            s.close()
