"""What the gateway serves beside calls: the OpenAPI document, and the page at /docs that shows it and tries it out.

Envoy reads the files when it starts and answers with them itself.
"""

from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

GATEWAY = Path(__file__).resolve().parents[2] / "gateway"
OPENAPI = GATEWAY / "openapi.json"
PAGE = GATEWAY / "docs"
DAY_SECONDS = 86_400

HTML, SCRIPT, STYLE = "text/html; charset=utf-8", "text/javascript; charset=utf-8", "text/css; charset=utf-8"
JSON, PNG = "application/json", "image/png"

# Nothing of another host, and no script within the page. Swagger UI sets styles within it, and has pictures as data.
POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
# Envoy's name for a filter that a route does without. The transcoder would say that there is no such call.
NO_TRANSCODER = {
    "envoy.filters.http.grpc_json_transcoder": {
        "@type": "type.googleapis.com/envoy.config.route.v3.FilterConfig",
        "disabled": True,
    }
}
# A GET may have a body, which would be waited for, and kept until it is whole: these paths need no token.
NO_BODY = {
    "envoy.filters.http.buffer": {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.buffer.v3.BufferPerRoute",
        "buffer": {"max_request_bytes": 1024},
    }
}


def swagger_ui() -> Path:
    """Swagger UI's distribution, in the installed package flask-swagger-ui, of which nothing is executed."""
    spec = find_spec("flask_swagger_ui")
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError("flask-swagger-ui is not installed: say where Swagger UI is")
    return Path(next(iter(spec.submodule_search_locations))) / "dist"


@dataclass(frozen=True)
class DocsPage:
    """Where the files are, as Envoy will find them."""

    openapi: Path = OPENAPI
    page: Path = PAGE
    swagger_ui: Path = field(default_factory=swagger_ui)

    def routes(self) -> list[dict[str, object]]:
        # What a new version of Specie changes is asked for every time; Swagger UI changes once in a while.
        new, kept = "no-cache", f"public, max-age={DAY_SECONDS}"
        return [
            route("/openapi.json", self.openapi, JSON, new),
            route("/docs", self.page / "index.html", HTML, new),
            route("/docs/", self.page / "index.html", HTML, new),
            route("/docs/page.js", self.page / "page.js", SCRIPT, new),
            route("/docs/index.css", self.swagger_ui / "index.css", STYLE, kept),
            route("/docs/swagger-ui.css", self.swagger_ui / "swagger-ui.css", STYLE, kept),
            route("/docs/swagger-ui-bundle.js", self.swagger_ui / "swagger-ui-bundle.js", SCRIPT, kept),
            route("/docs/favicon-32x32.png", self.swagger_ui / "favicon-32x32.png", PNG, kept),
        ]


def route(path: str, file: Path, content_type: str, cache_control: str) -> dict[str, object]:
    """One file, for GET and HEAD."""
    headers = {
        "content-type": content_type,
        "cache-control": cache_control,
        "x-content-type-options": "nosniff",
        "content-security-policy": POLICY,
        "referrer-policy": "no-referrer",
    }
    read = {"name": ":method", "string_match": {"safe_regex": {"regex": "GET|HEAD"}}}
    return {
        "match": {"path": path, "headers": [read]},
        "direct_response": {"status": 200, "body": {"filename": str(file)}},
        "response_headers_to_add": [
            {"header": {"key": key, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
            for key, value in headers.items()
        ],
        "typed_per_filter_config": NO_TRANSCODER | NO_BODY,
    }
