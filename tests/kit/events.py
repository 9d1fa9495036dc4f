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
        """Until the stream ends; each as it comes. Nothing but events may come, each with its cursor as its id."""
        while line := self.response.readline():
            data = self.response.readline()
            assert (line[:4], data[:6], self.response.readline()) == (b"id: ", b"data: ", b"\n"), (line, data)
            event = json.loads(data[6:])
            assert line[4:-1].decode() == event["cursor"]
            yield event

    def transactions(self) -> Iterator[Any]:
        """The events that have a transaction."""
        return (event for event in self if "transaction" in event)


@contextmanager
def events(stack: Stack, last_event_id: str | None = None, **query: str) -> Iterator[Events]:
    """Of GET /v1/transactions:watch, with the usual token. `last_event_id`: the header of who comes back."""
    headers = {"accept": "text/event-stream", "authorization": f"Bearer {stack.token}"}
    if last_event_id is not None:
        headers["last-event-id"] = last_event_id
    host, _, port = stack.grpc.rpartition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=PATIENCE_SECONDS)
    try:
        connection.request("GET", f"/v1/transactions:watch?{urlencode(query)}", headers=headers)
        yield Events(connection.getresponse())
    finally:
        connection.close()
