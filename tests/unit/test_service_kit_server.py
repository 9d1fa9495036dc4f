"""A process that cannot do its work ends, in order, and says why."""

import asyncio

import pytest
from pydantic import SecretStr

from service_kit.server import Application, serve
from service_kit.settings import ServiceSettings
from tests.kit.ports import free_port
from tests.kit.wallets import asynchronous


def settings(port: int) -> ServiceSettings:
    return ServiceSettings(database_dsn=SecretStr("postgresql://nobody"), port=port, shutdown_notice_seconds=0)


class Work:
    """Background work that ends by a bug, or goes on until it is cancelled."""

    def __init__(self) -> None:
        self.closed = False
        self.cancelled = False

    async def good(self) -> None:
        pass

    async def fails(self) -> None:
        raise ValueError("a bug")

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
