"""What the gateway itself answers: every error a JSON Status, nothing internal in reach, limits kept."""

import http.client
import json
import re
import time
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
import yaml
from specie.wallet.v1 import GetWalletRequest, WalletServiceStub

from specie_cli.stack.subject_limits import USUAL, Allowance
from tests.kit.stack import PLENTY, Answer, Stack
from tests.kit.tokens import bearer

MIB = 1024 * 1024
LOG_SECONDS_MAX = 30
TRACE_LENGTH_MAX = 128
TRANSFER = "/v1/transfers"
NO_UUID = "00000000-0000-0000-0000-000000000000"
SOME_TRANSACTION, SOME_HOLD = f"transactions/{NO_UUID}", f"holds/{NO_UUID}"
ACCOUNTS = "/specie.transaction.v1.AccountService/GetAccounts"
HEALTH = "/grpc.health.v1.Health/Check"
REFLECTION = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"


def error_of(answer: Answer) -> tuple[int, int, str]:
    """HTTP status, gRPC code and reason of an error, whose form is checked."""
    assert set(answer.body) == {"code", "message", "details"}
    assert answer.body["message"]
    info = answer.body["details"][0]
    assert info["@type"] == "type.googleapis.com/google.rpc.ErrorInfo"
    assert info["domain"] == "specie"
    return answer.status, answer.body["code"], info["reason"]


@pytest.mark.parametrize(
    ("method", "path", "raw", "expected"),
    [
        ("GET", "/nothing/here", None, (404, 5, "UNKNOWN_METHOD")),
        ("GET", "/healthz?x=1", None, (404, 5, "UNKNOWN_METHOD")),
        ("PUT", "/v1/wallets/alice", b"{}", (404, 5, "UNKNOWN_METHOD")),
        ("POST", "/v1/wallets/alice:explode", b"{}", (404, 5, "UNKNOWN_METHOD")),
        ("POST", "/specie.wallet.v1.WalletService/GetWallet", b"{}", (404, 5, "UNKNOWN_METHOD")),
        ("POST", "/specie.transaction.v1.AccountService/GetAccounts", b"{}", (404, 5, "UNKNOWN_METHOD")),
        ("POST", TRANSFER, b"{broken", (400, 3, "MALFORMED_REQUEST")),
        ("POST", TRANSFER, b"[1]", (400, 3, "MALFORMED_REQUEST")),
        ("POST", TRANSFER, b'{"source": 1}', (400, 3, "MALFORMED_REQUEST")),
        ("POST", TRANSFER, b'{"source": "\xff"}', (400, 3, "MALFORMED_REQUEST")),
        ("POST", TRANSFER, b'{"amount": {"minorUnits": 1.5}}', (400, 3, "MALFORMED_REQUEST")),
        ("POST", TRANSFER, b'{"amount": {"minorUnits": "9223372036854775808"}}', (400, 3, "MALFORMED_REQUEST")),
        ("POST", TRANSFER, b'{"source": "' + b"a" * 5 * MIB + b'"}', (413, 3, "REQUEST_TOO_LARGE")),
        ("POST", f"{TRANSFER}:batch", b'{"transfers": [{"source": "' + b"a" * 17 * MIB, (413, 3, "REQUEST_TOO_LARGE")),
        ("POST", "/v1/transactions", b'{"description": "' + b"a" * 5 * MIB + b'"}', (413, 3, "REQUEST_TOO_LARGE")),
        ("GET", f"{TRANSFER}:batch", None, (404, 5, "UNKNOWN_METHOD")),
        # What the limits would take for a transfer, and the transcoder for a batch.
        ("POST", f"{TRANSFER}/:batch", b'{"transfers": []}', (404, 5, "UNKNOWN_METHOD")),
        ("POST", f"{TRANSFER}//:batch?", b'{"transfers": []}', (404, 5, "UNKNOWN_METHOD")),
        ("POST", f"{TRANSFER}\\:batch", b'{"transfers": []}', (404, 5, "UNKNOWN_METHOD")),
        ("GET", "/v1/wallets/", None, (404, 5, "UNKNOWN_METHOD")),
        ("GET", "/v1/wallets/?owner=a", None, (404, 5, "UNKNOWN_METHOD")),
        ("POST", f"{TRANSFER}:batch", b"{broken", (400, 3, "MALFORMED_REQUEST")),
        ("POST", f"{TRANSFER}:batch", b"{}", (400, 3, "INVALID_FIELD")),
        ("POST", TRANSFER, b"", (400, 3, "INVALID_FIELD")),
        ("GET", "/v1/wallets?bogus=1", None, (400, 3, "MALFORMED_REQUEST")),
        ("GET", "/v1/wallets?pageSize=many", None, (400, 3, "MALFORMED_REQUEST")),
        ("GET", "/v1/wallets?state=NO_SUCH", None, (400, 3, "MALFORMED_REQUEST")),
        ("GET", "/v1/transactions?startTime=yesterday", None, (400, 3, "MALFORMED_REQUEST")),
        ("GET", "/v1/wallets/%ff", None, (400, 3, "MALFORMED_REQUEST")),
        ("GET", "/v1/wallets?owner=%ED%A0%80", None, (400, 3, "MALFORMED_REQUEST")),
        ("GET", "/v1/wallets/a%2Fb", None, (400, 3, "MALFORMED_REQUEST")),
        ("GET", "/v1/wallets/UPPER", None, (400, 3, "INVALID_FIELD")),
    ],
)
def test_every_error_is_a_status(
    stack: Stack, method: str, path: str, raw: bytes | None, expected: tuple[int, int, str]
) -> None:
    assert error_of(stack.call(method, path, raw=raw)) == expected


