"""Messages as JSON Schema 2020-12, in the form that proto3 has as JSON and the gateway takes and prints.

What is sent and what is answered are described apart: rules hold for requests only, and an answer always has all of its
fields but those that are messages, `optional` or of a oneof. A message that occurs in both is two components, `Wallet`
and `WalletInput`.
"""

from collections.abc import Callable, Iterable
from enum import Enum, auto
from typing import Final

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor

from proto.openapi import rules
from proto.openapi.contract import Contract, Rules, message_of
from proto.openapi.rules import Schema

STATUS: Final = "google.rpc.Status"
DETAILS: Final = ("google.rpc.ErrorInfo", "google.rpc.BadRequest", "google.rpc.RetryInfo")
"""What a Status of ours can carry as google.protobuf.Any."""

WELL_KNOWN: Final[dict[str, Schema]] = {
    "google.protobuf.Timestamp": {"type": "string", "format": "date-time"},
    "google.protobuf.Duration": {"type": "string", "pattern": r"^-?[0-9]{1,12}(\.[0-9]{1,9})?s$", "examples": ["3.5s"]},
    "google.protobuf.FieldMask": {"type": "string", "examples": ["displayName,labels"]},
}


class Way(Enum):
    """Whether a message is sent or answered."""

    IN = auto()
    OUT = auto()


class Schemas:
    """The components that the operations refer to; `components` grows as they are asked for."""

    def __init__(self, contract: Contract, answers: Iterable[Descriptor]) -> None:
        self.components: Final[dict[str, Schema]] = {}
        self._contract = contract
        self._answered = _reachable([*answers, *(contract.message(name) for name in (STATUS, *DETAILS))])
        self._named: dict[str, tuple[str, Way]] = {}

    def ref(self, message: Descriptor, way: Way, without: frozenset[str] = frozenset()) -> Schema:
        """`without`: fields that are not in a body because the path says them."""
        both = way is Way.IN and message.full_name in self._answered
        name = f"{message.name}Input" if both else message.name
        key = (message.full_name, way)
        if self._named.setdefault(name, key) != key:
            raise SystemExit(f"two messages would be the component {name}: {self._named[name][0]}, {message.full_name}")
        if name not in self.components:
            self.components[name] = {}  # a message may contain itself
            self.components[name] = (
                self._status() if message.full_name == STATUS else self._object(message, way, without)
            )
        return {"$ref": f"#/components/schemas/{name}"}

    def used(self, message: Descriptor, way: Way, said: Rules | None, without: frozenset[str] = frozenset()) -> Schema:
        """As `ref`, with what the rules at the place of use (FieldRules) ask beside."""
        ref = self.ref(message, way, without)
        if way is Way.OUT:
            return ref
        names = {f.name: f.json_name if self._is_shown(f, way) else "" for f in message.fields}
        return ref | rules.within(said, names)

    def resolved(self, ref: Schema) -> Schema:
        """The component that a schema refers to."""
        return self.components[ref["$ref"].rpartition("/")[2]]

    def field(self, field: FieldDescriptor, way: Way) -> Schema:
        """One field with its description, in a body or as a parameter."""
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            schema = self._map(field, way)
        elif field.is_repeated:
            said = self._rules(field, way)
            items = said.repeated.items if said is not None and said.HasField("repeated") else None
            schema = {"type": "array", "items": self._value(field, way, items), **rules.limits(said)}
        else:
            schema = self._value(field, way, self._rules(field, way))
        described = [self._contract.comment(field.full_name), *rules.told(self._rules(field, way))]
        text = "\n\n".join(filter(None, described))
        return schema | ({"description": text} if text else {})

    def _object(self, message: Descriptor, way: Way, without: frozenset[str]) -> Schema:
        shown = [field for field in message.fields if field.name not in without and self._is_shown(field, way)]
        schema: Schema = {"type": "object"}
        text = [self._contract.comment(message.full_name)]
        if way is Way.IN:
            text += rules.told(self._contract.message_rules(message.full_name))
        schema["description"] = "\n\n".join(filter(None, text))
        schema["properties"] = {field.json_name: self._property(field, way) for field in shown}
        if way is Way.IN:
            schema["propertyNames"] = {"minLength": 1}  # all that the gateway asks of a name it does not know
        required = [field.json_name for field in shown if self._is_required(field, way)]
        if required:
            schema["required"] = required
        return schema | self._alternatives(message, way)

    def _property(self, field: FieldDescriptor, way: Way) -> Schema:
        schema = self.field(field, way)
        if way is Way.OUT and self._contract.behaviour(field.full_name) & {"OUTPUT_ONLY", "IDENTIFIER"}:
            schema["readOnly"] = True
        return schema

    def _is_shown(self, field: FieldDescriptor, way: Way) -> bool:
        """A body names nothing that only the service sets, nor what the path names."""
        return way is Way.OUT or not self._contract.behaviour(field.full_name) & {"OUTPUT_ONLY", "IDENTIFIER"}

    def _is_required(self, field: FieldDescriptor, way: Way) -> bool:
        if way is Way.OUT:
            return field.is_repeated or not field.has_presence
        if field.name == "request_id":
            return False  # it may come as the header idempotency-key instead
        if "REQUIRED" in self._contract.behaviour(field.full_name):
            return True
        return not field.has_presence and rules.refuses_empty(rules.limits(self._rules(field, way)))

    def _alternatives(self, message: Descriptor, way: Way) -> Schema:
        """Of a oneof at most one field is there, and one must be if the contract says so."""
        choices: list[Schema] = []
        for oneof in message.oneofs:
            if oneof.name.startswith("_"):
                continue  # what protoc makes of `optional`
            each: list[Schema] = [{"required": [field.json_name]} for field in oneof.fields]
            required = way is Way.OUT or self._contract.oneof_is_required(oneof.full_name)
            choices.append({"oneOf": each if required else [*each, {"not": {"anyOf": each}}]})
        if not choices:
            return {}
        return choices[0] if len(choices) == 1 else {"allOf": choices}

    def _map(self, field: FieldDescriptor, way: Way) -> Schema:
        key, value = (message_of(field).fields_by_name[part] for part in ("key", "value"))
        if key.type != FieldDescriptor.TYPE_STRING:
            raise SystemExit(f"{field.full_name}: keys of a map are strings here")
        said = self._rules(field, way)
        of_map = said.map if said is not None and said.HasField("map") else None
        values = self._value(value, way, of_map.values if of_map is not None else None)
        names = rules.limits(of_map.keys if of_map is not None else None)
        schema: Schema = {"type": "object", "additionalProperties": values, **rules.limits(said)}
        return schema | ({"propertyNames": names} if names else {})

    def _value(self, field: FieldDescriptor, way: Way, said: Rules | None) -> Schema:
        """Of a field that is not repeated, of an item, or of a map's value."""
        if field.enum_type is not None:
            return self._enum(field.enum_type)
        if field.message_type is not None:
            known = WELL_KNOWN.get(field.message_type.full_name)
            return dict(known) if known is not None else self.used(field.message_type, way, said)
        if field.type not in SCALARS:
            raise SystemExit(f"{field.full_name}: its type has no counterpart in proto/openapi/schemas.py")
        return SCALARS[field.type](way, rules.limits(said))

    def _enum(self, enum: EnumDescriptor) -> Schema:
        if enum.name not in self.components:
            told = {v.name: self._contract.comment(f"{enum.full_name}.{v.name}") for v in enum.values}
            values = "\n".join(f"- `{name}`: {text}" for name, text in told.items())
            text = f"{self._contract.comment(enum.full_name)} Spelt in full.\n\n{values}"
            self.components[enum.name] = {"type": "string", "description": text, "enum": list(told)}
        return {"$ref": f"#/components/schemas/{enum.name}"}

    def _rules(self, field: FieldDescriptor, way: Way) -> Rules | None:
        return self._contract.rules(field.full_name) if way is Way.IN else None

    def _status(self) -> Schema:
        """google.rpc.Status, as every error of every call."""
        schema = self._object(self._contract.message(STATUS), Way.OUT, frozenset({"details"}))
        kinds = [self._detail(self._contract.message(name)) for name in DETAILS]
        schema["properties"]["details"] = {
            "type": "array",
            "items": {"anyOf": kinds},
            "description": "The first is the ErrorInfo; `@type` tells what each is.",
        }
        schema["required"].append("details")
        return schema

    def _detail(self, message: Descriptor) -> Schema:
        ref = self.ref(message, Way.OUT)
        component = self.components[message.name]
        kind = {"type": "string", "const": f"type.googleapis.com/{message.full_name}"}
        component["properties"] = {"@type": kind} | component["properties"]
        component["required"] = ["@type"]  # the gateway's own errors leave out what is empty
        if message.name == "ErrorInfo":
            component["required"] += ["reason", "domain"]
            component["properties"]["reason"] = self._reason()
        return ref

    def _reason(self) -> Schema:
        name = "specie.type.v1.ErrorReason.ERROR_REASON_"
        told = {reason: self._contract.comment(name + reason) for reason in self._contract.reason_codes()}
        listed = "\n".join(f"- `{reason}`: {text}" for reason, text in told.items())
        return {"type": "string", "description": listed, "enum": list(told)}


