"""Webhooks as JSON through the gateway: endpoints from their making to their end, and the guide's receiver hears."""

import base64
import hashlib
import hmac
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from standardwebhooks import Webhook

from tests.kit.ports import free_port
from tests.kit.readme import Block, blocks
from tests.kit.receiver import Receiver
from tests.kit.service import wait_until
from tests.kit.shown import assert_contains, run
from tests.kit.stack import ROOT, Answer, Stack

Json = dict[str, Any]

GUIDE = ROOT / "docs" / "webhooks.md"
PORT_IN_GUIDE = "9000"
NOBODY_LISTENS = "http://127.0.0.1:9/hooks"
STATE = "WEBHOOK_ENDPOINT_STATE_"


def done(answer: Answer) -> Json:
    assert answer.status == 200, answer.body
    told: Json = answer.body
    return told


def refused(answer: Answer) -> tuple[int, str]:
    return answer.status, answer.body["details"][0]["reason"]


def created(stack: Stack, url: str = NOBODY_LISTENS, **more: object) -> Json:
    """What creating answers."""
    return done(stack.call("POST", "/v1/webhookEndpoints", {"url": url, **more}))


def funded(stack: Stack) -> str:
    """A new wallet that has been paid."""
    wallet: str = done(stack.call("POST", f"/v1/wallets?walletId={uuid4()}", {"currencyCode": "USD"}))["wallet"]["name"]
    amount = {"amount": {"currencyCode": "USD", "minorUnits": "100"}}
    done(stack.call("POST", f"/v1/{wallet}:deposit", amount, headers={"idempotency-key": uuid4().hex}))
    return wallet


def test_an_endpoint_lives_from_its_making_to_its_end(stack: Stack) -> None:
    made = created(stack, eventTypes=["payout.dead"], description="the shop")
    endpoint, name = made["endpoint"], made["endpoint"]["name"]
    assert (endpoint["url"], endpoint["state"]) == (NOBODY_LISTENS, f"{STATE}ENABLED")
    assert (endpoint["eventTypes"], endpoint["wallet"], endpoint["waitingCount"]) == (["payout.dead"], "", 0)
    assert done(stack.call("GET", f"/v1/{name}")) == {"endpoint": endpoint}
    assert endpoint in done(stack.call("GET", "/v1/webhookEndpoints"))["endpoints"]

    changed = done(stack.call("PATCH", f"/v1/{name}", {"description": "the stall"}))["endpoint"]
    assert (changed["description"], changed["eventTypes"]) == ("the stall", ["payout.dead"])
    cleared = done(stack.call("PATCH", f"/v1/{name}?updateMask=eventTypes,description", {"wallet": "wallets/ann"}))
    assert (cleared["endpoint"]["eventTypes"], cleared["endpoint"]["description"]) == ([], "")
    assert cleared["endpoint"]["wallet"] == ""

    rotated = done(stack.call("POST", f"/v1/{name}:rotateSecret", {}))
    assert rotated["secret"].startswith("whsec_")
    assert rotated["secret"] != made["secret"]
    assert done(stack.call("POST", f"/v1/{name}:disable", {}))["endpoint"]["state"] == f"{STATE}DISABLED"
    assert done(stack.call("POST", f"/v1/{name}:enable", {}))["endpoint"]["state"] == f"{STATE}ENABLED"
    assert done(stack.call("GET", f"/v1/webhookDeliveries?endpoint={name}")) == {"deliveries": [], "nextPageToken": ""}

    assert done(stack.call("DELETE", f"/v1/{name}")) == {}
    assert refused(stack.call("GET", f"/v1/{name}")) == (404, "WEBHOOK_ENDPOINT_NOT_FOUND")
    acts = done(stack.call("GET", f"/v1/acts?subject={name}"))["acts"]
    assert [act["act"] for act in acts[::-1]] == [
        "CREATE", "UPDATE", "UPDATE", "ROTATE_SECRET", "DISABLE", "ENABLE", "DELETE",
    ]  # fmt: skip
    assert "whsec_" not in json.dumps(acts)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({"url": "http://shop.example/hooks"}, "INVALID_WEBHOOK_URL"),
        ({"url": "https://169.254.169.254/"}, "INVALID_WEBHOOK_URL"),
        ({"url": NOBODY_LISTENS, "eventTypes": ["transaction.lost"]}, "UNKNOWN_EVENT_TYPE"),
        ({"url": "https://shop.example/" + "x" * 2000}, "INVALID_FIELD"),
        ({"description": "without a url"}, "INVALID_FIELD"),
    ],
)
def test_a_bad_endpoint_is_refused(body: Json, reason: str, stack: Stack) -> None:
    before = names(stack)
    assert refused(stack.call("POST", "/v1/webhookEndpoints", body)) == (400, reason)
    assert names(stack) == before


