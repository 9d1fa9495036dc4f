"""The OpenAPI document against the gateway: whatever it allows, and what it does not, is answered as it says."""

import json
from typing import Any

import pytest
import schemathesis
from jsonschema import Draft202012Validator
from schemathesis.checks import not_a_server_error
from schemathesis.core import NOT_SET
from schemathesis.specs.openapi import checks

from tests.kit.events import events
from tests.kit.house import CURRENCY, House
from tests.kit.stack import ROOT, Stack

DOCUMENT = ROOT / "gateway" / "openapi.json"
TOLD: dict[str, Any] = json.loads(DOCUMENT.read_text())
OPERATIONS = {
    operation["operationId"]: (path, verb, operation)
    for path, verbs in TOLD["paths"].items()
    for verb, operation in verbs.items()
}
STREAM = "WatchTransactions"
REPORT, BLOCKS = "ReportEntries", "ReadBlocks"
"""Streams that end."""
STREAMS = {STREAM, REPORT, BLOCKS}
NO_UUID = "00000000-0000-0000-0000-000000000000"
EXAMPLES = 3
"""At random, for each operation, beside those that try its parameters out one after the other."""

# Good and bad requests, the same at each run. Other methods at the same paths are no business of the document.
CONFIG = {
    "generation": {"max-examples": EXAMPLES, "deterministic": True, "no-shrink": True, "database": "none"},
    "phases": {"coverage": {"unexpected-methods": []}},
}
schema = schemathesis.openapi.from_path(DOCUMENT, config=schemathesis.Config.from_dict(CONFIG))
calls = schema.exclude(operation_id=list(STREAMS))

CHECKS = [
    not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
    checks.response_headers_conformance,
]


@pytest.fixture(scope="module")
def house(stack: Stack) -> House:
    return House(stack)


@calls.parametrize()
def test_every_answer_is_documented(case: schemathesis.Case[Any], stack: Stack, house: House) -> None:
    house.tame(case)
    response = case.call(base_url=stack.gateway, headers={"authorization": f"Bearer {next(house.callers)}"})
    case.validate_response(response, checks=CHECKS)


def test_a_success_of_every_call_is_documented(stack: Stack, house: House) -> None:
    wallet, other, new = house.wallet_id(0), house.wallet_id(1), f"{house.key()}-new"
    transfer, hold = house.transfer(), house.hold()
    pending = house.transfer(mode="TRANSFER_MODE_ASYNC", executeTime="2999-01-01T00:00:00Z")
    amount, limits = {"amount": house.money(7)}, {"maxMinorUnitsPerDay": 10**6, "timeZone": "Europe/Berlin"}
    fee = {"fee": {"basisPoints": 2500, "mode": "FEE_MODE_INCLUDED"}}
    postings = [
        {"account": f"wallets/{wallet}", "amount": house.money(-3)},
        {"account": f"wallets/{other}", "amount": house.money(3)},
    ]
    payout, endpoint, old = house.payout(), house.endpoint(), house.endpoint()
    delivery = house.delivery(endpoint)
    house.seal(transfer)
    webhook = {"url": "http://127.0.0.1:9/", "eventTypes": ["transaction.posted"], "wallet": f"wallets/{other}"}
    asked: list[tuple[str, dict[str, str], dict[str, Any], Any]] = [
        ("GetHealth", {}, {}, None),
        ("CreateWallet", {}, {"walletId": new}, {"currencyCode": CURRENCY, "labels": {"a": "b"}, "limits": limits}),
        ("GetWallet", {"wallet": wallet}, {}, None),
        ("BatchGetWallets", {}, {"names": [f"wallets/{wallet}", f"wallets/{new}"]}, None),
        ("ListWallets", {}, {"state": "WALLET_STATE_ACTIVE", "pageSize": 2}, None),
        ("UpdateWallet", {"wallet": new}, {"updateMask": "displayName"}, {"displayName": "New"}),
        ("FreezeWallet", {"wallet": new}, {}, {}),
        ("UnfreezeWallet", {"wallet": new}, {}, {}),
        ("CloseWallet", {"wallet": new}, {}, {}),
        ("CloseWallet_delete", {"wallet": new}, {}, None),
        ("Deposit", {"wallet": wallet}, {}, amount),
        ("Withdraw", {"wallet": wallet}, {}, amount | fee),
        ("Transfer", {}, {}, house.movement(**fee)),
        ("BatchTransfer", {}, {}, {"transfers": [house.movement(requestId=house.key()), {"source": "nobody"}]}),
        ("PostTransaction", {}, {}, {"postings": postings, "labels": {"a": "b"}}),
        ("ReverseTransaction", {"transaction": transfer}, {}, {"amount": house.money(1)}),
        ("CancelTransaction", {"transaction": pending}, {}, {}),
        ("GetTransaction", {"transaction": pending}, {}, None),
        ("ListTransactions", {}, {"wallet": f"wallets/{wallet}", "startTime": "2020-01-01T00:00:00Z"}, None),
        ("PlaceHold", {}, {}, house.movement(ttl="3600s")),
        ("CaptureHold", {"hold": hold}, {}, {"amount": house.money(1)}),
        ("GetHold", {"hold": hold}, {}, None),
        ("ListHolds", {}, {"state": "HOLD_STATE_OPEN"}, None),
        ("ReleaseHold", {"hold": hold}, {}, {"description": "done"}),
        ("ReleaseHolds", {}, {}, {"source": f"wallets/{wallet}"}),
        ("ListEntries", {"wallet": wallet}, {"order": "ENTRY_ORDER_NEWEST_FIRST"}, None),
        ("GetBalance", {"wallet": wallet}, {}, None),
        ("ListWalletActs", {}, {"wallet": f"wallets/{new}", "act": "FREEZE"}, None),
        ("ListAuditRecords", {}, {"wallet": f"wallets/{wallet}", "pageSize": 3}, None),
        ("GetCheckpoint", {}, {}, None),
        ("GetInclusionProof", {"transaction": transfer}, {}, None),
        ("ListSealKeys", {}, {}, None),
        ("CheckIntegrity", {}, {"wallet": f"wallets/{wallet}"}, None),
        ("GetPayout", {"payout": payout}, {}, None),
        ("ListPayouts", {}, {"wallet": f"wallets/{wallet}"}, None),
        ("RetryPayout", {"payout": payout}, {}, {}),
        ("CreateWebhookEndpoint", {}, {}, webhook),
        ("GetWebhookEndpoint", {"webhookEndpoint": endpoint}, {}, None),
        ("ListWebhookEndpoints", {}, {}, None),
        ("UpdateWebhookEndpoint", {"webhookEndpoint": endpoint}, {"updateMask": "description"}, {"description": "New"}),
        ("RotateWebhookSecret", {"webhookEndpoint": endpoint}, {}, {}),
        ("DisableWebhookEndpoint", {"webhookEndpoint": endpoint}, {}, {}),
        ("EnableWebhookEndpoint", {"webhookEndpoint": endpoint}, {}, {}),
        ("ReplayWebhookEndpoint", {"webhookEndpoint": endpoint}, {}, {}),
        ("ListWebhookDeliveries", {}, {"endpoint": f"webhookEndpoints/{endpoint}"}, None),
        ("RedeliverWebhook", {"webhookDelivery": delivery}, {}, {}),
        ("DeleteWebhookEndpoint", {"webhookEndpoint": old}, {}, None),
        ("ListActs", {}, {"subject": f"webhookEndpoints/{endpoint}"}, None),
    ]
    assert {name for name, *_ in asked} == OPERATIONS.keys() - STREAMS
    for name, path_parameters, query, body in asked:
        path, verb, _ = OPERATIONS[name]
        case = schema[path][verb.upper()].Case(
            path_parameters=path_parameters,
            query=query,
            headers={"idempotency-key": house.key()},
            body=NOT_SET if body is None else body,
            media_type=None if body is None else "application/json",
        )
        response = case.call(base_url=stack.gateway, headers={"authorization": f"Bearer {stack.token}"})
        assert response.status_code == 200, (name, response.content)
        case.validate_response(response, checks=CHECKS)


