"""The page at /docs: made of files of ours alone, and a person can make calls with it."""

import json
from collections.abc import Iterator
from urllib.error import HTTPError
from urllib.request import Request, urlopen
from uuid import uuid4

import pytest
from playwright.sync_api import Browser, Page, expect

from specie_cli.stack.docs_page import OPENAPI, PAGE, swagger_ui
from tests.kit.browser import PATIENCE_MS
from tests.kit.gateway import Gateway, gateway_config, running_gateway
from tests.kit.stack import Stack

FILES = {
    "/openapi.json": (OPENAPI, "application/json"),
    "/docs": (PAGE / "index.html", "text/html; charset=utf-8"),
    "/docs/": (PAGE / "index.html", "text/html; charset=utf-8"),
    "/docs/page.js": (PAGE / "page.js", "text/javascript; charset=utf-8"),
    "/docs/swagger-ui-bundle.js": (swagger_ui() / "swagger-ui-bundle.js", "text/javascript; charset=utf-8"),
    "/docs/swagger-ui.css": (swagger_ui() / "swagger-ui.css", "text/css; charset=utf-8"),
    "/docs/favicon-32x32.png": (swagger_ui() / "favicon-32x32.png", "image/png"),
}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """Without services: the page needs none, and no token."""
    with running_gateway(gateway_config(), tmp_path_factory.mktemp("gateway")) as alone:
        yield alone


@pytest.mark.parametrize("path", FILES)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_file_is_served_as_it_is(gateway: Gateway, method: str, path: str) -> None:
    file, content_type = FILES[path]
    with urlopen(Request(gateway.url + path, method=method)) as answer:  # noqa: S310 - ours
        assert answer.status == 200
        assert answer.read() == (file.read_bytes() if method == "GET" else b"")
        assert answer.headers["content-type"] == content_type
        assert answer.headers["x-content-type-options"] == "nosniff"
        policy = dict(part.split(" ", 1) for part in answer.headers["content-security-policy"].split("; "))
    assert (policy["default-src"], policy["script-src"], policy["connect-src"]) == ("'none'", "'self'", "'self'")


@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/docs"), ("GET", "/docs/../docs/x"), ("GET", "/docs/envoy.yaml")]
)
def test_nothing_else_is_served(gateway: Gateway, method: str, path: str) -> None:
    with pytest.raises(HTTPError) as refused:
        urlopen(Request(gateway.url + path, method=method))  # noqa: S310 - ours
    with refused.value as answer:
        assert answer.code == 404
        assert b"UNKNOWN_METHOD" in answer.read()


@pytest.fixture
def page(browser: Browser, stack: Stack) -> Iterator[tuple[Page, list[str]]]:
    """The page, and what it should not do: complaints on its console, requests of other hosts."""
    context = browser.new_context()
    opened, wrong = context.new_page(), list[str]()
    opened.set_default_timeout(PATIENCE_MS)
    opened.on("console", lambda said: wrong.append(said.text) if said.type in ("error", "warning") else None)
    opened.on("pageerror", lambda error: wrong.append(str(error)))
    opened.on(
        "request", lambda asked: None if asked.url.startswith((stack.gateway, "data:")) else wrong.append(asked.url)
    )
    opened.goto(f"{stack.gateway}/docs")
    yield opened, wrong
    context.close()


def test_a_person_reads_the_calls_and_makes_one(page: tuple[Page, list[str]], stack: Stack) -> None:
    shown, wrong = page
    wallet = f"shown-{uuid4().hex[:12]}"
    assert stack.call("POST", f"/v1/wallets?walletId={wallet}", {"currencyCode": "EUR"}).status == 200
    told = json.loads(OPENAPI.read_text())["paths"].values()
    expect(shown.locator(".opblock")).to_have_count(sum(map(len, told)))

    shown.get_by_role("button", name="Authorize", exact=True).click()
    shown.locator("input[aria-label='auth-bearer-value']").fill(stack.token)
    shown.get_by_role("button", name="Apply credentials").click()
    shown.get_by_role("button", name="Close", exact=True).click()

    call = shown.locator("#operations-WalletService-GetWallet")
    call.locator(".opblock-summary-control").click()
    call.get_by_role("button", name="Try it out").click()
    call.locator("tr[data-param-name='wallet'] input").fill(wallet)
    call.get_by_role("button", name="Execute", exact=True).click()
    answer = call.locator(".live-responses-table")
    expect(answer.locator(".response-col_status").last).to_contain_text("200")
    expect(answer).to_contain_text(f"wallets/{wallet}")
    assert wrong == []
    kept = shown.evaluate("() => JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie])")
    assert stack.token not in kept
