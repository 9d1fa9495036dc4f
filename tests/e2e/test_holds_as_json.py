"""Holds as JSON through the gateway, from the card at the desk to the bill, with the wallet's own view of them."""

from typing import Any
from uuid import uuid4

from tests.kit.stack import Answer, Stack

Json = dict[str, Any]


def usd(minor_units: int) -> Json:
    return {"currencyCode": "USD", "minorUnits": str(minor_units)}


def call(stack: Stack, path: str, body: Json) -> Answer:
    return stack.call("POST", f"/v1/{path}", body, headers={"idempotency-key": uuid4().hex})


def done(stack: Stack, path: str, body: Json) -> Json:
    answer = call(stack, path, body)
    assert answer.status == 200, answer.body
    told: Json = answer.body
    return told


def wallet(stack: Stack, balance: int = 0) -> str:
    name: str = stack.call("POST", f"/v1/wallets?walletId={uuid4()}", {"currencyCode": "USD"}).body["wallet"]["name"]
    if balance:
        done(stack, f"{name}:deposit", {"amount": usd(balance)})
    return name


def placed(stack: Stack, source: str, destination: str, amount: int, **more: object) -> Json:
    hold: Json = done(stack, "holds", {"source": source, "destination": destination, "amount": usd(amount), **more})[
        "hold"
    ]
    return hold


def amounts(stack: Stack, name: str) -> tuple[int, int, int]:
    """What is posted, held and available, by the wallet service's word."""
    balance = stack.call("GET", f"/v1/{name}").body["wallet"]["balance"]
    posted, held, available = (int(balance[part]["minorUnits"]) for part in ("posted", "held", "available"))
    return posted, held, available


def test_a_stay_is_reserved_captured_in_parts_and_settled(stack: Stack) -> None:
    guest, hotel = wallet(stack, 10_000), wallet(stack)
    hold = placed(stack, guest, hotel, 6_000, ttl="86400s", labels={"room": "7"}, externalReference="booking-7")
    assert (hold["state"], hold["captured"], hold["labels"]) == ("HOLD_STATE_OPEN", usd(0), {"room": "7"})
    assert amounts(stack, guest) == (10_000, 6_000, 4_000)
    assert stack.call("GET", f"/v1/{hold['name']}").body == {"hold": hold}
    assert stack.call("GET", f"/v1/holds?wallet={hotel}&state=HOLD_STATE_OPEN").body["holds"] == [hold]

    night = done(stack, f"{hold['name']}:capture", {"amount": usd(2_000)})
    assert night["transaction"]["kind"] == "TRANSACTION_KIND_CAPTURE"
    bill = done(stack, f"{hold['name']}:capture", {"amount": usd(1_500), "final": True})
    assert (bill["hold"]["state"], bill["hold"]["released"]) == ("HOLD_STATE_CAPTURED", usd(2_500))
    assert (amounts(stack, guest), amounts(stack, hotel)) == ((6_500, 0, 6_500), (3_500, 0, 3_500))

    late = call(stack, f"{hold['name']}:release", {})
    assert (late.status, late.body["details"][0]["reason"]) == (400, "HOLD_CAPTURED")


def test_holds_are_released_one_by_one_and_in_bulk(stack: Stack) -> None:
    guest, hotel = wallet(stack, 100), wallet(stack)
    first, second = (placed(stack, guest, hotel, 50)["name"] for _ in range(2))
    assert done(stack, f"{first}:release", {})["hold"]["state"] == "HOLD_STATE_RELEASED"
    answer = stack.call("POST", "/v1/holds:release", {"source": guest})
    assert (answer.status, answer.body) == (200, {"released": [second], "more": False})
    assert amounts(stack, guest) == (100, 0, 100)


def test_what_is_not_there_and_what_is_not_said(stack: Stack) -> None:
    unknown = stack.call("GET", "/v1/holds/00000000-0000-0000-0000-000000000000")
    assert (unknown.status, unknown.body["details"][0]["reason"]) == (404, "HOLD_NOT_FOUND")
    everything = stack.call("POST", "/v1/holds:release", {})
    assert (everything.status, everything.body["details"][0]["reason"]) == (400, "INVALID_FIELD")
