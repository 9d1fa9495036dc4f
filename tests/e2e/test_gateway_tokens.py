"""Who is let in: which tokens the gateway takes, whose keys it believes, and what services hear of a caller."""

import base64
import http.client
import json
import ssl
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import grpc
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from specie_cli.stack.authority import Authority
from specie_cli.stack.identity import Identity, UnusableKeysError
from specie_cli.stack.issuer import ISSUER, Issuer, key_id
from tests.kit.gateway import Gateway, gateway_config, running_gateway
from tests.kit.standin import StandIn
from tests.kit.tokens import LOCAL, token

DAY = 86_400
LIST = "/specie.wallet.v1.WalletService/ListWallets"


@pytest.fixture(scope="module")
def gateway(service: StandIn, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    config = gateway_config(service.address, service.address)
    with running_gateway(config, tmp_path_factory.mktemp("gateway")) as running:
        running.wait_until_healthy()
        yield running


Headers = list[tuple[str, str]]


def call(gateway: Gateway, path: str, headers: Headers | None = None, method: str = "GET") -> tuple[int, Headers, Any]:
    """Status, headers and body. A header may stand in the request several times."""
    connection = http.client.HTTPConnection(str(gateway.config.listen), timeout=30)
    connection.putrequest(method, path)
    for header in headers or []:
        connection.putheader(*header)
    connection.endheaders()
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, answer.getheaders(), json.loads(content)


def authorization(token_: str) -> Headers:
    return [("authorization", f"Bearer {token_}")]


def challenge(headers: Headers) -> list[str]:
    return [value for name, value in headers if name.lower() == "www-authenticate"]


def signed_by_another() -> str:
    """A key that is not the issuer's, under the name of one that is."""
    claims = jwt.decode(token(), options={"verify_signature": False})
    return jwt.encode(claims, ec.generate_private_key(ec.SECP256R1()), "ES256", {"kid": key_id(LOCAL._key())})


def unsigned() -> str:
    header = base64.urlsafe_b64encode(b'{"alg":"none","typ":"JWT"}').rstrip(b"=").decode()
    return f"{header}.{token().split('.')[1]}."


def signed_with_the_public_key() -> str:
    """The old trick: the public key, taken for a secret."""
    claims = jwt.decode(token(), options={"verify_signature": False})
    return jwt.encode(claims, "x" * 32, "HS256", {"kid": key_id(LOCAL._key())})


def without(claim: str) -> str:
    claims = jwt.decode(token(), options={"verify_signature": False})
    del claims[claim]
    key = LOCAL._key()
    return jwt.encode(claims, key, "ES256", {"kid": key_id(key)})


def now() -> int:
    return int(time.time())


BAD = {
    "expired": (lambda: token(exp=now() - 60), "expired"),
    "not valid yet": (lambda: token(nbf=now() + 600), "not valid yet"),
    "another issuer": (lambda: token(iss="somebody"), "issuer"),
    "another audience": (lambda: token(aud="another"), "audience"),
    "no issuer": (lambda: without("iss"), "issuer"),
    "no audience": (lambda: without("aud"), "audience"),
    "no expiry": (lambda: without("exp"), "no expiry"),
    "good for too long": (lambda: token(exp=now() + 2 * DAY), "longer"),
    "no subject": (lambda: without("sub"), "no subject"),
    "empty subject": (lambda: token(subject=""), "no subject"),
    "bad signature": (signed_by_another, "signature"),
    "alg none": (unsigned, "malformed"),
    "symmetric": (signed_with_the_public_key, "no key"),
    "no JWT": (lambda: "secret", "malformed"),
}


@pytest.mark.parametrize(("bad", "told"), BAD.values(), ids=BAD)
def test_a_bad_token_is_401_and_told_why(gateway: Gateway, service: StandIn, bad: Any, told: str) -> None:  # noqa: ANN401
    service.calls.clear()
    bad_token = bad()
    status, headers, body = call(gateway, "/v1/wallets", authorization(bad_token))
    assert (status, body["code"], body["details"][0]["reason"]) == (401, 16, "UNAUTHENTICATED")
    assert told in body["message"]
    assert challenge(headers) == [
        f'Bearer realm="specie", error="invalid_token", error_description="{body["message"]}"'
    ]
    with grpc.insecure_channel(gateway.target) as channel:
        sent: Any = channel.unary_unary(LIST)
        refused = sent.future(b"", timeout=30, metadata=authorization(bad_token))
        assert refused.code() is grpc.StatusCode.UNAUTHENTICATED
        assert refused.details() == body["message"]
    assert service.calls == []


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/v1/wallets", []),
        ("/v1/wallets?access_token={token}", []),
        ("/v1/wallets?token={token}", []),
        ("/v1/wallets", [("cookie", "access_token={token}; authorization={token}")]),
        ("/v1/wallets", [("authorization", "Basic {token}")]),
        ("/v1/wallets", [("authorization", "Bearer ")]),
        ("/v1/wallets", [("x-access-token", "{token}")]),
        ("/nothing/here", []),
        ("/docsx", []),
        ("/v1/health/x", []),
        ("/v1//health/../wallets", []),
        ("/docs/../v1/wallets", []),
        ("/openapi.json/../v1/wallets", []),
    ],
)
def test_without_a_token_in_its_header_nothing_is_answered(
    gateway: Gateway, service: StandIn, path: str, headers: Headers
) -> None:
    service.calls.clear()
    good = token()
    filled = [(name, value.format(token=good)) for name, value in headers]
    status, answered, body = call(gateway, path.format(token=good), filled)
    assert (status, body["code"], body["details"][0]["reason"]) == (401, 16, "UNAUTHENTICATED")
    assert "authorization: Bearer" in body["message"]
    # Envoy's own challenge would have the URL in it, and so the token that somebody put there.
    assert challenge(answered) == ['Bearer realm="specie"']
    assert service.calls == []


