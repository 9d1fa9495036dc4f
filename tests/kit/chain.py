"""A service of one's own behind the interceptor chain: what its handlers do is the test's."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
import grpc.aio
from prometheus_client import REGISTRY
from specie.transaction.v1 import GetBalanceRequest, GetBalanceResponse, TransferRequest, TransferResponse
from specie.type.v1 import Money

from service_kit.call import Call, current_call
from service_kit.interceptors import Answer, ChainInterceptor, Next, chain
from tests.kit.calls import Client, connected
from tests.kit.service import wait_until_async
from tests.kit.tokens import verifier

METHOD = "/specie.transaction.v1.TransactionService/Transfer"

Handler = Callable[[TransferRequest], Awaitable[TransferResponse]]


async def done(_: TransferRequest) -> TransferResponse:
    return TransferResponse()


class Service:
    """Answers Transfer by what a test puts there, and keeps the requests and calls."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self.requests: list[TransferRequest] = []
        self.calls: list[Call] = []

    async def transfer(self, request: TransferRequest, _context: object) -> TransferResponse:
        self.requests.append(request)
        self.calls.append(current_call())
        return await self._handler(request)

    async def get_balance(self, _request: GetBalanceRequest, _context: object) -> GetBalanceResponse:
        return GetBalanceResponse()

    def register(self, server: Any) -> None:  # noqa: ANN401 - the types of generic handlers know only blocking servers
        make: Any = grpc.unary_unary_rpc_method_handler
        handlers = {
            "Transfer": make(self.transfer, TransferRequest.FromString, TransferResponse.SerializeToString),
            "GetBalance": make(self.get_balance, GetBalanceRequest.FromString, GetBalanceResponse.SerializeToString),
        }
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(METHOD.split("/")[1], handlers),))


@asynccontextmanager
async def serving(service: Service) -> AsyncIterator[Client]:
    """At the end every call has ended, its lines in the log included: callers hear of an error a moment before."""
    running = 0

    async def counted_in(call: Call, proceed: Next) -> Answer:
        nonlocal running
        running += 1
        try:
            return await proceed(call)
        finally:
            running -= 1

    server = grpc.aio.server(interceptors=(ChainInterceptor((counted_in, *chain(verifier()))),))
    service.register(server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with connected(f"127.0.0.1:{port}") as client:
            yield client
    finally:
        await server.stop(None)
        await wait_until_async(lambda: not running, "every call has ended")


def transfer(**changed: Any) -> TransferRequest:  # noqa: ANN401 - any field
    values: dict[str, Any] = {
        "source": "wallets/a",
        "destination": "wallets/b",
        "amount": Money(currency_code="USD", minor_units=1),
        "request_id": "key",
    }
    return TransferRequest(**(values | changed))


def counted(code: str, method: str = METHOD) -> float:
    return REGISTRY.get_sample_value("specie_calls_total", {"method": method, "code": code}) or 0
