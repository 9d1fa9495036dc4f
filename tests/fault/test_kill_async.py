"""kill -9 in the middle of many pending transfers and due holds: everything acknowledged is decided, once."""

import asyncio
import os
import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from specie.transaction.v1 import TransferMode, TransferRequest

from tests.kit.auditor import audit
from tests.kit.calls import Client, connected, key, usd
from tests.kit.ledger import Ledger
from tests.kit.postgres import Database, Server
from tests.kit.service import ServiceProcess, transaction_service, wait_until

TRANSFERS, HOLDS, WALLETS, BATCH = 12_000, 600, 6, 1_000
BALANCE = TRANSFERS // WALLETS - 400
"""Less than each wallet is asked for, so that some fail; more than any has to reserve."""
UNDECIDED = "SELECT count(*) FROM transactions.pending"


@pytest.fixture
def database(postgres_server: Server) -> Iterator[Database]:
    with postgres_server.fresh_database() as fresh:
        yield fresh


async def accept(service: ServiceProcess) -> list[str]:
    """Every wallet pays the next one, who is asked for as much; the names that were acknowledged."""
    async with connected(service.targets[0]) as client:
        wallets = [await client.open(BALANCE) for _ in range(WALLETS)]
        await asyncio.gather(
            *[client.place_hold(wallets[i % WALLETS], wallets[0 if i % WALLETS else 1], 1) for i in range(HOLDS)]
        )
        named: list[str] = []
        for start in range(0, TRANSFERS, BATCH):
            named += await batch(client, wallets, range(start, start + BATCH))
        return named


async def batch(client: Client, wallets: list[str], numbers: range) -> list[str]:
    answer: Any = await client.batch(
        [
            TransferRequest(
                source=wallets[i % WALLETS],
                destination=wallets[(i + 1) % WALLETS],
                amount=usd(1 + i % 3),
                request_id=key(),
                mode=TransferMode.TRANSFER_MODE_ASYNC,
            )
            for i in numbers
        ]
    )
    return [result.transaction.name for result in answer.results]


def expire_all(ledger: Ledger) -> None:
    with ledger.session() as cursor:
        cursor.execute("UPDATE transactions.hold SET expire_time = now() WHERE state = 1")
        cursor.connection.commit()


def has_gone_on(ledger: Ledger, before: list[tuple[Any, ...]]) -> bool:
    return ledger.query(UNDECIDED) < before


def assert_all_is_decided_once(database: Database, named: list[str]) -> None:
    ledger = Ledger(database)
    wait_until(lambda: ledger.query(UNDECIDED) == [(0,)], "nothing is pending")
    wait_until(
        lambda: ledger.query("SELECT count(*) FROM transactions.hold WHERE state = 1") == [(0,)], "no hold is open"
    )
    decided = ledger.query("SELECT 'transactions/' || id, state FROM transactions.transaction WHERE kind = 1")
    assert {name for name, _ in decided} == set(named)
    assert {state for _, state in decided} <= {1, 2}
    expired = ledger.query(
        "SELECT count(*), count(DISTINCT hold) FROM transactions.transaction WHERE kind = 9 AND state = 1"
    )
    assert expired == [(HOLDS, HOLDS)]
    audit(database.owner_dsn, floors_never_changed=True)


def test_the_service_is_killed_and_started_again(database: Database, tmp_path: Path) -> None:
    ledger = Ledger(database)
    with transaction_service(database, tmp_path) as service:
        named = asyncio.run(accept(service))
        expire_all(ledger)
        for _ in range(2):
            before = ledger.query(UNDECIDED)
            wait_until(partial(has_gone_on, ledger, before), "some are decided")
            service.kill()
            assert ledger.query(UNDECIDED) > [(0,)]
            service.start()
        assert_all_is_decided_once(database, named)
        assert service.stop() == 0


def test_one_of_two_workers_is_killed(database: Database, tmp_path: Path) -> None:
    with transaction_service(database, tmp_path, WORKERS=2) as service:
        named = asyncio.run(accept(service))
        expire_all(Ledger(database))
        os.kill(min(service.worker_pids()), signal.SIGKILL)
        assert_all_is_decided_once(database, named)
        wait_until(lambda: len(service.events("serving")) == 3, "another one serves")
        assert service.stop() == 0
