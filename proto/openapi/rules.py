"""The contract's rules (protovalidate) as limits of JSON Schema 2020-12."""

import re
from collections.abc import Iterator
from typing import Any, Final

from proto.openapi.contract import Rules

Schema = dict[str, Any]

INT64_EXACT_MAX: Final = 2**53 - 1
"""The largest whole number that every JSON reader keeps exact (RFC 8259, section 6). Larger ones go as strings."""

_NOT_EMPTY = re.compile(r"this\.(\w+) != ''")
_POSITIVE = re.compile(r"this\.(\w+) > 0")
POSITIVE_INT64: Final = "^0*[1-9][0-9]{0,18}$"


def limits(rules: Rules | None) -> Schema:
    """What buf.validate.FieldRules say of a value, as keywords beside its `type`.

    A rule without a counterpart here is an error, so that none is lost without a word."""
    if rules is None or rules.WhichOneof("type") is None:
        return {}
    kind = rules.WhichOneof("type")
    said = getattr(rules, kind)
    if kind == "string":
        return _renamed(said, {"pattern": "pattern", "min_len": "minLength", "max_len": "maxLength"})
    if kind in ("int32", "int64"):
        return _renamed(said, {"gte": "minimum", "lte": "maximum", "gt": "exclusiveMinimum", "lt": "exclusiveMaximum"})
    if kind == "repeated":
        return _renamed(said, {"min_items": "minItems", "max_items": "maxItems", "unique": "uniqueItems"}, ("items",))
    if kind == "map":
        return _renamed(said, {"min_pairs": "minProperties", "max_pairs": "maxProperties"}, ("keys", "values"))
    if kind == "enum":
        # Only names are in the schema, and each is of a defined value.
        return _renamed(said, {}, ("defined_only",))
    if kind == "duration":
        return {}
    raise SystemExit(f"buf.validate rules of the kind {kind} have no counterpart in proto/openapi/rules.py")


def _renamed(said: Rules, names: dict[str, str], elsewhere: tuple[str, ...] = ()) -> Schema:
    found: Schema = {}
    for field, value in said.ListFields():
        if field.name in names:
            found[names[field.name]] = value
        elif field.name not in elsewhere:
            raise SystemExit(f"{said.DESCRIPTOR.full_name}.{field.name} has no counterpart in proto/openapi/rules.py")
    return found


def refuses_empty(limited: Schema) -> bool:
    """Whether a field that is left out, which is the same as an empty one, breaks these limits."""
    too_short = limited.get("minLength", 0) > 0 or limited.get("minItems", 0) > 0 or limited.get("minimum", 0) > 0
    return too_short or ("pattern" in limited and re.search(limited["pattern"], "") is None)


def int64(limited: Schema) -> Schema:
    """A request's int64: a string, or a whole number that is exact everywhere. Of a string only the sign is checked."""
    least = max(limited.get("minimum", -INT64_EXACT_MAX), -INT64_EXACT_MAX)
    most = min(limited.get("maximum", INT64_EXACT_MAX), INT64_EXACT_MAX)
    pattern = "^-?[0-9]{1,19}$" if least < 0 else "^[0-9]{1,19}$" if least == 0 else POSITIVE_INT64
    either = {"type": ["string", "integer"], "format": "int64", "pattern": pattern}
    return either | limited | {"minimum": least, "maximum": most}


def told(rules: Rules | None) -> Iterator[str]:
    """The rules that JSON Schema cannot express, in words."""
    if rules is None:
        return
    for rule in rules.cel:
        yield f"Rule `{rule.id}`: {rule.message}."


def within(rules: Rules | None, json_names: dict[str, str]) -> Schema:
    """What the rules at a field ask of the message in it, as keywords beside a reference to its component.

    `json_names`: of the message's fields; empty for one that is not in the component."""
    properties: Schema = {}
    for rule in rules.cel if rules is not None else ():
        if match := _NOT_EMPTY.fullmatch(rule.expression):
            properties[json_names[match[1]]] = {"minLength": 1}
        elif match := _POSITIVE.fullmatch(rule.expression):
            properties[json_names[match[1]]] = {"pattern": POSITIVE_INT64, "minimum": 1}
    known = {name: asked for name, asked in properties.items() if name}
    return {"properties": known, "required": list(known)} if known else {}
