"""Readiness follows its check with hysteresis, liveness does not; and the probe that asks for them."""

import asyncio
from typing import Any

import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from service_kit import health, probe
from service_kit.health import LIVENESS, NOT_SERVING, SERVING, Readiness
from tests.kit.ports import free_port
from tests.kit.wallets import asynchronous

NAME = "specie.test.v1.TestService"


class Check:
    """Fails while `broken` is an error."""

    def __init__(self) -> None:
        self.broken: Exception | None = None

    async def __call__(self) -> None:
        if self.broken is not None:
            raise self.broken


async def answers(readiness: Readiness) -> dict[str, Any]:
    check: Any = readiness.servicer.Check  # for a name that it knows it asks nothing of the context
    asked = {name: health_pb2.HealthCheckRequest(service=name) for name in ("", NAME, LIVENESS)}
    return {name: (await check(request, None)).status for name, request in asked.items()}


READY = {"": SERVING, NAME: SERVING, LIVENESS: SERVING}
UNREADY = {"": NOT_SERVING, NAME: NOT_SERVING, LIVENESS: SERVING}


@asynchronous
async def test_it_is_alive_at_once_and_ready_after_the_first_good_check() -> None:
    check = Check()
    check.broken = OSError("starting")
    readiness = Readiness(check, [NAME])
    await readiness.begin()
    assert await answers(readiness) == UNREADY
    await readiness.check_once()
    assert await answers(readiness) == UNREADY
    check.broken = None
    await readiness.check_once()
    assert await answers(readiness) == READY


@asynchronous
async def test_one_bad_check_is_forgiven_and_two_in_a_row_are_not() -> None:
    check = Check()
    readiness = Readiness(check, [NAME])
    await readiness.begin()
    await readiness.check_once()
    seen = []
    for broken in (True, False, True, True, True, False):
        check.broken = RuntimeError("down") if broken else None
        await readiness.check_once()
        seen.append(await answers(readiness) == READY)
    assert seen == [True, True, True, False, False, True]


@asynchronous
async def test_a_check_that_hangs_is_a_bad_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "CHECK_TIMEOUT_SECONDS", 0.001)
    hanging = False

    async def check() -> None:
        if hanging:
            await asyncio.Event().wait()

    readiness = Readiness(check, [NAME])
    await readiness.begin()
    await readiness.check_once()
    hanging = True
    await readiness.check_once()
    await readiness.check_once()
    assert await answers(readiness) == UNREADY


@asynchronous
async def test_at_the_end_it_is_not_ready_and_still_alive() -> None:
    readiness = Readiness(Check(), [NAME])
    await readiness.begin()
    await readiness.check_once()
    await readiness.end()
    assert await answers(readiness) == UNREADY


@asynchronous
async def test_the_watch_goes_on_whatever_the_check_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "CHECK_SECONDS", 0)
    checked, enough = 0, asyncio.Event()

    async def check() -> None:
        nonlocal checked
        checked += 1
        if checked > 5:
            enough.set()
        if checked % 2:
            raise ValueError(checked)

    readiness = Readiness(check, [NAME])
    watching = asyncio.create_task(readiness.watch())
    await enough.wait()
    assert not watching.done()
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)


@asynchronous
async def test_the_probe_tells_by_its_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    check = Check()
    readiness = Readiness(check, [NAME])
    server = grpc.aio.server()
    health_pb2_grpc.add_HealthServicer_to_server(readiness.servicer, server)
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await readiness.begin()
    await server.start()
    try:
        assert await asyncio.to_thread(probe.main, [address]) == 1
        assert await asyncio.to_thread(probe.main, [address, "--service", "liveness"]) == 0
        await readiness.check_once()
        assert await asyncio.to_thread(probe.main, [address]) == 0
        told = [line for line in capsys.readouterr().out.splitlines() if line.endswith("SERVING")]
        assert told == ["NOT_SERVING", "SERVING", "SERVING"]
        assert await asyncio.to_thread(probe.main, [address, "--service", "nobody"]) == 1
        assert "NOT_FOUND" in capsys.readouterr().err
    finally:
        await server.stop(None)


def test_the_probe_of_nobody_fails(capsys: pytest.CaptureFixture[str]) -> None:
    address = f"127.0.0.1:{free_port()}"
    assert probe.main([address, "--timeout", "5"]) == 1
    told = capsys.readouterr()
    assert address in told.err
    assert not told.out
