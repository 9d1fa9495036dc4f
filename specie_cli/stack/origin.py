"""Origins: which web pages a browser lets read what the gateway answers (CORS)."""

import argparse
import re

ALLOWED_METHODS = ("GET", "POST", "PATCH", "DELETE")
ALLOWED_HEADERS = (
    "authorization",
    "content-type",
    "idempotency-key",
    "last-event-id",
    "x-request-id",
    "x-grpc-web",
    "x-user-agent",
    "grpc-timeout",
)
EXPOSED_HEADERS = (
    "grpc-status",
    "grpc-message",
    "grpc-status-details-bin",
    "retry-after",
    "www-authenticate",
    "x-ratelimit-limit",
    "x-ratelimit-remaining",
    "x-ratelimit-reset",
    "x-request-id",
)
MAX_AGE_SECONDS = 7200
"""How long a browser remembers what it may do. Chromium remembers nothing for longer."""

CORS_POLICY = "type.googleapis.com/envoy.extensions.filters.http.cors.v3.CorsPolicy"
FORM = re.compile(r"(https?)://(?:[a-z0-9.-]+|\[[0-9a-f:]+\])(?::([1-9][0-9]{0,4}))?")
USUAL_PORTS = {"http": 80, "https": 443}
PORT_MAX = 65_535


class OriginError(argparse.ArgumentTypeError, ValueError):
    """The text is not the origin of a page."""


def origin(text: str) -> str:
    """The text, if it is an origin as browsers send it (RFC 6454): they compare letter by letter. Raises OriginError
    for anything else, patterns too: who is let in is written down one by one."""
    if "*" in text:
        raise OriginError(f"{text}: name each origin; with a * pages that nobody knows could read the answers")
    form = FORM.fullmatch(text)
    if form is None:
        raise OriginError(f"{text} is no origin, which is https://HOST or https://HOST:PORT, in lower case and no more")
    scheme, port = form.groups()
    if port is not None and int(port) > PORT_MAX:
        raise OriginError(f"{text}: there is no port {port}")
    if port is not None and int(port) == USUAL_PORTS[scheme]:
        raise OriginError(f"{text}: browsers leave :{port} out, which is the usual port of {scheme}")
    return text


def cors_policy(origins: tuple[str, ...]) -> dict[str, object]:
    """Envoy's. Without origins no page of another origin is told anything."""
    return {
        "@type": CORS_POLICY,
        "allow_origin_string_match": [{"exact": origin} for origin in origins],
        "allow_methods": ", ".join(ALLOWED_METHODS),
        "allow_headers": ", ".join(ALLOWED_HEADERS),
        "expose_headers": ", ".join(EXPOSED_HEADERS),
        "max_age": str(MAX_AGE_SECONDS),
    }
