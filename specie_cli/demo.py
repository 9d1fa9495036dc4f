"""`specie demo`: a tour of a stack that it starts and throws away. It prints each call and its answer."""

import json
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.markup import escape

from specie_cli.stack.issuer import Issuer

START_TIMEOUT_SECONDS = 120
POLL_SECONDS = 0.1
STOP_TIMEOUT_SECONDS = 60
TOKEN_SECONDS = 600
OPERATOR, BOB, NOBODY = "operator", "bob", ""
READING = "wallets.read"

Found = dict[str, str]
"""What the ready file of the stack tells."""


@dataclass(frozen=True)
class Step:
    """One call: what it shows, the call, the HTTP status that it must be answered with, and who makes it (empty:
    nobody) with what scope. In the path, `{hold}` and `{transaction}` are the names of the last that were answered."""

    says: str
    method: str
    path: str
    body: dict[str, Any] | None = None
    key: str = ""
    status: int = 200
    caller: str = OPERATOR
    scope: str = "admin"


def usd(minor_units: int) -> dict[str, Any]:
    return {"currencyCode": "USD", "minorUnits": minor_units}


def pays_bob(minor_units: int) -> dict[str, Any]:
    return {"source": "wallets/alice", "destination": "wallets/bob", "amount": usd(minor_units)}


def transfer(says: str, key: str, minor_units: int, status: int = 200, destination: str = "wallets/bob") -> Step:
    body = {**pays_bob(minor_units), "destination": destination}
    return Step(says, "POST", "/v1/transfers", body, key, status)


TOUR = (
    Step("Alice gets a wallet.", "POST", "/v1/wallets?walletId=alice", {"currencyCode": "USD"}),
    Step("So does Bob.", "POST", "/v1/wallets?walletId=bob", {"currencyCode": "USD"}),
    Step(
        "Money comes from the outside world.", "POST", "/v1/wallets/alice:deposit", {"amount": usd(10_000)}, "deposit-1"
    ),
    transfer("Alice pays Bob 25.00.", "transfer-1", 2_500),
    transfer("She presses the button twice: the same key moves nothing, and says so.", "transfer-1", 2_500),
    transfer("The same key for another amount is refused.", "transfer-1", 2_600, status=409),
    transfer("She cannot pay what she does not have.", "transfer-2", 99_999, status=400),
    transfer("Nor to a wallet that does not exist.", "transfer-3", 1, 404, "wallets/carol"),
    Step(
        "Several transfers in one call, each with its own outcome; the first costs 1.5 %.",
        "POST",
        "/v1/transfers:batch",
        {
            "transfers": [
                {**pays_bob(1_000), "requestId": "batch-1", "fee": {"basisPoints": 150}},
                {**pays_bob(99_999), "requestId": "batch-2"},
            ]
        },
    ),
    Step("A hold reserves money and moves none.", "POST", "/v1/holds", {**pays_bob(2_000), "ttl": "3600s"}, "hold-1"),
    Step(
        "Bob takes a part of it, and the rest is free again.",
        "POST",
        "/v1/{hold}:capture",
        {"amount": usd(1_200), "final": True},
        "capture-1",
    ),
    Step(
        "Bob looks at Alice's wallet: for him there is none.", "GET", "/v1/wallets/alice", None, "", 404, BOB, READING
    ),
    Step("Who shows no token sees nothing.", "GET", "/v1/wallets/alice", None, "", 401, NOBODY),
    Step("He gives back half of that.", "POST", "/v1/{transaction}:reverse", {"amount": usd(600)}, "back-1"),
    Step("Alice's wallet is frozen: from now on nothing leaves it.", "POST", "/v1/wallets/alice:freeze", {}),
    transfer("See?", "transfer-4", 1, status=400),
    Step("Her statement: every entry with the balance after it.", "GET", "/v1/wallets/alice/entries"),
    Step(
        "And what was refused is on record.",
        "GET",
        "/v1/transactions?wallet=wallets/alice&state=TRANSACTION_STATE_FAILED",
    ),
    Step(
        "So is all that moved, with the balances before and after, for an auditor.",
        "GET",
        "/v1/auditRecords?wallet=wallets/bob&kind=TRANSACTION_KIND_CAPTURE",
        caller="auditor",
        scope="audit.read",
    ),
)


def demo() -> None:
    """A scripted tour against a throw-away stack."""
    console = Console(highlight=False)
    with tempfile.TemporaryDirectory(prefix="specie-demo-") as folder:
        ready = Path(folder) / "ready.json"
        command = [sys.executable, "-m", "specie_cli.main", "up", "--ephemeral", "--port", str(_free_port())]
        with (Path(folder) / "output.txt").open("w+") as output:
            stack = subprocess.Popen([*command, "--ready-file", str(ready)], stdout=output, stderr=subprocess.STDOUT)
            try:
                console.print("starting a stack of its own ...")
                found = _found(stack, ready)
                if found is None:
                    output.seek(0)
                    Console(stderr=True).print(output.read(), "error: the stack did not start", markup=False)
                    raise typer.Exit(1)
                names: dict[str, str] = {}
                console.print("Every call has a token: of the house, unless it says whose.")
                for step in TOUR:
                    answer = _take(replace(step, path=step.path.format_map(names)), found, console)
                    names |= {key: answer[key]["name"] for key in ("hold", "transaction") if key in answer}
            finally:
                stack.terminate()
                stack.wait(STOP_TIMEOUT_SECONDS)
    console.print("That was it; the stack is gone. `make run` starts one that stays.")


def _take(step: Step, found: Found, console: Console) -> dict[str, Any]:
    console.print(f"\n[bold]{escape(step.says)}[/bold]")
    console.print(f"{step.method} {step.path}", style="cyan", markup=False)
    if step.body:
        console.print(json.dumps(step.body), style="cyan", markup=False, soft_wrap=True)
    status, answer = _call(step, found)
    console.print(f"{status}", style="green" if status == step.status else "red")
    console.print_json(json.dumps(answer))
    if status != step.status:
        Console(stderr=True).print(f"error: {step.status} was expected", style="red")
        raise typer.Exit(1)
    return answer


def _call(step: Step, found: Found) -> tuple[int, dict[str, Any]]:
    headers = {"content-type": "application/json"} | ({"idempotency-key": step.key} if step.key else {})
    if step.caller:
        token = Issuer(Path(found["data_dir"])).mint(step.caller, step.scope, TOKEN_SECONDS)
        headers["authorization"] = f"Bearer {token}"
    data = None if step.body is None else json.dumps(step.body).encode()
    request = urllib.request.Request(found["gateway"] + step.path, data, headers, method=step.method)  # noqa: S310 - our own
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - our own
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def _found(stack: subprocess.Popen[bytes], ready: Path) -> Found | None:
    deadline = time.monotonic() + START_TIMEOUT_SECONDS
    while not ready.exists():
        if stack.poll() is not None or time.monotonic() > deadline:
            return None
        time.sleep(POLL_SECONDS)
    found: Found = json.loads(ready.read_text())
    return found


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
