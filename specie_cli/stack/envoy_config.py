"""Fills in gateway/envoy.yaml; `python -m specie_cli.stack.envoy_config --help` prints it for a deployment.

Needs nothing but the standard library, so that the image of the gateway can be made without an environment.
"""

import argparse
import json
import string
import sys
from dataclasses import dataclass
from pathlib import Path

GATEWAY = Path(__file__).resolve().parents[2] / "gateway"
TEMPLATE = GATEWAY / "envoy.yaml"
DESCRIPTOR_SET = GATEWAY / "specie.binpb"
LUA = GATEWAY / "edge.lua"

ERROR_INFO = "type.googleapis.com/google.rpc.ErrorInfo"
RETRY_INFO = "type.googleapis.com/google.rpc.RetryInfo"
CEL_FILTER = "type.googleapis.com/envoy.extensions.access_loggers.filters.cel.v3.ExpressionFilter"
JSON_TYPE = "application/json"
ENVOYS_OWN_TEXT = "%LOCAL_REPLY_BODY%"
ENVOYS_OWN_CAUSE = "%RESPONSE_CODE_DETAILS%"


@dataclass(frozen=True)
class Address:
    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> "Address":
        host, _, port = text.rpartition(":")
        if not host or not port.isdecimal():
            raise argparse.ArgumentTypeError(f"{text} is not HOST:PORT")
        return cls(host, int(port))

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


@dataclass(frozen=True)
class GatewayConfig:
    """What differs between deployments."""

    listen: Address
    admin: Address
    wallet: tuple[Address, ...]
    transaction: tuple[Address, ...]
    descriptor_set: Path = DESCRIPTOR_SET
    lua: Path = LUA
    # Far above what one machine's services can do: the limits hold back floods until somebody sets them.
    calls_per_second: int = 50_000
    calls_per_second_per_client: int = 20_000
    # The longest that a call may take; a client's own deadline may be shorter. Services give a statement 10 s.
    deadline_seconds: int = 15

    def render(self) -> str:
        return string.Template(TEMPLATE.read_text()).substitute(
            listen_host=self.listen.host,
            listen_port=self.listen.port,
            admin_host=self.admin.host,
            admin_port=self.admin.port,
            wallet_endpoints=endpoints(self.wallet),
            transaction_endpoints=endpoints(self.transaction),
            descriptor_set=self.descriptor_set,
            lua=self.lua,
            calls_per_second=self.calls_per_second,
            calls_per_second_per_client=self.calls_per_second_per_client,
            deadline=f"{self.deadline_seconds}s",
            local_reply_config=json.dumps(local_reply_config()),
        )


def endpoints(addresses: tuple[Address, ...]) -> str:
    """JSON is YAML."""
    return json.dumps(
        [{"endpoint": {"address": {"socket_address": {"address": a.host, "port_value": a.port}}}} for a in addresses]
    )


@dataclass(frozen=True)
class Refusal:
    """An error that Envoy itself answers with: its HTTP status, and the Status that is its body."""

    http: int
    code: int
    """google.rpc.Code."""
    reason: str
    """specie.type.v1.ErrorReason, without its prefix."""
    message: str
    retry_after_1s: bool = False
    cause: str | None = None
    """The row is for these response code details only: a condition in CEL."""

    def mapper(self) -> dict[str, object]:
        mapper: dict[str, object] = {
            "filter": status_is(self.http) if self.cause is None else both(status_is(self.http), is_true(self.cause)),
            "body_format_override": {"json_format": self.status(), "content_type": JSON_TYPE},
        }
        if self.retry_after_1s:
            header = {"key": "retry-after", "value": "1"}
            mapper["headers_to_add"] = [{"header": header, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}]
        return mapper

    def status(self) -> dict[str, object]:
        info: dict[str, object] = {"@type": ERROR_INFO, "reason": self.reason, "domain": "specie"}
        details = [info]
        if self.reason == "MALFORMED_REQUEST":
            info["metadata"] = {"cause": ENVOYS_OWN_CAUSE}
        if self.retry_after_1s:
            details.append({"@type": RETRY_INFO, "retryDelay": "1s"})
        return {"code": self.code, "message": self.message, "details": details}


INVALID_ARGUMENT, DEADLINE_EXCEEDED, NOT_FOUND, PERMISSION_DENIED = 3, 4, 5, 7
RESOURCE_EXHAUSTED, INTERNAL, UNAVAILABLE = 8, 13, 14

# The services post what they were given even when nobody waits any more, so nobody here knows what became of it.
SEND_AGAIN = "the same call with the same request id may be sent again: it happens once and tells what became of it"

