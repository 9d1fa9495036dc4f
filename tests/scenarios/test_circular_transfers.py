"""Circular transfers: 64 workers send money from A to B to C to A, and the other way round, over four lanes."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
from specie.transaction.v1 import GetBalanceRequest, TransferRequest

from tests.kit.calls import Client, Failed, key, posting, usd
from tests.kit.crowd import at_once
from tests.kit.postgres import Database
from tests.kit.scenario import Scenario, sound_service, story
from tests.kit.service import ServiceProcess
from tests.kit.wallets import asynchronous

WORKERS = 64
ROUNDS = 4
BALANCE = 1_000
"""More than all workers together have under way."""


@pytest.fixture(scope="module")
def service(database: Database, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    """At the end PostgreSQL has counted no deadlock."""
    with sound_service(database, tmp_path_factory.mktemp("circle"), LANES=2) as running:
        yield running


def circle(wallets: list[str], worker: int) -> list[tuple[str, str]]:
    """From one of them around and back, as steps; workers begin anywhere and go either way."""
    start = worker % 3
    way = [*wallets[start:], *wallets[:start]]
    if worker // 3 % 2:
        way.reverse()
    return list(pairwise([*way, way[0]]))


async def one_by_one(client: Client, steps: list[tuple[str, str]]) -> list[Any]:
    return [await client.transfer(source, destination, 1) for source, destination in steps]


async def as_a_batch(client: Client, steps: list[tuple[str, str]], *, atomic: bool) -> list[Any]:
    transfers = [
        TransferRequest(source=source, destination=destination, amount=usd(1), request_id=key())
        for source, destination in steps
    ]
    return [await client.batch(transfers, atomic=atomic)]


async def as_one_transaction(client: Client, steps: list[tuple[str, str]]) -> list[Any]:
    postings = [posting(name, sign) for step in steps for name, sign in zip(step, (-1, 1), strict=True)]
    return [await client.post(postings)]


@asynchronous
async def test_money_sent_in_circles_comes_back_and_nobody_waits_for_ever(
    service: ServiceProcess, database: Database
) -> None:
    async with story(service, database) as town:
        wallets = [await town.wallet(BALANCE) for _ in range(3)]

        async def work(worker: int) -> list[Any]:
            answers: list[Any] = []
            client, steps = town.client(worker), circle(wallets, worker)
            for turn in range(ROUNDS):
                match (worker + turn) % 4:
                    case 0:
                        answers += await as_one_transaction(client, steps)
                    case 1:
                        answers += await as_a_batch(client, steps, atomic=worker // 4 % 2 == 0)
                    case _:
                        answers += await one_by_one(client, steps)
            return answers

        for answers in await at_once(WORKERS, work):
            assert not isinstance(answers, Failed)
            town.hear_all(answers)
        assert set(town.told.values()) == {"POSTED"}

        assert [await balance_and_entries(town, wallet) for wallet in wallets] == [
            (BALANCE, 1 + 2 * ROUNDS * WORKERS)
        ] * 3
        await town.ends_with(USD=3 * BALANCE)


async def balance_and_entries(town: Scenario, wallet: str) -> tuple[int, int]:
    """The balance's version is the number of the wallet's entries."""
    answer = await town.client().transactions.GetBalance(GetBalanceRequest(wallet=wallet))
    return answer.balance.posted.minor_units, answer.balance.version