@pytest.mark.parametrize(
    ("path", "headers", "told"),
    [
        ("/v1/wallets/a%2Fb", {}, "escaped slash"),
        ("/v1/wallets", {"x_user_id": "root"}, "unexpected_underscore"),
        ("/v1/wallets?bogus=1", {}, '"bogus"'),
        ("/v1/wallets/%ff", {}, "not UTF-8"),
    ],
)
def test_a_malformed_request_is_told_what_is_wrong(stack: Stack, path: str, headers: dict[str, str], told: str) -> None:
    answer = stack.call("GET", path, headers=headers)
    assert error_of(answer) == (400, 3, "MALFORMED_REQUEST")
    assert told in answer.body["message"]


@pytest.mark.parametrize(
    "path",
    [
        "/v1/wallets/a?name=wallets/b",
        "/v1/wallets/a/entries?pageSize=1&wallet=wallets/b",
        "/v1/wallets/a/balance?w%61llet=wallets/b",
        f"/v1/{SOME_TRANSACTION}?name=transactions/x",
        f"/v1/{SOME_HOLD}?name=holds/x",
    ],
)
def test_a_query_parameter_cannot_overrule_the_path(stack: Stack, path: str) -> None:
    assert error_of(stack.call("GET", path)) == (400, 3, "MALFORMED_REQUEST")


@pytest.mark.parametrize(
    ("method", "path", "parameter"),
    [
        ("POST", f"{TRANSFER}?amount.minorUnits=3", "amount.minorUnits"),
        ("POST", f"{TRANSFER}?amount.minor%55nits=3", "amount.minorUnits"),
        ("POST", f"{TRANSFER}?requestId=another", "requestId"),
        ("POST", f"{TRANSFER}?source", "source"),
        ("POST", "/v1/wallets/a:deposit?description=x", "description"),
        ("POST", f"{TRANSFER}:batch?atomic=true", "atomic"),
        ("POST", "/v1/transactions?requestId=another", "requestId"),
        ("POST", f"/v1/{SOME_TRANSACTION}:reverse?amount.minorUnits=1", "amount.minorUnits"),
        ("POST", f"/v1/{SOME_TRANSACTION}:reverse?name=transactions/x", "name"),
        ("POST", f"/v1/{SOME_TRANSACTION}:cancel?name=transactions/x", "name"),
        ("POST", "/v1/holds?ttl=5s", "ttl"),
        ("POST", "/v1/holds?requestId=another", "requestId"),
        ("POST", f"/v1/{SOME_HOLD}:capture?final=true", "final"),
        ("POST", f"/v1/{SOME_HOLD}:capture?n%61me=holds/x", "name"),
        ("POST", f"/v1/{SOME_HOLD}:release?requestId=another", "requestId"),
        ("POST", "/v1/holds:release?source=wallets/a", "source"),
        ("POST", "/v1/wallets/a:freeze?name=wallets/b", "name"),
        ("POST", "/v1/wallets?walletId=q1&wallet.currencyCode=EUR", "wallet.currencyCode"),
        ("POST", "/v1/wallets?walletId=a&walletId=b", "walletId"),
        ("POST", "/v1/wallets?walletId=a&wallet_id=b", "wallet_id"),
        ("PATCH", "/v1/wallets/a?updateMask=owner&wallet.owner=eve", "wallet.owner"),
        ("PATCH", "/v1/wallets/a?updateMask=owner&update_mask=labels", "update_mask"),
        ("DELETE", "/v1/wallets/a?name=wallets/b", "name"),
        ("DELETE", "/v1/wallets/a?force=true", "force"),
        ("GET", "/v1/wallets?owner=a&owner=b", "owner"),
        ("GET", "/v1/wallets/a/entries?pageSize=1&page_size=2", "page_size"),
    ],
)
def test_a_query_parameter_cannot_overrule_the_body_or_another(
    stack: Stack, method: str, path: str, parameter: str
) -> None:
    answer = stack.call(method, path, None if method in ("GET", "DELETE") else {})
    assert error_of(answer) == (400, 3, "MALFORMED_REQUEST")
    assert re.search(rf"query parameter {re.escape(parameter)}(;| )", answer.body["message"])


