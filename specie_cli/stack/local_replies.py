"""Every error that Envoy itself makes is a google.rpc.Status: this is the table, and Envoy's form of it."""

from dataclasses import dataclass

ERROR_INFO = "type.googleapis.com/google.rpc.ErrorInfo"
RETRY_INFO = "type.googleapis.com/google.rpc.RetryInfo"
CEL_FILTER = "type.googleapis.com/envoy.extensions.access_loggers.filters.cel.v3.ExpressionFilter"
JSON_TYPE = "application/json"
ENVOYS_OWN_TEXT = "%LOCAL_REPLY_BODY%"
ENVOYS_OWN_CAUSE = "%RESPONSE_CODE_DETAILS%"


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
    answer: int | None = None
    """The HTTP status that is sent instead of Envoy's own."""
    challenge: str | None = None
    """The header www-authenticate (RFC 6750). Envoy's own would repeat the URL, with a token that was put there."""

    def mappers(self) -> list[dict[str, object]]:
        """gRPC callers get the text as grpc-message, and a code that Envoy makes of the status; all others JSON."""
        fits = [status_is(self.http), *([] if self.cause is None else [is_true(self.cause)])]
        shared: dict[str, object] = {"headers_to_add": self.headers()}
        if self.answer is not None:
            shared["status_code"] = self.answer
        json = {"json_format": self.status(), "content_type": JSON_TYPE}
        return [
            {"filter": all_of(*fits, *IS_GRPC), **shared, **self.to_grpc()},
            {"filter": all_of(*fits), "body_format_override": json, **shared},
        ]

    def to_grpc(self) -> dict[str, object]:
        """Envoy makes the code of the HTTP status, for gRPC-Web always: of these three UNAVAILABLE and INTERNAL. What
        has a code and no body it leaves as it is. Its own text, which may hold anything, stays out of headers."""
        told_better = self.code in (RESOURCE_EXHAUSTED, DEADLINE_EXCEEDED, INVALID_ARGUMENT)
        if not told_better or ENVOYS_OWN_TEXT in self.message:
            return {"body_format_override": {"text_format_source": {"inline_string": self.message}}}
        whole = {"grpc-status": str(self.code), "grpc-message": self.message}
        return {
            "body_format_override": {"text_format_source": {"inline_string": ""}},
            "headers_to_add": self.headers() + added(whole),
        }

    def headers(self) -> list[dict[str, object]]:
        headers = {"retry-after": "1"} if self.retry_after_1s else {}
        if self.challenge is not None:
            headers["www-authenticate"] = self.challenge
        return added(headers)

    def status(self) -> dict[str, object]:
        info: dict[str, object] = {"@type": ERROR_INFO, "reason": self.reason, "domain": "specie"}
        details = [info]
        if self.reason == "MALFORMED_REQUEST":
            info["metadata"] = {"cause": ENVOYS_OWN_CAUSE}
        if self.retry_after_1s:
            details.append({"@type": RETRY_INFO, "retryDelay": "1s"})
        return {"code": self.code, "message": self.message, "details": details}


INVALID_ARGUMENT, DEADLINE_EXCEEDED, NOT_FOUND, PERMISSION_DENIED = 3, 4, 5, 7
RESOURCE_EXHAUSTED, INTERNAL, UNAVAILABLE, UNAUTHENTICATED = 8, 13, 14, 16

# The services post what they were given even when nobody waits any more, so nobody here knows what became of it.
SEND_AGAIN = "the same call with the same request id may be sent again: it happens once and tells what became of it"
REALM = 'Bearer realm="specie"'


def token_refused(http: int, said: str, message: str) -> Refusal:
    """`said`: how the cause that jwt_authn gives begins, between the braces."""
    cause = f"response.code_details.startsWith('jwt_authn_access_denied{{{said}')"
    challenge = f'{REALM}, error="invalid_token", error_description="{message}"'
    return Refusal(http, UNAUTHENTICATED, "UNAUTHENTICATED", message, cause=cause, answer=401, challenge=challenge)