def _string(_way: Way, limited: Schema) -> Schema:
    return {"type": "string", **limited}


def _bool(_way: Way, limited: Schema) -> Schema:
    return {"type": "boolean", **limited}


def _int32(way: Way, limited: Schema) -> Schema:
    schema: Schema = {"type": "integer", "format": "int32"}
    return schema if way is Way.OUT else schema | {"minimum": -(2**31), "maximum": 2**31 - 1} | limited


def _int64(way: Way, limited: Schema) -> Schema:
    """Printed as a string always, for readers that have only floating-point numbers (proto3's JSON)."""
    if way is Way.IN:
        return rules.int64(limited)
    return {"type": "string", "format": "int64", "pattern": "^-?[0-9]{1,19}$"}


def _bytes(_way: Way, limited: Schema) -> Schema:
    return {"type": "string", "contentEncoding": "base64", **limited}


SCALARS: Final[dict[int, Callable[[Way, Schema], Schema]]] = {
    FieldDescriptor.TYPE_STRING: _string,
    FieldDescriptor.TYPE_BOOL: _bool,
    FieldDescriptor.TYPE_INT32: _int32,
    FieldDescriptor.TYPE_INT64: _int64,
    FieldDescriptor.TYPE_BYTES: _bytes,
}


def _reachable(messages: list[Descriptor]) -> frozenset[str]:
    """The full names of these messages and of all within them."""
    found: set[str] = set()
    waiting = list(messages)
    while waiting:
        message = waiting.pop()
        if message.full_name not in found:
            found.add(message.full_name)
            waiting += [field.message_type for field in message.fields if field.message_type is not None]
    return frozenset(found)