def test_a_value_may_be_called_like_a_field(stack: Stack) -> None:
    assert stack.call("GET", "/v1/wallets?owner=name&state=WALLET_STATE_ACTIVE").status == 200
    entries = stack.call("GET", "/v1/wallets/nobody/entries?pageToken=wallet")
    assert error_of(entries)[2] != "MALFORMED_REQUEST"


def test_a_body_cannot_overrule_the_path(stack: Stack) -> None:
    answer = stack.call("POST", "/v1/wallets/a:freeze", {"name": "wallets/b"})
    assert error_of(answer) == (400, 3, "MALFORMED_REQUEST")


@pytest.mark.parametrize(
    "headers",
    [{"x-large": "a" * 20_000}, {f"x-{i}": "a" for i in range(80)}],
    ids=["16 KiB", "64 headers"],
)
def test_too_many_or_too_large_headers(stack: Stack, headers: dict[str, str]) -> None:
    assert error_of(stack.call("GET", "/v1/wallets", headers=headers)) == (431, 3, "REQUEST_TOO_LARGE")


def test_an_underscore_in_a_header_is_refused(stack: Stack) -> None:
    """Servers behind a gateway may read `x_user_id` as `x-user-id`."""
    answer = stack.call("GET", "/v1/wallets", headers={"x_user_id": "root"})
    assert error_of(answer) == (400, 3, "MALFORMED_REQUEST")


@pytest.mark.parametrize("name", ["a|b", "any-bin", "grpc-encoding", "grpc-previous-rpc-attempts"])
def test_a_header_that_grpc_cannot_read_is_dropped(stack: Stack, name: str) -> None:
    """The service's library would take the call for broken: INTERNAL."""
    assert stack.call("GET", "/v1/wallets?pageSize=1", headers={name: "!"}).status == 200


def test_query_parameters_bind(stack: Stack) -> None:
    stack.call("POST", "/v1/wallets?walletId=query-1", {"currencyCode": "EUR", "owner": "q"})
    listed = stack.call("GET", "/v1/wallets?owner=q&state=WALLET_STATE_ACTIVE&pageSize=1").body["wallets"]
    assert [w["name"] for w in listed] == ["wallets/query-1"]
    made = stack.call("POST", "/v1/wallets?wallet_id=query-2&request_id=query-2", {"currencyCode": "EUR"})
    assert made.body["wallet"]["name"] == "wallets/query-2"
    changed = stack.call("PATCH", "/v1/wallets/query-1?updateMask=displayName&etag=", {"displayName": "Q"})
    assert changed.body["wallet"]["displayName"] == "Q"
    got = stack.call("GET", "/v1/wallets:batchGet?names=wallets/query-1&names=wallets/query-1").body["wallets"]
    assert [w["displayName"] for w in got] == ["Q", "Q"]
    stack.call("POST", "/v1/wallets?walletId=query-3", {"currencyCode": "EUR", "owner": "q r+s"})
    spaced = stack.call("GET", "/v1/wallets?owner=q+r%2Bs").body["wallets"]
    assert [w["name"] for w in spaced] == ["wallets/query-3"]
    since = "/v1/transactions?startTime=2026-01-01T00:00:00Z&state=TRANSACTION_STATE_POSTED&wallet=wallets/query-1"
    assert stack.call("GET", since).body == {"transactions": [], "nextPageToken": ""}
    assert stack.call("DELETE", "/v1/wallets/query-1").body["wallet"]["state"] == "WALLET_STATE_CLOSED"


def test_the_request_id_is_kept_or_made_up(stack: Stack) -> None:
    named = stack.call("GET", "/v1/wallets", headers={"x-request-id": "my-own-trace"})
    assert named.headers["x-request-id"] == "my-own-trace"
    assert stack.call("GET", "/nothing").headers["x-request-id"]


