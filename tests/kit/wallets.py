"""Wallets for tests: builders, and the service with everything real but the accounts behind it."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import wraps
from itertools import count
from typing import Any, ParamSpec
from uuid import UUID

import grpc.aio
from google.rpc import error_details_pb2, status_pb2
from pydantic import SecretStr
from specie.wallet.v1 import WalletServiceStub

from service_kit.interceptors import ChainInterceptor, chain
from tests.kit.accounts import FakeAccounts, serve_accounts
from tests.kit.postgres import Database
from tests.kit.tokens import WALLET_IDENTITY, Authorised, verifier
from wallet_service import bootstrap
from wallet_service.app.carry import Carrier
from wallet_service.app.changes import Changes, Creation
from wallet_service.app.reading import Balances, Reading
from wallet_service.app.reconciler import Reconciler
from wallet_service.domain.wallet import NewWallet, Particulars, Wallet, WalletKind, WalletState
from wallet_service.ports import WalletStore
from wallet_service.settings import WalletSettings

P = ParamSpec("P")
MORNING = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def asynchronous(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """A test with an event loop of its own."""

    @wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        asyncio.run(test(*args, **kwargs))

    return run


def new_wallet(name: str = "wallets/alice", **changed: Any) -> NewWallet:  # noqa: ANN401 - any of its fields
    values: dict[str, Any] = {
        "owner": "ann",
        "currency_code": "USD",
        "kind": WalletKind.USER,
        "particulars": Particulars(),
        "principal": "local",
        "request_id": None,
        "fingerprint": b"0" * 16,
    }
    return NewWallet(name=name, **(values | changed))


def stored(state: WalletState, **changed: Any) -> Wallet:  # noqa: ANN401 - any of its fields
    """A wallet at revision 7."""
    new = new_wallet()
    values: dict[str, Any] = {
        **{field: getattr(new, field) for field in NewWallet.__dataclass_fields__},
        "state": state,
        "revision": 7,
        "create_time": MORNING,
        "update_time": MORNING,
    }
    return Wallet(**(values | changed))


def creation(wallet_id: str = "alice", **changed: Any) -> Creation:  # noqa: ANN401 - any of its fields
    values: dict[str, Any] = {
        "wallet_id": wallet_id,
        "owner": "ann",
        "currency_code": "USD",
        "kind": WalletKind.USER,
        "particulars": Particulars(),
        "principal": "local",
        "request_id": "",
    }
    return Creation(**(values | changed))


class Worker:
    """One process' use cases over ports that it shares with other workers."""

    def __init__(self, store: WalletStore, accounts: FakeAccounts) -> None:
        numbers = count(1)
        balances = Balances(accounts)
        self.carrier = Carrier(store, accounts)
        self.changes = Changes(store, self.carrier, balances, lambda: UUID(int=next(numbers)))
        self.reading = Reading(store, accounts, balances)
        self.reconciler = Reconciler(store, self.carrier, every_seconds=0.01, lease_seconds=0)


@dataclass(frozen=True)
class Service:
    """The running service and what stands behind it."""

    stub: Any
    accounts: FakeAccounts
    application: Any
    address: str


def wallet_settings(database: Database, transaction_port: int, **changed: Any) -> WalletSettings:  # noqa: ANN401
    values: dict[str, Any] = {
        "database_dsn": SecretStr(database.wallet_dsn),
        "transaction_target": f"ipv4:127.0.0.1:{transaction_port}",
        "reconcile_seconds": 0.05,
        **WALLET_IDENTITY,
    }
    return WalletSettings(**(values | changed))


@asynccontextmanager
async def running_service(database: Database) -> AsyncIterator[Service]:
    """Wired by bootstrap, behind the real interceptors; its reconciler does not run by itself."""
    accounts = FakeAccounts()
    async with serve_accounts(accounts) as transaction_port:
        application = bootstrap.application(wallet_settings(database, transaction_port))
        server = grpc.aio.server(
            interceptors=(ChainInterceptor(chain(verifier())),), options=(("grpc.so_reuseport", 0),)
        )
        for register in application.servicers.values():
            register(server)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        try:
            async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
                yield Service(Authorised(WalletServiceStub(channel)), accounts, application, f"127.0.0.1:{port}")
        finally:
            await server.stop(None)
            await application.close()


@dataclass(frozen=True)
class Failed:
    """An error as a caller reads it."""

    code: str
    reason: str
    message: str
    metadata: dict[str, str]
    fields: list[str]


async def failed(calling: Any) -> Failed:  # noqa: ANN401 - any call
    """The error that the call ends with; it must end with one."""
    try:
        answer = await calling
    except grpc.aio.AioRpcError as error:
        trailers = dict(error.trailing_metadata() or ())
        status = status_pb2.Status.FromString(trailers["grpc-status-details-bin"])
        info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
        for detail in status.details:
            detail.Unpack(info)
            detail.Unpack(bad)
        assert info.domain == "specie"
        fields = [violation.field for violation in bad.field_violations]
        return Failed(error.code().name, info.reason, status.message, dict(info.metadata), fields)
    raise AssertionError(f"it did not fail: {answer}")
