"""How a call can be refused: which reasons it has, and the HTTP status that each comes with."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from google.protobuf.descriptor import MethodDescriptor

from proto.openapi import examples
from proto.openapi.contract import Contract

HTTP: Final[Mapping[str, int]] = {
    "CANCELLED": 499,
    "INVALID_ARGUMENT": 400,
    "FAILED_PRECONDITION": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "ALREADY_EXISTS": 409,
    "ABORTED": 409,
    "RESOURCE_EXHAUSTED": 429,
    "INTERNAL": 500,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}
"""What the gateway makes of a gRPC code (google.rpc.Code says the same)."""

TITLES: Final[Mapping[int, str]] = {
    400: "The request is wrong, or what it asks for cannot be done as things stand.",
    401: "The call carries no token that is accepted.",
    403: "The token does not allow this call.",
    404: "What the request names does not exist, or not for this caller.",
    408: "The request did not arrive in time.",
    409: "It collides with what is there or with what others do at this moment.",
    413: "The body is too large.",
    429: "Too many calls. Nothing was done: the same call can be sent again after `retry-after`.",
    431: "The headers are larger than 16 KiB, or more than 64.",
    500: "A bug. The same call with the same request id is safe.",
    502: "The service could not be understood. The same call with the same request id is safe.",
    503: "The service cannot be reached now. The same call with the same request id is safe.",
    504: "The call's time was up. The same call with the same request id tells what became of it.",
}

GATEWAY: Final[Mapping[int, tuple[str, ...]]] = {
    400: ("MALFORMED_REQUEST",),
    429: ("RATE_LIMITED",),
    431: ("REQUEST_TOO_LARGE",),
    500: ("INTERNAL",),
    502: ("UNAVAILABLE",),
    503: ("UNAVAILABLE",),
    504: ("DEADLINE_EXCEEDED",),
}
"""How the gateway itself can refuse any call."""
GATEWAY_BODY: Final[Mapping[int, tuple[str, ...]]] = {
    408: ("DEADLINE_EXCEEDED",),
    413: ("REQUEST_TOO_LARGE",),
}
"""How it can refuse a call with a body."""
GATEWAY_PATH: Final[Mapping[int, tuple[str, ...]]] = {404: ("UNKNOWN_METHOD",)}
"""How it can refuse a call whose path has a name in it: with another one it is no call."""
LIMIT_HEADERS: Final = ("x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset")
HEADERS: Final[Mapping[int, tuple[str, ...]]] = {
    429: ("retry-after", *LIMIT_HEADERS),
    502: ("retry-after",),
    503: ("retry-after",),
}
TOKEN_REASONS: Final = frozenset({"UNAUTHENTICATED", "PERMISSION_DENIED"})

_NAME = re.compile(r"\b[A-Z][A-Z_]*[A-Z]\b")
_AS_FOR = re.compile(r"as for (\w+)(?: from (\w+) on)?")
_EVERY_CALL = re.compile(r"every call can fail with ([^(]*?)(?:, and calls that move money with ([^(]*))?\(")


class Reasons:
    """The reasons that the comments of the contract name."""

    def __init__(self, contract: Contract) -> None:
        self._contract = contract
        self._codes = contract.reason_codes()

    def of(self, method: MethodDescriptor, *, has_body: bool, has_path: bool) -> dict[int, list[str]]:
        """By HTTP status, each in the order of the contract; what the gateway says by itself is among them."""
        found: dict[int, set[str]] = {}
        for reason in self._said(method):
            found.setdefault(HTTP[self._codes[reason]], set()).add(reason)
        for table, applies in ((GATEWAY, True), (GATEWAY_BODY, has_body), (GATEWAY_PATH, has_path)):
            for status, reasons in table.items() if applies else ():
                found.setdefault(status, set()).update(reasons)
        order = list(self._codes)
        return {status: sorted(found[status], key=order.index) for status in sorted(found)}

    def response(self, status: int, reasons: list[str]) -> dict[str, Any]:
        """The response object of one HTTP status: a Status whose ErrorInfo has one of these reasons."""
        has_reason = {"properties": {"reason": {"enum": reasons}}, "required": ["reason"]}
        schema = {"$ref": "#/components/schemas/Status", "properties": {"details": {"contains": has_reason}}}
        code = self._contract.enum("google.rpc.Code").values_by_name[self._codes[reasons[0]]].number
        example = examples.status(code, reasons[0], "what is wrong, in words")
        listed = ", ".join(f"`{reason}`" for reason in reasons)
        return {
            "description": f"{TITLES[status]}\n\nReasons: {listed}.",
            "headers": header_refs("x-request-id", *HEADERS.get(status, ())),
            "content": {"application/json": {"schema": schema, "example": example}},
        }

    def _said(self, method: MethodDescriptor) -> set[str]:
        service = method.containing_service
        found = set(self._listed(service.full_name, method.name, whole=True))
        match = _EVERY_CALL.search(self._contract.comment(service.full_name))
        everywhere, moving = match.groups(default="") if match else ("", "")
        found.update(self._names(everywhere))
        if "TRANSFERS_WRITE" in self._scope(method) or "DEPOSITS_WRITE" in self._scope(method):
            found.update(self._names(moving))
        if self._contract.access(method).anybody:
            found -= TOKEN_REASONS
        return found

    def _scope(self, method: MethodDescriptor) -> str:
        return self._contract.access(method).scope.replace(".", "_").upper()

    def _listed(self, service: str, method: str, *, whole: bool) -> list[str]:
        """What stands after `Reasons` in a call's comment. Not `whole`: the first sentence, the list that other calls
        refer to with `as for`."""
        text = self._contract.comment(f"{service}.{method}").partition("Reasons")[2]
        if not whole:
            text = text.partition(". ")[0]
        found: list[str] = []
        for other, start in _AS_FOR.findall(text):
            listed = self._listed(service, other, whole=False)
            found += listed[listed.index(start) :] if start else listed
        return found + list(self._names(text))

    def _names(self, text: str) -> Iterator[str]:
        return (name for name in _NAME.findall(text) if name in self._codes)


def header_refs(*names: str) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}
