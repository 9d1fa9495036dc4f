"""What a webhook tells of a transaction is, to the letter, what the gateway answers for it."""

from typing import Any
from uuid import uuid4

from tests.kit.receiver import Receiver
from tests.kit.stack import Stack
from tests.kit.till import usd


def test_a_webhook_has_the_json_of_the_api(stack: Stack) -> None:
    alice, bob = (f"wallets/{uuid4()}" for _ in range(2))
    with Receiver() as receiver:
        for wallet in (alice, bob):
            stack.call("POST", f"/v1/wallets?walletId={wallet.removeprefix('wallets/')}", {"currencyCode": "USD"})
        wish = {"url": receiver.url, "wallet": alice}
        receiver.secret = stack.call("POST", "/v1/webhookEndpoints", wish).body["secret"]
        paid: dict[str, Any] = {
            "source": alice,
            "destination": bob,
            "labels": {"order": "7"},
            "description": "Zürich, 7 €",
        }
        calls: list[tuple[str, dict[str, Any]]] = [
            (f"{alice}:deposit", {"amount": usd(100)}),
            ("transfers", paid | {"amount": usd(10), "fee": {"basisPoints": 1000}}),
            ("transfers", paid | {"amount": usd(10_000)}),
            ("holds", {"source": alice, "destination": bob, "amount": usd(5)}),
        ]
        for path, body in calls:
            assert stack.call("POST", f"/v1/{path}", body | {"requestId": uuid4().hex}).status == (
                400 if body["amount"] == usd(10_000) else 200
            )
        told = [got.body["data"]["transaction"] for got in receiver.wait_for(len(calls))]
    assert {one["state"] for one in told} == {"TRANSACTION_STATE_POSTED", "TRANSACTION_STATE_FAILED"}
    for one in told:
        assert one == stack.call("GET", f"/v1/{one['name']}").body["transaction"]