REFUSALS = (
    Refusal(
        400,
        INVALID_ARGUMENT,
        "MALFORMED_REQUEST",
        "malformed request: the path cannot be read; a name in it may not have an escaped slash",
        cause="response.code_details == 'path_normalization_failed'",
    ),
    # The transcoder tells which value it could not read, and edge.lua what it does not take. Envoy's other texts are
    # empty, or "Bad Request".
    Refusal(
        400,
        INVALID_ARGUMENT,
        "MALFORMED_REQUEST",
        f"malformed request: {ENVOYS_OWN_TEXT}",
        cause="response.code_details.contains('transcode_failure') || response.code_details == 'lua_response'",
    ),
    Refusal(400, INVALID_ARGUMENT, "MALFORMED_REQUEST", f"malformed request: {ENVOYS_OWN_CAUSE}"),
    Refusal(403, PERMISSION_DENIED, "PERMISSION_DENIED", ENVOYS_OWN_TEXT),
    Refusal(404, NOT_FOUND, "UNKNOWN_METHOD", "there is no such call"),
    Refusal(408, DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED", "the request did not arrive in time"),
    Refusal(413, INVALID_ARGUMENT, "REQUEST_TOO_LARGE", "the body is larger than 4 MiB, or 16 MiB for a batch"),
    Refusal(429, RESOURCE_EXHAUSTED, "RATE_LIMITED", "more calls than this client may send; try again later", True),
    Refusal(431, INVALID_ARGUMENT, "REQUEST_TOO_LARGE", "the headers are larger than 16 KiB, or more than 64"),
    Refusal(500, INTERNAL, "INTERNAL", "internal error"),
    Refusal(502, UNAVAILABLE, "UNAVAILABLE", f"the service cannot be reached now; {SEND_AGAIN}", True),
    Refusal(503, UNAVAILABLE, "UNAVAILABLE", f"the service cannot be reached now; {SEND_AGAIN}", True),
    Refusal(504, DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED", f"the call's time was up; {SEND_AGAIN}"),
)
# What no row above names: an HTTP that Envoy does not speak, mostly.
ANY_OTHER = Refusal(0, INVALID_ARGUMENT, "MALFORMED_REQUEST", ENVOYS_OWN_TEXT)


def local_reply_config() -> dict[str, object]:
    """Envoy's mappers: the first that fits shapes the reply."""
    # For gRPC clients the body becomes grpc-message, and Envoy finds the grpc-status by itself. A JSON call also has
    # this content type once the transcoder has been at it, but then Envoy has noted its path.
    is_grpc: dict[str, object] = {"name": "content-type", "string_match": {"prefix": "application/grpc"}}
    was_json: dict[str, object] = {"name": "x-envoy-original-path", "present_match": True}
    grpc = {
        "filter": both(has_header(is_grpc), has_header(was_json | {"invert_match": True})),
        "body_format_override": {"text_format_source": {"inline_string": ENVOYS_OWN_TEXT}},
    }
    healthy = {
        "filter": status_is(200),
        "body_format_override": {"json_format": {"status": "SERVING"}, "content_type": JSON_TYPE},
    }
    return {
        "mappers": [grpc, healthy, *(refusal.mapper() for refusal in REFUSALS)],
        "body_format": {"json_format": ANY_OTHER.status(), "content_type": JSON_TYPE},
    }


def status_is(http: int) -> dict[str, object]:
    value = {"default_value": http, "runtime_key": f"specie.local_reply.{http}"}  # Envoy wants a key; nothing sets it
    return {"status_code_filter": {"comparison": {"op": "EQ", "value": value}}}


def has_header(header: dict[str, object]) -> dict[str, object]:
    return {"header_filter": {"header": header}}


def is_true(condition: str) -> dict[str, object]:
    name = "envoy.access_loggers.extension_filters.cel"
    return {"extension_filter": {"name": name, "typed_config": {"@type": CEL_FILTER, "expression": condition}}}


def both(one: dict[str, object], other: dict[str, object]) -> dict[str, object]:
    return {"and_filter": {"filters": [one, other]}}


def main() -> None:
    parser = argparse.ArgumentParser(description="Prints Envoy's configuration.")
    address = Address.parse
    parser.add_argument("--listen", type=address, default=Address("0.0.0.0", 8080))  # noqa: S104 - the public door
    parser.add_argument("--admin", type=address, default=Address("127.0.0.1", 9901))
    parser.add_argument("--wallet", type=address, nargs="+", default=[Address("127.0.0.1", 50051)])
    parser.add_argument("--transaction", type=address, nargs="+", default=[Address("127.0.0.1", 50061)])
    parser.add_argument("--descriptor-set", type=Path, default=DESCRIPTOR_SET)
    parser.add_argument("--lua", type=Path, default=LUA)
    parser.add_argument("--calls-per-second", type=int, default=GatewayConfig.calls_per_second)
    parser.add_argument("--calls-per-second-per-client", type=int, default=GatewayConfig.calls_per_second_per_client)
    parser.add_argument("--deadline-seconds", type=int, default=GatewayConfig.deadline_seconds)
    options = vars(parser.parse_args())
    options |= {name: tuple(options[name]) for name in ("wallet", "transaction")}
    sys.stdout.write(GatewayConfig(**options).render())


if __name__ == "__main__":
    main()
