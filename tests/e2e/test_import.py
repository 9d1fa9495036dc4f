"""`specie import` against a running stack: every line once, whatever happens to the file, the command or the token."""

import csv
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from uuid import uuid4

import pytest
from typer.testing import CliRunner, Result

from specie_cli.imports.lines import LINE_BYTES_MAX
from specie_cli.main import app
from tests.kit.auditor import audit
from tests.kit.ports import free_port
from tests.kit.readme import blocks
from tests.kit.shown import assert_contains, run
from tests.kit.stack import ROOT, SPECIE, Stack

GUIDE = ROOT / "docs" / "import.md"
HEADER = "source,destination,amount,currency,description"
POLL_SECONDS = 0.02
TIMEOUT_SECONDS = 60
RICH = 1_000_000


@dataclass
class Shop:
    """A wallet that pays and one that is paid, and a folder for files."""

    stack: Stack
    folder: Path
    payer: str
    paid: str

    def file(self, lines: Iterable[str], name: str = "pay.csv", header: str = HEADER) -> Path:
        path = self.folder / name
        path.write_text("\n".join([header, *lines]) + "\n")
        return path

    def pays(self, amount: int, description: str = "") -> str:
        return f"{self.payer},{self.paid},{amount},USD,{description}"

    def imports(self, file: Path, *options: str, code: int = 0, token: str | None = None) -> dict[str, object]:
        """The outcome, as JSON."""
        done = self.run(file, "--json", *options, token=token)
        assert done.exit_code == code, (done.stdout, done.stderr)
        figures: dict[str, object] = json.loads(done.stdout)
        return figures

    def run(self, file: Path | str, *options: str, token: str | None = None) -> Result:
        """In this process, which is quicker; what depends on a process of its own starts one."""
        done = CliRunner().invoke(app, ["import", str(file), *options], env=self.environment(token))
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        return done

    def environment(self, token: str | None = None) -> dict[str, str]:
        return {"SPECIE_SERVER": self.stack.grpc, "SPECIE_TOKEN": self.stack.token if token is None else token}

    def balance(self, wallet: str) -> int:
        body = self.stack.call("GET", f"/v1/wallets/{wallet}/balance").body
        return int(body["balance"]["available"]["minorUnits"])

    def deposit(self, amount: int) -> None:
        body = {"amount": {"currencyCode": "USD", "minorUnits": amount}}
        headers = {"idempotency-key": str(uuid4())}
        assert self.stack.call("POST", f"/v1/wallets/{self.payer}:deposit", body, headers=headers).status == 200


@pytest.fixture
def shop(stack: Stack, tmp_path: Path) -> Shop:
    name = f"import-{uuid4().hex[:12]}"
    found = Shop(stack, tmp_path, name, f"{name}-paid")
    for wallet in (found.payer, found.paid):
        body = {"owner": "importer", "currencyCode": "USD"}
        assert stack.call("POST", f"/v1/wallets?walletId={wallet}", body).status == 200
    found.deposit(RICH)
    return found


def outcome(posted: int, before: int = 0, rejected: int = 0, **others: object) -> dict[str, object]:
    usual: dict[str, object] = {"pending": 0, "broken": 0, "unfinished": 0, "rejectedFile": None}
    return {"posted": posted, "postedBefore": before, "rejected": rejected} | usual | others


def test_the_guide_shows_what_happens(stack: Stack, tmp_path: Path) -> None:
    output, compared = "", 0
    for block in blocks(GUIDE):
        if block.language == "bash":
            output = run(block, stack, tmp_path)
        else:
            assert_contains(json.loads(output.splitlines()[-1]), json.loads(block.text))
            compared += 1
    assert compared == 3
    told = Shop(stack, tmp_path, "bakery", "ben").run(tmp_path / "payroll.csv", "--dry-run").stderr
    assert told.strip() in GUIDE.read_text()


