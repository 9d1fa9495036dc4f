"""Webhooks while a receiver fails and dies and a back office is killed: every event of the ledger arrives, those of
each wallet in the order of their commits, and every signature is good."""

import asyncio
import random
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from specie.transaction.v1 import TransferRequest

from tests.kit.calls import Client, connected, key, outcome, usd
from tests.kit.ledger import Ledger
from tests.kit.postgres import Database, Server
from tests.kit.receiver import Got, ReceiverProcess, receiver_process
from tests.kit.service import back_office, transaction_service, wait_until
from tests.kit.webhook_client import shared_settings, webhook_client

WALLETS, TRANSFERS, BATCH = 20, 2_000, 100
BALANCE = 3_000
"""Little enough that some transfers fail."""
FAILING_SHARE = 0.3
FAST = {
    "WEBHOOK_FIRST_PAUSE_SECONDS": 0.02,
    "WEBHOOK_PAUSE_SECONDS_MAX": 0.1,
    "WEBHOOK_TIMEOUT_SECONDS": 5,
}
ALL = """
SELECT 'transactions/' || id, state, source, destination FROM transactions.transaction WHERE state <> 3 ORDER BY xid, id
"""


@pytest.fixture
def database(postgres_server: Server) -> Iterator[Database]:
    with postgres_server.fresh_database() as fresh:
        yield fresh


class Traffic:
    """Transfers among the wallets, one by one and in batches; some are more than there is."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._choose = random.Random(4)  # noqa: S311 - a choice, not a secret
        self._wallets: list[str] = []

    async def open(self) -> None:
        self._wallets = [await self._client.open(BALANCE) for _ in range(WALLETS)]

    async def send(self, count: int) -> None:
        """A tenth of them one by one."""
        for _ in range(count // BATCH):
            singly = [self._one() for _ in range(BATCH // 10)]
            together = [self._one() for _ in range(BATCH - len(singly))]
            await self._client.batch(together)
            await asyncio.gather(*[outcome(self._client.transactions.Transfer(one, timeout=30)) for one in singly])

    def _one(self) -> TransferRequest:
        source, destination = self._choose.sample(self._wallets, 2)
        amount = self._choose.choice([1, 10, 100, 100_000])
        return TransferRequest(source=source, destination=destination, amount=usd(amount), request_id=key())


def by_wallet(rows: list[tuple[str, int, str, str]]) -> dict[str, list[tuple[str, int]]]:
    """What names each wallet, in their order."""
    found: dict[str, list[tuple[str, int]]] = defaultdict(list)
    for name, state, source, destination in rows:
        for wallet in {source, destination}:
            if wallet.startswith("wallets/"):
                found[wallet].append((name, state))
    return found


def told(got: Got) -> tuple[str, int, str, str]:
    transaction = got.body["data"]["transaction"]
    state = {"transaction.posted": 1, "transaction.failed": 2}[got.body["type"]]
    return transaction["name"], state, transaction["source"], transaction["destination"]


def has_taken(receiver: ReceiverProcess, count: int) -> bool:
    return len(receiver.taken()) >= count


async def campaign(target: str, receiver: ReceiverProcess, kill_an_office: object) -> None:
    async with connected(target) as client, webhook_client(target) as webhooks:
        _, receiver.secret = await webhooks.create(receiver.url)
        receiver.start()
        traffic = Traffic(client)
        await traffic.open()
        sending = asyncio.create_task(traffic.send(TRANSFERS))
        wait = asyncio.to_thread
        await wait(wait_until, lambda: has_taken(receiver, 200), "200 events are taken")
        receiver.kill()
        await asyncio.sleep(1)  # it is away for a while
        receiver.start()
        await wait(wait_until, lambda: has_taken(receiver, 600), "600 events are taken")
        assert callable(kill_an_office)
        kill_an_office()
        await wait(wait_until, lambda: has_taken(receiver, 1_000), "1,000 events are taken")
        receiver.kill()
        receiver.start()
        await sending


def test_every_event_arrives_in_the_order_of_its_wallets(database: Database, tmp_path: Path) -> None:
    shared = shared_settings(tmp_path)
    with ExitStack() as running:
        service = running.enter_context(transaction_service(database, tmp_path, **shared))
        offices = [running.enter_context(back_office(database, tmp_path, **shared, **FAST)) for _ in range(2)]
        receiver = running.enter_context(receiver_process(tmp_path, FAILING_SHARE))

        def kill_the_one_that_sends() -> None:
            [office] = [office for office in offices if office.events("courier_claimed")]
            office.kill()

        asyncio.run(campaign(service.targets[0], receiver, kill_the_one_that_sends))
        ledger = Ledger(database).query(ALL)
        wait_until(lambda: has_taken(receiver, len(ledger)), "everything is taken")
        received = receiver.received()

    firsts = [told(got) for got in receiver.taken()]
    assert sorted(firsts) == sorted(ledger), "every event, and no other"
    assert by_wallet(firsts) == by_wallet(ledger), "in the order of the commits"
    assert all(got.valid for got in received)
    assert {state for _, state, _, _ in firsts} == {1, 2}
    assert any(got.status == 500 for got in received)
    assert len({got.id for got in received}) == len(ledger), "an event has one id"