def names(stack: Stack) -> list[str]:
    """Of all endpoints: what they are sent goes on meanwhile."""
    return [endpoint["name"] for endpoint in done(stack.call("GET", "/v1/webhookEndpoints"))["endpoints"]]


def test_a_wrong_cursor_is_refused(stack: Stack) -> None:
    name = created(stack)["endpoint"]["name"]
    assert refused(stack.call("POST", f"/v1/{name}:replay", {"cursor": "yesterday"})) == (400, "INVALID_CURSOR")


def test_what_was_delivered_is_listed_and_sent_again(stack: Stack) -> None:
    with Receiver() as receiver:
        wallet = funded(stack)
        made = created(stack, receiver.url, wallet=wallet)
        receiver.secret = made["secret"]
        name = made["endpoint"]["name"]
        amount = {"amount": {"currencyCode": "USD", "minorUnits": "7"}}
        done(stack.call("POST", f"/v1/{wallet}:deposit", amount, headers={"idempotency-key": uuid4().hex}))
        listing = f"/v1/webhookDeliveries?endpoint={name}&state=WEBHOOK_DELIVERY_STATE_DELIVERED"
        wait_until(lambda: done(stack.call("GET", listing))["deliveries"], "it is delivered")
        [delivery] = done(stack.call("GET", listing))["deliveries"]
        assert (delivery["eventType"], delivery["lastStatus"]) == ("transaction.posted", 200)
        assert delivery["subject"] == receiver.got[0].body["data"]["transaction"]["name"]
        again = done(stack.call("POST", f"/v1/{delivery['name']}:redeliver", {}))["delivery"]
        assert again["state"] == "WEBHOOK_DELIVERY_STATE_PENDING"
        wait_until(lambda: len(receiver.got) == 2, "it comes again")
        # Since the first transaction: the deposit before the endpoint was made comes, too.
        done(stack.call("POST", f"/v1/{name}:replay", {}))
        wait_until(lambda: len({got.id for got in receiver.got}) == 2, "everything comes")
        assert receiver.got[0].id == receiver.got[1].id == delivery["eventId"]


class AsShown:
    """The guide's blocks, with a port that is free here."""

    def __init__(self) -> None:
        self.port = free_port()
        self.blocks = [
            Block(block.language, block.text.replace(PORT_IN_GUIDE, str(self.port))) for block in blocks(GUIDE)
        ]

    def of(self, language: str) -> Block:
        """The first one: others are of the command line."""
        return next(block for block in self.blocks if block.language == language)


@contextmanager
def receiving(guide: AsShown, secret: str, folder: Path) -> Iterator[Path]:
    """The guide's receiver, in a process of its own; what it prints."""
    program, output = folder / "receiver.py", folder / "output.txt"
    program.write_text(guide.of("python").text)
    with output.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, str(program), str(guide.port)],
            env=os.environ | {"WEBHOOK_SECRET": secret},
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    try:
        yield output
        assert process.poll() is None, output.read_text()
    finally:
        process.terminate()
        process.wait()


def test_the_guides_receiver_hears_of_a_transaction(stack: Stack, tmp_path: Path) -> None:
    guide = AsShown()
    answer = json.loads(run(guide.of("bash"), stack, tmp_path))
    assert_contains(answer, json.loads(guide.of("json").text))
    assert json.loads((tmp_path / "endpoint.json").read_text()) == answer
    with receiving(guide, answer["secret"], tmp_path) as output:
        wallet = funded(stack)
        wait_until(lambda: f"'destination': '{wallet}'" in output.read_text(), "the receiver prints it")
        assert "transaction.posted" in output.read_text()
    done(stack.call("DELETE", f"/v1/{answer['endpoint']['name']}"))


def test_a_signature_is_what_the_guide_says() -> None:
    """By hand, as in a language without a library."""
    secret, body, now = "whsec_" + base64.b64encode(b"k" * 32).decode(), '{"type":"x"}', datetime.now(UTC)
    text = f"evt_1.{int(now.timestamp())}.{body}"
    key = base64.b64decode(secret.removeprefix("whsec_"))
    by_hand = base64.b64encode(hmac.new(key, text.encode(), hashlib.sha256).digest()).decode()
    assert Webhook(secret).sign("evt_1", now, body) == f"v1,{by_hand}"
    told = " ".join(GUIDE.read_text().split())
    assert "HMAC-SHA256 of `{webhook-id}.{webhook-timestamp}.{body}`" in told