@pytest.mark.parametrize("name", OPERATIONS)
def test_the_document_says_which_calls_need_a_token(stack: Stack, name: str) -> None:
    path, verb, operation = OPERATIONS[name]
    for parameter in ("wallet", "hold", "transaction", "payout", "webhookEndpoint", "webhookDelivery"):
        path = path.replace(f"{{{parameter}}}", NO_UUID)
    answer = stack.call(verb.upper(), path, {} if "requestBody" in operation else None, token="")
    assert (answer.status == 401) is bool(operation["security"])
    assert ("401" in operation["responses"]) is bool(operation["security"])


def event_of(name: str) -> Draft202012Validator:
    """What the document says of this stream's events."""
    content = OPERATIONS[name][2]["responses"]["200"]["content"]["text/event-stream"]["schema"]
    return Draft202012Validator({"$ref": content["contentSchema"]["$ref"], "components": TOLD["components"]})


def test_the_events_of_a_report_are_as_documented_and_end(stack: Stack, house: House) -> None:
    house.transfer()
    case = schema[OPERATIONS[REPORT][0]]["GET"].Case(path_parameters={"wallet": house.wallet_id(0)})
    response = case.call(base_url=stack.gateway, headers={"authorization": f"Bearer {stack.token}"})
    assert (response.status_code, response.headers["content-type"]) == (200, ["text/event-stream"])
    lines = response.text.split("\n\n")
    assert lines.pop() == ""
    # Without ids: a browser that came back with one would be sent the whole report again.
    assert all(line.startswith("data: ") for line in lines)
    first, *middle, last = [json.loads(line.removeprefix("data: ")) for line in lines]
    for each in (first, *middle, last):
        event_of(REPORT).validate(each)
    opening, closing = first["opening"], last["closing"]
    amounts = [int(entry["amount"]["minorUnits"]) for each in middle for entry in each["entries"]]
    assert len(amounts) == int(opening["entryCount"]) == int(closing["entryCount"])
    assert int(opening["balance"]["minorUnits"]) + sum(amounts) == int(closing["balance"]["minorUnits"])


def test_the_events_of_a_stream_are_as_documented(stack: Stack, house: House) -> None:
    event = event_of(STREAM)
    with events(stack, wallet=house.wallet(0)) as stream:
        coming = iter(stream)
        first = next(coming)
        house.transfer()
        second = next(coming)
    for each in (first, second):
        event.validate(each)
    assert [*first] == ["cursor"]
    assert second["transaction"]["state"] == "TRANSACTION_STATE_POSTED"