TOKEN_REFUSALS = (
    Refusal(
        401,
        UNAUTHENTICATED,
        "UNAUTHENTICATED",
        "no token: this call needs the header authorization: Bearer TOKEN",
        cause="response.code_details == 'jwt_authn_access_denied{Jwt_is_missing}'",
        challenge=REALM,
    ),
    # Not the caller's fault, and over when the issuer is there again.
    Refusal(
        401,
        UNAVAILABLE,
        "UNAVAILABLE",
        "the keys that tokens are verified with cannot be fetched from their issuer now; try again later",
        retry_after_1s=True,
        cause="response.code_details == 'jwt_authn_access_denied{Jwks_remote_fetch_is_failed}'",
        answer=503,
        challenge=REALM,
    ),
    token_refused(401, "Jwt_is_expired", "the token has expired"),
    token_refused(401, "Jwt_not_yet_valid", "the token is not valid yet"),
    token_refused(401, "Jwt_issuer_is_not_configured", "the token is of an issuer that is not trusted here"),
    token_refused(403, "Audiences_in_Jwt_are_not_allowed", "the token is for another audience"),
    token_refused(401, "Jwks_doesn", "the issuer has no key that fits the token's kid and alg"),
    token_refused(
        401,
        "Jwt_verification_fails",
        "the token's signature is wrong, or it has no expiry or no subject, or it is good for longer than is allowed",
    ),
    token_refused(401, "", "the token is malformed: it must be a signed JWT"),
)

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
    *TOKEN_REFUSALS,
    Refusal(403, PERMISSION_DENIED, "PERMISSION_DENIED", f"this is not allowed here: {ENVOYS_OWN_CAUSE}"),
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
    any_other_to_grpc = {
        "filter": all_of(*IS_GRPC),
        "body_format_override": {"text_format_source": {"inline_string": ENVOYS_OWN_TEXT}},
    }
    healthy = {
        "filter": all_of(status_is(200), has_header({"name": ":path", "string_match": {"exact": "/healthz"}})),
        "body_format_override": {"json_format": {"status": "SERVING"}, "content_type": JSON_TYPE},
    }
    page = {
        "filter": status_is(200),
        "body_format_override": {"text_format_source": {"inline_string": ENVOYS_OWN_TEXT}},
    }
    refusals = [mapper for refusal in REFUSALS for mapper in refusal.mappers()]
    return {
        "mappers": [healthy, page, *refusals, any_other_to_grpc],
        "body_format": {"json_format": ANY_OTHER.status(), "content_type": JSON_TYPE},
    }


def added(headers: dict[str, str]) -> list[dict[str, object]]:
    how = "OVERWRITE_IF_EXISTS_OR_ADD"
    return [{"header": {"key": key, "value": value}, "append_action": how} for key, value in headers.items()]


def status_is(http: int) -> dict[str, object]:
    value = {"default_value": http, "runtime_key": f"specie.local_reply.{http}"}  # Envoy wants a key; nothing sets it
    return {"status_code_filter": {"comparison": {"op": "EQ", "value": value}}}


def has_header(header: dict[str, object]) -> dict[str, object]:
    return {"header_filter": {"header": header}}


def is_true(condition: str) -> dict[str, object]:
    name = "envoy.access_loggers.extension_filters.cel"
    return {"extension_filter": {"name": name, "typed_config": {"@type": CEL_FILTER, "expression": condition}}}


def all_of(*filters: dict[str, object]) -> dict[str, object]:
    """Envoy wants two at least."""
    return filters[0] if len(filters) == 1 else {"and_filter": {"filters": list(filters)}}


# A JSON call also has this content type once the transcoder has been at it, but then Envoy has noted its path.
IS_GRPC = (
    has_header({"name": "content-type", "string_match": {"prefix": "application/grpc"}}),
    has_header({"name": "x-envoy-original-path", "present_match": True, "invert_match": True}),
)
