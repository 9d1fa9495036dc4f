"""gateway/openapi.json by itself: a valid document of OpenAPI 3.1, and complete."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator, validate

from service_kit.status import CODES
from specie_cli.stack.local_replies import REFUSALS
from tests.kit.rpcs import all_rpcs
from tests.kit.stack import ROOT

TEXT = (ROOT / "gateway" / "openapi.json").read_text()
DOCUMENT: dict[str, Any] = json.loads(TEXT)
SCHEMAS: dict[str, dict[str, Any]] = DOCUMENT["components"]["schemas"]
OPERATIONS = {
    operation["operationId"]: operation for verbs in DOCUMENT["paths"].values() for operation in verbs.values()
}
MONEY_INPUT = {"currencyCode": "USD", "minorUnits": "1"}
TRANSFER = {"source": "wallets/a", "destination": "wallets/b", "amount": MONEY_INPUT}


def is_valid(component: str, value: object) -> bool:
    schema = {"$ref": f"#/components/schemas/{component}", "components": DOCUMENT["components"]}
    return Draft202012Validator(schema).is_valid(value)


def responses_of(operation: dict[str, Any]) -> Iterator[tuple[int, dict[str, Any]]]:
    for status, response in operation["responses"].items():
        name = response.get("$ref", "").rpartition("/")[2]
        yield int(status), DOCUMENT["components"]["responses"][name] if name else response


def reasons_of(operation: dict[str, Any]) -> dict[int, set[str]]:
    found: dict[int, set[str]] = {}
    for status, response in responses_of(operation):
        schema = response["content"].get("application/json", {}).get("schema", {})
        if schema.get("$ref", "").endswith("/Status"):
            found[status] = set(schema["properties"]["details"]["contains"]["properties"]["reason"]["enum"])
    return found


def test_it_is_valid() -> None:
    validate(DOCUMENT, cls=OpenAPIV31SpecValidator)
    assert DOCUMENT["openapi"].startswith("3.1.")


@pytest.mark.parametrize("name", SCHEMAS)
def test_every_schema_is_json_schema_2020_12(name: str) -> None:
    Draft202012Validator.check_schema(SCHEMAS[name])


def test_every_example_is_as_its_schema_says() -> None:
    bodies = [operation["requestBody"] for operation in OPERATIONS.values() if "requestBody" in operation]
    failures = [
        response for operation in OPERATIONS.values() for status, response in responses_of(operation) if status != 200
    ]
    for told in (*bodies, *failures):
        content = told["content"]["application/json"]
        Draft202012Validator(content["schema"] | {"components": DOCUMENT["components"]}).validate(content["example"])


def test_every_public_call_is_in_it_and_no_internal_one() -> None:
    calls = {rpc.descriptor.name for rpc in all_rpcs() if rpc.bindings}
    assert OPERATIONS.keys() == calls | {"CloseWallet_delete"}
    assert "AccountService" not in TEXT
    assert "PayoutProvider" not in TEXT
    assert not re.search(r"\bAccount(Kind|State)?\b", json.dumps(list(SCHEMAS)))


def test_every_operation_says_what_it_does_and_how_it_can_be_refused() -> None:
    for name, operation in OPERATIONS.items():
        assert operation["summary"], name
        told = reasons_of(operation)
        for status, reasons in told.items():
            assert reasons <= CODES.keys(), (name, status)
        assert {200, 400, 429, 431, 500, 503, 504} <= {status for status, _ in responses_of(operation)}, name


def test_what_the_gateway_itself_refuses_is_in_it() -> None:
    transfer = reasons_of(OPERATIONS["Transfer"]) | {404: reasons_of(OPERATIONS["GetWallet"])[404]}
    for refusal in REFUSALS:
        assert refusal.reason in transfer[refusal.answer or refusal.http], refusal


def test_the_reasons_are_those_of_the_comments() -> None:
    transfer, deposit = reasons_of(OPERATIONS["Transfer"]), reasons_of(OPERATIONS["Deposit"])
    assert {"INSUFFICIENT_FUNDS", "SOURCE_FROZEN", "SAME_WALLET"} <= transfer[400]
    assert transfer[404] == {"SOURCE_NOT_FOUND", "DESTINATION_NOT_FOUND"}
    assert transfer[409] == {"REQUEST_ID_REUSED", "CONTENTION"}
    assert transfer[429] == {"OVERLOADED", "RATE_LIMITED", "TOO_MANY_PENDING"}
    assert deposit[400] - transfer[400] == {"NOT_A_PROVIDER"}
    assert "TOO_MANY_PENDING" not in deposit[429]
    hold = reasons_of(OPERATIONS["PlaceHold"])
    assert {"EXPIRE_TIME_PASSED", "CURRENCY_MISMATCH"} <= hold[400]
    assert reasons_of(OPERATIONS["GetHealth"]).keys().isdisjoint({401, 403})


def test_the_scope_of_a_call_is_named() -> None:
    assert OPERATIONS["Transfer"]["security"] == [{"bearerAuth": ["transfers.write"]}]
    assert "trusted" in OPERATIONS["UnfreezeWallet"]["description"].rpartition("\n")[2]
    assert OPERATIONS["GetHealth"]["security"] == []


@pytest.mark.parametrize(
    ("component", "value", "valid"),
    [
        ("TransferRequest", TRANSFER, True),
        ("TransferRequest", {"source": "wallets/a", "amount": MONEY_INPUT}, False),
        ("TransferRequest", TRANSFER | {"source": "wallets/A"}, False),
        ("TransferRequest", TRANSFER | {"requestId": ""}, False),
        ("TransferRequest", TRANSFER | {"amount": {"currencyCode": "USD", "minorUnits": "0"}}, False),
        ("TransferRequest", TRANSFER | {"amount": {"currencyCode": "USD", "minorUnits": 1}}, True),
        ("TransferRequest", TRANSFER | {"amount": {"currencyCode": "USD", "minorUnits": 1.5}}, False),
        ("TransferRequest", TRANSFER | {"amount": {"currencyCode": "USD", "minorUnits": 2**53}}, False),
        ("TransferRequest", TRANSFER | {"amount": {"currencyCode": "USD", "minorUnits": str(2**53)}}, True),
        ("TransferRequest", TRANSFER | {"amount": {"minorUnits": "1"}}, False),
        ("TransferRequest", TRANSFER | {"labels": {"a": "b"}}, True),
        ("TransferRequest", TRANSFER | {"labels": {"A": "b"}}, False),
        ("TransferRequest", TRANSFER | {"labels": {f"l{n}": "" for n in range(65)}}, False),
        ("TransferRequest", TRANSFER | {"mode": "ASYNC"}, False),
        ("TransferRequest", TRANSFER | {"mode": "TRANSFER_MODE_ASYNC"}, True),
        ("TransferRequest", TRANSFER | {"description": "\x00"}, False),
        ("TransferRequest", TRANSFER | {"fee": {"basisPoints": 10}}, True),
        ("TransferRequest", TRANSFER | {"fee": {"basisPoints": 10, "minorUnits": "1"}}, False),
        ("TransferRequest", TRANSFER | {"fee": {}}, False),
        ("TransferRequest", TRANSFER | {"fee": {"basisPoints": 10_001}}, False),
        ("TransferRequest", TRANSFER | {"": 1}, False),
        ("PlaceHoldRequest", TRANSFER | {"ttl": "5s"}, True),
        ("PlaceHoldRequest", TRANSFER | {"ttl": "5s", "expireTime": "2999-01-01T00:00:00Z"}, False),
        ("PlaceHoldRequest", TRANSFER | {"ttl": "5 seconds"}, False),
        ("BatchTransferRequest", {"transfers": []}, False),
        ("PostTransactionRequest", {"postings": [{"account": "wallets/a", "amount": MONEY_INPUT}]}, False),
        # What is answered is told without the rules for what is asked, and all of it is there.
        ("Posting", {"account": "system/fees-usd", "amount": {"currencyCode": "USD", "minorUnits": "-1"}}, True),
        ("Money", {"currencyCode": "USD", "minorUnits": 1}, False),
        ("Money", {"currencyCode": "USD"}, False),
    ],
)
def test_the_rules_of_the_contract_are_limits(component: str, value: object, valid: bool) -> None:
    assert is_valid(component, value) is valid


def test_names_in_paths_are_their_last_part() -> None:
    parameters = {
        p["name"]: p["schema"]
        for p in DOCUMENT["paths"]["/v1/wallets/{wallet}:deposit"]["post"]["parameters"]
        if "name" in p
    }
    assert parameters["wallet"] == {"type": "string", "pattern": "^[a-z0-9-]{1,63}$"}
    assert "wallet" not in SCHEMAS["DepositRequest"]["properties"]
    assert "name" not in SCHEMAS["WalletInput"]["properties"]
    assert SCHEMAS["Wallet"]["properties"]["name"]["readOnly"]
