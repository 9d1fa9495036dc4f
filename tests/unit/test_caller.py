"""What a caller's scopes let it call, as the contract says at each call."""

from itertools import combinations
from typing import Any

import grpc
import grpc.aio
import pytest
from specie.type.v1 import Access, Scope

from service_kit.caller import ANONYMOUS, NOBODY_ELSE, Caller, access_of, scope_name
from service_kit.interceptors import ChainInterceptor, chain
from tests.kit.calls import to_failed
from tests.kit.rpcs import all_rpcs
from tests.kit.tokens import bearer, token, verifier
from tests.kit.wallets import asynchronous

READ = Access(scope=Scope.SCOPE_WALLETS_READ)
TRUSTED = Access(scope=Scope.SCOPE_WALLETS_WRITE, trusted_only=True)
INTERNAL = Access(scope=Scope.SCOPE_SERVICE)
ADMIN = Access(scope=Scope.SCOPE_ADMIN)
ANYBODY = Access(anybody=True)

ALL = [scope_name(number) for number in Scope.values() if number]


def test_scopes_are_called_as_in_tokens() -> None:
    assert ALL == [
        "wallets.read",
        "wallets.write",
        "transfers.write",
        "deposits.write",
        "audit.read",
        "admin",
        "service",
    ]


@pytest.mark.parametrize(
    ("scopes", "access", "may"),
    [
        ("wallets.read", READ, True),
        ("wallets.write", READ, False),
        ("", READ, False),
        ("Wallets.Read", READ, False),
        ("wallets", READ, False),
        ("wallets.read.all", READ, False),
        ("admin", READ, True),
        ("service", READ, False),
        ("service wallets.read", READ, True),
        ("wallets.write", TRUSTED, False),
        ("service", TRUSTED, False),
        ("service wallets.write", TRUSTED, True),
        ("admin", TRUSTED, True),
        ("admin", INTERNAL, False),
        ("service", INTERNAL, True),
        ("admin service", INTERNAL, True),
        ("service", ADMIN, False),
        ("admin", ADMIN, True),
        ("", ANYBODY, True),
        ("admin service", NOBODY_ELSE, False),
        ("unspecified", NOBODY_ELSE, False),
        ("admin service", Access(trusted_only=True), False),
    ],
)
def test_who_may(scopes: str, access: Access, *, may: bool) -> None:
    assert Caller("ann", frozenset(scopes.split())).may(access) is may


def test_who_is_trusted_is_bound_to_nobody_and_all_others_to_themselves() -> None:
    for size in range(len(ALL) + 1):
        for scopes in combinations(ALL, size):
            trusted = "admin" in scopes or "service" in scopes
            assert Caller("ann", frozenset(scopes)).bound_to == ("" if trusted else "ann")


def test_who_is_not_known_is_bound_to_what_nobody_owns() -> None:
    assert ANONYMOUS.bound_to
    assert not ANONYMOUS.bound_to.isprintable()


def test_nobody_may_do_nothing_but_what_anybody_may() -> None:
    assert ANONYMOUS.may(ANYBODY)
    assert not any(ANONYMOUS.may(rpc.access) for rpc in all_rpcs() if not rpc.access.anybody)


def test_what_a_call_asks_for_stands_in_the_contract() -> None:
    assert access_of("/specie.wallet.v1.WalletService/UnfreezeWallet") == TRUSTED
    assert access_of("/specie.transaction.v1.AccountService/OpenAccount") == INTERNAL
    assert access_of("/specie.transaction.v1.HealthService/GetHealth") == ANYBODY


@pytest.mark.parametrize(
    "method",
    [
        "",
        "/",
        "/specie.wallet.v1.WalletService/Explode",
        "/specie.wallet.v1.WalletService",
        "/specie.wallet.v1.WalletService/GetWallet/x",
        "//specie.wallet.v1.WalletService/CreateWallet/../GetWallet",
        "/grpc.health.v1.Health/Check",
        "/specie.wallet.v1.WalletService/\u00fc",
    ],
)
def test_what_the_contract_does_not_know_asks_for_what_nobody_has(method: str) -> None:
    assert access_of(method) == NOBODY_ELSE
    assert not Caller("root", frozenset(ALL)).may(access_of(method))


@asynchronous
async def test_a_method_that_says_nothing_is_refused_to_everybody_though_it_is_served() -> None:
    called: list[bytes] = []

    async def handler(request: bytes, _: object) -> bytes:
        called.append(request)
        return b""

    method: Any = grpc.unary_unary_rpc_method_handler
    services = {"specie.test.v1.Forgotten": "Call", "specie.wallet.v1.WalletService": "Explode"}
    server = grpc.aio.server(interceptors=(ChainInterceptor(chain(verifier())),))
    for service, name in services.items():
        handlers = {name: method(handler, bytes, bytes)}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            for service, name in services.items():
                for scope in ("", "admin service", " ".join(ALL)):
                    call: Any = channel.unary_unary(f"/{service}/{name}")
                    with pytest.raises(grpc.aio.AioRpcError) as refused:
                        await call(b"", metadata=[bearer(token("root", scope))])
                    assert to_failed(refused.value).reason == "PERMISSION_DENIED"
                with pytest.raises(grpc.aio.AioRpcError) as refused:
                    await call(b"")
                assert to_failed(refused.value).reason == "UNAUTHENTICATED"
    finally:
        await server.stop(None)
    assert called == []
