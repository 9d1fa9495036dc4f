"""Both services with TLS on the inner network: who has no certificate of its authority gets nothing."""

import datetime as dt
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from specie.transaction.v1 import AccountServiceStub, GetAccountsRequest, GetBalanceRequest, TransactionServiceStub
from specie.wallet.v1 import CreateWalletRequest, Wallet, WalletServiceStub

from service_kit.status import Refusal
from service_kit.tls import channel_credentials
from specie_cli.stack.authority import Authority, KeyPair, as_pem, builder, named
from tests.kit.calls import CALL_SECONDS
from tests.kit.ports import free_ports
from tests.kit.postgres import Database
from tests.kit.service import ServiceProcess, health, wait_until
from tests.kit.tokens import USUAL, Authorised
from tests.kit.wallets import asynchronous, wallet_settings
from wallet_service.adapters.account_gateway import GrpcAccountGateway, channel_to

HOST = "127.0.0.1"


def authority_in(folder: Path) -> Authority:
    made = Authority(folder)
    made.make()
    return made


def settings(authority: Authority, own: KeyPair) -> dict[str, object]:
    return {
        "TLS_CERTIFICATE_FILE": own.certificate,
        "TLS_KEY_FILE": own.key,
        "TLS_CA_FILE": authority.certificate,
    }


@dataclass(frozen=True)
class Inner:
    """The inner network: two services, and the authority of their certificates."""

    authority: Authority
    transaction: ServiceProcess
    wallet: ServiceProcess
    probe: str

    def credentials(self, own: KeyPair | None) -> grpc.ChannelCredentials:
        root = self.authority.certificate.read_bytes()
        if own is None:
            return grpc.ssl_channel_credentials(root)
        return grpc.ssl_channel_credentials(root, own.key.read_bytes(), own.certificate.read_bytes())


@pytest.fixture(scope="module")
def inner(database: Database, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Inner]:
    folder = tmp_path_factory.mktemp("inner")
    authority = authority_in(folder / "authority")
    probes = free_ports(2)
    with ExitStack() as ending:

        def launched(module: str, probe: int, **more: object) -> ServiceProcess:
            name = module.removesuffix("_service")
            tls = settings(authority, authority.sign(name, [HOST]))
            log = folder / f"{name}.log"
            process = ServiceProcess(module, f"SPECIE_{name.upper()}_", database, log, PROBE_PORT=probe, **(tls | more))
            ending.callback(process.end)
            process.launch()
            return process

        transaction = launched("transaction_service", probes[0])
        wallet = launched(
            "wallet_service", probes[1], TRANSACTION_TARGET=f"ipv4:{transaction.targets[0]}", RECONCILE_SECONDS=0.1
        )
        for probe, process in zip(probes, (transaction, wallet), strict=True):
            target = f"{HOST}:{probe}"
            wait_until(lambda target=target: health(target) == "SERVING", process.log_text())  # type: ignore[misc]
        yield Inner(authority, transaction, wallet, f"{HOST}:{probes[0]}")


def expired(authority: Authority, folder: Path) -> KeyPair:
    """Of the right authority, and too late."""
    signer = serialization.load_pem_private_key((folder / "secrets" / "ca.key").read_bytes(), password=None)
    assert isinstance(signer, ec.EllipticCurvePrivateKey)
    whose = x509.load_pem_x509_certificate(authority.certificate.read_bytes()).subject
    key = ec.generate_private_key(ec.SECP256R1())
    life = dt.timedelta(minutes=-1)
    pair = KeyPair(folder / "late.pem", folder / "late.key")
    pair.certificate.write_text(as_pem(builder(named("late"), whose, key, life).sign(signer, hashes.SHA256())))
    pair.key.write_text(as_pem(key))
    return pair


def refused(channel: grpc.Channel, target: str) -> None:
    """Whatever token it has, it comes to no call: there is no connection."""
    with channel:
        stubs: dict[str, Any] = {
            "GetBalance": TransactionServiceStub(channel).GetBalance,
            "GetAccounts": AccountServiceStub(channel).GetAccounts,
        }
        requests = {"GetBalance": GetBalanceRequest(wallet="wallets/a"), "GetAccounts": GetAccountsRequest()}
        for name, call in stubs.items():
            with pytest.raises(grpc.RpcError) as caught:
                call(requests[name], timeout=CALL_SECONDS, metadata=[USUAL])
            assert isinstance(caught.value, grpc.Call)
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE, (target, caught.value)


@pytest.mark.parametrize("who", ["plain", "no certificate", "another authority's", "made by himself", "expired"])
def test_who_has_no_certificate_of_the_authority_gets_nothing(inner: Inner, tmp_path: Path, who: str) -> None:
    another = authority_in(tmp_path / "another")
    own: KeyPair | None = None
    if who == "another authority's":
        own = another.sign("transaction", [HOST])
    elif who == "made by himself":
        own = KeyPair(another.certificate, tmp_path / "another" / "secrets" / "ca.key")
    elif who == "expired":
        own = expired(inner.authority, inner.authority.certificate.parent)
    target = inner.transaction.targets[0]
    plain = who == "plain"
    refused(grpc.insecure_channel(target) if plain else grpc.secure_channel(target, inner.credentials(own)), target)
    assert not inner.transaction.events("call")