def test_a_web_page_cannot_call_without_a_token(gateway: Gateway, service: StandIn) -> None:
    """Browsers ask no leave for text/plain, and the transcoder reads whatever comes as JSON. They send no token."""
    service.calls.clear()
    page = [("origin", "https://evil.example"), ("content-type", "text/plain"), ("content-length", "0")]
    assert call(gateway, "/v1/transfers", page, "POST")[0] == 401
    assert service.calls == []


@pytest.mark.parametrize("path", ["/healthz", "/v1/health"])
def test_health_is_told_to_anybody(gateway: Gateway, path: str) -> None:
    assert call(gateway, path)[0] != 401


def test_health_is_told_to_anybody_over_grpc(gateway: Gateway) -> None:
    with grpc.insecure_channel(gateway.target) as channel:
        sent: Any = channel.unary_unary("/specie.transaction.v1.HealthService/GetHealth")
        assert sent.future(b"", timeout=30).code() is not grpc.StatusCode.UNAUTHENTICATED


def test_the_service_gets_the_token_and_nothing_that_a_caller_says_of_itself(
    gateway: Gateway, service: StandIn
) -> None:
    service.calls.clear()
    good = token("alice")
    spoofed = ["x-user-id", "x-jwt-payload", "x-specie-principal", "x-forwarded-client-cert", "x-envoy-original-path"]
    spoofed += ["x-envoy-expected-rq-timeout-ms", "x-envoy-max-retries"]
    claims = [(name, "root") for name in spoofed]
    assert call(gateway, "/v1/wallets", [*authorization(good), *claims])[0] == 200
    with grpc.insecure_channel(gateway.target) as channel:
        sent: Any = channel.unary_unary(LIST)
        sent(b"", timeout=30, metadata=[*authorization(good), *claims])
    assert [method for method, _ in service.calls] == [LIST, LIST]
    for _, metadata in service.calls:
        assert metadata["authorization"] == f"Bearer {good}"
        assert "root" not in metadata.values()


