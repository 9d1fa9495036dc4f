"""A real browser before the gateway: the guide's stream over a break, and what pages of other origins cannot do."""

import re
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import pytest
from playwright.sync_api import Browser, Page

from tests.kit.browser import PATIENCE_MS, Cable, Pages, cable
from tests.kit.stack import ROOT, Stack
from tests.kit.till import usd

GUIDE = ROOT / "docs" / "streams.md"

WATCH = """({gateway, wallet, token}) => {
  window.seen = [];
  import('/watch.js').then(({watch}) => watch({
    gateway, wallet, token: () => token, signal: new AbortController().signal,
    take: (transaction) => { seen.push(transaction.name); },
  })).catch((error) => { seen.push(String(error)); });
}"""

ASK = """async ({url, method, headers, body}) => {
  try {
    const answer = await fetch(url, {method, headers, body});
    const retry = answer.headers.get('x-request-id');
    return {status: answer.status, body: await answer.json(), traced: retry !== null};
  } catch (error) {
    return String(error);
  }
}"""


@pytest.fixture
def opened(browser: Browser) -> Iterator[Callable[[str], Page]]:
    """Opens a page of an origin."""
    context = browser.new_context()
    context.set_default_timeout(PATIENCE_MS)

    def open_(origin: str) -> Page:
        page = context.new_page()
        page.goto(origin)
        return page

    yield open_
    context.close()


@pytest.fixture
def wallet(stack: Stack) -> str:
    """A new one; its name."""
    id_ = f"browsed-{uuid4().hex[:12]}"
    assert stack.call("POST", f"/v1/wallets?walletId={id_}", {"currencyCode": "USD"}).status == 200
    return f"wallets/{id_}"


@pytest.fixture
def laid(stack: Stack) -> Iterator[Cable]:
    """Between browser and gateway."""
    with cable(stack.grpc) as to_the_gateway:
        yield to_the_gateway


def deposited(stack: Stack, wallet: str) -> str:
    body = {"amount": usd(1), "requestId": uuid4().hex}
    name: str = stack.call("POST", f"/v1/{wallet}:deposit", body).body["transaction"]["name"]
    return name


def ask(page: Page, url: str, method: str = "GET", body: str | None = None, **headers: str) -> Any:  # noqa: ANN401
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return page.evaluate(ASK, {"url": url, "method": method, "headers": sent, "body": body})


def test_the_guides_code_takes_each_transaction_once_over_a_cut_connection(
    stack: Stack, pages: Pages, opened: Callable[[str], Page], wallet: str, laid: Cable
) -> None:
    (code,) = re.findall(r"```js\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    pages.files["/watch.js"] = ("text/javascript", code)
    page = opened(pages.known)
    received: list[str] = []
    page.on("request", lambda request: received.append(request.headers.get("last-event-id", "")))
    reader = stack.mint("local", "wallets.read")
    with page.expect_response(lambda response: ":watch" in response.url and response.request.method == "GET"):
        page.evaluate(WATCH, {"gateway": laid.url, "wallet": wallet, "token": reader})

    def seen(count: int) -> list[str]:
        page.wait_for_function(f"seen.length >= {count}")
        found: list[str] = page.evaluate("seen")
        return found

    made = [deposited(stack, wallet)]
    assert seen(1) == made
    for _ in range(2):
        laid.cut()
        made += [deposited(stack, wallet), deposited(stack, wallet)]
        assert seen(len(made)) == made
    assert len({id_ for id_ in received if id_}) == 2


def test_a_page_of_a_known_origin_reads_answers_and_errors(
    stack: Stack, pages: Pages, opened: Callable[[str], Page], wallet: str
) -> None:
    page, token = opened(pages.known), f"Bearer {stack.token}"
    deposit = '{"amount": {"currencyCode": "USD", "minorUnits": "5"}}'
    made = ask(page, f"{stack.gateway}/v1/{wallet}:deposit", "POST", deposit, authorization=token, idempotency_key="1")
    assert (made["status"], made["traced"]) == (200, True)
    refusals = {
        f"/v1/{wallet}": ("", 401, "UNAUTHENTICATED"),
        "/v1/nothing": (token, 404, "UNKNOWN_METHOD"),
        f"/v1/{wallet}-x": (token, 404, "WALLET_NOT_FOUND"),
        "/v1/wallets?bogus=1": (token, 400, "MALFORMED_REQUEST"),
    }
    for path, (shown, status, reason) in refusals.items():
        answer = ask(page, f"{stack.gateway}{path}", **({"authorization": shown} if shown else {}))
        assert (answer["status"], answer["body"]["details"][0]["reason"]) == (status, reason), path


def test_a_page_of_another_origin_can_do_nothing(
    stack: Stack, pages: Pages, opened: Callable[[str], Page], wallet: str
) -> None:
    page, token = opened(pages.unknown), f"Bearer {stack.token}"
    deposit = '{"amount": {"currencyCode": "USD", "minorUnits": "5"}, "requestId": "1"}'
    url = f"{stack.gateway}/v1/{wallet}"
    assert ask(page, f"{url}:deposit", "POST", deposit, authorization=token) == "TypeError: Failed to fetch"
    # A browser sends this one without asking first: nobody reads the answer, and without a token there is no effect.
    assert ask(page, f"{url}:deposit", "POST", deposit, content_type="text/plain") == "TypeError: Failed to fetch"
    assert ask(page, url, authorization=token) == "TypeError: Failed to fetch"
    assert ask(page, f"{stack.gateway}/v1/transactions:watch", authorization=token) == "TypeError: Failed to fetch"
    assert stack.call("GET", f"/v1/transactions?wallet={wallet}").body["transactions"] == []
