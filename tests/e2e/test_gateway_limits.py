"""How much one subject may call, in classes: in one gateway, and in a fleet of them."""

import http.client
import json
import re
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import jwt
import pytest
import yaml
from google.api.annotations_pb2 import http as http_option
from google.protobuf.descriptor import MethodDescriptor
from specie.transaction.v1 import transaction_service_pb2
from specie.wallet.v1 import wallet_service_pb2

from specie_cli.stack.address import Address
from specie_cli.stack.issuer import ALGORITHM, AUDIENCE, ISSUER, key_id
from specie_cli.stack.subject_limits import Allowance, AllowanceError, SubjectLimits, named_allowance
from tests.kit.gateway import Gateway, gateway_config, running_gateway
from tests.kit.ports import free_port
from tests.kit.stack import ROOT
from tests.kit.standin import HOST, Limiter, StandIn, limiter
from tests.kit.tokens import LOCAL, bearer, token

OTHERS = 10_000
AT_ONCE = 50
TINY = Allowance(reads=3, writes=2, batches=1)
ROOMY = Allowance(reads=9_000, writes=8_000, batches=7_000)
BATCHES = {"BatchTransfer", "ReleaseHolds"}
LIST = "/specie.wallet.v1.WalletService/ListWallets"
METHODS = [
    method
    for file, service in ((wallet_service_pb2, "WalletService"), (transaction_service_pb2, "TransactionService"))
    for method in file.DESCRIPTOR.services_by_name[service].methods
]


@pytest.fixture(scope="module")
def fleet_limiter() -> Iterator[Limiter]:
    with limiter() as running:
        yield running


