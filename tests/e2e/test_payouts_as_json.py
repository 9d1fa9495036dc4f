"""Payouts as JSON through the gateway, with the simulator as the bank: asked for, paid, and what callers are told."""

from typing import Any
from uuid import uuid4

from tests.kit.service import wait_until
from tests.kit.stack import Answer, Stack

Json = dict[str, Any]
BANK: Json = {"provider": "simulator", "account": "DE02120300000000202051", "beneficiary": "Ann"}


def usd(minor_units: int) -> Json:
    return {"currencyCode": "USD", "minorUnits": str(minor_units)}


def call(stack: Stack, path: str, body: Json) -> Answer:
    return stack.call("POST", f"/v1/{path}", body, headers={"idempotency-key": uuid4().hex})


def funded(stack: Stack, balance: int) -> str:
    name: str = stack.call("POST", f"/v1/wallets?walletId={uuid4()}", {"currencyCode": "USD"}).body["wallet"]["name"]
    assert call(stack, f"{name}:deposit", {"amount": usd(balance)}).status == 200
    return name


def payout(stack: Stack, name: str) -> Json:
    answer = stack.call("GET", f"/v1/{name}")
    assert answer.status == 200, answer.body
    told: Json = answer.body["payout"]
    return told


def test_a_withdrawal_is_paid_out(stack: Stack) -> None:
    wallet = funded(stack, 1_000)
    answer = call(stack, f"{wallet}:withdraw", {"amount": usd(400), "description": "wages", "payout": BANK})
    assert answer.status == 200, answer.body
    out = answer.body["transaction"]
    wait_until(lambda: payout(stack, out["payout"])["state"] == "PAYOUT_STATE_PAID", "it is paid")
    told = payout(stack, out["payout"])
    assert (told["transaction"], told["wallet"], told["destination"]) == (out["name"], wallet, BANK)
    assert (told["amount"], told["attemptCount"], told["lastError"]) == (usd(400), 1, "")
    listed = stack.call("GET", f"/v1/payouts?wallet={wallet}&state=PAYOUT_STATE_PAID").body["payouts"]
    assert listed == [told]
    retried = stack.call("POST", f"/v1/{out['payout']}:retry", {})
    assert (retried.status, retried.body["payout"]) == (200, told)


def test_what_cannot_be_paid_out_is_refused(stack: Stack) -> None:
    wallet = funded(stack, 10)
    unknown = call(stack, f"{wallet}:withdraw", {"amount": usd(1), "payout": BANK | {"provider": "nobody"}})
    assert (unknown.status, unknown.body["details"][0]["reason"]) == (400, "UNKNOWN_PAYOUT_PROVIDER")
    missing = stack.call("GET", "/v1/payouts/00000000-0000-0000-0000-000000000000")
    assert (missing.status, missing.body["details"][0]["reason"]) == (404, "PAYOUT_NOT_FOUND")