def test_a_second_run_does_nothing_twice(shop: Shop) -> None:
    file = shop.file([shop.pays(1), shop.pays(1), shop.pays(2)])
    assert shop.imports(file) == outcome(3)
    moved = file.rename(shop.folder / "renamed.csv")
    assert shop.imports(moved) == outcome(0, 3)
    assert shop.balance(shop.paid) == 4
    assert shop.imports(moved, "--series", "next month") == outcome(3)
    assert shop.balance(shop.paid) == 8


def test_added_and_mended_lines_alone_are_new_also_in_another_format(shop: Shop) -> None:
    shop.imports(shop.file([shop.pays(1), shop.pays(10), shop.pays(1)]))
    amounts = [100, 1, 1, 20, 1]  # 100 and the last 1 are added, 10 has become 20
    lines = [
        json.dumps(
            {"source": shop.payer, "destination": shop.paid, "amount": {"currencyCode": "USD", "minorUnits": amount}}
        )
        for amount in amounts
    ]
    file = shop.folder / "pay.jsonl"
    file.write_text("\r\n".join(lines))
    assert shop.imports(file, "--batch-size", "2") == outcome(3, 2)
    assert shop.balance(shop.paid) == 12 + 121


def test_labels_and_fees_arrive(shop: Shop) -> None:
    header = f"{HEADER},external_reference,request_id,fee,fee_destination,label:run"
    request_id = f"r-{shop.payer}"
    file = shop.file([f"{shop.pays(100, 'rent')},inv 7,{request_id},5,{shop.paid},may"], header=header)
    assert shop.imports(file) == outcome(1)
    listed = shop.stack.call("GET", f"/v1/transactions?wallet=wallets/{shop.paid}").body["transactions"]
    shown = {
        "requestId": request_id,
        "description": "rent",
        "externalReference": "inv 7",
        "labels": {"run": "may"},
        "fee": {"currencyCode": "USD", "minorUnits": "5"},
    }
    assert_contains(listed[0], shown)
    assert shop.balance(shop.paid) == 105


def test_a_broken_file_is_told_whole_and_sends_nothing(shop: Shop) -> None:
    lines = [shop.pays(1), f"{shop.payer},{shop.paid},12.50,USD,", "\x1b[2J,b,1,usx,", *(["a,b,0,USD,"] * 120)]
    done = shop.run(shop.file(lines))
    assert (done.exit_code, done.stdout) == (2, "")
    told = done.stderr.splitlines()
    assert told[0] == "line 3, amount: must be whole minor units of USD: 1250 is 12.50 USD"
    assert told[1].startswith("line 4, source: must be a wallet")
    assert told[2] == "line 4, currency: ISO 4217 has no currency USX"
    assert told[100] == "... and 23 more"
    assert told[101] == "error: 122 lines of the file cannot be sent, so nothing was. Mend the file and try again."
    assert "\x1b" not in done.stderr
    assert shop.balance(shop.paid) == 0
    assert [path.name for path in shop.folder.iterdir()] == ["pay.csv"]


def test_broken_lines_are_left_out_when_that_is_asked_for(shop: Shop) -> None:
    file = shop.file([shop.pays(1), f"{shop.payer},{shop.paid},2.0,USD,", shop.pays(3)])
    place = shop.folder / "pay.rejected.csv"
    assert shop.imports(file, "--skip-broken", code=1) == outcome(2, broken=1, rejectedFile=str(place))
    assert shop.run(file, "--skip-broken", "--dry-run").exit_code == 1
    (line,) = rejected_lines(place)
    assert (line["amount"], line["rejected_line"], line["rejected_reason"]) == ("2.0", "3", "BROKEN_LINE")
    place.write_text(place.read_text().replace(",2.0,", ",2,"))
    assert shop.imports(place) == outcome(1)
    assert shop.imports(place) == outcome(0, 1)
    assert shop.balance(shop.paid) == 6


