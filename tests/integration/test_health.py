"""What a running service tells of itself: GetHealth, and the port for probes."""

import asyncio
from datetime import timedelta
from pathlib import Path

import grpc.aio
from specie.transaction.v1 import GetHealthRequest, HealthServiceStub

from service_kit.version import VERSION
from tests.kit.calls import connected, outcome
from tests.kit.ports import free_ports
from tests.kit.postgres import Database
from tests.kit.service import health, transaction_service
from tests.kit.wallets import asynchronous


@asynchronous
async def test_the_books_balance_in_every_currency_and_nobody_needs_a_token_to_hear_it(target: str) -> None:
    async with connected(target) as client:
        for currency in ("USD", "EUR"):
            await client.open(1000, currency)
    async with grpc.aio.insecure_channel(target) as channel:
        answer = await HealthServiceStub(channel).GetHealth(GetHealthRequest())
    assert answer.version == VERSION
    assert answer.uptime.ToTimedelta() > timedelta()
    assert set(answer.ledger_integrity_sum.values()) <= {0}
    assert answer.sum_time.seconds > 0
    assert answer.queue_depth >= 0


def test_probes_have_a_port_of_their_own_with_nothing_else_on_it(database: Database, tmp_path: Path) -> None:
    async def another_call() -> str:
        async with connected(probes[0]) as client:
            answer = await outcome(client.transfer("wallets/a", "wallets/b", 1))
        return str(answer.code)

    ports = free_ports(2)
    probes = [f"127.0.0.1:{port}" for port in ports]
    with transaction_service(database, tmp_path, WORKERS=2, PROBE_PORT=ports[0]) as service:
        for address in (*probes, *service.targets):
            assert health(address) == health(address, "liveness") == "SERVING"
        assert health(probes[1], "specie.transaction.v1.TransactionService") == "SERVING"
        assert asyncio.run(another_call()) == "UNIMPLEMENTED"
        assert service.stop() == 0
        assert health(probes[0], "liveness") == "UNAVAILABLE"
