"""One customer with a token of his own cannot take up what there is for all: places of streams, room for transfers."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from specie.transaction.v1 import TransferMode

from tests.kit.calls import Client, connected, failed
from tests.kit.postgres import Database
from tests.kit.service import transaction_service
from tests.kit.tokens import bearer, token
from tests.kit.watching import watching

IN_2100 = Timestamp(seconds=4_102_444_800)
BOUND = "wallets.read transfers.write"
MAX_PENDING, HALF = 6, 3
WATCHERS_MAX, SHARE = 20, 2


async def scheduled(client: Client, source: str, destination: str) -> Any:  # noqa: ANN401 - as the stub
    mode = TransferMode.TRANSFER_MODE_ASYNC
    return await client.transfer(source, destination, 1, mode=mode, execute_time=IN_2100)


async def pending(house: Client, eve: Client, ben: Client) -> None:
    """Eve has no money, and need not have any."""
    hers, his = await house.open(owner="eve"), await house.open(owner="ben")
    for _ in range(HALF):
        await scheduled(eve, hers, his)
    for bound, wallet, other in ((eve, hers, his), (ben, his, hers)):
        refused = await failed(scheduled(bound, wallet, other))
        assert (refused.reason, refused.metadata) == ("TOO_MANY_PENDING", {"max_pending": str(HALF)})
    for _ in range(MAX_PENDING - HALF):
        await scheduled(house, his, hers)
    assert (await failed(scheduled(house, his, hers))).metadata == {"max_pending": str(MAX_PENDING)}


async def watchers(house: Client, eve: Client, ben: Client) -> None:
    hers, his = await house.open(owner="eve"), await house.open(owner="ben")
    async with AsyncExitStack() as stack:
        for _ in range(SHARE):
            assert not (await stack.enter_async_context(watching(eve, hers))).error
        async with watching(eve, hers) as one_too_many:
            ended = await one_too_many.ended()
            assert ended is not None
            assert ended.reason == "OVERLOADED"
        for client, wallet in ((ben, his), (house, "")):
            assert not (await stack.enter_async_context(watching(client, wallet))).error


@pytest.mark.parametrize("story", [pending, watchers])
def test_who_is_bound_has_a_share(
    story: Callable[[Client, Client, Client], Awaitable[None]], database: Database, tmp_path: Path
) -> None:
    async def run(target: str) -> None:
        async with AsyncExitStack() as stack:
            clients = [
                await stack.enter_async_context(connected(target, bearer(token(*who))))
                for who in (("house", "admin service"), ("eve", BOUND), ("ben", BOUND))
            ]
            await story(*clients)

    with transaction_service(database, tmp_path, MAX_PENDING=MAX_PENDING, WATCHERS_MAX=WATCHERS_MAX) as service:
        asyncio.run(run(service.targets[0]))
