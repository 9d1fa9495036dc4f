"""Serves one process: starts, answers until SIGTERM or SIGINT, and stops without dropping what it accepted.

The order of stopping: say NOT_SERVING and wait until balancers have seen it; end the streams, whose callers go on
elsewhere; take no new call and let the running ones end; end the background work; close what the application holds.
"""

import asyncio
import gc
import signal
from collections.abc import Awaitable, Callable, Collection, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import grpc.aio
import structlog
from grpc_health.v1 import health, health_pb2_grpc
from prometheus_client import start_http_server

from service_kit.health import Readiness
from service_kit.interceptors import ChainInterceptor, chain
from service_kit.keys import Keys, KeysUnreadable
from service_kit.parent import tell_ready
from service_kit.settings import ServiceSettings
from service_kit.tls import server_credentials
from service_kit.tokens import Tokens

log = structlog.stdlib.get_logger()

MESSAGE_BYTES_MAX: Final = 16 * 1024 * 1024
"""A batch of 5,000 transfers whose texts are as long as they may be, without labels, has 15 MiB."""
METADATA_BYTES_MAX: Final = 32 * 1024
"""Twice what the gateway lets through, for what it adds itself."""
CONCURRENT_STREAMS_MAX: Final = 25_000
"""Above the posting queue's length, so that a full queue answers with its own error and RetryInfo."""
GC_ALLOCATIONS: Final = 20_000
"""So many more containers made than freed start a collection of the young ones; Python's default is 700."""
SERVER_OPTIONS: Final[Sequence[tuple[str, int]]] = (
    ("grpc.so_reuseport", 0),  # else a stale process silently shares the port
    ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
    ("grpc.max_metadata_size", METADATA_BYTES_MAX),
    ("grpc.absolute_max_metadata_size", METADATA_BYTES_MAX),  # between the two grpc would refuse at random
    ("grpc.max_concurrent_streams", CONCURRENT_STREAMS_MAX),
    # Above 1000 calls that wait for Python to take them, grpc would answer some of them, at random, with CANCELLED.
    ("grpc.server.max_pending_requests", CONCURRENT_STREAMS_MAX),
    ("grpc.server.max_pending_requests_hard_limit", CONCURRENT_STREAMS_MAX),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
)


PROBE: Final = f"{health.SERVICE_NAME}/Check"
"""Whoever asks whether the service lives does not wait behind a crowd."""


@dataclass(frozen=True, slots=True)
class Application:
    """What a service's bootstrap gives to be served.

    `servicers`: full service name to what registers it. `check` raises when the service cannot work. `background` runs
    beside the calls and is cancelled at the end. `close` ends accepted work and frees resources. `crowds`: the methods,
    as `package.Service/Method`, that come in crowds; see `Lines`. None: any may.
    """

    servicers: dict[str, Callable[[grpc.aio.Server], None]]
    check: Callable[[], Awaitable[None]]
    background: Sequence[Callable[[], Coroutine[Any, Any, None]]]
    close: Callable[[], Awaitable[None]]
    crowds: frozenset[str] | None = None


async def serve(application: Application, settings: ServiceSettings) -> None:
    """Returns after a clean stop. Raises OSError when the port is taken."""
    stopping = told_to_stop()
    tokens = Tokens(
        Keys(settings.auth_jwks),
        settings.auth_issuer,
        settings.auth_audience,
        settings.auth_max_lifetime_seconds,
    )
    await _begin(tokens.keys)
    interceptor = ChainInterceptor(chain(tokens))
    server = grpc.aio.server(interceptors=(interceptor,), options=SERVER_OPTIONS)

    async def check() -> None:
        await tokens.keys.check()
        await application.check()

    readiness = Readiness(check, tuple(application.servicers), tell_ready)
    _register(server, application, readiness, with_reflection=settings.reflection)
    address = f"{settings.host}:{settings.port}"
    _bind(server, address, server_credentials(settings))
    metrics_server = None
    if settings.metrics_port:
        metrics_server, _ = start_http_server(settings.metrics_port, settings.host)
    await readiness.begin()
    probes = await serve_probes(readiness, f"{settings.host}:{settings.probe_port}") if settings.probe_port else None
    spare_the_collector()
    await server.start()
    log.info("serving", address=address)
    tasks = [asyncio.create_task(work()) for work in (readiness.watch, tokens.keys.watch, *application.background)]
    await first(stopping, tasks)
    log.info("stopping", notice_seconds=settings.shutdown_notice_seconds)
    tasks[0].cancel()  # before end(), or a check that is under way could say ready again
    await asyncio.gather(tasks[0], return_exceptions=True)
    await readiness.end()
    await asyncio.sleep(settings.shutdown_notice_seconds)
    interceptor.streams.end()
    readiness.servicer.end_watches()
    await server.stop(settings.shutdown_grace_seconds)
    for task in tasks:
        task.cancel()
    ended = await asyncio.gather(*tasks, return_exceptions=True)
    await application.close()
    if probes is not None:
        await probes.stop(None)  # last: until here the process is alive
    if metrics_server is not None:
        metrics_server.shutdown()
    log.info("stopped")
    raise_failure(ended)


