"""gRPC-Web through the gateway: an independent client, and the text form that old browsers need."""

import base64
import json
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from google.rpc.error_details_pb2 import ErrorInfo
from specie.transaction.v1 import GetBalanceRequest, GetBalanceResponse

from specie_cli.stack.envoy_config import DESCRIPTOR_SET
from tests.kit.stack import Stack
from tests.kit.till import usd

WALLETS, TRANSACTIONS = "specie.wallet.v1.WalletService", "specie.transaction.v1.TransactionService"
END = 0x80
"""The flag of the frame with the trailers."""


def command(stack: Stack, method: str, request: object) -> list[str]:
    buf = str(Path(sys.executable).with_name("buf"))
    options = ["--protocol", "grpcweb", "--schema", str(DESCRIPTOR_SET), "-H", f"authorization: Bearer {stack.token}"]
    return [buf, "curl", *options, "-d", json.dumps(request), f"{stack.gateway}/{method}"]


def call(stack: Stack, method: str, request: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(stack, method, request), capture_output=True, text=True, timeout=30, check=False)


def messages(lines: Iterable[str]) -> Iterator[Any]:
    """What buf prints of a stream."""
    text = ""
    for line in lines:
        text += line
        if line == "}\n":
            yield json.loads(text)
            text = ""


def raw(
    stack: Stack, method: str, message: bytes, headers: Mapping[str, str], form: str = "+proto"
) -> tuple[dict[str, str], bytes]:
    """Headers and body of the answer to a message in a frame, sent and asked for in this form."""
    kind = f"application/grpc-web{form}"
    frame = bytes([0]) + len(message).to_bytes(4, "big") + message
    content = base64.b64encode(frame) if "text" in form else frame
    sent = {"content-type": kind, "accept": kind, "x-grpc-web": "1", **headers}
    request = urllib.request.Request(f"{stack.gateway}/{method}", content, sent)  # noqa: S310 - ours
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - ours
            return {key.lower(): value for key, value in answer.headers.items()}, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return {key.lower(): value for key, value in error.headers.items()}, error.read()


@pytest.fixture
def wallet(stack: Stack) -> str:
    """A new one with 5.00 USD; its name."""
    id_ = f"web-{uuid4().hex[:12]}"
    made = call(stack, f"{WALLETS}/CreateWallet", {"walletId": id_, "wallet": {"currencyCode": "USD"}})
    assert made.returncode == 0, made.stderr
    deposit = {"wallet": f"wallets/{id_}", "amount": usd(500), "requestId": uuid4().hex}
    assert call(stack, f"{TRANSACTIONS}/Deposit", deposit).returncode == 0
    return f"wallets/{id_}"


def test_calls_and_errors_of_an_independent_client(stack: Stack, wallet: str) -> None:
    balance = json.loads(call(stack, f"{TRANSACTIONS}/GetBalance", {"wallet": wallet}).stdout)["balance"]
    assert balance["posted"]["minorUnits"] == "500"
    transfer = {"source": wallet, "destination": f"{wallet}-x", "amount": usd(1), "requestId": uuid4().hex}
    error = json.loads(call(stack, f"{TRANSACTIONS}/Transfer", transfer).stderr)
    assert error["code"] == "not_found"
    (detail,) = error["details"]
    info = ErrorInfo.FromString(base64.b64decode(detail["value"] + "==="))
    assert (detail["type"], info.reason) == ("google.rpc.ErrorInfo", "DESTINATION_NOT_FOUND")


def test_a_stream_comes_as_it_happens(stack: Stack, wallet: str) -> None:
    watch = command(stack, f"{TRANSACTIONS}/WatchTransactions", {"wallet": wallet})
    with subprocess.Popen(watch, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        coming = messages(process.stdout)
        try:
            assert [*next(coming)] == ["cursor"]
            made = call(stack, f"{TRANSACTIONS}/Deposit", {"wallet": wallet, "amount": usd(1), "requestId": "web"})
            assert next(coming)["transaction"] == json.loads(made.stdout)["transaction"]
        finally:
            process.kill()


def test_the_text_form(stack: Stack, wallet: str) -> None:
    message = GetBalanceRequest(wallet=wallet).SerializeToString()
    token = {"authorization": f"Bearer {stack.token}"}
    headers, body = raw(stack, f"{TRANSACTIONS}/GetBalance", message, token, "-text+proto")
    assert headers["content-type"] == "application/grpc-web-text+proto"
    # Each frame is a text of its own.
    frames = b"".join(base64.b64decode(part + b"=" * (-len(part) % 4)) for part in body.split(b"=") if part)
    size = int.from_bytes(frames[1:5], "big")
    assert GetBalanceResponse.FromString(frames[5 : 5 + size]).balance.posted.minor_units == 500
    assert frames[5 + size] == END
    assert b"grpc-status:0\r\n" in frames


def test_text_that_cannot_be_read_is_the_callers_fault(stack: Stack) -> None:
    headers = {"content-type": "application/grpc-web-text", "authorization": f"Bearer {stack.token}"}
    request = urllib.request.Request(f"{stack.gateway}/{TRANSACTIONS}/GetBalance", b"!!!!", headers)  # noqa: S310 - ours
    with pytest.raises(urllib.error.HTTPError) as error:
        urllib.request.urlopen(request, timeout=30)  # noqa: S310 - ours
    with error.value as answer:
        assert (answer.code, answer.headers["grpc-status"]) == (400, "3")


@pytest.mark.parametrize(
    ("method", "token", "expected"),
    [
        (f"{TRANSACTIONS}/GetBalance", "", ("16", "no token")),
        (f"{TRANSACTIONS}/GetBalance", "x.y.z", ("16", "the token is malformed")),
        (f"{TRANSACTIONS}/Nothing", None, ("12", "")),
        ("specie.transaction.v1.AccountService/GetAccounts", None, ("12", "there is no such call")),
        ("grpc.health.v1.Health/Check", None, ("12", "there is no such call")),
        ("nothing", None, ("12", "there is no such call")),
    ],
)
def test_what_is_refused_has_a_code_and_a_text(
    stack: Stack, method: str, token: str | None, expected: tuple[str, str]
) -> None:
    shown = {} if token == "" else {"authorization": f"Bearer {stack.token if token is None else token}"}
    headers, body = raw(stack, method, b"", shown)
    assert body == b""
    assert headers["content-type"] == "application/grpc-web+proto"
    assert headers["grpc-status"] == expected[0]
    assert headers["grpc-message"].startswith(expected[1])
