"""`specie payouts` and `specie webhooks` against a running stack."""

import json
import re
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.kit.command import in_one_line, specie
from tests.kit.readme import blocks
from tests.kit.receiver import Receiver
from tests.kit.service import wait_until
from tests.kit.shown import run
from tests.kit.stack import ROOT, Stack

Json = dict[str, Any]

NOBODY_LISTENS = "http://127.0.0.1:9/hooks"
NIL = "00000000-0000-0000-0000-000000000000"
KEEP_IT = "This is the only time that the secret is shown: keep it now.\n"
SECRET = re.compile("^whsec_[A-Za-z0-9+/]{43}=$", re.MULTILINE)


def told(stack: Stack, *arguments: object) -> str:
    result = specie(stack, *arguments)
    assert result.stderr == ""
    return result.stdout


def as_json(stack: Stack, *arguments: object) -> Json:
    answer: Json = json.loads(specie(stack, *arguments, "--json").stdout)
    return answer


def refused(stack: Stack, *arguments: object, code: int = 1, token: str | None = None) -> str:
    result = specie(stack, *arguments, code=code, env=None if token is None else {"SPECIE_TOKEN": token})
    assert result.stdout == ""
    return in_one_line(result.stderr)


def funded(stack: Stack) -> str:
    """A new wallet with 100.00 USD in it."""
    name = f"wallets/operator-{uuid4().hex[:12]}"
    specie(stack, "wallet", "create", name, "--currency", "USD", "--owner", "ann")
    specie(stack, "deposit", name, "--amount", "10000", "--currency", "USD")
    return name


def withdrawn(stack: Stack, wallet: str, minor_units: int) -> str:
    """The name of its payout."""
    body = {
        "amount": {"currencyCode": "USD", "minorUnits": minor_units},
        "payout": {"provider": "simulator", "account": "DE02120300000000202051", "beneficiary": "Ann [red]"},
    }
    answer = stack.call("POST", f"/v1/{wallet}:withdraw", body, headers={"idempotency-key": uuid4().hex})
    assert answer.status == 200, answer.body
    name: str = answer.body["transaction"]["payout"]
    return name


def created(stack: Stack, url: str = NOBODY_LISTENS, *options: object) -> Json:
    """What creating an endpoint answers."""
    return as_json(stack, "webhooks", "create", url, *options)


def deliveries(stack: Stack, endpoint: str, *options: object) -> list[Json]:
    found: list[Json] = as_json(stack, "webhooks", "deliveries", endpoint, *options)["deliveries"]
    return found


def test_payouts_are_listed_read_and_tried_again(stack: Stack) -> None:
    wallet = funded(stack)
    older, newer = withdrawn(stack, wallet, 400), withdrawn(stack, wallet, 500)
    paid = ("payouts", "list", "--wallet", wallet.removeprefix("wallets/"), "--state", "paid")
    wait_until(lambda: len(as_json(stack, *paid)["payouts"]) == 2, "both are paid")
    listed = as_json(stack, *paid)["payouts"]
    assert [payout["name"] for payout in listed] == [newer, older]
    lines = told(stack, *paid).splitlines()
    assert lines[0].endswith(" UTC  PAID  5.00 USD (500)  by simulator")
    assert lines[1:3] == [f"  {newer}", f"  {wallet}"]
    assert lines[4:] == [f"  {older}", f"  {wallet}"]
    assert as_json(stack, "payouts", "list", "--wallet", wallet, "--state", "dead")["payouts"] == []
    # In a state as it is shown, too.
    assert specie(stack, "payouts", "list", "--wallet", wallet, "--state", "DEAD").stderr == "There is none.\n"

    cut = specie(stack, "payouts", "list", "--wallet", wallet, "--limit", "1", "--json")
    assert json.loads(cut.stdout)["payouts"] == listed[:1]
    assert "There are more than these 1; --limit says how many to list, and 0 is all." in cut.stderr

    assert as_json(stack, "payouts", "get", older) == {"payout": listed[1]}
    shown = told(stack, "payouts", "get", older.removeprefix("payouts/"))
    for expected in (older, "PAID", wallet, "4.00 USD (400)", "DE02120300000000202051", "Ann [red]"):
        assert expected in shown
    # It is paid for good: nothing changes.
    assert told(stack, "payouts", "retry", older) == shown
    assert as_json(stack, "payouts", "retry", older) == {"payout": listed[1]}


