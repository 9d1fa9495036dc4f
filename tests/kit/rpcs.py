"""The calls of the contract, and the form that each has as JSON over HTTP."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import specie
from google.api import annotations_pb2
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from specie.type.v1 import Access

from service_kit.caller import access_of


@dataclass(frozen=True)
class Rpc:
    """A call of the contract."""

    descriptor: MethodDescriptor

    @property
    def path(self) -> str:
        """/package.Service/Method"""
        return f"/{self.descriptor.containing_service.full_name}/{self.descriptor.name}"

    @property
    def name(self) -> str:
        """Service.Method"""
        return f"{self.descriptor.containing_service.name}.{self.descriptor.name}"

    @property
    def access(self) -> Access:
        return access_of(self.path)

    @property
    def bindings(self) -> list[Any]:
        """As google.api.http has them, the additional ones too; none: the gateway does not route it."""
        options: Any = self.descriptor.GetOptions()
        if not options.HasExtension(annotations_pb2.http):
            return []
        rule = options.Extensions[annotations_pb2.http]
        return [rule, *rule.additional_bindings]


NOT_OURS = "specie.payout."
"""What others serve, and we call."""


def all_rpcs() -> list[Rpc]:
    """Of all services of the contract that we serve."""
    found: dict[str, Rpc] = {}
    folder = Path(next(iter(specie.__path__)))
    for file in folder.rglob("*_pb2.py"):
        module = ".".join(file.relative_to(folder.parent).with_suffix("").parts)
        for service in import_module(module).DESCRIPTOR.services_by_name.values():
            if not service.full_name.startswith(NOT_OURS):
                found |= {rpc.path: rpc for rpc in map(Rpc, service.methods)}
    return [found[path] for path in sorted(found)]


@dataclass(frozen=True)
class AsHttp:
    """A request on the wire. `body` None: it has none."""

    verb: str
    path: str
    body: bytes | None


def as_http(rule: Any, request: Message) -> AsHttp:  # noqa: ANN401 - google.api.HttpRule has no stub here
    """What google.api.http makes of a request: fields in the path, in the body, and the rest in the query."""
    verb = rule.WhichOneof("pattern")
    path, rest = getattr(rule, verb), MessageToDict(request)
    while "{" in path:
        before, _, after = path.partition("{")
        field, _, after = after.partition("=")
        *outer, last = field.split(".")
        holder = rest
        for name in outer:
            holder = holder[name]
        path = before + quote(holder.pop(last)) + after.partition("}")[2]
    body: object = None
    if rule.body == "*":
        body, rest = rest, {}
    elif rule.body:
        body = rest.pop(rule.body)
    query = urlencode(list(_flat(rest)), quote_via=quote)  # the gateway takes + for itself
    content = None if body is None else json.dumps(body).encode()
    return AsHttp(verb.upper(), f"{path}?{query}" if query else path, content)


def _flat(fields: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in fields.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield from ((prefix + name, one) for one in (value if isinstance(value, list) else [value]))
