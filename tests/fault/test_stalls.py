"""Something stands still. Every call ends by its deadline and says so; when it goes on, everything is there once and
no transaction was left open."""

import asyncio
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import grpc.aio
import pytest
from specie.wallet.v1 import GetWalletRequest, WalletServiceStub

from tests.kit.auditor import audit
from tests.kit.calls import Client, connected
from tests.kit.ledger import Ledger
from tests.kit.postgres import Database
from tests.kit.service import wait_until
from tests.kit.stack import Stack
from tests.kit.stalls import database_processes, halted, idle_in_transaction, part
from tests.kit.till import usd

SECONDS = 0.8
"""What callers wait for an answer."""
CALLERS = 4
"""Of each kind."""
BALANCE, AMOUNT = 1000, 10
ANSWERED_LATE = (504, "DEADLINE_EXCEEDED")
FOR_NOW = {409, 503, 504}
"""What goes by."""


class Callers:
    """Of two wallets that nobody else uses."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        mark = uuid4().hex[:12]
        self.source, self.destination = f"wallets/stalled-{mark}", f"wallets/paid-{mark}"
        for name in (self.source, self.destination):
            self._ask("POST", f"/v1/wallets?walletId={name.removeprefix('wallets/')}", {"currencyCode": "USD"})
        self._ask("POST", f"/v1/{self.source}:deposit", {"amount": usd(BALANCE)})
        self._keys = [f"{mark}-{number}" for number in range(2 * CALLERS)]

    def _ask(self, method: str, path: str, body: object = None, **headers: str) -> Any:  # noqa: ANN401 - parsed JSON
        while True:
            key = {"idempotency-key": f"{path}-{self.source}"} | headers
            answer = self._stack.call(method, path, body, headers=key)
            if answer.status == 200:
                return answer.body
            assert answer.status in FOR_NOW, answer

    @property
    def _transfer(self) -> dict[str, object]:
        return {"source": self.source, "destination": self.destination, "amount": usd(AMOUNT)}

    async def meet_a_stall(self, *, transfers: bool, reads: bool) -> None:
        """Each of them is told in time that it took too long."""
        short = {"grpc-timeout": f"{int(SECONDS * 1000)}m"}

        async def as_json(method: str, path: str, body: object = None, **headers: str) -> tuple[int, str]:
            answer = await asyncio.to_thread(self._stack.call, method, path, body, headers=short | headers)
            return answer.status, answer.body["details"][0]["reason"]

        async with connected(self._stack.grpc, self._stack.header()) as client:
            keys = self._keys if transfers else []
            calls = [
                as_json("POST", "/v1/transfers", self._transfer, **{"idempotency-key": key}) for key in keys[:CALLERS]
            ]
            native = [
                client.transfer(self.source, self.destination, AMOUNT, key, timeout=SECONDS) for key in keys[CALLERS:]
            ]
            if reads:
                calls.append(as_json("GET", f"/v1/{self.source}"))
                native.append(self._get_wallet(client))
            told, codes = await asyncio.gather(asyncio.gather(*calls), asyncio.gather(*map(code, native)))
        assert set(told) == {ANSWERED_LATE}
        assert set(codes) == {"DEADLINE_EXCEEDED"}

    def _get_wallet(self, client: Client) -> Any:  # noqa: ANN401 - a call
        stub = self._stack.authorised(WalletServiceStub(client.channel))
        return stub.GetWallet(GetWalletRequest(name=self.source), timeout=SECONDS)

    def find_everything_once(self) -> None:
        """Whatever became of the transfers: sent again, they have happened, and once."""
        posted = {}
        for key in self._keys:
            sent_again = self._ask("POST", "/v1/transfers", self._transfer, **{"idempotency-key": key})
            posted[sent_again["transaction"]["name"]] = "POSTED"
        assert len(posted) == len(self._keys)
        moved = AMOUNT * len(self._keys)
        for name, expected in ((self.source, BALANCE - moved), (self.destination, moved)):
            wallet = self._ask("GET", f"/v1/{name}")["wallet"]
            assert wallet["balance"]["posted"]["minorUnits"] == str(expected)
        audit(self._stack.owner_dsn, posted)


async def code(calling: Any) -> str:  # noqa: ANN401 - a call
    try:
        await calling
    except grpc.aio.AioRpcError as error:
        return error.code().name
    return "OK"


@pytest.fixture
def callers(stack: Stack) -> Iterator[Callers]:
    """At the end nothing is lost, nothing is doubled, and no transaction stays open."""
    callers = Callers(stack)
    yield callers
    callers.find_everything_once()
    wait_until(lambda: not idle_in_transaction(stack), "every transaction has ended")


def test_postgresql_stands_still(stack: Stack, callers: Callers) -> None:
    with halted(database_processes(stack)):
        asyncio.run(callers.meet_a_stall(transfers=True, reads=True))


def test_the_transaction_service_stands_still(stack: Stack, callers: Callers) -> None:
    with halted([part(stack, "transaction_service")]):
        asyncio.run(callers.meet_a_stall(transfers=True, reads=True))


def test_the_wallet_service_stands_still(stack: Stack, callers: Callers) -> None:
    with halted([part(stack, "wallet_service")]):
        asyncio.run(callers.meet_a_stall(transfers=False, reads=True))


def test_somebody_holds_an_account(stack: Stack, callers: Callers) -> None:
    with Ledger(Database(stack.owner_dsn, "", "")).locked(callers.source):
        asyncio.run(callers.meet_a_stall(transfers=True, reads=False))
