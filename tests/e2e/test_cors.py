"""What pages of other origins are told: a gateway of its own before stand-ins, which lets in one origin."""

import json
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from specie_cli.stack.subject_limits import Allowance, SubjectLimits
from tests.kit.gateway import Gateway, gateway_config, running_gateway
from tests.kit.service import wait_until
from tests.kit.standin import standin
from tests.kit.tokens import token

SHOP = "https://shop.example"
OTHERS = (
    "https://shop.example:8443",
    "http://shop.example",
    "https://evil.example",
    "https://shop.example.evil",
    "null",
)
NAMES = {"authorization", "content-type", "idempotency-key", "last-event-id", "x-request-id"}
NAMES_FOR_GRPC_WEB = {"x-grpc-web", "grpc-timeout", "x-user-agent"}
READABLE = {
    "grpc-status",
    "grpc-message",
    "grpc-status-details-bin",
    "retry-after",
    "x-ratelimit-reset",
    "x-request-id",
}
GRPC_WEB, FRAME = {"content-type": "application/grpc-web+proto"}, bytes(5)
LIST = "/specie.wallet.v1.WalletService/ListWallets"
TRANSFER = "/specie.transaction.v1.TransactionService/Transfer"


@dataclass(frozen=True)
class Told:
    status: int
    headers: dict[str, str]

    @property
    def lets_in(self) -> str | None:
        return self.headers.get("access-control-allow-origin")

    def listed(self, what: str) -> set[str]:
        return {name.strip() for name in self.headers.get(f"access-control-{what}", "").split(",")} - {""}


@pytest.fixture(scope="module")
def gateways(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Gateway]]:
    """One that lets the shop in, and one that lets in nobody."""
    with standin() as service:
        config = gateway_config(service.address, service.address)
        config = replace(config, cors_origins=(SHOP,), subject_limits=SubjectLimits(Allowance(1000, 1, 1)))
        nobody = gateway_config(service.address, service.address)
        folders = [tmp_path_factory.mktemp(name) for name in ("open", "closed")]
        with running_gateway(config, folders[0]) as open_, running_gateway(nobody, folders[1]) as closed:
            wait_until(lambda: all(told(g, "/healthz", {}).status == 200 for g in (open_, closed)), "both are ready")
            yield {"open": open_, "closed": closed}


def told(gateway: Gateway, path: str, headers: Mapping[str, str], body: bytes | None = None, method: str = "") -> Told:
    method = method or ("GET" if body is None else "POST")
    request = urllib.request.Request(gateway.url + path, body, dict(headers), method=method)  # noqa: S310 - ours
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - ours
            return Told(answer.status, {name.lower(): value for name, value in answer.headers.items()})
    except urllib.error.HTTPError as error:
        with error:
            return Told(error.code, {name.lower(): value for name, value in error.headers.items()})


def preflight(gateway: Gateway, path: str, origin: str) -> Told:
    return told(gateway, path, {"origin": origin, "access-control-request-method": "POST"}, method="OPTIONS")


@pytest.mark.parametrize("path", ["/v1/transfers", "/v1/transfers:batch", "/v1/transactions:watch", LIST, "/nothing"])
def test_the_question_before_a_call_needs_no_token(gateways: dict[str, Gateway], path: str) -> None:
    answer = preflight(gateways["open"], path, SHOP)
    assert (answer.status, answer.lets_in) == (200, SHOP)
    assert answer.listed("allow-methods") == {"GET", "POST", "PATCH", "DELETE"}
    assert answer.listed("allow-headers") == NAMES | NAMES_FOR_GRPC_WEB
    assert int(answer.headers["access-control-max-age"]) > 0
    assert "access-control-allow-credentials" not in answer.headers


@pytest.mark.parametrize("origin", [*OTHERS, "*", SHOP.upper(), f"{SHOP}/"])
def test_a_page_of_another_origin_is_not_let_in(gateways: dict[str, Gateway], origin: str) -> None:
    for gateway, asked in ((gateways["open"], origin), (gateways["closed"], SHOP)):
        answers = [preflight(gateway, "/v1/transfers", asked)]
        answers += [told(gateway, "/v1/wallets", {"origin": asked} | headers) for headers in ({}, of("local"))]
        assert [answer.status for answer in answers] == [401, 401, 200]
        for answer in answers:
            assert not [name for name in answer.headers if name.startswith("access-control-")]


def of(subject: str) -> dict[str, str]:
    """The header with a token of somebody."""
    return {"authorization": f"Bearer {token(subject)}"}


def readable(gateway: Gateway, path: str, headers: Mapping[str, str], body: bytes | None = None) -> Told:
    """What the shop's page is told, and can read."""
    answer = told(gateway, path, {"origin": SHOP, "content-type": "application/json", **headers}, body)
    assert answer.lets_in == SHOP
    assert answer.listed("expose-headers") >= READABLE
    return answer


def test_a_known_page_can_read_the_gateways_own_errors(gateways: dict[str, Gateway]) -> None:
    gateway = gateways["open"]
    assert readable(gateway, "/v1/wallets", of("ann")).status == 200
    assert readable(gateway, "/healthz", {}).status == 200
    assert readable(gateway, "/v1/wallets", {}).status == 401
    assert readable(gateway, "/nothing", of("ann")).status == 404
    assert readable(gateway, "/v1/wallets?bogus=1", of("ann")).status == 400
    assert readable(gateway, "/v1/transfers", of("bob"), b"{" * 5_000_000).status == 413
    assert readable(gateway, LIST, GRPC_WEB, FRAME).headers["grpc-status"] == "16"
    assert readable(gateway, "/nothing", GRPC_WEB | of("carol"), FRAME).headers["grpc-status"] == "12"


@pytest.mark.parametrize(("path", "headers"), [("/v1/transfers", {}), (TRANSFER, GRPC_WEB)])
def test_a_known_page_can_read_that_it_sends_too_much(
    gateways: dict[str, Gateway], path: str, headers: dict[str, str]
) -> None:
    subject = f"poor in {path}"
    answers = (readable(gateways["open"], path, headers | of(subject), FRAME if headers else b"{}") for _ in range(50))
    limited = next(answer for answer in answers if answer.status == 429)
    assert (limited.headers["retry-after"], limited.headers["x-ratelimit-limit"]) == ("1", "1")
    assert limited.headers.get("grpc-status") == ("8" if headers else None)


def test_a_known_page_can_read_that_a_service_is_gone(tmp_path: Path) -> None:
    with running_gateway(replace(gateway_config(), cors_origins=(SHOP,)), tmp_path) as gateway:
        assert readable(gateway, "/v1/wallets", of("ann")).status == 503
        assert readable(gateway, LIST, GRPC_WEB | of("ann"), FRAME).headers["grpc-status"] == "14"


def test_what_callers_name_is_not_counted_by_name(gateways: dict[str, Gateway]) -> None:
    """Or anyone with a token could fill the gateway's memory with counters."""
    gateway = gateways["open"]
    for method in (LIST, f"{LIST}AndWhatIMadeUp"):
        assert told(gateway, method, GRPC_WEB | of("ann"), FRAME).status == 200
    stats = f"http://{gateway.config.admin}/stats?format=json&filter=WalletService"
    with urllib.request.urlopen(stats, timeout=30) as answer:
        assert json.load(answer)["stats"] == []
