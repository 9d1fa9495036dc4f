"""The ledger's calls as JSON through the gateway: batches of any size that is allowed, compound postings, reversals."""

from typing import Any
from uuid import uuid4

import pytest

from tests.kit.stack import Stack

MANY = 5_000
MIB = 1024 * 1024
Json = dict[str, Any]


def usd(minor_units: int) -> Json:
    return {"currencyCode": "USD", "minorUnits": str(minor_units)}


def wallet(stack: Stack, balance: int = 0) -> str:
    created = stack.call("POST", f"/v1/wallets?walletId={uuid4()}", {"currencyCode": "USD"})
    name: str = created.body["wallet"]["name"]
    if balance:
        deposited = stack.call("POST", f"/v1/{name}:deposit", {"amount": usd(balance), "requestId": uuid4().hex})
        assert deposited.status == 200
    return name


def balance(stack: Stack, name: str) -> int:
    return int(stack.call("GET", f"/v1/{name}/balance").body["balance"]["posted"]["minorUnits"])


def item(source: str, destination: str, amount: int = 1, **more: Any) -> Json:  # noqa: ANN401
    asked = {"source": source, "destination": destination, "amount": usd(amount), "requestId": uuid4().hex}
    return asked | more


def post(stack: Stack, path: str, body: Json, status: int = 200) -> Json:
    answer = stack.call("POST", path, body)
    assert answer.status == status, answer.body
    told: Json = answer.body
    return told


def reason(error: Json) -> str:
    return str(error["details"][0]["reason"])


def test_a_batch_has_an_outcome_per_item(stack: Stack) -> None:
    alice, bob = wallet(stack, 10), wallet(stack)
    items = [item(alice, bob, 6), item(alice, bob, 6), item(alice, bob, 0), item(alice, bob, 4, description="rest")]
    results = post(stack, "/v1/transfers:batch", {"transfers": items})["results"]
    assert [reason(r["error"]) if "error" in r else r["transaction"]["state"] for r in results] == [
        "TRANSACTION_STATE_POSTED",
        "INSUFFICIENT_FUNDS",
        "INVALID_FIELD",
        "TRANSACTION_STATE_POSTED",
    ]
    assert results[1]["error"]["details"][0]["metadata"]["available"] == "4"
    assert results[2]["error"]["details"][1]["fieldViolations"][0]["field"] == "transfers[2].amount"
    assert results[3]["transaction"]["description"] == "rest"
    again = post(stack, "/v1/transfers:batch", {"transfers": items})["results"]
    assert [r["replayed"] for r in again] == [True, True, False, True]
    assert balance(stack, bob) == 10


def test_all_or_none_names_the_item(stack: Stack) -> None:
    alice, bob = wallet(stack, 10), wallet(stack)
    items = [item(alice, bob, 6), item(alice, bob, 6)]
    refused = post(stack, "/v1/transfers:batch", {"transfers": items, "atomic": True}, 400)
    assert (reason(refused), refused["details"][0]["metadata"]["item"]) == ("INSUFFICIENT_FUNDS", "1")
    assert balance(stack, alice) == 10


def test_5000_transfers_with_the_longest_texts_fit(stack: Stack) -> None:
    """As bytes the texts are as long as they can be without other alphabets, and the answer's are six times longer."""
    alice, bob = wallet(stack, MANY), wallet(stack)
    texts: Json = {"description": "<" * 500, "externalReference": ">" * 128}
    body = {"transfers": [item(alice, bob, labels={"note": "<" * 100}, **texts) for _ in range(MANY)]}
    results = post(stack, "/v1/transfers:batch", body)["results"]
    assert len(results) == MANY
    assert {r["transaction"]["description"] for r in results} == {"<" * 500}
    assert [r["transaction"]["requestId"] for r in results] == [t["requestId"] for t in body["transfers"]]
    assert balance(stack, bob) == MANY


