"""The ids of server-sent events, however a stream is cut: the gateway's script before a plain web server."""

import json
import threading
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from time import sleep

import pytest

from specie_cli.stack.address import Address
from specie_cli.stack.envoy_config import LUA
from tests.kit.gateway import HOST, running_envoy
from tests.kit.ports import free_port

PAUSE_SECONDS = 0.002
TRAP = json.dumps({"labels": {"cursor": "x", "text": '"cursor":"y"}\n\n'}}, separators=(",", ":"))
EVENTS = [
    'data: {"cursor":"c-1"}\n\n',
    f'data: {{"transaction":{TRAP},"cursor":"c_2"}}\n\n',
    'data: {"cursor":"c3"}\n\n',
    f"data: {TRAP}\n\n",  # has none
]
EXPECTED = ["id: c-1\n" + EVENTS[0], "id: c_2\n" + EVENTS[1], "id: c3\n" + EVENTS[2], EVENTS[3]]


@dataclass
class Source:
    """Sends the pieces one by one."""

    url: str
    pieces: list[bytes] = field(default_factory=list)
    may_end: threading.Event = field(default_factory=threading.Event)


def listener(port: int, upstream: int) -> str:
    """Envoy's configuration: nothing but the script."""
    types = "type.googleapis.com/envoy.extensions.filters"
    lua = {"@type": f"{types}.http.lua.v3.Lua", "default_source_code": {"filename": str(LUA)}}
    route = {"match": {"prefix": "/"}, "route": {"cluster": "source"}}
    manager = {
        "@type": f"{types}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "events",
        "route_config": {"virtual_hosts": [{"name": "events", "domains": ["*"], "routes": [route]}]},
        "http_filters": [
            {"name": "script", "typed_config": lua},
            {"name": "router", "typed_config": {"@type": f"{types}.http.router.v3.Router"}},
        ],
    }
    endpoints = [{"lb_endpoints": [{"endpoint": {"address": address(upstream)}}]}]
    cluster = {"name": "source", "load_assignment": {"cluster_name": "source", "endpoints": endpoints}}
    chains = [{"filters": [{"name": "manager", "typed_config": manager}]}]
    return json.dumps(
        {
            "static_resources": {
                "listeners": [{"address": address(port), "filter_chains": chains}],
                "clusters": [cluster],
            }
        }
    )


def address(port: int) -> dict[str, object]:
    return {"socket_address": {"address": HOST, "port_value": port}}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Source]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-type", "text/event-stream")
            self.send_header("transfer-encoding", "chunked")
            self.end_headers()
            for piece in running.pieces:
                self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
                sleep(PAUSE_SECONDS)
            running.may_end.wait()
            self.wfile.write(b"0\r\n\r\n")

        def log_message(self, *_: object) -> None:
            """Nothing is said."""

    with ThreadingHTTPServer((HOST, 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        port = free_port()
        running = Source(url=f"http://{HOST}:{port}/")
        with running_envoy(listener(port, server.server_port), Address(HOST, port), tmp_path_factory.mktemp("events")):
            yield running
        server.shutdown()


@pytest.mark.parametrize("size", [1, 2, 3, 7, 20, 64, 100_000])
def test_every_event_has_its_cursor_as_id(source: Source, size: int) -> None:
    content = "".join(EVENTS).encode()
    source.may_end.set()
    source.pieces = [content[at : at + size] for at in range(0, len(content), size)]
    with urllib.request.urlopen(source.url, timeout=30) as answer:  # noqa: S310 - ours
        assert answer.read().decode() == "".join(EXPECTED)


def test_an_event_goes_on_its_way_while_the_next_is_not_whole(source: Source) -> None:
    """Or heartbeats and transactions would wait for each other."""
    source.may_end.clear()
    source.pieces = [EVENTS[0].encode() + EVENTS[1].encode()[:9]]
    with urllib.request.urlopen(source.url, timeout=30) as answer:  # noqa: S310 - ours
        assert b"".join(answer.readline() for _ in range(3)).decode() == EXPECTED[0]
        source.may_end.set()
        assert answer.read() == b""
