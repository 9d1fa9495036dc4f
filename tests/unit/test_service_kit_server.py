"""A process that cannot do its work ends, in order, and says why; and every method of one that can is reached."""

import asyncio
from functools import partial
from typing import Any

import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from pydantic import SecretStr
from specie.transaction.v1 import (
    GetBalanceRequest,
    TransactionServiceServicer,
    add_TransactionServiceServicer_to_server,
)

from service_kit.server import Application, Lines, serve
from service_kit.settings import ServiceSettings
from service_kit.status import Refusal
from tests.kit.calls import connected, failed
from tests.kit.ports import free_port
from tests.kit.tokens import IDENTITY
from tests.kit.wallets import asynchronous

SERVICE = "specie.transaction.v1.TransactionService"


def settings(port: int) -> ServiceSettings:
    return ServiceSettings(
        database_dsn=SecretStr("postgresql://nobody"), port=port, shutdown_notice_seconds=0, **IDENTITY
    )


class Work:
    """Background work that ends by a bug, or goes on until it is cancelled."""

    def __init__(self) -> None:
        self.closed = False
        self.cancelled = False
        self.told = asyncio.Event()

    async def good(self) -> None:
        pass

    async def fails(self) -> None:
        raise ValueError("a bug")

    async def until_told(self) -> None:
        await self.told.wait()

    async def goes_on(self) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled = True
            raise

    async def close(self) -> None:
        self.closed = True


@asynchronous
async def test_background_work_that_ends_by_a_bug_ends_the_process_in_order() -> None:
    work = Work()
    application = Application({}, work.good, (work.goes_on, work.fails), work.close)
    with pytest.raises(ValueError, match="a bug"):
        await serve(application, settings(free_port()))
    assert (work.cancelled, work.closed) == (True, True)


@asynchronous
async def test_a_taken_port_is_told() -> None:
    port = free_port()
    listening = await asyncio.start_server(lambda _reader, _writer: None, "127.0.0.1", port)
    work = Work()
    try:
        with pytest.raises(OSError, match=str(port)):
            await serve(Application({}, work.good, (), work.close), settings(port))
    finally:
        listening.close()
        await listening.wait_closed()


async def refuse(_self: object, _request: object, _context: object) -> None:
    raise Refusal("CONTENTION", "it came through")


def answering(*methods: str) -> Any:  # noqa: ANN401 - of the generated class, without most of its methods
    """What registers a service whose methods all tell that the call came through."""
    servicer: Any = type("Servicer", (TransactionServiceServicer,), dict.fromkeys(methods, refuse))
    return partial(add_TransactionServiceServicer_to_server, servicer())


class Registered:
    """A server that only tells what was added to it."""

    def __init__(self) -> None:
        self.named: list[str] = []
        self.own: list[str] = []

    def add_generic_rpc_handlers(self, handlers: Any) -> None:  # noqa: ANN401 - as grpc.aio has it
        self.named += [handler.service_name() for handler in handlers]

    def add_registered_method_handlers(self, service: str, handlers: dict[str, object]) -> None:
        self.own += [f"{service}/{method}" for method in handlers]


def test_a_crowd_stands_in_a_line_of_its_own_and_all_others_share_one() -> None:
    server: Any = Registered()
    lines = Lines(server, {f"{SERVICE}/Transfer", f"{SERVICE}/Steal"})
    answering("Transfer", "GetBalance")(lines)
    assert (server.named, server.own, lines.missing) == ([SERVICE], [f"{SERVICE}/Transfer"], {f"{SERVICE}/Steal"})


@pytest.mark.parametrize("crowds", [None, frozenset(), frozenset({f"{SERVICE}/Transfer"})])
@asynchronous
async def test_every_method_is_reached_in_whatever_line_it_stands(crowds: frozenset[str] | None) -> None:
    work, port = Work(), free_port()
    application = Application(
        {SERVICE: answering("Transfer", "GetBalance")}, work.good, (work.until_told,), work.close, crowds
    )
    process = asyncio.create_task(serve(application, settings(port)))
    async with connected(f"127.0.0.1:{port}") as client:
        stub: Any = health_pb2_grpc.HealthStub(client.channel)
        answer = await stub.Check(health_pb2.HealthCheckRequest(service="liveness"), wait_for_ready=True)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
        assert (await failed(client.transfer("wallets/a", "wallets/b", 1))).reason == "CONTENTION"
        balance = client.transactions.GetBalance(GetBalanceRequest(wallet="wallets/a"))
        assert (await failed(balance)).reason == "CONTENTION"
    work.told.set()
    await process


@asynchronous
async def test_a_crowd_at_a_method_that_there_is_not_is_told_at_start() -> None:
    work = Work()
    application = Application({}, work.good, (), work.close, frozenset({f"{SERVICE}/Steal"}))
    with pytest.raises(ValueError, match=f"no such methods: {SERVICE}/Steal"):
        await serve(application, settings(free_port()))