def test_a_file_that_breaks_off_is_never_sent(shop: Shop) -> None:
    lines = [shop.pays(1), shop.pays(2, '"open'), *([shop.pays(3)] * (LINE_BYTES_MAX // 50))]
    done = shop.run(shop.file(lines), "--skip-broken")
    assert done.exit_code == 2
    assert "line 3: a quote is opened and not closed" in done.stderr
    assert shop.balance(shop.paid) == 0


def test_rejected_lines_can_be_tried_again_once_more(shop: Shop) -> None:
    file = shop.file([shop.pays(RICH), shop.pays(7), f"{shop.payer},nobody-has-this-name,1,USD,", shop.pays(7)])
    place = shop.folder / "elsewhere.csv"
    options = ("--rejected", str(place))
    assert shop.imports(file, *options, code=1) == outcome(1, rejected=3, rejectedFile=str(place))
    found = rejected_lines(place)
    assert [(line["rejected_line"], line["rejected_reason"]) for line in found] == [
        ("3", "INSUFFICIENT_FUNDS"),
        ("4", "DESTINATION_NOT_FOUND"),
        ("5", "INSUFFICIENT_FUNDS"),
    ]
    assert json.loads(found[0]["rejected_metadata"])["available"] == "0"
    before = place.read_bytes()
    assert shop.imports(file, *options, code=1) == outcome(0, 1, 3, rejectedFile=str(place))
    assert rejected_ids(place) == [line["request_id"] for line in found]
    shop.deposit(100)
    place.write_bytes(before)
    again = shop.folder / "elsewhere.rejected.csv"
    assert shop.imports(place, code=1) == outcome(2, rejected=1, rejectedFile=str(again))
    assert shop.imports(place, code=1) == outcome(0, 2, 1, rejectedFile=str(again))
    assert shop.balance(shop.paid) == RICH + 14


def test_the_same_request_id_for_something_else_is_rejected_under_that_id(shop: Shop) -> None:
    header, request_id = f"{HEADER},request_id", f"r-{shop.payer}"
    shop.imports(shop.file([f"{shop.pays(1)},{request_id}"], header=header))
    shop.imports(shop.file([f"{shop.pays(2)},{request_id}"], header=header), code=1)
    (line,) = rejected_lines(shop.folder / "pay.rejected.csv")
    assert (line["rejected_reason"], line["request_id"]) == ("REQUEST_ID_REUSED", request_id)


def test_a_file_through_standard_input(shop: Shop) -> None:
    file = shop.file([shop.pays(1)])
    command = [*SPECIE, "import", "-", "--format", "csv", "--json"]
    with file.open() as content:
        done = subprocess.run(
            command, stdin=content, env=os.environ | shop.environment(), capture_output=True, text=True, check=True
        )
    assert json.loads(done.stdout) == outcome(1)
    assert shop.imports(file) == outcome(0, 1)


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_an_outcome_that_nobody_reads_is_told_by_the_same_again(shop: Shop, options: list[str]) -> None:
    file = shop.file([shop.pays(1)])
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as nobody:
        command = [*SPECIE, "import", str(file), *options]
        environment = os.environ | shop.environment()
        done = subprocess.run(command, stdout=nobody, stderr=subprocess.PIPE, env=environment, text=True, check=False)
    assert done.returncode == 3, done.stderr
    assert "error: the outcome cannot be printed" in done.stderr
    assert "Traceback" not in done.stderr
    assert shop.imports(file) == outcome(0, 1)


def test_a_closed_standard_input_is_told(shop: Shop) -> None:
    command = ["sh", "-c", 'exec "$@" <&-', "sh", *SPECIE, "import", "-", "--format", "csv"]
    done = subprocess.run(command, env=os.environ | shop.environment(), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", "error: standard input is closed\n")


def test_transfers_that_wait_are_pending(shop: Shop) -> None:
    transfer = {
        "source": shop.payer,
        "destination": shop.paid,
        "amount": {"currencyCode": "USD", "minorUnits": "5"},
        "mode": "TRANSFER_MODE_ASYNC",
        "executeTime": "2099-01-01T00:00:00Z",
    }
    file = shop.folder / "later.jsonl"
    file.write_text(json.dumps(transfer))
    assert shop.imports(file) == outcome(0, pending=1)


def test_a_limit_of_the_gateway_only_makes_it_slower(shop: Shop) -> None:
    # Everybody but the usual subject has 20 batches a second, and as many at once.
    token = shop.stack.mint("importer", "transfers.write")
    file = shop.file([shop.pays(1)] * 45)
    done = shop.run(file, "--batch-size", "1", "--json", token=token)
    assert (done.exit_code, json.loads(done.stdout)) == (0, outcome(45))
    assert "sending again: RESOURCE_EXHAUSTED" in done.stderr
    assert shop.balance(shop.paid) == 45


def test_a_token_that_is_refused_leaves_the_file_to_a_second_run(shop: Shop) -> None:
    file = shop.file([shop.pays(1)])
    done = shop.run(file, "--json", token=shop.stack.mint("importer", "wallets.read"))
    assert (done.exit_code, json.loads(done.stdout)) == (3, outcome(0, unfinished=1))
    assert "PERMISSION_DENIED" in done.stderr
    assert "Run the same again" in done.stderr
    assert shop.imports(file) == outcome(1)


def test_a_server_that_is_not_there_is_told_at_once(shop: Shop) -> None:
    done = shop.run(shop.file([shop.pays(1)]), "--server", f"127.0.0.1:{free_port()}")
    assert done.exit_code == 3
    assert "nothing answers at 127.0.0.1:" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["no-such-file.csv"], "error: no-such-file.csv cannot be read: No such file or directory\n"),
        (["file.txt"], "--format"),
        (["pay.csv", "--rejected", "pay.csv"], "--rejected"),
        (["pay.csv", "--batch-size", "5001"], "--batch-size"),
        (["."], "--format"),
        ([".", "--format", "csv"], "error: . cannot be read: Is a directory\n"),
    ],
)
def test_mistakes_of_usage(arguments: Sequence[str], told: str) -> None:
    done = CliRunner().invoke(app, ["import", *arguments], env={"TERM": "dumb", "COLUMNS": "200"})
    assert (done.exit_code, done.stdout) == (2, "")
    assert told in done.stderr


@pytest.mark.parametrize(("how", "code"), [(signal.SIGKILL, -signal.SIGKILL), (signal.SIGINT, 130)])
def test_what_is_ended_in_the_middle_is_finished_by_a_second_run(shop: Shop, how: signal.Signals, code: int) -> None:
    lines = [shop.pays(1 + number % 3) for number in range(3000)] + [f"{shop.payer},nobody-has-this-name,1,USD,"]
    file = shop.file(lines)
    command = [*SPECIE, "import", str(file), "--batch-size", "2"]
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env=os.environ | shop.environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as first:
        wait_for_some(shop)
        first.send_signal(how)
        told = first.communicate(timeout=TIMEOUT_SECONDS)[1]
    assert first.returncode == code
    assert ("Run the same again" in told) is (how is signal.SIGINT)
    again = shop.imports(file, code=1)
    before = again["postedBefore"]
    assert isinstance(before, int)
    assert 0 < before < 3000
    assert again == outcome(3000 - before, before, 1, rejectedFile=str(shop.folder / "pay.rejected.csv"))
    assert shop.balance(shop.paid) == 6000
    assert shop.balance(shop.payer) == RICH - 6000
    assert [path.name for path in sorted(shop.folder.iterdir())] == ["pay.csv", "pay.rejected.csv"]
    audit(shop.stack.owner_dsn)


def wait_for_some(shop: Shop) -> None:
    deadline = time.monotonic() + TIMEOUT_SECONDS
    for _ in count():
        if shop.balance(shop.paid) > 0:
            return
        assert time.monotonic() < deadline
        time.sleep(POLL_SECONDS)


def rejected_lines(place: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(place.read_text().splitlines()))


def rejected_ids(place: Path) -> list[str]:
    return [line["request_id"] for line in rejected_lines(place)]
