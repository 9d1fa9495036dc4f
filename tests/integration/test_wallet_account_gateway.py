"""The gRPC client of the account service: servers that go and come back, statuses that nobody promised."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import grpc.aio
import pytest
from google.rpc import error_details_pb2, status_pb2

from service_kit.status import Refusal
from tests.kit.accounts import FakeAccounts, serve_accounts
from tests.kit.ports import free_port, free_ports
from tests.kit.tokens import USUAL
from tests.kit.wallets import asynchronous, stored
from wallet_service.adapters.account_gateway import GrpcAccountGateway, channel_to
from wallet_service.domain.failure import Declined, Failure, Reason
from wallet_service.domain.wallet import Account, AccountState, Limits, Particulars, WalletState
from wallet_service.ports import AccountServiceFault

ALICE = stored(WalletState.CREATING, particulars=Particulars(limits=Limits(1, 2, 3, "UTC", 4)))


@asynccontextmanager
async def gateway_to(*ports: int) -> AsyncIterator[GrpcAccountGateway]:
    channel = channel_to("ipv4:" + ",".join(f"127.0.0.1:{port}" for port in ports))
    try:
        yield GrpcAccountGateway(channel, lambda: USUAL[1])
    finally:
        await channel.close()


@asynchronous
async def test_orders_arrive_as_they_were_given() -> None:
    accounts = FakeAccounts()
    async with serve_accounts(accounts) as port, gateway_to(port) as gateway:
        opened = await gateway.open(ALICE)
        assert (opened.name, opened.state) == (ALICE.name, AccountState.OPEN)
        assert accounts.rows[ALICE.name].limits == ALICE.particulars.limits
        assert accounts.rows[ALICE.name].revision == 7
        assert (await gateway.set_state(ALICE.name, AccountState.FROZEN, 8)).state is AccountState.FROZEN
        await gateway.set_limits(ALICE.name, Limits(5, 6, 7, "Asia/Tokyo", 8), 9)
        assert accounts.settings(ALICE.name) == (AccountState.FROZEN, Limits(5, 6, 7, "Asia/Tokyo", 8))
        accounts.pay_in(ALICE.name, -3)
        found = await gateway.get_many([ALICE.name, "wallets/nobody"])
        assert {name: account.balance.posted for name, account in found.items()} == {ALICE.name: -3}


@asynchronous
async def test_a_refusal_keeps_its_reason_and_metadata() -> None:
    async with serve_accounts(FakeAccounts()) as port, gateway_to(port) as gateway:
        with pytest.raises(Declined) as caught:
            await gateway.set_state("wallets/nobody", AccountState.FROZEN, 1)
        assert caught.value.failure == Failure(Reason.ACCOUNT_NOT_FOUND, {"account": "wallets/nobody"})


@asynchronous
async def test_nobody_there_is_unavailable_and_a_server_that_comes_back_is_found() -> None:
    accounts, port = FakeAccounts(), free_port()
    async with gateway_to(port) as gateway:
        with pytest.raises(Refusal) as caught:
            await gateway.open(ALICE)
        assert (caught.value.reason, caught.value.retry_after_seconds) == ("UNAVAILABLE", 1.0)
        for _ in range(2):
            async with serve_accounts(accounts, port):
                assert (await _as_soon_as_it_answers(gateway)).state is AccountState.OPEN


async def _as_soon_as_it_answers(gateway: GrpcAccountGateway) -> Account:
    while True:
        try:
            return await gateway.open(ALICE)
        except Refusal:
            await asyncio.sleep(0.05)


@asynchronous
async def test_a_server_that_is_gone_is_left_out() -> None:
    accounts, (gone, there) = FakeAccounts(), free_ports(2)
    async with serve_accounts(accounts, there), gateway_to(gone, there) as gateway:
        for _ in range(10):
            await gateway.open(ALICE)


@asynchronous
async def test_servers_take_turns() -> None:
    one, two = FakeAccounts(), FakeAccounts()
    async with serve_accounts(one) as first, serve_accounts(two) as second, gateway_to(first, second) as gateway:
        while not (one.orders and two.orders):
            await gateway.open(ALICE)


def saying_servicer(code: grpc.StatusCode, details: bytes | None) -> grpc.GenericRpcHandler:
    """Ends every call of GetAccounts with one status."""

    async def get_accounts(_: Any, context: Any) -> None:  # noqa: ANN401
        trailing = () if details is None else (("grpc-status-details-bin", details),)
        await context.abort(code, "said so", trailing)

    handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
        "GetAccounts": grpc.unary_unary_rpc_method_handler(get_accounts)
    }
    return grpc.method_handlers_generic_handler("specie.transaction.v1.AccountService", handlers)


def rich(reason: str, domain: str = "specie", retry_seconds: int = 0) -> bytes:
    status = status_pb2.Status()
    status.details.add().Pack(error_details_pb2.ErrorInfo(reason=reason, domain=domain))
    if retry_seconds:
        delay = error_details_pb2.RetryInfo()
        delay.retry_delay.FromSeconds(retry_seconds)
        status.details.add().Pack(delay)
    return status.SerializeToString()


@asynccontextmanager
async def saying(code: grpc.StatusCode, details: bytes | None) -> AsyncIterator[GrpcAccountGateway]:
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((saying_servicer(code, details),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with gateway_to(port) as gateway:
            yield gateway
    finally:
        await server.stop(None)


CODES = grpc.StatusCode
STATUSES = [
    # code                       details                                     reason, seconds to wait
    (CODES.UNAVAILABLE,          None,                                       "UNAVAILABLE", 1.0),
    (CODES.CANCELLED,            None,                                       "UNAVAILABLE", 1.0),
    (CODES.DEADLINE_EXCEEDED,    None,                                       "DEADLINE_EXCEEDED", None),
    (CODES.RESOURCE_EXHAUSTED,   None,                                       "OVERLOADED", 1.0),
    (CODES.RESOURCE_EXHAUSTED,   b"\xff\xff",                                "OVERLOADED", 1.0),
    (CODES.RESOURCE_EXHAUSTED,   rich("OVERLOADED", retry_seconds=4),        "OVERLOADED", 4.0),
    (CODES.ABORTED,              rich("CONTENTION"),                         "CONTENTION", None),
    (CODES.UNAVAILABLE,          rich("ELSEWHERE", domain="example.com"),    "UNAVAILABLE", 1.0),
]  # fmt: skip


@pytest.mark.parametrize(("code", "details", "reason", "seconds"), STATUSES)
@asynchronous
async def test_what_is_no_account_s_own_answer_is_a_refusal(
    code: grpc.StatusCode, details: bytes | None, reason: str, seconds: float | None
) -> None:
    async with saying(code, details) as gateway:
        with pytest.raises(Refusal) as caught:
            await gateway.get_many(["wallets/a"])
        assert (caught.value.reason, caught.value.retry_after_seconds) == (reason, seconds)


@pytest.mark.parametrize(
    ("code", "details"),
    [
        (CODES.INTERNAL, rich("INTERNAL")),
        (CODES.UNIMPLEMENTED, None),
        (CODES.UNKNOWN, b"\xff"),
        (CODES.INVALID_ARGUMENT, rich("INVALID_FIELD")),
        (CODES.FAILED_PRECONDITION, rich("INSUFFICIENT_FUNDS")),
        (CODES.INTERNAL, rich("WALLET_STATE")),
    ],
)
@asynchronous
async def test_what_nobody_promised_is_a_fault(code: grpc.StatusCode, details: bytes | None) -> None:
    async with saying(code, details) as gateway:
        with pytest.raises(AccountServiceFault, match="said so"):
            await gateway.get_many(["wallets/a"])
