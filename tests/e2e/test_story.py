"""The first story of money: two wallets, a deposit, a transfer, and what is refused."""

import json
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from specie.transaction.v1 import (
    DepositRequest,
    ListEntriesRequest,
    TransactionServiceStub,
    TransferRequest,
)
from specie.type.v1 import Money
from specie.wallet.v1 import CreateWalletRequest, GetWalletRequest, Wallet, WalletServiceStub

from tests.kit.stack import ROOT, Stack
from tests.kit.till import reason, usd

BUF_IMAGE = ROOT / "gateway" / "specie.binpb"


@pytest.fixture
def names() -> tuple[str, str]:
    """Two wallets that nobody else uses."""
    suffix = uuid4().hex[:12]
    return f"alice-{suffix}", f"bob-{suffix}"


def test_the_story_in_json(stack: Stack, names: tuple[str, str]) -> None:
    alice, bob = names
    for wallet in names:
        created = stack.call("POST", f"/v1/wallets?walletId={wallet}", {"currencyCode": "USD", "displayName": wallet})
        assert created.status == 200
        assert created.body["wallet"]["name"] == f"wallets/{wallet}"
        assert created.body["wallet"]["state"] == "WALLET_STATE_ACTIVE"

    deposit = stack.call(
        "POST", f"/v1/wallets/{alice}:deposit", {"amount": usd(10000)}, headers={"idempotency-key": f"d-{alice}"}
    )
    assert deposit.status == 200
    transfer = {"source": f"wallets/{alice}", "destination": f"wallets/{bob}", "amount": usd(2500)}
    first = stack.call("POST", "/v1/transfers", transfer, headers={"idempotency-key": f"t-{alice}"})
    assert (first.status, first.body["replayed"]) == (200, False)

    for wallet, balance in ((alice, "7500"), (bob, "2500")):
        read = stack.call("GET", f"/v1/wallets/{wallet}")
        assert read.body["wallet"]["balance"]["posted"]["minorUnits"] == balance
        assert stack.call("GET", f"/v1/wallets/{wallet}/balance").body["balance"]["available"]["minorUnits"] == balance
    entries = stack.call("GET", f"/v1/wallets/{alice}/entries").body["entries"]
    assert [(e["amount"]["minorUnits"], e["balance"]["minorUnits"]) for e in entries] == [
        ("10000", "10000"),
        ("-2500", "7500"),
    ]

    again = stack.call("POST", "/v1/transfers", transfer, headers={"x-idempotency-key": f"t-{alice}"})
    assert again.body["replayed"] is True
    assert again.body["transaction"] == first.body["transaction"]
    assert stack.call("GET", f"/v1/wallets/{alice}").body["wallet"]["balance"]["posted"]["minorUnits"] == "7500"

    reused = stack.call("POST", "/v1/transfers", {**transfer, "amount": usd(1), "requestId": f"t-{alice}"})
    assert (reused.status, reason(reused)) == (409, "REQUEST_ID_REUSED")

    overdraft = stack.call("POST", "/v1/transfers", {**transfer, "amount": usd(7501), "requestId": f"o-{alice}"})
    assert (overdraft.status, overdraft.body["code"]) == (400, 9)
    assert reason(overdraft) == "INSUFFICIENT_FUNDS"

    unknown = stack.call("GET", f"/v1/wallets/{alice}-not")
    assert (unknown.status, unknown.body["code"], reason(unknown)) == (404, 5, "WALLET_NOT_FOUND")


def test_the_story_with_python_stubs(stack: Stack, names: tuple[str, str]) -> None:
    alice, bob = (f"wallets/{name}" for name in names)
    with grpc.insecure_channel(stack.grpc) as channel:
        wallets, money = stack.authorised(WalletServiceStub(channel)), stack.authorised(TransactionServiceStub(channel))
        for wallet in names:
            wallets.CreateWallet(CreateWalletRequest(wallet_id=wallet, wallet=Wallet(currency_code="USD")))
        amount = Money(currency_code="USD", minor_units=10000)
        money.Deposit(DepositRequest(wallet=alice, amount=amount, request_id=f"d-{alice}"))
        transfer = TransferRequest(
            source=alice,
            destination=bob,
            amount=Money(currency_code="USD", minor_units=2500),
            request_id=f"t-{alice}",
        )
        assert not money.Transfer(transfer).replayed
        assert money.Transfer(transfer).replayed
        balances = [wallets.GetWallet(GetWalletRequest(name=n)).wallet.balance.posted.minor_units for n in (alice, bob)]
        assert balances == [7500, 2500]
        entries = money.ListEntries(ListEntriesRequest(wallet=alice)).entries
        assert [(e.sequence, e.amount.minor_units, e.balance.minor_units) for e in entries] == [
            (1, 10000, 10000),
            (2, -2500, 7500),
        ]

        transfer.request_id, transfer.amount.minor_units = f"o-{alice}", 7501
        with pytest.raises(grpc.RpcError) as refused:
            money.Transfer(transfer)
    assert isinstance(refused.value, grpc.Call)
    status = rpc_status.from_call(refused.value)
    assert status is not None
    assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    assert (info.domain, info.reason) == ("specie", "INSUFFICIENT_FUNDS")


def test_the_story_with_buf_curl(stack: Stack, names: tuple[str, str]) -> None:
    """An independent gRPC client, which knows the contract only from the descriptor set."""
    alice, bob = names

    def call(method: str, request: object) -> subprocess.CompletedProcess[str]:
        buf = Path(sys.executable).with_name("buf")
        command = [str(buf), "curl", "--protocol", "grpc", "--http2-prior-knowledge", "--schema", str(BUF_IMAGE)]
        command += ["-H", f"authorization: Bearer {stack.token}", "-d", json.dumps(request)]
        command.append(f"{stack.gateway}/{method}")
        return subprocess.run(command, capture_output=True, text=True, check=False)

    for wallet in names:
        request = {"walletId": wallet, "wallet": {"currencyCode": "USD"}}
        assert call("specie.wallet.v1.WalletService/CreateWallet", request).returncode == 0
    service = "specie.transaction.v1.TransactionService"
    deposit = {"wallet": f"wallets/{alice}", "amount": usd(10000), "requestId": f"d-{alice}"}
    assert call(f"{service}/Deposit", deposit).returncode == 0
    transfer = {"source": f"wallets/{alice}", "destination": f"wallets/{bob}", "amount": usd(2500)}
    transfer["requestId"] = f"t-{alice}"
    assert call(f"{service}/Transfer", transfer).returncode == 0
    assert json.loads(call(f"{service}/Transfer", transfer).stdout)["replayed"] is True
    balance = json.loads(call(f"{service}/GetBalance", {"wallet": f"wallets/{bob}"}).stdout)["balance"]
    assert balance["posted"]["minorUnits"] == "2500"
    refused = call(f"{service}/Transfer", {**transfer, "amount": usd(7501), "requestId": f"o-{alice}"})
    assert refused.returncode != 0
    assert json.loads(refused.stderr)["code"] == "failed_precondition"
