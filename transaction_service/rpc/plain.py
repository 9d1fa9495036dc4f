"""Which transfers keep the contract's rules for certain, told many times as fast as by looking at every rule.

Most items of most batches: two wallets, an amount, some words and labels. What is not certain is looked at rule by
rule. The bounds are read from the contract, so they cannot differ from its own.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

from buf.validate import validate_pb2
from specie.transaction.v1 import TransferRequest
from specie.type.v1 import Money

NAMES_CACHED: Final = 65_536
"""Of each kind."""
NAME_LENGTH_MAX: Final = 128
"""Longer than any that is valid. What callers make up must not fill the memory."""


def _all_rules(field: str, message: Any = TransferRequest) -> validate_pb2.FieldRules:
    options = message.DESCRIPTOR.fields_by_name[field].GetOptions()
    rules: validate_pb2.FieldRules = options.Extensions[validate_pb2.field]
    return rules


def _rules(field: str, message: Any = TransferRequest) -> validate_pb2.StringRules:
    return _all_rules(field, message).string


_WALLET: Final = re.compile(_rules("source").pattern)
_CURRENCY: Final = re.compile(_rules("currency_code", Money).pattern)
_DESCRIPTION_MAX: Final = _rules("description").max_len
_REFERENCE_MAX: Final = _rules("external_reference").max_len
_REQUEST_ID_MAX: Final = _rules("request_id").max_len
_LABELS: Final = _all_rules("labels").map
_LABELS_MAX: Final = _LABELS.max_pairs
_LABEL_KEY: Final = re.compile(_LABELS.keys.string.pattern)
_LABEL_VALUE_MAX: Final = _LABELS.values.string.max_len

if _rules("destination").pattern != _WALLET.pattern:
    raise RuntimeError("source and destination have different rules: look at both here")


@lru_cache(NAMES_CACHED)
def _is_wallet(name: str) -> bool:
    # Unlike the contract's expressions, Python's `$` also matches before a line feed at the end.
    return _WALLET.search(name) is not None and name.isprintable()


@lru_cache(NAMES_CACHED)
def _is_currency(code: str) -> bool:
    return _CURRENCY.search(code) is not None and code.isprintable()


@lru_cache(NAMES_CACHED)
def _is_label_key(key: str) -> bool:
    return _LABEL_KEY.search(key) is not None and key.isprintable()


def _are_labels(labels: Mapping[str, str]) -> bool:
    return len(labels) <= _LABELS_MAX and all(
        len(key) <= NAME_LENGTH_MAX and _is_label_key(key) and len(value) <= _LABEL_VALUE_MAX and value.isprintable()
        for key, value in labels.items()
    )


def is_certainly_valid(request: TransferRequest) -> bool:
    """Never true of one that breaks a rule; false of some that do not. A printable text has no control characters."""
    description, reference, request_id = request.description, request.external_reference, request.request_id
    amount, source, destination = request.amount, request.source, request.destination
    currency, labels = amount.currency_code, request.labels
    return (
        amount.minor_units > 0
        and max(len(source), len(destination), len(currency)) <= NAME_LENGTH_MAX
        and _is_wallet(source)
        and _is_wallet(destination)
        and _is_currency(currency)
        and 0 < len(request_id) <= _REQUEST_ID_MAX
        and request_id.isprintable()
        and len(description) <= _DESCRIPTION_MAX
        and "\0" not in description
        and len(reference) <= _REFERENCE_MAX
        and reference.isprintable()
        and (not labels or _are_labels(labels))
        and not request.mode
        and not request.HasField("fee")
        and not request.HasField("execute_time")
        and not request.HasField("expected_version")
    )
