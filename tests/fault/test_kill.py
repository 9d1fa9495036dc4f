"""kill -9 while money moves. Callers send what was not answered again under the same key: at the end every answer is
true, everything is there once, and the sums are 0."""

import asyncio
import os
import random
import signal
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psycopg2
import pytest

from specie_cli.stack.failure import StackError
from tests.kit.auditor import audit
from tests.kit.calls import Failed, connected, key, outcome
from tests.kit.ledger import Ledger
from tests.kit.postgres import Database, Server, running_server
from tests.kit.service import POLL_SECONDS, ServiceProcess, health, transaction_service, wait_until, wait_until_async

CALLERS = 12
WALLETS = 5
BALANCE = 200
"""Small, so that some transfers are refused."""
BETWEEN_KILLS = 150
"""So many answers, so that transfers are under way whenever something is killed."""
AGAIN = {"UNAVAILABLE", "CANCELLED", "DEADLINE_EXCEEDED", "ABORTED"}


class Traffic:
    """Callers that transfer at random until they are told to stop."""

    def __init__(self, service: ServiceProcess) -> None:
        self._service = service
        self._stopping = False
        self.acknowledged: dict[str, str] = {}
        self.sent_again = 0

    async def run(self, kills: int, kill: Callable[[], Awaitable[None]]) -> None:
        async with connected(self._service.targets[0]) as client:
            self._wallets = [await client.open(BALANCE) for _ in range(WALLETS)]
        callers = [asyncio.create_task(self._caller(number)) for number in range(CALLERS)]
        try:
            for _ in range(kills):
                await self._answers(BETWEEN_KILLS)
                await kill()
            await self._answers(BETWEEN_KILLS)
        finally:
            self._stopping = True
            await asyncio.gather(*callers)

    async def _answers(self, count: int) -> None:
        enough = len(self.acknowledged) + count
        await wait_until_async(lambda: len(self.acknowledged) >= enough, "transfers are answered")

    async def _caller(self, number: int) -> None:
        choose = random.Random(number)  # noqa: S311 - a choice, not a secret
        targets = self._service.targets
        async with connected(targets[number % len(targets)]) as client:
            while not self._stopping:
                source, destination = choose.sample(self._wallets, 2)
                amount, request_id = choose.randint(1, BALANCE), key()
                while True:
                    answer = await outcome(client.transfer(source, destination, amount, request_id))
                    if not isinstance(answer, Failed):
                        self.acknowledged[answer.transaction.name] = "POSTED"
                        break
                    if answer.code not in AGAIN:
                        assert answer.reason == "INSUFFICIENT_FUNDS", answer
                        self.acknowledged[answer.metadata["transaction"]] = answer.reason
                        break
                    self.sent_again += 1
                    await asyncio.sleep(POLL_SECONDS)


def assert_all_is_there_once(database: Database, traffic: Traffic) -> None:
    assert traffic.sent_again > 0
    assert set(traffic.acknowledged.values()) == {"POSTED", "INSUFFICIENT_FUNDS"}
    audit(database.owner_dsn, traffic.acknowledged, floors_never_changed=True)
    ledger = Ledger(database)
    transfers = ledger.query("SELECT 'transactions/' || id FROM transactions.transaction WHERE kind = 1")
    assert {name for (name,) in transfers} == set(traffic.acknowledged)
    total = ledger.query("SELECT sum(balance)::bigint FROM transactions.account WHERE name LIKE 'wallets/%%'")
    assert total == [(WALLETS * BALANCE,)]


@pytest.fixture
def fresh(postgres_server: Server) -> Iterator[Database]:
    with postgres_server.fresh_database() as database:
        yield database


def test_the_service_is_killed_and_started_again(fresh: Database, tmp_path: Path) -> None:
    with transaction_service(fresh, tmp_path) as service:

        async def kill() -> None:
            service.kill()
            await asyncio.to_thread(service.start)

        traffic = Traffic(service)
        asyncio.run(traffic.run(2, kill))
    assert_all_is_there_once(fresh, traffic)


def test_one_of_two_workers_is_killed(fresh: Database, tmp_path: Path) -> None:
    with transaction_service(fresh, tmp_path, WORKERS=2) as service:

        async def kill() -> None:
            os.kill(min(service.worker_pids()), signal.SIGKILL)
            await wait_until_async(lambda: len(service.events("serving")) == 3, "another one serves")

        traffic = Traffic(service)
        asyncio.run(traffic.run(1, kill))
    assert_all_is_there_once(fresh, traffic)


def kill_postgres(server: Server) -> None:
    """All of its processes, so that none of them ends in order."""
    connection = psycopg2.connect(server.postgres.superuser_dsn())
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pid FROM pg_stat_activity")
            pids = [pid for (pid,) in cursor.fetchall()]
        server.postgres.kill()
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    finally:
        connection.close()


def start_postgres(server: Server) -> None:
    """It refuses while a process of the killed one is not quite gone."""

    def started() -> bool:
        try:
            server.postgres.start()
        except StackError:
            return False
        return True

    wait_until(started, "PostgreSQL starts again")


def test_postgresql_is_killed_and_started_again(tmp_path: Path) -> None:
    with running_server() as server, transaction_service(server.database(), tmp_path) as service:
        target = service.targets[0]

        async def kill() -> None:
            kill_postgres(server)
            await wait_until_async(lambda: health(target) == "NOT_SERVING", "it is not ready")
            assert health(target, "liveness") == "SERVING"
            start_postgres(server)  # in this thread: PostgreSQL ends with the thread that has started it
            await wait_until_async(lambda: health(target) == "SERVING", "it is ready again")

        traffic = Traffic(service)
        asyncio.run(traffic.run(1, kill))
        assert service.stop() == 0
        assert_all_is_there_once(server.database(), traffic)