def test_a_certificate_alone_is_no_token(inner: Inner) -> None:
    own = inner.authority.sign("stranger", [HOST])
    with grpc.secure_channel(inner.transaction.targets[0], inner.credentials(own)) as channel:
        stub: Any = AccountServiceStub(channel)
        with pytest.raises(grpc.RpcError) as caught:
            stub.GetAccounts(GetAccountsRequest(), timeout=CALL_SECONDS)
        assert isinstance(caught.value, grpc.Call)
        assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED


def test_with_both_it_works_and_so_does_one_service_at_the_other(inner: Inner) -> None:
    own = inner.authority.sign("gateway", [HOST])
    with grpc.secure_channel(inner.wallet.targets[0], inner.credentials(own)) as channel:
        wallets = Authorised(WalletServiceStub(channel))
        request = CreateWalletRequest(wallet=Wallet(currency_code="USD", owner="ann"))
        made = wallets.CreateWallet(request, timeout=CALL_SECONDS).wallet
    with grpc.secure_channel(inner.transaction.targets[0], inner.credentials(own)) as channel:
        accounts = Authorised(AccountServiceStub(channel))
        found = accounts.GetAccounts(GetAccountsRequest(names=[made.name]), timeout=CALL_SECONDS).accounts
    assert [account.owner for account in found] == ["ann"]


@pytest.mark.parametrize("stranger", ["of another authority", "for another host", "plain"])
def test_a_service_says_nothing_to_a_stranger(inner: Inner, database: Database, tmp_path: Path, stranger: str) -> None:
    """Who stands where the transaction service should be does not get the wallet service's token."""
    another = authority_in(tmp_path / "another")
    authority = another if stranger == "of another authority" else inner.authority
    own = authority.sign("stranger", ["elsewhere.example" if stranger == "for another host" else HOST])
    ours = settings(inner.authority, inner.authority.sign("wallet", [HOST]))
    told = wallet_settings(database, 1, **{name.lower(): str(path) for name, path in ours.items()})
    heard: list[object] = []

    @asynchronous
    async def test() -> None:
        server = grpc.aio.server()
        server.add_generic_rpc_handlers((Listening(heard),))
        if stranger == "plain":
            port = server.add_insecure_port(f"{HOST}:0")
        else:
            port = server.add_secure_port(
                f"{HOST}:0", grpc.ssl_server_credentials([(own.key.read_bytes(), own.certificate.read_bytes())])
            )
        await server.start()
        channel = channel_to(f"ipv4:{HOST}:{port}", channel_credentials(told))
        with pytest.raises(Refusal) as refusal:
            await GrpcAccountGateway(channel, lambda: USUAL[1]).get_many(["wallets/a"])
        assert refusal.value.reason == "UNAVAILABLE"
        await channel.close()
        await server.stop(None)

    test()
    assert heard == []


class Listening(grpc.GenericRpcHandler):
    """Keeps whatever is said to it."""

    def __init__(self, heard: list[object]) -> None:
        self._heard = heard

    def service(self, details: grpc.HandlerCallDetails) -> None:
        self._heard.append(details)


def test_the_port_for_probes_tells_health_and_nothing_else(inner: Inner) -> None:
    assert health(inner.probe) == "SERVING"
    with grpc.insecure_channel(inner.probe) as channel:
        stub: Any = AccountServiceStub(channel)
        with pytest.raises(grpc.RpcError) as caught:
            stub.GetAccounts(GetAccountsRequest(), timeout=CALL_SECONDS, metadata=[USUAL])
        assert isinstance(caught.value, grpc.Call)
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_without_what_it_needs_for_tls_a_service_does_not_start(
    inner: Inner, database: Database, tmp_path: Path
) -> None:
    """It never falls back to plain."""
    own = settings(inner.authority, inner.authority.sign("broken", [HOST]))
    (tmp_path / "empty.pem").write_text("")
    flaws: dict[str, dict[str, object]] = {
        "missing": {"TLS_KEY_FILE": tmp_path / "none.key"},
        "empty": {"TLS_CERTIFICATE_FILE": tmp_path / "empty.pem"},
        "mixed": {"TLS_KEY_FILE": inner.authority.sign("another", [HOST]).key},
    }
    with ExitStack() as ending:
        launched: dict[str, ServiceProcess] = {}
        for name, flaw in flaws.items():
            log = tmp_path / f"{name}.log"
            process = ServiceProcess("transaction_service", "SPECIE_TRANSACTION_", database, log, **(own | flaw))
            ending.callback(process.end)
            process.launch()
            launched[name] = process
        assert all(process.wait() != 0 for process in launched.values())
        assert "none.key" in launched["missing"].log_text()
        for name in ("empty", "mixed"):
            assert "TLS_KEY_FILE" in launched[name].log_text()
