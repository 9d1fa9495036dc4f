"""A real browser for tests, the pages that it opens, and a cable to the gateway that can be cut."""

import shutil
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from playwright.sync_api import Browser, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome")
INSTALL = "apt-get install -y --no-install-recommends chromium"
PATIENCE_MS = 30_000
HOST = "127.0.0.1"
RESET = struct.pack("ii", 1, 0)
"""SO_LINGER: closing throws the connection away, as a cable that is pulled."""


@contextmanager
def running_browser() -> Iterator[Browser]:
    """Chromium, without a window. The test is skipped where it is not installed. While it runs its thread has an event
    loop, so that tests beside it cannot have their own."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        pytest.skip(f"no Chromium; on Debian: {INSTALL}")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, timeout=PATIENCE_MS)
        try:
            yield browser
        finally:
            browser.close()


@dataclass(frozen=True)
class Pages:
    """A web server with pages. It has two names, which are two origins for a browser."""

    port: int
    files: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Content type and text by path. Every other path is an empty page."""

    @property
    def known(self) -> str:
        """The origin that the gateway of the tests lets in."""
        return f"http://{HOST}:{self.port}"

    @property
    def unknown(self) -> str:
        return f"http://localhost:{self.port}"


@contextmanager
def running_pages() -> Iterator[Pages]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            kind, text = pages.files.get(self.path, ("text/html", "<!doctype html><title>a page</title>"))
            content = text.encode()
            self.send_response(200)
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Nothing is said."""

    with ThreadingHTTPServer((HOST, 0), Handler) as server:
        pages = Pages(server.server_port)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield pages
        finally:
            server.shutdown()


class Cable:
    """Carries connections to an address."""

    def __init__(self, target: str) -> None:
        host, _, port = target.rpartition(":")
        self._target = (host, int(port))
        self._listener = socket.create_server((HOST, 0))
        self._ends: list[socket.socket] = []
        self.carried = 0
        """Connections so far."""
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self._listener.getsockname()[1]}"

    def cut(self) -> None:
        """All connections that there are break; new ones are carried again."""
        ends, self._ends = self._ends, []
        for end in ends:
            with suppress(OSError):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                end.shutdown(socket.SHUT_RDWR)  # wakes the thread that reads it
            end.close()

    def close(self) -> None:
        self._listener.close()
        self.cut()

    def _accept(self) -> None:
        with suppress(OSError):  # closed
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(self._target)
                self.carried += 1
                self._ends += (near, far)
                for source, sink in ((near, far), (far, near)):
                    threading.Thread(target=_carry, args=(source, sink), daemon=True).start()


def _carry(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):  # one of them is gone
        while data := source.recv(65_536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)


@contextmanager
def cable(target: str) -> Iterator[Cable]:
    """To HOST:PORT."""
    laid = Cable(target)
    try:
        yield laid
    finally:
        laid.close()