KEY_SETS = {
    "a secret": ({"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}, "symmetric"),
    "a secret among keys": ({"keys": [{"kty": "EC"}, {"kty": "oct", "k": "c2VjcmV0"}]}, "symmetric"),
    "a private key": ({"keys": [{"kty": "EC", "d": "c2VjcmV0"}]}, "private"),
    "no key": ({"keys": []}, "no key"),
    "no key that is used": ({"keys": [{"kty": "RSA"}]}, "no key for ES256"),
    "no key set": ({"key": 1}, "not a JSON Web Key Set"),
    "a list": ([1], "not a JSON Web Key Set"),
}


@pytest.mark.parametrize(("keys", "told"), KEY_SETS.values(), ids=KEY_SETS)
def test_a_file_of_keys_that_is_no_good_is_refused_before_it_is_used(tmp_path: Path, keys: object, told: str) -> None:
    file = tmp_path / "jwks.json"
    file.write_text(json.dumps(keys))
    with pytest.raises(UnusableKeysError, match=told):
        replace(gateway_config(), identity=Identity(ISSUER, str(file))).render()


class KeyServer:
    """An issuer's key set at a URL."""

    def __init__(self) -> None:
        self.keys: list[dict[str, str]] = []
        self.works = False


@contextmanager
def key_server(tls: ssl.SSLContext | None = None) -> Iterator[tuple[KeyServer, int]]:
    """And its port."""
    published = KeyServer()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = json.dumps({"keys": published.keys}).encode()
            self.send_response(200 if published.works else 500)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        if tls:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        thread = Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield published, server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


def public(key: Ed25519PrivateKey, name: str) -> dict[str, str]:
    found: dict[str, str] = jwt.algorithms.OKPAlgorithm.to_jwk(key.public_key(), as_dict=True)
    return {**found, "kid": name, "alg": "EdDSA", "use": "sig"}


def signed(key: Ed25519PrivateKey, name: str) -> str:
    claims = {"iss": ISSUER, "aud": "specie", "sub": "alice", "iat": now(), "exp": now() + 600}
    return jwt.encode(claims, key, "EdDSA", {"kid": name})


def test_keys_of_a_url_are_fetched_again_and_again(tmp_path: Path) -> None:
    """EdDSA too. While the issuer is away nobody is told that a token is bad; a withdrawn key is good no more, though
    its tokens were taken before."""
    old, new = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    with ExitStack() as stack:
        published, port = stack.enter_context(key_server())
        published.keys = [public(old, "old")]
        identity = Identity(ISSUER, f"http://127.0.0.1:{port}/jwks.json", refresh_seconds=1)
        gateway = stack.enter_context(running_gateway(gateway_config(identity=identity), tmp_path))
        status, headers, body = call(gateway, "/nothing", authorization(signed(old, "old")))
        assert (status, body["code"], body["details"][0]["reason"]) == (503, 14, "UNAVAILABLE")
        assert challenge(headers) == ['Bearer realm="specie"']
        published.works = True
        of_old, of_new = signed(old, "old"), signed(new, "new")
        wait_for(gateway, of_old, 404)
        assert call(gateway, "/nothing", authorization(of_new))[0] == 401
        published.keys = [public(new, "new")]
        wait_for(gateway, of_new, 404)
        assert call(gateway, "/nothing", authorization(of_old))[0] == 401


@pytest.mark.parametrize(("name", "status"), [("localhost", 404), ("another-host", 503)])
def test_keys_of_an_https_url_are_those_of_the_server_that_it_names(tmp_path: Path, name: str, status: int) -> None:
    authority = Authority(tmp_path)
    authority.make()
    own = authority.sign("issuer", [name])
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(own.certificate, own.key)
    key = Ed25519PrivateKey.generate()
    with ExitStack() as stack:
        published, port = stack.enter_context(key_server(tls))
        published.keys, published.works = [public(key, "key")], True
        url = f"https://localhost:{port}/jwks.json"
        identity = Identity(ISSUER, url, jwks_authority=authority.certificate)
        gateway = stack.enter_context(running_gateway(gateway_config(identity=identity), tmp_path))
        assert call(gateway, "/nothing", authorization(signed(key, "key")))[0] == status


def wait_for(gateway: Gateway, token_: str, status: int) -> None:
    deadline = time.monotonic() + 30
    while call(gateway, "/nothing", authorization(token_))[0] != status:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_key_set_of_another_issuer_lets_nobody_in(tmp_path: Path, gateway: Gateway) -> None:
    another = Issuer(tmp_path)
    another.make()
    assert call(gateway, "/v1/wallets", authorization(another.mint("alice", "admin", 60)))[0] == 401
