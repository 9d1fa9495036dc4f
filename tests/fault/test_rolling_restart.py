"""Workers are restarted one after another while callers go on: none of them notices, and what was acknowledged is there
once."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any
from uuid import uuid4

import grpc.aio
import pytest
from specie.wallet.v1 import GetWalletRequest, WalletServiceStub

from tests.kit.auditor import audit
from tests.kit.calls import Client, connected, key
from tests.kit.service import health, wait_until_async
from tests.kit.stack import Stack, running_stack
from tests.kit.stalls import children, part
from tests.kit.till import usd

NOTICE = {f"SPECIE_{service}_SHUTDOWN_NOTICE_SECONDS": "1.5" for service in ("WALLET", "TRANSACTION")}
"""`specie up` leaves it out. The gateway takes a second to notice."""
SETTLE_SECONDS = 1.5
"""After a restart, before the next: all callers have connected again."""
PAUSE_SECONDS = 0.05
"""Between a caller's calls: nobody is to be late because the machine has too much to do."""
CALL_SECONDS = 15.0
FUNDS = 1_000_000


@pytest.fixture
def workers() -> Iterator[Stack]:
    """A stack with two workers of each service."""
    with running_stack(("--ephemeral", "--wallet-workers", "2", "--transaction-workers", "2"), NOTICE) as stack:
        yield stack


class Load:
    """Callers of every kind, who call until they are told to stop. Nothing is sent again."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._stopping = False
        self.posted: dict[str, str] = {}
        self.failed: list[str] = []
        self.answered = 0
        self._wallets = (f"wallets/{uuid4().hex}", f"wallets/{uuid4().hex}")

    def open_wallets(self) -> None:
        for name in self._wallets:
            create = f"/v1/wallets?walletId={name.removeprefix('wallets/')}"
            assert self._stack.call("POST", create, {"currencyCode": "USD"}).status == 200
            deposit = self._stack.call(
                "POST", f"/v1/{name}:deposit", {"amount": usd(FUNDS)}, headers={"idempotency-key": key()}
            )
            assert deposit.status == 200

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with (
            connected(self._stack.grpc, self._stack.header()) as gateway,
            self._in_turn(self._stack.transaction) as transactions,
            self._in_turn(self._stack.wallet) as wallets,
        ):
            kinds: list[Callable[[], Awaitable[None]]] = [
                self._transfer_as_json,
                self._read_as_json,
                partial(self._transfer, gateway),
                partial(self._read, gateway),
                partial(self._transfer, transactions),
                partial(self._read, wallets),
            ]
            callers = [asyncio.create_task(self._caller(kind)) for kind in kinds]
            try:
                yield
            finally:
                self._stopping = True
                await asyncio.gather(*callers)

    @asynccontextmanager
    async def _in_turn(self, targets: list[str]) -> AsyncIterator[Client]:
        """Past the gateway, as docs/operations.md says: all workers in turn, but for those that say NOT_SERVING."""
        config = {"loadBalancingConfig": [{"round_robin": {}}], "healthCheckConfig": {"serviceName": ""}}
        options = (
            ("grpc.service_config", json.dumps(config)),
            ("grpc.initial_reconnect_backoff_ms", 100),
            ("grpc.max_reconnect_backoff_ms", 1000),
            ("grpc.use_local_subchannel_pool", 1),
        )
        async with grpc.aio.insecure_channel("ipv4:" + ",".join(targets), options=options) as channel:
            yield Client(channel, self._stack.header())

    async def _caller(self, kind: Callable[[], Awaitable[None]]) -> None:
        while not self._stopping:
            try:
                await kind()
                self.answered += 1
            except (AssertionError, OSError, grpc.aio.AioRpcError) as error:
                self.failed.append(f"{kind}: {error}")
            await asyncio.sleep(PAUSE_SECONDS)

    async def _transfer_as_json(self) -> None:
        source, destination = self._wallets
        body = {"source": source, "destination": destination, "amount": usd(1)}
        answer = await self._json("POST", "/v1/transfers", body, {"idempotency-key": key()})
        self.posted[answer["transaction"]["name"]] = "POSTED"

    async def _read_as_json(self) -> None:
        await self._json("GET", f"/v1/{self._wallets[0]}", None, {})

    async def _json(self, method: str, path: str, body: object, headers: dict[str, str]) -> Any:  # noqa: ANN401 - JSON
        answer = await asyncio.to_thread(self._stack.call, method, path, body, headers=headers)
        assert answer.status == 200, answer
        return answer.body

    async def _transfer(self, client: Client) -> None:
        source, destination = self._wallets
        answer = await client.transfer(source, destination, 1, timeout=CALL_SECONDS)
        self.posted[answer.transaction.name] = "POSTED"

    async def _read(self, client: Client) -> None:
        stub = self._stack.authorised(WalletServiceStub(client.channel))
        await stub.GetWallet(GetWalletRequest(name=self._wallets[0]), timeout=CALL_SECONDS)

    def find_everything_once(self) -> None:
        assert self.failed == []
        assert len(self.posted) > 0
        audit(self._stack.owner_dsn, self.posted)
        paid = self._stack.call("GET", f"/v1/{self._wallets[1]}").body["wallet"]["balance"]["posted"]["minorUnits"]
        assert paid == str(FUNDS + len(self.posted))


SERVICES = ("wallet_service", "transaction_service")


async def roll(stack: Stack) -> None:
    """Both services at once; each one's parent takes its own workers one after another."""
    parents = [part(stack, service) for service in SERVICES]
    before = [set(children(parent)) for parent in parents]
    for parent in parents:
        os.kill(parent, signal.SIGHUP)
    logs = [stack.data_dir / "logs" / f"{service.partition('_')[0]}.log" for service in SERVICES]
    await wait_until_async(lambda: all("roll_ended" in log.read_text() for log in logs), "both have been rolled")
    after = [set(children(parent)) for parent in parents]
    assert [len(pids) for pids in after] == [2, 2]
    assert not any(old & new for old, new in zip(before, after, strict=True))


async def restart_one(stack: Stack, service: str, targets: list[str]) -> None:
    """As an orchestrator does with a container: it is told to stop, and started again on the same port."""
    parent = part(stack, service)
    pid = children(parent)[0]
    os.kill(pid, signal.SIGTERM)
    await wait_until_async(lambda: pid not in children(parent), "it has stopped")
    for target in targets:
        await wait_until_async(partial(is_serving, target), "all are ready")


def is_serving(target: str) -> bool:
    return health(target) == "SERVING"


def test_nobody_notices_that_workers_are_restarted(workers: Stack) -> None:
    load = Load(workers)
    load.open_wallets()

    async def scenario() -> None:
        async with load.running():
            await roll(workers)
            await asyncio.sleep(SETTLE_SECONDS)
            by_hand = zip(SERVICES, (workers.wallet, workers.transaction), strict=True)
            await asyncio.gather(*(restart_one(workers, service, targets) for service, targets in by_hand))

    asyncio.run(scenario())
    load.find_everything_once()