def test_an_endpoint_lives_from_its_making_to_its_end(stack: Stack) -> None:
    events = ("--event", "payout.dead", "--event", "payout.reversed")
    description = f"the [red] shop {uuid4()}"
    options = (NOBODY_LISTENS, *events, "--wallet", "ann", "--description", description)
    made = specie(stack, "webhooks", "create", *options, env={"COLUMNS": "60"})
    [first] = SECRET.findall(made.stdout)
    assert made.stderr == KEEP_IT
    endpoints = as_json(stack, "webhooks", "list")["endpoints"]
    [name] = [endpoint["name"] for endpoint in endpoints if endpoint["description"] == description]
    shown = told(stack, "webhooks", "get", name)
    for expected in (name, NOBODY_LISTENS, "payout.dead, payout.reversed", "wallets/ann", description, "ENABLED"):
        assert expected in shown
    lines = told(stack, "webhooks", "list").splitlines()
    place = lines.index(f"  {name}")
    assert lines[place - 1] == f"ENABLED  0 waiting  {NOBODY_LISTENS}"
    assert lines[place + 1 : place + 3] == ["  payout.dead, payout.reversed  wallets/ann", f"  {description}"]

    rotated = specie(stack, "webhooks", "rotate", name.removeprefix("webhookEndpoints/"))
    [second] = SECRET.findall(rotated.stdout)
    assert (second != first, rotated.stderr) == (True, KEEP_IT)

    assert as_json(stack, "webhooks", "update", name, "--description", "")["endpoint"]["description"] == ""
    changed = as_json(stack, "webhooks", "update", name, "--all-events", "--wallet", "")["endpoint"]
    assert (changed["eventTypes"], changed["wallet"], changed["url"]) == ([], "", NOBODY_LISTENS)
    changed = as_json(stack, "webhooks", "update", name, "--event", "payout.dead", "--wallet", "bob")["endpoint"]
    assert (changed["eventTypes"], changed["wallet"]) == (["payout.dead"], "wallets/bob")

    assert "DISABLED" in told(stack, "webhooks", "disable", name)
    assert as_json(stack, "webhooks", "enable", name)["endpoint"]["state"] == "WEBHOOK_ENDPOINT_STATE_ENABLED"
    assert as_json(stack, "webhooks", "get", name)["endpoint"] in as_json(stack, "webhooks", "list")["endpoints"]
    assert told(stack, "webhooks", "delete", name) == f"{name} is deleted.\n"
    gone = refused(stack, "webhooks", "get", name)
    assert "WEBHOOK_ENDPOINT_NOT_FOUND" in gone
    assert "`specie webhooks list` shows the endpoints there are." in gone


def test_what_was_delivered_is_listed_and_sent_again(stack: Stack) -> None:
    with Receiver() as receiver:
        wallet = funded(stack)
        made = created(stack, receiver.url, "--wallet", wallet)
        receiver.secret, name = made["secret"], made["endpoint"]["name"]
        for _ in range(2):
            specie(stack, "deposit", wallet, "--amount", "7", "--currency", "USD")
        wait_until(lambda: len(deliveries(stack, name, "--state", "delivered")) == 2, "both are delivered")
        later, earlier = deliveries(stack, name)
        lines = told(stack, "webhooks", "deliveries", name, "--state", "delivered").splitlines()
        assert lines[0].endswith(" UTC  DELIVERED  transaction.posted  1 attempt")
        assert lines[1:5] == [
            f"  {later['name']}", f"  {later['subject']}", f"  cursor {later['cursor']}", "  HTTP 200",
        ]  # fmt: skip
        assert all(got.valid for got in receiver.wait_for(2))

        again = told(stack, "webhooks", "redeliver", earlier["name"].removeprefix("webhookDeliveries/"))
        assert "  PENDING  transaction.posted  " in again
        assert receiver.wait_for(3)[-1].id == earlier["eventId"]
        assert name in told(stack, "webhooks", "replay", name, "--from", earlier["cursor"])
        assert receiver.wait_for(4)[-1].id == later["eventId"]
        # With the deposit before there was an endpoint.
        as_json(stack, "webhooks", "replay", name, "--from", "beginning")
        wait_until(lambda: len({got.id for got in receiver.taken}) == 3, "everything comes")
        specie(stack, "webhooks", "delete", name)


