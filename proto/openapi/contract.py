"""The contract as protoc compiled it: descriptors, with the comments and the options that stand at each."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor, MethodDescriptor, ServiceDescriptor

# Messages of the pool's own classes, which type checkers do not know.
Options = Any
"""google.protobuf.*Options, of whatever kind."""
HttpRule = Any
"""google.api.HttpRule."""
Rules = Any
"""buf.validate.FieldRules or MessageRules."""

# The numbers of the fields by which SourceCodeInfo.Location.path walks through a file (descriptor.proto).
FILE_MESSAGE, FILE_ENUM, FILE_SERVICE = 4, 5, 6
MESSAGE_FIELD, MESSAGE_NESTED, MESSAGE_ENUM, MESSAGE_ONEOF = 2, 3, 4, 8
ENUM_VALUE, SERVICE_METHOD = 2, 2


@dataclass(frozen=True)
class Access:
    """specie.type.v1.Access: what a caller must show. `scope` as it stands in tokens; empty for `anybody`."""

    scope: str
    anybody: bool
    trusted_only: bool


class Contract:
    """Read from a descriptor set with imports and source info. Names are full names: `specie.wallet.v1.Wallet.name`."""

    def __init__(self, image: bytes) -> None:
        files = descriptor_pb2.FileDescriptorSet.FromString(image).file
        # A pool of its own, so that nothing depends on generated code, which may be about to be written anew.
        self._pool = descriptor_pool.DescriptorPool()
        self._comments: dict[str, str] = {}
        self._options: dict[str, bytes] = {}
        for file in files:
            self._pool.Add(file)
            self._read(file)
        names = [file.name for file in files]
        self._classes = message_factory.GetMessageClassesForFiles(names, self._pool)
        self._files: Final = names

    def services(self) -> Iterator[ServiceDescriptor]:
        """Those that have an HTTP call, in the order of their names."""
        services = [s for name in self._files for s in self._pool.FindFileByName(name).services_by_name.values()]
        for service in sorted(services, key=lambda s: s.full_name):
            if any(self.http(method) is not None for method in service.methods):
                yield service

    def message(self, name: str) -> Descriptor:
        return self._pool.FindMessageTypeByName(name)

    def enum(self, name: str) -> EnumDescriptor:
        return self._pool.FindEnumTypeByName(name)

    def comment(self, name: str) -> str:
        """Markdown; empty without one."""
        return self._comments.get(name, "")

    def http(self, method: MethodDescriptor) -> HttpRule | None:
        return self._option("MethodOptions", method.full_name, "google.api.http")

    def access(self, method: MethodDescriptor) -> Access:
        option = self._option("MethodOptions", method.full_name, "specie.type.v1.access")
        if option is None:
            raise SystemExit(f"{method.full_name} does not say who may call it: option (specie.type.v1.access)")
        scope = self.enum("specie.type.v1.Scope").values_by_number[option.scope].name
        spelt = scope.removeprefix("SCOPE_").lower().replace("_", ".") if option.scope else ""
        return Access(spelt, option.anybody, option.trusted_only)

    def behaviour(self, field: str) -> frozenset[str]:
        """Names of google.api.FieldBehavior."""
        numbers = self._option("FieldOptions", field, "google.api.field_behavior") or ()
        named = self.enum("google.api.FieldBehavior").values_by_number
        return frozenset(named[number].name for number in numbers)

    def rules(self, field: str) -> Rules | None:
        return self._option("FieldOptions", field, "buf.validate.field")

    def message_rules(self, message: str) -> Rules | None:
        return self._option("MessageOptions", message, "buf.validate.message")

    def oneof_is_required(self, oneof: str) -> bool:
        rules = self._option("OneofOptions", oneof, "buf.validate.oneof")
        return rules is not None and rules.required

    def reason_codes(self) -> Mapping[str, str]:
        """The name of the gRPC code of each reason; reasons without their prefix, in the contract's order."""
        reasons = self.enum("specie.type.v1.ErrorReason")
        codes = self.enum("google.rpc.Code").values_by_number
        found: dict[str, str] = {}
        for value in reasons.values:
            code = self._option("EnumValueOptions", f"{reasons.full_name}.{value.name}", "specie.type.v1.code")
            if code is not None:
                found[value.name.removeprefix("ERROR_REASON_")] = codes[code].name
        return found

    def _option(self, kind: str, name: str, extension: str) -> Options | None:
        options = self._classes[f"google.protobuf.{kind}"].FromString(self._options.get(name, b""))
        key: Any = self._pool.FindExtensionByName(extension)
        extensions: Any = options.Extensions
        if key.is_repeated:
            return extensions[key] or None
        return extensions[key] if options.HasExtension(key) else None

    def _read(self, file: descriptor_pb2.FileDescriptorProto) -> None:
        told = {
            tuple(location.path): location.leading_comments
            for location in file.source_code_info.location
            if location.leading_comments
        }
        for path, name, options in _declared(file):
            self._options[name] = options.SerializeToString()
            if path in told:
                self._comments[name] = _markdown(told[path])


def message_of(field: FieldDescriptor) -> Descriptor:
    """The type of a field that is a message."""
    if field.message_type is None:
        raise TypeError(f"{field.full_name} is not a message")
    return field.message_type


Declared = tuple[tuple[int, ...], str, Options]
"""Where it stands in its file, its full name, and its options."""


def _declared(file: descriptor_pb2.FileDescriptorProto) -> Iterator[Declared]:
    for index, message in enumerate(file.message_type):
        yield from _in_message(message, f"{file.package}.{message.name}", (FILE_MESSAGE, index))
    for index, enum in enumerate(file.enum_type):
        yield from _in_enum(enum, f"{file.package}.{enum.name}", (FILE_ENUM, index))
    for index, service in enumerate(file.service):
        name, path = f"{file.package}.{service.name}", (FILE_SERVICE, index)
        yield path, name, service.options
        for number, method in enumerate(service.method):
            yield (*path, SERVICE_METHOD, number), f"{name}.{method.name}", method.options


def _in_message(message: descriptor_pb2.DescriptorProto, name: str, path: tuple[int, ...]) -> Iterator[Declared]:
    yield path, name, message.options
    for index, field in enumerate(message.field):
        yield (*path, MESSAGE_FIELD, index), f"{name}.{field.name}", field.options
    for index, oneof in enumerate(message.oneof_decl):
        yield (*path, MESSAGE_ONEOF, index), f"{name}.{oneof.name}", oneof.options
    for index, nested in enumerate(message.nested_type):
        yield from _in_message(nested, f"{name}.{nested.name}", (*path, MESSAGE_NESTED, index))
    for index, enum in enumerate(message.enum_type):
        yield from _in_enum(enum, f"{name}.{enum.name}", (*path, MESSAGE_ENUM, index))


def _in_enum(enum: descriptor_pb2.EnumDescriptorProto, name: str, path: tuple[int, ...]) -> Iterator[Declared]:
    yield path, name, enum.options
    for index, value in enumerate(enum.value):
        yield (*path, ENUM_VALUE, index), f"{name}.{value.name}", value.options


def _markdown(comment: str) -> str:
    """Paragraphs and list items on a line each."""
    linked = re.sub(r"\[([^]]+)\]\[[^]]*\]", r"`\1`", comment)  # as googleapis refers to other names
    paragraphs = re.split(r"\n\s*\n", linked.strip("\n"))
    return "\n\n".join(re.sub(r"\s*\n(?!\s*[-*] )\s*", " ", paragraph).strip() for paragraph in paragraphs)
