"""A reader of server-sent events through the gateway, as a browser's EventSource reads them."""

import http.client
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from tests.kit.stack import Stack

PATIENCE_SECONDS = 30


@dataclass
class Events:
    """The events of one stream."""

    response: http.client.HTTPResponse = field(repr=False)

    def __iter__(self) -> Iterator[Any]:
        """Until the stream ends; each as it comes. Nothing but events may come."""
        while line := self.response.readline():
            assert line.startswith(b"data: "), line
            assert self.response.readline() == b"\n"
            yield json.loads(line.removeprefix(b"data: "))

    def transactions(self) -> Iterator[Any]:
        """The events that have a transaction."""
        return (event for event in self if "transaction" in event)


@contextmanager
def events(stack: Stack, **query: str) -> Iterator[Events]:
    """Of GET /v1/transactions:watch."""
    host, _, port = stack.grpc.rpartition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=PATIENCE_SECONDS)
    try:
        connection.request("GET", f"/v1/transactions:watch?{urlencode(query)}", headers={"accept": "text/event-stream"})
        yield Events(connection.getresponse())
    finally:
        connection.close()
