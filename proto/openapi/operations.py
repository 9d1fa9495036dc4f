"""Calls as operations: what google.api.http says of them, with every parameter, body and answer."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor

from proto.openapi import errors, examples, rules
from proto.openapi.contract import Contract, HttpRule, message_of
from proto.openapi.errors import Reasons, header_refs
from proto.openapi.schemas import WELL_KNOWN, Schemas, Way

Object = dict[str, Any]

BEARER: Final = "bearerAuth"
VERBS: Final = ("get", "put", "post", "delete", "patch")
_VARIABLE = re.compile(r"\{([a-z_.]+)=([a-zA-Z]+)/\*\}")


@dataclass(frozen=True)
class Binding:
    """One way to make a call over HTTP. `bound`: the fields, as dotted paths, that the path names; `body`: a field, `*`
    for the rest of the request, or empty."""

    verb: str
    path: str
    bound: dict[str, str]
    """The collection that each is of: `wallets`."""
    body: str

    @classmethod
    def of(cls, rule: HttpRule) -> "Binding":
        verb = rule.WhichOneof("pattern")
        if verb not in VERBS:
            raise SystemExit(f"google.api.http with {verb} has no counterpart in proto/openapi/operations.py")
        template = getattr(rule, verb)
        bound = dict(_VARIABLE.findall(template))
        path = _VARIABLE.sub(lambda found: f"{found[2]}/{{{singular(found[2])}}}", template)
        if path.count("{") != len(bound):
            raise SystemExit(f"{template}: a variable is {{field=collection/*}} here")
        return cls(verb, path, bound, rule.body)


def singular(collection: str) -> str:
    return f"{collection[:-3]}y" if collection.endswith("ies") else collection.removesuffix("s")


class Operations:
    def __init__(self, contract: Contract, schemas: Schemas) -> None:
        self._contract = contract
        self._schemas = schemas
        self._reasons = Reasons(contract)

    def of(self, method: MethodDescriptor) -> Iterator[tuple[Binding, Object]]:
        """One for each binding; the first has the call's own name."""
        rule: HttpRule = self._contract.http(method)
        for number, each in enumerate([rule, *rule.additional_bindings]):
            binding = Binding.of(each)
            operation_id = method.name if number == 0 else f"{method.name}_{binding.verb}"
            yield binding, self._operation(method, binding, operation_id)

    def _operation(self, method: MethodDescriptor, binding: Binding, operation_id: str) -> Object:
        access = self._contract.access(method)
        comment = self._contract.comment(method.full_name)
        summary = re.split(r"\.\s", comment, maxsplit=1)[0].removesuffix(".").replace("`", "")
        description = [comment]
        if access.scope:
            trusted = ", and a trusted caller (`admin` or `service`)" if access.trusted_only else ""
            description.append(f"Needs a token with the scope `{access.scope}`{trusted}.")
        operation: Object = {
            "tags": [method.containing_service.name],
            "operationId": operation_id,
            "summary": summary,
            "description": "\n\n".join(description),
            "security": [] if access.anybody else [{BEARER: [access.scope]}],
            "parameters": [*self._in_path(method, binding), *self._in_query(method, binding), *_headers(method)],
        }
        if binding.body:
            operation["requestBody"] = self._body(method, binding)
        operation["responses"] = self._responses(method, binding)
        return operation

    def _in_path(self, method: MethodDescriptor, binding: Binding) -> Iterator[Object]:
        for field_path, collection in binding.bound.items():
            field = _find(method.input_type, field_path)
            said = rules.limits(self._contract.rules(field.full_name))
            name = singular(collection)
            yield {
                "name": name,
                "in": "path",
                "required": True,
                "description": f"The last part of the {name}'s name: `{collection}/{{{name}}}`.",
                "schema": {"type": "string", "pattern": _last_part(said["pattern"], collection)},
            }

    def _in_query(self, method: MethodDescriptor, binding: Binding) -> Iterator[Object]:
        if binding.body == "*":
            return
        for path, field in _leaves(method.input_type):
            if path in binding.bound or (binding.body and path.split(".")[0] == binding.body):
                continue
            schema = self._schemas.field(field, Way.IN)
            parameter: Object = {"name": _json_path(method.input_type, path), "in": "query"}
            if "description" in schema:
                parameter["description"] = schema.pop("description")
            if "REQUIRED" in self._contract.behaviour(field.full_name):
                parameter["required"] = True
            if field.is_repeated:
                parameter |= {"style": "form", "explode": True}
            yield parameter | {"schema": schema}

    def _body(self, method: MethodDescriptor, binding: Binding) -> Object:
        message, said, text = method.input_type, None, ""
        if binding.body != "*":
            field = method.input_type.fields_by_name[binding.body]
            message, said = message_of(field), self._contract.rules(field.full_name)
            text = "\n\n".join([self._contract.comment(field.full_name), *rules.told(said)])
        without = frozenset(binding.bound)
        schema = self._schemas.used(message, Way.IN, said, without)
        required = {*schema.get("required", ()), *self._schemas.resolved(schema).get("required", ())}
        body: Object = {"required": bool(required)}
        if text:
            body["description"] = text
        example = examples.body(self._contract, message, frozenset(schema.get("required", ())), without)
        return body | {"content": {"application/json": {"schema": schema, "example": example}}}

    def _responses(self, method: MethodDescriptor, binding: Binding) -> Object:
        reasons = self._reasons.of(method, has_body=bool(binding.body), has_path=bool(binding.bound))
        failures = {str(status): self._reasons.response(status, of_status) for status, of_status in reasons.items()}
        return {"200": self._success(method), **failures}

    def _success(self, method: MethodDescriptor) -> Object:
        answer = self._schemas.ref(method.output_type, Way.OUT)
        text = self._contract.comment(method.output_type.full_name)
        headers = header_refs("x-request-id", *errors.LIMIT_HEADERS)
        if not method.server_streaming:
            return {"description": text, "headers": headers, "content": {"application/json": {"schema": answer}}}
        text += f" Server-sent events: the `data` of each is a {method.output_type.name} as JSON"
        text += ", its `id` the cursor." if _has_cursors(method) else "."
        events = {"type": "string", "contentMediaType": "text/event-stream", "contentSchema": answer}
        return {"description": text, "headers": headers, "content": {"text/event-stream": {"schema": events}}}