@pytest.fixture(scope="module")
def one(service: StandIn, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway whose buckets do not fill again while a test looks at them."""
    limits = SubjectLimits(TINY, {"bank": Allowance(5, 4, 3)})
    config = replace(gateway_config(service.address, service.address), subject_limits=limits)
    with running_gateway(
        config, tmp_path_factory.mktemp("one"), ('"fill_interval": "1s"', '"fill_interval": "3600s"')
    ) as gateway:
        gateway.wait_until_healthy()
        yield gateway


@pytest.fixture(scope="module")
def roomy(service: StandIn, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    config = replace(gateway_config(service.address, service.address), subject_limits=SubjectLimits(ROOMY))
    with running_gateway(config, tmp_path_factory.mktemp("roomy")) as gateway:
        gateway.wait_until_healthy()
        yield gateway


@pytest.fixture(scope="module")
def of_a_fleet(service: StandIn, fleet_limiter: Limiter, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    config = replace(gateway_config(service.address, service.address), limiter=fleet_limiter.address)
    with running_gateway(config, tmp_path_factory.mktemp("fleet")) as gateway:
        gateway.wait_until_healthy()
        yield gateway


Headers = list[tuple[str, str]]
Answer = tuple[int, Headers, Any]


def call(gateway: Gateway, method: str, path: str, token_: str, body: str | None = None, forwarded: str = "") -> Answer:
    """Status, headers and body. The token may be empty: none. `forwarded`: the header x-forwarded-for."""
    connection = http.client.HTTPConnection(str(gateway.config.listen), timeout=30)
    headers = {"authorization": f"Bearer {token_}"} if token_ else {}
    if forwarded:
        headers["x-forwarded-for"] = forwarded
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    is_json = answer.getheader("content-type") == "application/json"  # streams are not
    return answer.status, answer.getheaders(), json.loads(content) if is_json else content


def grpc_call(gateway: Gateway, method: str, token_: str) -> tuple[grpc.StatusCode, Headers]:
    """Code and metadata, that of the end included."""
    with grpc.insecure_channel(gateway.target) as channel:
        sent: Any = channel.unary_unary(method)
        answer = sent.future(b"", timeout=30, metadata=[bearer(token_)])
        return answer.code(), [*answer.initial_metadata(), *answer.trailing_metadata()]


def body_of(verb: str) -> str | None:
    return None if verb == "GET" else "{}"


def of_name(headers: Headers, name: str) -> list[str]:
    return [value for key, value in headers if key.lower() == name]


def expected_class(method: MethodDescriptor) -> str:
    """What the contract says."""
    if method.name in BATCHES:
        return "batch"
    return "read" if rule_of(method).get else "write"


def rule_of(method: Any) -> Any:  # noqa: ANN401 - a MethodDescriptor, an HttpRule: neither is typed for extensions
    return method.GetOptions().Extensions[http_option]


def as_json(rule: Any) -> tuple[str, str]:  # noqa: ANN401 - an HttpRule
    verb = rule.WhichOneof("pattern")
    path = re.sub(r"\{[a-z_.]+=([^}]+)\}", r"\1", getattr(rule, verb)).replace("*", "x")
    return verb.upper(), path


@pytest.mark.parametrize("method", METHODS, ids=lambda method: str(method.name))
def test_every_call_of_the_contract_is_of_its_class(
    roomy: Gateway, of_a_fleet: Gateway, fleet_limiter: Limiter, method: MethodDescriptor
) -> None:
    """As gRPC, and as JSON by every path that it has; with a query too, which is not always taken but always counted.
    The gateway tells the limit of the class in a header; the limiter of a fleet is sent its name."""
    rule = rule_of(method)
    paths = [as_json(binding) for binding in (rule, *rule.additional_bindings)]
    limit = [str(ROOMY.by_class()[expected_class(method)])]
    name = f"/{method.containing_service.full_name}/{method.name}"
    assert of_name(grpc_call(roomy, name, token("alice"))[1], "x-ratelimit-limit") == limit
    for verb, path in paths:
        for asked in (path, f"{path}?x=1"):
            assert of_name(call(roomy, verb, asked, token("alice"), body_of(verb))[1], "x-ratelimit-limit") == limit
    fleet_limiter.asked.clear()
    grpc_call(of_a_fleet, name, token("alice"))
    for verb, path in paths:
        call(of_a_fleet, verb, path, token("alice"), body_of(verb))
    assert fleet_limiter.asked == [{"class": expected_class(method), "subject": "alice"}] * (1 + len(paths))


@pytest.mark.parametrize(
    ("subject", "method", "path", "let_through"),
    [
        ("alice", "GET", "/v1/wallets", 3),
        ("alice", "POST", "/v1/transfers", 2),
        ("alice", "POST", "/v1/transfers:batch", 1),
        ("bank", "GET", "/v1/wallets", 5),
        ("bank", "POST", "/v1/transfers", 4),
        ("bank", "POST", "/v1/transfers:batch", 3),
        ("bob", "GET", "/v1/wallets", 3),
    ],
)
def test_a_subject_has_a_bucket_for_each_class(
    one: Gateway, subject: str, method: str, path: str, let_through: int
) -> None:
    """It does not matter which of its tokens it shows, nor what other subjects have used up."""
    answers = [call(one, method, path, token(subject, jti=str(n)), body_of(method)) for n in range(let_through + 2)]
    assert [status == 429 for status, _, _ in answers] == [False] * let_through + [True] * 2
    _, headers, body = answers[-1]
    assert (body["code"], body["details"][0]["reason"]) == (8, "RATE_LIMITED")
    assert body["details"][1]["retryDelay"] == "1s"
    assert of_name(headers, "retry-after") == ["1"]
    assert of_name(headers, "x-ratelimit-limit") == [str(let_through)]
    assert of_name(headers, "x-ratelimit-remaining") == ["0"]
    assert len(of_name(headers, "x-ratelimit-reset")) == 1
    assert of_name(answers[0][1], "x-ratelimit-limit") == [str(let_through)]


def test_a_client_address_has_a_limit_too_and_needs_no_token_for_it(service: StandIn, tmp_path: Path) -> None:
    config = replace(gateway_config(service.address, service.address), calls_per_second_per_client=2)
    with running_gateway(config, tmp_path, ("fill_interval: 1s", "fill_interval: 3600s")) as gateway:
        # Whoever watches the gateway is not held back, nor holds anybody back.
        gateway.wait_until_healthy()
        answers = [call(gateway, "GET", "/v1/wallets", "") for _ in range(4)]
        assert [status for status, _, _ in answers] == [401, 401, 429, 429]
        _, headers, body = answers[-1]
        assert (body["code"], body["details"][0]["reason"]) == (8, "RATE_LIMITED")
        assert of_name(headers, "retry-after") == ["1"]
        assert of_name(headers, "x-ratelimit-limit") == ["2"]
        assert grpc_call(gateway, LIST, token())[0] is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert call(gateway, "GET", "/healthz", "")[0] == 200


@pytest.mark.parametrize(("trusted_proxies", "expected"), [(0, [200, 429, 429]), (1, [200, 200, 429])])
def test_a_client_says_its_own_address_only_behind_a_proxy_that_is_trusted(
    service: StandIn, tmp_path: Path, trusted_proxies: int, expected: list[int]
) -> None:
    config = replace(
        gateway_config(service.address, service.address),
        calls_per_second_per_client=1,
        trusted_proxies=trusted_proxies,
    )
    with running_gateway(config, tmp_path, ("fill_interval: 1s", "fill_interval: 3600s")) as gateway:
        gateway.wait_until_healthy()
        # What stands first is the client's own invention; the last is what the proxy saw.
        seen = ["10.9.9.9, 192.0.2.1", "10.9.9.9, 192.0.2.2", "10.8.8.8, 192.0.2.2"]
        found = [call(gateway, "GET", "/v1/wallets", token(), forwarded=address)[0] for address in seen]
    assert found == expected


@pytest.mark.parametrize("text", ["bank", "bank=", "bank=1,2", "bank=1,2,3,4", "bank=1,2,0", "bank=a,2,3", "=1,2,3"])
def test_limits_that_cannot_be_read_are_refused(text: str) -> None:
    with pytest.raises(AllowanceError, match="READS,WRITES,BATCHES"):
        named_allowance(text)


def test_a_subjects_name_may_have_an_equals_sign() -> None:
    assert named_allowance("CN=bank=1,2,3") == ("CN=bank", Allowance(1, 2, 3))


def test_grpc_callers_are_told_resource_exhausted(one: Gateway) -> None:
    codes = [grpc_call(one, LIST, token("carol"))[0] for _ in range(5)]
    assert codes == [grpc.StatusCode.OK] * 3 + [grpc.StatusCode.RESOURCE_EXHAUSTED] * 2


def test_still_limited_after_ten_thousand_other_subjects(one: Gateway) -> None:
    """The buckets are a cache, so there must be room for all."""
    greedy = token("greedy")
    while call(one, "GET", "/nothing", greedy)[0] != 429:
        pass
    tokens = tokens_of([f"subject-{n}" for n in range(OTHERS)])
    assert statuses(one, "/nothing", tokens) == [404] * OTHERS
    assert call(one, "GET", "/nothing", greedy)[0] == 429


def tokens_of(subjects: list[str]) -> list[str]:
    key, now = LOCAL._key(), int(time.time())
    claims = {"iss": ISSUER, "aud": AUDIENCE, "iat": now, "exp": now + 600}
    headers = {"kid": key_id(key)}
    return [jwt.encode(claims | {"sub": subject}, key, ALGORITHM, headers) for subject in subjects]


def statuses(gateway: Gateway, path: str, tokens: list[str]) -> list[int]:
    """Of one call with each token."""
    listen = gateway.config.listen
    found: list[int] = []
    with ExitStack() as opened:
        connections = [
            opened.enter_context(socket.create_connection((listen.host, listen.port), 60)) for _ in range(AT_ONCE)
        ]
        answers = [opened.enter_context(connection.makefile("rb")) for connection in connections]
        for first in range(0, len(tokens), AT_ONCE):
            some = tokens[first : first + AT_ONCE]
            for connection, token_ in zip(connections, some, strict=False):
                connection.sendall(f"GET {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token_}\r\n\r\n".encode())
            for answer, _ in zip(answers, some, strict=False):
                found.append(int(answer.readline().split()[1]))
                headers = [line.split(b": ") for line in iter(answer.readline, b"\r\n")]
                answer.read(int(dict(headers)[b"content-length"]))
    return found


def test_the_limiter_of_a_fleet_refuses(of_a_fleet: Gateway, fleet_limiter: Limiter) -> None:
    fleet_limiter.over.add("greedy")
    status, headers, body = call(of_a_fleet, "GET", "/v1/wallets", token("greedy"))
    assert (status, body["code"], body["details"][0]["reason"]) == (429, 8, "RATE_LIMITED")
    assert of_name(headers, "retry-after") == ["1"]
    # The limiter's numbers, not the gateway's own.
    assert of_name(headers, "x-ratelimit-limit") == ["7, 7;w=1"]
    assert of_name(headers, "x-ratelimit-remaining") == ["0"]
    assert grpc_call(of_a_fleet, LIST, token("greedy"))[0] is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert call(of_a_fleet, "GET", "/v1/wallets", token("modest"))[0] == 200


def test_without_the_limiter_of_the_fleet_the_gateways_own_limit_holds(service: StandIn, tmp_path: Path) -> None:
    config = replace(
        gateway_config(service.address, service.address),
        limiter=Address(HOST, free_port()),
        subject_limits=SubjectLimits(TINY),
    )
    with running_gateway(config, tmp_path, ('"fill_interval": "1s"', '"fill_interval": "3600s"')) as gateway:
        gateway.wait_until_healthy()
        found = [call(gateway, "GET", "/v1/wallets", token("alice"))[0] for _ in range(5)]
    assert found == [200, 200, 200, 429, 429]


def test_the_fleets_configuration_has_the_same_numbers() -> None:
    file = yaml.safe_load((ROOT / "deploy" / "ratelimit.yaml").read_text())
    assert file == SubjectLimits().of_the_fleet()