def test_16_mib_of_other_alphabets_fit(stack: Stack) -> None:
    alice, bob = wallet(stack, MANY), wallet(stack)
    texts: Json = {"description": "\u20ac" * 500, "externalReference": "\u20ac" * 128}
    items = [item(alice, bob, **texts) for _ in range(MANY)]
    raw = str({"transfers": items}).replace("'", '"').encode()
    assert 10 * MIB < len(raw) < 16 * MIB
    answer = stack.call("POST", "/v1/transfers:batch", raw=raw)
    assert answer.status == 200
    assert {r["transaction"]["state"] for r in answer.body["results"]} == {"TRANSACTION_STATE_POSTED"}


@pytest.mark.parametrize("count", [0, MANY + 1])
def test_no_fewer_than_1_and_no_more_than_5000(stack: Stack, count: int) -> None:
    refused = post(stack, "/v1/transfers:batch", {"transfers": [{}] * count}, 400)
    assert reason(refused) == "INVALID_FIELD"
    assert refused["details"][1]["fieldViolations"][0]["field"] == "transfers"


def test_null_among_the_transfers_is_none(stack: Stack) -> None:
    """Envoy drops it; docs/operations.md tells so."""
    alice, bob = wallet(stack, 10), wallet(stack)
    body: Json = {"transfers": [item(alice, bob, 1), None, item(alice, bob, 2)]}
    assert len(post(stack, "/v1/transfers:batch", body)["results"]) == 2
    assert balance(stack, bob) == 3


def test_a_compound_transaction_and_its_reversal(stack: Stack) -> None:
    alice, bob, carol = wallet(stack, 100), wallet(stack), wallet(stack)
    postings = [
        {"account": alice, "amount": usd(-100)},
        {"account": bob, "amount": usd(70)},
        {"account": carol, "amount": usd(30)},
    ]
    told = post(stack, "/v1/transactions", {"postings": postings, "requestId": uuid4().hex})["transaction"]
    assert (told["kind"], told["postings"]) == ("TRANSACTION_KIND_COMPOUND", postings)
    back = post(stack, f"/v1/{told['name']}:reverse", {"requestId": uuid4().hex})["transaction"]
    assert (back["kind"], back["reverses"]) == ("TRANSACTION_KIND_REVERSAL", told["name"])
    assert [balance(stack, name) for name in (alice, bob, carol)] == [100, 0, 0]
    unbalanced = {"postings": postings[:2], "requestId": uuid4().hex}
    refused = post(stack, "/v1/transactions", unbalanced, 400)
    assert refused["details"][1]["fieldViolations"][0]["field"] == "postings"


def test_a_fee_and_a_part_that_goes_back(stack: Stack) -> None:
    alice, bob, house = wallet(stack, 1_000), wallet(stack), wallet(stack)
    fee = {"basisPoints": 250, "destination": house}
    told = post(stack, "/v1/transfers", item(alice, bob, 100, fee=fee))["transaction"]
    assert (told["fee"], told["feeDestination"]) == (usd(2), house)
    post(stack, f"/v1/{told['name']}:reverse", {"amount": usd(40), "requestId": uuid4().hex})
    assert [balance(stack, name) for name in (alice, bob, house)] == [938, 60, 2]


def test_an_async_transfer_is_taken_back(stack: Stack) -> None:
    alice, bob = wallet(stack, 10), wallet(stack)
    later = {"mode": "TRANSFER_MODE_ASYNC", "executeTime": "2100-01-01T00:00:00Z"}
    told = post(stack, "/v1/transfers", item(alice, bob, 10, **later))["transaction"]
    assert (told["state"], told["executeTime"]) == ("TRANSACTION_STATE_PENDING", "2100-01-01T00:00:00Z")
    cancelled = post(stack, f"/v1/{told['name']}:cancel", {})["transaction"]
    assert (cancelled["state"], reason(cancelled["error"])) == ("TRANSACTION_STATE_FAILED", "TRANSFER_CANCELLED")
    posted = post(stack, "/v1/transfers", item(alice, bob, 10))["transaction"]
    refused = post(stack, f"/v1/{posted['name']}:cancel", {}, 400)
    assert reason(refused) == "NOT_PENDING"
