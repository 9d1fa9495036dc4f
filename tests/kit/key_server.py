"""An issuer's key set at a URL: up or down, counted, and saying whatever a test likes."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class KeyServer:
    """`answer` is sent as it is, the HTTP head too; empty: the connection is closed without a word."""

    def __init__(self) -> None:
        self.answer = b""
        self.fetched = 0
        self.held = threading.Event()
        """Answers wait for it."""
        self.held.set()
        self.url = ""

    def publish(self, text: str) -> None:
        content = text.encode()
        self.answer = b"HTTP/1.0 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(content), content)


@contextmanager
def key_server() -> Iterator[KeyServer]:
    """Answers nothing until something is published."""
    published = KeyServer()

    class Handler(BaseHTTPRequestHandler):
        def handle(self) -> None:
            self.rfile.readline()
            published.fetched += 1
            published.held.wait()
            self.wfile.write(published.answer)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        published.url = f"http://127.0.0.1:{server.server_address[1]}/jwks.json"
        try:
            yield published
        finally:
            published.held.set()
            server.shutdown()
            thread.join()