@pytest.mark.parametrize(
    ("arguments", "code", "expected"),
    [
        (("payouts", "get", NIL), 1, ("PAYOUT_NOT_FOUND", "`specie payouts list` shows")),
        (("payouts", "retry", f"payouts/{NIL}"), 1, ("PAYOUT_NOT_FOUND",)),
        (("payouts", "get", "rent"), 1, ("INVALID_FIELD", "name: ")),
        (("payouts", "list", "--state", "lost"), 2, ("--state", "'lost' is not one of 'pending'")),
        (("payouts", "list", "--limit", "-1"), 2, ("--limit",)),
        (("webhooks", "deliveries", NIL), 1, ("WEBHOOK_ENDPOINT_NOT_FOUND",)),
        (("webhooks", "deliveries", NIL, "--state", "lost"), 2, ("--state",)),
        (("webhooks", "redeliver", NIL), 1, ("WEBHOOK_DELIVERY_NOT_FOUND", "`specie webhooks deliveries` shows")),
        (("webhooks", "delete", NIL), 1, ("WEBHOOK_ENDPOINT_NOT_FOUND",)),
        (("webhooks", "create", "http://shop.example/hooks"), 1, ("INVALID_WEBHOOK_URL",)),
        (("webhooks", "create", NOBODY_LISTENS, "--event", "lost"), 1, ("UNKNOWN_EVENT_TYPE", "payout.dead")),
        (("webhooks", "update", NIL), 2, ("nothing is to change",)),
        (("webhooks", "update", NIL, "--event", "payout.dead", "--all-events"), 2, ("--all-events",)),
        (("webhooks", "replay", NIL), 2, ("--from",)),
        (("webhooks", "replay", NIL, "--from", ""), 2, ("--from",)),
        (("webhooks", "replay", NIL, "--from", "yesterday"), 1, ("`--from beginning` is everything",)),
    ],
)
def test_a_mistake_is_told(stack: Stack, arguments: tuple[str, ...], code: int, expected: tuple[str, ...]) -> None:
    error = refused(stack, *arguments, code=code)
    for words in expected:
        assert words in error


def test_who_may_not_is_told_what_he_needs(stack: Stack) -> None:
    wallet = funded(stack)
    payout = withdrawn(stack, wallet, 1)
    owner, stranger = stack.mint("ann", "wallets.read"), stack.mint("bob", "wallets.read")
    for arguments, token, reason in (
        (("payouts", "list"), "", "UNAUTHENTICATED"),
        (("payouts", "get", payout), stranger, "PAYOUT_NOT_FOUND"),
        (("payouts", "retry", payout), owner, "PERMISSION_DENIED"),
        (("webhooks", "list"), owner, "PERMISSION_DENIED"),
        (("webhooks", "create", NOBODY_LISTENS), owner, "PERMISSION_DENIED"),
        (("webhooks", "deliveries", NIL), owner, "PERMISSION_DENIED"),
    ):
        error = refused(stack, *arguments, token=token)
        assert reason in error
        assert not token or token not in error
    # Of all wallets only who is trusted is told.
    assert "name a wallet" in refused(stack, "payouts", "list", token=owner)
    listed = specie(stack, "payouts", "list", "--wallet", wallet, env={"SPECIE_TOKEN": owner})
    assert f"  {payout}\n" in listed.stdout


def test_no_secret_is_in_a_log(stack: Stack) -> None:
    made = created(stack)
    name = made["endpoint"]["name"]
    second = as_json(stack, "webhooks", "rotate", name)["secret"]
    assert as_json(stack, "webhooks", "delete", name) == {}
    logs = [path.read_text(errors="replace") for path in (stack.data_dir / "logs").iterdir()]
    assert logs
    for secret in (made["secret"], second):
        assert not any(secret.removeprefix("whsec_") in log for log in logs)


def test_the_guides_commands_work(stack: Stack, tmp_path: Path) -> None:
    for guide, command in (("payouts.md", "specie payouts"), ("webhooks.md", "specie webhooks")):
        shown = [block for block in blocks(ROOT / "docs" / guide) if command in block.text]
        assert [block.language for block in shown] == ["bash"]
        run(shown[0], stack, tmp_path)