def told_to_stop() -> asyncio.Event:
    """Set by the signals that end a process in order."""
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, stopping.set)
    return stopping


def raise_failure(ended: Sequence[BaseException | None]) -> None:
    """The first one by which background work has ended, if one has: that it was cancelled is none."""
    for outcome in ended:
        if isinstance(outcome, Exception):
            raise outcome


async def serve_probes(readiness: Readiness, address: str) -> grpc.aio.Server:
    """A server for probes alone: an orchestrator's have no certificate to show."""
    server = grpc.aio.server(options=SERVER_OPTIONS)
    health_pb2_grpc.add_HealthServicer_to_server(readiness.servicer, server)
    _bind(server, address, None)
    await server.start()
    return server


def spare_the_collector() -> None:
    """What was imported stays for ever and need not be walked again; calls make few cycles, so it may look rarely. With
    Python's own thresholds the collector took a tenth of the service's CPU under load."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_ALLOCATIONS)


async def first(stopping: asyncio.Event, tasks: Sequence[asyncio.Task[None]]) -> None:
    """Returns when told to stop, or when background work ended by a bug: a crippled process must not go on."""
    told = asyncio.create_task(stopping.wait())
    await asyncio.wait([told, *tasks], return_when=asyncio.FIRST_COMPLETED)
    told.cancel()


def _register(
    server: grpc.aio.Server, application: Application, readiness: Readiness, *, with_reflection: bool
) -> None:
    lines: Any = server if application.crowds is None else Lines(server, application.crowds | {PROBE})
    for register in application.servicers.values():
        register(lines)
    health_pb2_grpc.add_HealthServicer_to_server(readiness.servicer, lines)
    if isinstance(lines, Lines) and lines.missing:
        raise ValueError(f"no such methods: {', '.join(sorted(lines.missing))}")
    if with_reflection:
        from grpc_reflection.v1alpha import reflection  # noqa: PLC0415 - memory that few processes need

        names = (*application.servicers, health.SERVICE_NAME, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(names, server)


class Lines:
    """What generated code adds methods to, for a server in which the methods that come in crowds have a line each, in
    which calls wait to be taken, and all others share one: nobody else waits behind a crowd.

    Left alone, generated code gives every method a line, and gRPC's main loop looks at every line at every call.
    """

    def __init__(self, server: grpc.aio.Server, crowds: Collection[str]) -> None:
        self.missing = set(crowds)
        self._server = server

    def add_generic_rpc_handlers(self, handlers: Sequence[grpc.GenericRpcHandler]) -> None:
        """Of all methods: those without a line of their own are found by their names."""
        self._server.add_generic_rpc_handlers(handlers)

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Any]) -> None:
        crowded = {method: handler for method, handler in handlers.items() if f"{service}/{method}" in self.missing}
        self._server.add_registered_method_handlers(service, crowded)
        self.missing -= {f"{service}/{method}" for method in crowded}


async def _begin(keys: Keys) -> None:
    """Raises OSError, which ends the process with its message."""
    try:
        await keys.begin()
    except KeysUnreadable as error:
        raise OSError(f"the issuer's keys cannot be read: {error}") from error


def _bind(server: grpc.aio.Server, address: str, credentials: grpc.ServerCredentials | None) -> None:
    try:
        if credentials is None:
            bound = server.add_insecure_port(address)
        else:
            bound = server.add_secure_port(address, credentials)
    except RuntimeError as error:
        hint = "" if credentials is None else "; do TLS_KEY_FILE and TLS_CERTIFICATE_FILE belong together?"
        raise OSError(f"cannot listen on {address}: {error}{hint}") from error
    if bound == 0:
        raise OSError(f"cannot listen on {address}: is the port taken?")