@pytest.mark.parametrize("path", ["/v1/wallets?pageSize=1", "/v1/wallets/nobody", "/nothing/here", "/v1/health"])
def test_nobody_keeps_an_answer_or_takes_it_for_something_else(stack: Stack, path: str) -> None:
    headers = stack.call("GET", path).headers
    assert (headers["cache-control"], headers["x-content-type-options"]) == ("no-store", "nosniff")


def test_a_refused_token_is_logged_and_what_the_caller_chose_is_cut(stack: Stack) -> None:
    stack.call("GET", "/v1/wallets", headers={"x-request-id": "refused" + "x" * 5000}, token="")
    log = stack.data_dir / "logs" / "envoy.log"
    deadline = time.monotonic() + LOG_SECONDS_MAX
    while not (lines := [line for line in log.read_text().splitlines() if '"refusedx' in line]):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    (told,) = map(json.loads, lines)
    assert (told["status"], told["details"]) == (401, "jwt_authn_access_denied{Jwt_is_missing}")
    assert len(told["trace_id"]) == TRACE_LENGTH_MAX


def test_healthz_says_when_money_can_move(stack: Stack) -> None:
    assert stack.call("GET", "/healthz").body == {"status": "SERVING"}


@pytest.fixture
def channel(stack: Stack) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(stack.grpc) as channel:
        yield channel


def code_of(channel: grpc.Channel, method: str, token: str) -> grpc.StatusCode:
    call: Any = channel.unary_unary(method)
    code: grpc.StatusCode = call.future(b"", timeout=10, metadata=[bearer(token)]).code()
    return code


@pytest.mark.parametrize("method", [ACCOUNTS, HEALTH, REFLECTION, "/specie.wallet.v1.WalletService/Explode"])
def test_internal_services_are_out_of_reach(stack: Stack, channel: grpc.Channel, method: str) -> None:
    """Of anybody: the usual token is of an administrator and a service."""
    assert code_of(channel, method, stack.token) is grpc.StatusCode.UNIMPLEMENTED
    assert code_of(channel, method, "") is grpc.StatusCode.UNAUTHENTICATED


def test_a_grpc_error_carries_its_details(stack: Stack, channel: grpc.Channel) -> None:
    with pytest.raises(grpc.RpcError) as refused:
        stack.authorised(WalletServiceStub(channel)).GetWallet(GetWalletRequest(name="wallets/nobody"))
    assert isinstance(refused.value, grpc.Call)
    assert refused.value.code() is grpc.StatusCode.NOT_FOUND
    assert "grpc-status-details-bin" in dict(refused.value.trailing_metadata() or ())


def test_envoys_admin_page_is_on_loopback_and_it_started_without_a_warning(stack: Stack) -> None:
    """Such as that connections have no limit."""
    admin = yaml.safe_load((stack.data_dir / "envoy.yaml").read_text())["admin"]
    assert admin["address"]["socket_address"]["address"] == "127.0.0.1"
    log = (stack.data_dir / "logs" / "envoy.log").read_text()
    assert not re.search(r"\[(warning|error|critical)\]", log)


def test_the_usual_limits_are_everybodys_but_of_those_who_are_named(stack: Stack) -> None:
    named = stack.call("GET", "/v1/wallets")
    assert named.headers["x-ratelimit-limit"] == str(Allowance.parse(PLENTY.removeprefix("local=")).reads)
    usual = stack.call("GET", "/v1/wallets", token=stack.mint("somebody"))
    assert usual.headers["x-ratelimit-limit"] == str(USUAL.reads)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/ready", 200),
        ("/stats?filter=^server.live$", 200),
        ("/logging?level=trace", 403),
        ("/quitquitquit", 403),
        ("/cpuprofiler?enable=y", 403),
        ("/runtime_modify?a=b", 403),
    ],
)
def test_the_admin_page_is_for_looking(stack: Stack, path: str, status: int) -> None:
    """A log at the level `trace` would have tokens in it; and any page in a browser can send a form to loopback."""
    address = yaml.safe_load((stack.data_dir / "envoy.yaml").read_text())["admin"]["address"]["socket_address"]
    admin = http.client.HTTPConnection(address["address"], address["port_value"], timeout=10)
    admin.request("GET" if status == 200 else "POST", path)
    assert admin.getresponse().status == status
    admin.close()


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_the_case_of_the_scheme_does_not_matter(stack: Stack, scheme: str) -> None:
    named = {"authorization": f"{scheme} {stack.token}"}
    assert stack.call("GET", "/v1/wallets?pageSize=1", headers=named, token="").status == 200
