"""TLS at both sides of the gateway: callers', and the services', which is mutual."""

import http.client
import json
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest

from specie_cli.stack.address import Address
from specie_cli.stack.authority import Authority, KeyPair
from specie_cli.stack.envoy_config import config_of, parser
from specie_cli.stack.tls import InnerTls, PublicTls
from tests.kit.gateway import HOST, Gateway, gateway_config, running_gateway
from tests.kit.standin import standin
from tests.kit.tokens import USUAL

LIST = "/specie.wallet.v1.WalletService/ListWallets"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    made = Authority(tmp_path_factory.mktemp("authority"))
    made.make()
    return made


@pytest.fixture(scope="module")
def gateway(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """With TLS for callers, before a plain service."""
    own = authority.sign("public", [HOST])
    with standin() as service:
        config = replace(
            gateway_config(service.address, service.address), public_tls=PublicTls(own.certificate, own.key)
        )
        with running_gateway(config, tmp_path_factory.mktemp("gateway")) as running:
            running.wait_until_healthy(trusting(authority))
            yield running


def trusting(authority: Authority) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=authority.certificate)


def get(gateway: Gateway, path: str, context: ssl.SSLContext | None = None) -> tuple[int, Any]:
    """With TLS if there is a context."""
    listen = gateway.config.listen
    connection = (
        http.client.HTTPSConnection(listen.host, listen.port, timeout=30, context=context)
        if context
        else http.client.HTTPConnection(listen.host, listen.port, timeout=30)
    )
    try:
        connection.request("GET", path, headers=dict([USUAL]))
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def test_json_and_grpc_over_tls(gateway: Gateway, authority: Authority) -> None:
    assert get(gateway, "/v1/wallets", trusting(authority))[0] == 200
    credentials = grpc.ssl_channel_credentials(authority.certificate.read_bytes())
    with grpc.secure_channel(gateway.target, credentials) as channel:
        call: Any = channel.unary_unary(LIST)
        assert call.future(b"", timeout=30, metadata=[USUAL]).code() is grpc.StatusCode.OK


@pytest.mark.parametrize(("offered", "chosen"), [(["h2", "http/1.1"], "h2"), (["http/1.1"], "http/1.1"), ([], None)])
def test_the_protocol_is_agreed_on_in_the_handshake(
    gateway: Gateway, authority: Authority, offered: list[str], chosen: str | None
) -> None:
    context = trusting(authority)
    if offered:
        context.set_alpn_protocols(offered)
    with connected(gateway, context) as connection:
        assert connection.selected_alpn_protocol() == chosen
        assert connection.version() in ("TLSv1.2", "TLSv1.3")


def connected(gateway: Gateway, context: ssl.SSLContext) -> ssl.SSLSocket:
    listen = gateway.config.listen
    return context.wrap_socket(socket.create_connection((listen.host, listen.port), 30), server_hostname=listen.host)


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated")
def test_old_tls_and_no_tls_are_refused(gateway: Gateway, authority: Authority) -> None:
    old = trusting(authority)
    old.minimum_version, old.maximum_version = ssl.TLSVersion.MINIMUM_SUPPORTED, ssl.TLSVersion.TLSv1_1
    old.set_ciphers("ALL:@SECLEVEL=0")  # so that it is the gateway that refuses
    with pytest.raises(ssl.SSLError, match=r"(?i)protocol.version"):
        connected(gateway, old)
    with pytest.raises((ConnectionError, http.client.HTTPException)):
        get(gateway, "/healthz")


def secure(own: KeyPair, authority: Authority) -> grpc.ServerCredentials:
    """A service's side of mutual TLS."""
    pair = (own.key.read_bytes(), own.certificate.read_bytes())
    return grpc.ssl_server_credentials([pair], authority.certificate.read_bytes(), require_client_auth=True)


def with_services(stack: ExitStack, authority: Authority, service: grpc.ServerCredentials, folder: Path) -> Gateway:
    """A gateway that expects mutual TLS from a service with these credentials."""
    own = authority.sign("gateway", ["gateway"])
    behind = stack.enter_context(standin(service))
    config = replace(
        gateway_config(behind.address, behind.address),
        inner_tls=InnerTls(own.certificate, own.key, authority.certificate),
    )
    return stack.enter_context(running_gateway(config, folder))


def test_calls_and_health_checks_go_to_the_services_with_mutual_tls(authority: Authority, tmp_path: Path) -> None:
    with ExitStack() as stack:
        gateway = with_services(stack, authority, secure(authority.sign("service", [HOST]), authority), tmp_path)
        gateway.wait_until_healthy()
        assert get(gateway, "/v1/wallets")[0] == 200


@pytest.mark.parametrize("wrong", ["name", "authority", "plain gateway"])
def test_a_stranger_is_not_taken_for_a_service_nor_for_the_gateway(
    authority: Authority, tmp_path: Path, wrong: str
) -> None:
    with ExitStack() as stack:
        if wrong == "plain gateway":
            behind = stack.enter_context(standin(secure(authority.sign("service", [HOST]), authority)))
            gateway = stack.enter_context(running_gateway(gateway_config(behind.address, behind.address), tmp_path))
        else:
            signer = Authority(tmp_path) if wrong == "authority" else authority
            signer.make()
            stranger = signer.sign("stranger", ["another-host" if wrong == "name" else HOST])
            gateway = with_services(stack, authority, secure(stranger, authority), tmp_path)
        refused_connections(gateway)
        assert get(gateway, "/v1/wallets")[0] == 503
        assert get(gateway, "/healthz")[0] == 503


def refused_connections(gateway: Gateway) -> None:
    """Waits until a health check of the wallet service has failed."""
    admin = gateway.config.admin
    deadline = time.monotonic() + 30
    while True:
        connection = http.client.HTTPConnection(admin.host, admin.port, timeout=30)
        connection.request("GET", "/stats?filter=^cluster.wallet.health_check.failure$")
        told = connection.getresponse().read().decode()
        connection.close()
        if int(told.split(": ")[1]) > 0:
            return
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize(
    "half", [["--tls-key", "k"], ["--tls-certificate", "c"], ["--services-ca", "a", "--services-key", "k"]]
)
def test_half_a_setting_of_tls_is_refused(half: list[str]) -> None:
    options = parser().parse_args(["--issuer", "i", "--jwks", "https://i.example/jwks.json", *half])
    with pytest.raises(ValueError, match="or none"):
        config_of(options)


def test_the_options_reach_the_configuration() -> None:
    given = ["--issuer", "i", "--jwks", "https://i.example:8443/jwks.json", "--audience", "a"]
    given += ["--tls-certificate", "c", "--tls-key", "k", "--subject-limits", "bank=1,2,3", "--subject-limit", "4,5,6"]
    given += ["--services-certificate", "sc", "--services-key", "sk", "--services-ca", "sa"]
    given += ["--ratelimit-service", "limiter:8081", "--connections-max", "7"]
    config = config_of(parser().parse_args(given))
    assert config.public_tls == PublicTls(Path("c"), Path("k"))
    assert config.inner_tls == InnerTls(Path("sc"), Path("sk"), Path("sa"))
    assert config.limiter == Address("limiter", 8081)
    assert (str(config.subject_limits.usual), str(config.subject_limits.named["bank"])) == ("4,5,6", "1,2,3")
    (issuer,) = config.identity.clusters()
    assert json.dumps(issuer["load_assignment"]).count('"port_value": 8443') == 1
    assert '"sni": "i.example"' in json.dumps(issuer["transport_socket"])
