"""Requests that a reader can send as they stand, and what an error looks like."""

import re
from typing import Any, Final

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from proto.openapi.contract import Contract, message_of

SAMPLES: Final[dict[str, Any]] = {
    "amount": {"currencyCode": "USD", "minorUnits": "1050"},
    "currency_code": "USD",
    "destination": "wallets/bob",
    "postings": [
        {"account": "wallets/alice", "amount": {"currencyCode": "USD", "minorUnits": "-1050"}},
        {"account": "wallets/bob", "amount": {"currencyCode": "USD", "minorUnits": "1050"}},
    ],
    "source": "wallets/alice",
    "url": "https://shop.example/webhooks",
}
"""By the name of a field."""
SOURCE_FILTER: Final = "filter.required"
"""The rule of requests that are about whatever matches: the example names a source."""


def body(contract: Contract, message: Descriptor, needed: frozenset[str], without: frozenset[str]) -> dict[str, Any]:
    """What the request must say, and its request id if it takes one. `needed`: fields that the place of use asks for;
    `without`: those that the path says."""
    rules = contract.message_rules(message.full_name)
    filtered = rules is not None and any(rule.id == SOURCE_FILTER for rule in rules.cel)
    shown: dict[str, Any] = {}
    for field in message.fields:
        required = "REQUIRED" in contract.behaviour(field.full_name) or field.json_name in needed
        if field.name not in without and (required or (filtered and field.name == "source")):
            is_key = field.name == "request_id"
            shown[field.json_name] = f"my-{_words(message)}-1" if is_key else _value(contract, field)
    return shown


def _words(message: Descriptor) -> str:
    """`capture-hold` of CaptureHoldRequest."""
    return re.sub(r"(?<!^)(?=[A-Z])", "-", message.name.removesuffix("Request")).lower()


def _value(contract: Contract, field: FieldDescriptor) -> Any:  # noqa: ANN401 - JSON
    if field.name in SAMPLES:
        return SAMPLES[field.name]
    if field.message_type is None:
        raise SystemExit(f"{field.full_name} is required: give it a sample in proto/openapi/examples.py")
    item = body(contract, message_of(field), frozenset(), frozenset())
    return [item] if field.is_repeated else item


def status(code: int, reason: str, message: str) -> dict[str, Any]:
    """A google.rpc.Status."""
    info = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason, "domain": "specie", "metadata": {}}
    return {"code": code, "message": message, "details": [info]}