def _headers(method: MethodDescriptor) -> Iterator[Object]:
    if "request_id" in method.input_type.fields_by_name:
        yield {"$ref": "#/components/parameters/idempotency-key"}
    if _has_cursors(method):
        yield {"$ref": "#/components/parameters/last-event-id"}
    yield {"$ref": "#/components/parameters/x-request-id"}


def _has_cursors(method: MethodDescriptor) -> bool:
    """Of a stream that a browser can go on with: the gateway makes ids of cursors."""
    return method.server_streaming and "cursor" in method.output_type.fields_by_name


def _last_part(pattern: str, collection: str) -> str:
    """The pattern of `{id}`, from that of `wallets/{id}` or of `(wallets/{id})?`."""
    inner = pattern.removeprefix("^").removesuffix("$")
    if inner.startswith("(") and inner.endswith(")?"):
        inner = inner[1:-2]
    if not inner.startswith(f"{collection}/"):
        raise SystemExit(f"{pattern} is not the pattern of a name in {collection}/")
    return f"^{inner.removeprefix(f'{collection}/')}$"


def _find(message: Descriptor, path: str) -> FieldDescriptor:
    head, _, rest = path.partition(".")
    field = message.fields_by_name[head]
    return _find(message_of(field), rest) if rest else field


def _leaves(message: Descriptor, prefix: str = "") -> Iterator[tuple[str, FieldDescriptor]]:
    """What a query can say: every field, those of messages by a dotted path."""
    for field in message.fields:
        path = prefix + field.name
        nested = field.message_type
        if nested is None or nested.full_name in WELL_KNOWN:
            yield path, field
        elif not field.is_repeated:  # lists of messages, and maps, cannot stand in a query
            yield from _leaves(nested, f"{path}.")


def _json_path(message: Descriptor, path: str) -> str:
    head, _, rest = path.partition(".")
    field = message.fields_by_name[head]
    return f"{field.json_name}.{_json_path(message_of(field), rest)}" if rest else field.json_name
