"""`specie audit` against a running stack. What it finds in a ledger that was tampered with is in test_tampering.py."""

import json
import os
import pty
import re
import subprocess
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from audit_chain.signing import PublicKeys, Signer, new_private_pem
from tests.kit.command import in_one_line, specie
from tests.kit.readme import blocks
from tests.kit.service import wait_until
from tests.kit.shown import run
from tests.kit.stack import ROOT, SPECIE, Stack

EVIL = "=1+1, \x1b[2J[red]"


@pytest.fixture(scope="module")
def wallet(stack: Stack) -> str:
    """Its name. 100.00 USD came, 25.00 went, and once there was not enough."""
    name = two_wallets(stack)
    specie(stack, "deposit", name, "--amount", "10000", "--currency", "USD")
    specie(stack, "transfer", name, f"{name}-2", "--amount", "2500", "--currency", "USD", "--description", EVIL)
    specie(stack, "transfer", name, f"{name}-2", "--amount", "99999", "--currency", "USD", code=1)
    return name


@pytest.fixture(scope="module")
def sealed(stack: Stack, wallet: str) -> str:
    """The name of the transfer, which is sealed."""
    (transfer,) = listed(stack, "records", "--wallet", wallet, "--kind", "TRANSFER", "--state", "POSTED")
    name: str = transfer["transaction"]["name"]
    proof = f"/v1/{name}:proof"
    wait_until(lambda: stack.call("GET", proof).status == 200, "it is sealed")
    return name


def two_wallets(stack: Stack) -> str:
    """The name of one; the other's has -2 behind it."""
    name = f"wallets/audit-{uuid4().hex[:12]}"
    for new in (name, f"{name}-2"):
        specie(stack, "wallet", "create", new, "--currency", "USD", "--owner", "ann")
    return name


def audit(stack: Stack, *arguments: object) -> str:
    result = specie(stack, "audit", *arguments)
    assert result.stderr == ""
    return result.stdout


def refused(stack: Stack, *arguments: object, code: int = 1) -> str:
    result = specie(stack, "audit", *arguments, code=code)
    assert result.stdout == ""
    return in_one_line(result.stderr)


def listed(stack: Stack, *arguments: object) -> list[dict[str, Any]]:
    """Of `records` or `acts`, the newest first."""
    return [json.loads(line) for line in audit(stack, *arguments, "--format", "jsonl").splitlines()]


@pytest.mark.usefixtures("sealed")
def test_the_ledger_is_as_it_was_sealed(stack: Stack, tmp_path: Path) -> None:
    checkpoint = tmp_path / "checkpoint.json"
    ask = ("verify", "--data-dir", stack.data_dir, "--save-checkpoint", checkpoint)
    output = specie(stack, "audit", *ask, env={"COLUMNS": "60"}).stdout
    assert "Every transaction and every block is as it was sealed." in output
    first = json.loads(checkpoint.read_text())
    assert (first["format"], checkpoint.stat().st_mode & 0o444) == ("specie-checkpoint 1", 0o444)
    # Also in a narrow terminal it is all there.
    assert sha256(first["header"].encode()).hexdigest() in "".join(re.findall("[0-9a-f]{4,}", output))
    # Later it is checked against the one that is there, which is replaced.
    specie(stack, "deposit", "wallets/nobody-has-this-name", "--amount", "1", "--currency", "USD", code=1)
    wait_until(lambda: number(audit(stack, "checkpoint")) > number(checkpoint.read_text()), "there is a new block")
    audit(stack, *ask)
    assert number(checkpoint.read_text()) > number(json.dumps(first))
    assert [*tmp_path.iterdir()] == [checkpoint]


def number(checkpoint: str) -> int:
    header: str = json.loads(checkpoint)["header"]
    return int(header.splitlines()[1].removeprefix("number "))


@pytest.mark.usefixtures("sealed")
def test_progress_is_shown_to_a_person_only(stack: Stack) -> None:
    ours, terminal = pty.openpty()
    command = [*SPECIE, "audit", "verify", "--data-dir", str(stack.data_dir)]
    shown = os.environ | {"SPECIE_SERVER": stack.grpc, "SPECIE_TOKEN": stack.token, "TERM": "xterm", "COLUMNS": "120"}
    with subprocess.Popen(command, cwd=ROOT, env=shown, stderr=terminal, stdout=subprocess.PIPE, text=True) as process:
        os.close(terminal)
        seen = all_of(ours)
        assert process.stdout is not None
        assert "as it was sealed" in process.stdout.read()
    assert process.returncode == 0
    assert "transactions/s" in seen


def all_of(terminal: int) -> str:
    seen = b""
    try:
        while part := os.read(terminal, 65536):
            seen += part
    except OSError:  # the other end is closed
        pass
    finally:
        os.close(terminal)
    return seen.decode()


def test_a_proof_is_taken_away_and_checked_elsewhere(stack: Stack, wallet: str, sealed: str, tmp_path: Path) -> None:
    proof = tmp_path / "proof.json"
    assert f"{proof}: {sealed} in block " in audit(stack, "prove", sealed, "--output", proof)
    assert json.loads(audit(stack, "prove", sealed)) == json.loads(proof.read_text())
    key = stack.data_dir / "seal.pub"
    output = audit(stack, "check", proof, "--public-key", key, "--transaction", sealed, "--max-age", "1h")
    for shown in (f"This is {sealed} as it was sealed in block ", "25.00 USD (2500)", f"{wallet}-2", "[red]"):
        assert shown in output
    assert "\x1b" not in output
    stranger = tmp_path / "stranger.pub"
    stranger.write_text(Signer.from_pem(new_private_pem()).public_pem)
    assert "is none of those that are trusted" in refused(stack, "check", proof, "--public-key", stranger)
    assert "the proof has expired" in refused(stack, "check", proof, "--public-key", key, "--max-age", "0s")


def test_what_cannot_be_proven_is_told_and_leaves_nothing(stack: Stack, tmp_path: Path) -> None:
    wallet, proof = two_wallets(stack), tmp_path / "proof.json"
    nothing = f"transactions/{uuid4()}"
    assert "TRANSACTION_NOT_FOUND" in refused(stack, "prove", nothing, "--output", proof)
    assert "INVALID_FIELD" in refused(stack, "prove", "transactions/1", "--output", proof)
    later = {
        "source": wallet,
        "destination": f"{wallet}-2",
        "amount": {"currencyCode": "USD", "minorUnits": 1},
        "mode": "TRANSFER_MODE_ASYNC",
        "executeTime": "2999-01-01T00:00:00Z",
    }
    pending = stack.call("POST", "/v1/transfers", later, headers={"idempotency-key": uuid4().hex}).body["transaction"]
    assert "NOT_SEALED" in refused(stack, "prove", pending["name"], "--output", proof)
    assert [*tmp_path.iterdir()] == []


def test_a_file_is_replaced_only_when_that_is_wanted(stack: Stack, sealed: str, tmp_path: Path) -> None:
    file = tmp_path / "file.json"
    file.write_text("dear")
    for command in (("checkpoint",), ("prove", sealed)):
        assert "exists already" in refused(stack, *command, "--output", file, code=2)
        none = tmp_path / "none" / "file.json"
        assert "there is no directory" in refused(stack, *command, "--output", none, code=2)
    usual = ("verify", "--data-dir", stack.data_dir, "--save-checkpoint")
    assert "this is no specie-checkpoint" in refused(stack, *usual, file, code=2)
    assert "there is no directory" in refused(stack, *usual, tmp_path / "none" / "file.json", code=2)
    assert file.read_text() == "dear"
    audit(stack, "checkpoint", "--output", file, "--force")
    assert number(file.read_text()) > 0


@pytest.mark.usefixtures("sealed")
def test_without_a_key_nothing_is_verified(stack: Stack, tmp_path: Path) -> None:
    told = refused(stack, "verify", "--data-dir", tmp_path, code=2)
    assert "seal.pub; --public-key names the file with the keys that you trust" in told
    stranger, checkpoint = tmp_path / "stranger.pub", tmp_path / "checkpoint.json"
    stranger.write_text(Signer.from_pem(new_private_pem()).public_pem)
    told = refused(stack, "verify", "--public-key", stranger)
    assert "block 1 was changed: its key" in told
    assert "is none of those that are trusted" in told
    audit(stack, "checkpoint", "--output", checkpoint)
    told = refused(stack, "verify", "--public-key", stranger, "--checkpoint", checkpoint, code=2)
    assert "nobody vouches for this checkpoint" in told
    none = tmp_path / "none.json"
    ask = ("verify", "--data-dir", stack.data_dir, "--checkpoint", none)
    for also in ((), ("--save-checkpoint", none)):
        assert f"{none} cannot be read: No such file or directory" in refused(stack, *ask, *also, code=2)


@pytest.mark.usefixtures("sealed")
def test_the_ledgers_own_keys_come_with_a_warning(stack: Stack) -> None:
    result = specie(stack, "audit", "key")
    trusted = PublicKeys.from_pem((stack.data_dir / "seal.pub").read_text())
    assert PublicKeys.from_pem(result.stdout).ids == trusted.ids
    assert "Get the keys in another way, and compare." in result.stderr


def test_attempts_are_listed_with_what_they_changed(stack: Stack, wallet: str) -> None:
    refused_, moved, came = listed(stack, "records", "--wallet", wallet)
    assert refused_["transaction"]["state"] == "TRANSACTION_STATE_FAILED"
    assert refused_["changes"] == []
    assert [change["after"]["minorUnits"] for change in moved["changes"]] == ["7500", "2500"]
    assert came["transaction"]["principal"] == "local"
    lines = audit(stack, "records", "--wallet", wallet).splitlines()
    assert any(line.endswith("TRANSFER  FAILED: INSUFFICIENT_FUNDS  999.99 USD  by local") for line in lines)
    place = lines.index(f"  {moved['transaction']['name']}")
    assert lines[place - 1].endswith("  TRANSFER  POSTED  25.00 USD  by local")
    assert lines[place + 1 : place + 3] == [
        f"  {wallet}    100.00 USD -> 75.00 USD",
        f"  {wallet}-2  0.00 USD -> 25.00 USD",
    ]
    request_id = came["transaction"]["requestId"]
    assert listed(stack, "records", "--principal", "local", "--request-id", request_id) == [came]
    assert listed(stack, "records", "--trace-id", moved["transaction"]["traceId"]) == [moved]
    time = moved["transaction"]["createTime"]
    assert came not in listed(stack, "records", "--wallet", wallet, "--from", time)
    assert moved not in listed(stack, "records", "--wallet", wallet, "--to", time)
    assert listed(stack, "records", "--wallet", wallet, "--state", "failed") == [refused_]
    assert listed(stack, "records", "--wallet", wallet, "--kind", "reversal") == []


def test_a_list_that_is_cut_off_says_so(stack: Stack, wallet: str) -> None:
    for arguments in (("records", "--wallet", wallet), ("acts",)):
        result = specie(stack, "audit", *arguments, "--limit", "1", "--format", "jsonl")
        assert len(result.stdout.splitlines()) == 1
        assert "There are more than these 1; --limit says how many to list, and 0 is all." in result.stderr
    assert len(listed(stack, "records", "--wallet", wallet, "--limit", "3")) == 3
    assert len(listed(stack, "records", "--wallet", wallet, "--limit", "0")) == 3


def test_acts_on_everything_are_listed_by_their_time(stack: Stack, wallet: str) -> None:
    for act in ("freeze", "unfreeze"):
        assert stack.call("POST", f"/v1/{wallet}:{act}", {}).status == 200
    found = listed(stack, "acts", "--subject", wallet)
    assert found[-1]["act"] == "CREATE"
    assert [act["number"] for act in found] == [str(number) for number in range(len(found), 0, -1)]
    assert {act["act"] for act in found} >= {"CREATE", "FREEZE", "UNFREEZE"}
    everything = listed(stack, "acts", "--principal", "local", "--limit", "0")
    assert [act["createTime"] for act in everything] == sorted((act["createTime"] for act in everything), reverse=True)
    lines = audit(stack, "acts", "--subject", wallet).splitlines()
    frozen = next(place for place, line in enumerate(lines) if line.endswith("  FREEZE  by local"))
    assert lines[frozen + 1].startswith(f"  {wallet} #")
    assert any("state: " in line and " -> FROZEN" in line for line in lines)
    assert specie(stack, "audit", "acts", "--to", "2020-01-01").stderr == "There is none.\n"
    assert listed(stack, "acts", "--subject", f"payouts/{uuid4()}") == []
    assert listed(stack, "acts", "--to", "2020-01-01") == []


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (("records", "--request-id", "x"), 1, "request_id needs principal"),
        (("records", "--wallet", "NOBODY"), 1, "INVALID_FIELD"),
        (("records", "--from", "2026-02-01", "--to", "2026-01-01"), 2, "must be after --from"),
        (("records", "--from", "yesterday"), 2, "'yesterday' is not a date like 2026-11-01"),
        (("records", "--state", "lost"), 2, "--state"),
        (("acts", "--subject", "alice"), 2, "'alice' is not wallets/..., payouts/... or webhookEndpoints/..."),
        (("acts", "--limit", "-1"), 2, "--limit"),
        (("acts", "--time-zone", "Berlin"), 2, "there is no time zone 'Berlin'"),
    ],
)
def test_a_mistake_is_told(stack: Stack, arguments: tuple[str, ...], code: int, told: str) -> None:
    assert told in refused(stack, *arguments, code=code)


@pytest.mark.usefixtures("sealed")
@pytest.mark.parametrize("command", [("records",), ("acts",), ("checkpoint",), ("key",), ("verify",)])
def test_it_is_for_auditors(stack: Stack, command: tuple[str, ...]) -> None:
    usual = ("--data-dir", str(stack.data_dir)) if command == ("verify",) else ()
    for token, reason in (("", "UNAUTHENTICATED"), (stack.mint("ann", "wallets.read"), "PERMISSION_DENIED")):
        not_checked = 2 if command == ("verify",) else 1
        result = specie(stack, "audit", *command, *usual, env={"SPECIE_TOKEN": token}, code=not_checked)
        assert (result.stdout, reason in result.stderr) == ("", True)
    specie(stack, "audit", *command, *usual, env={"SPECIE_TOKEN": stack.mint("auditor", "audit.read")})


@pytest.mark.usefixtures("sealed")
def test_the_guides_commands_work(stack: Stack, tmp_path: Path) -> None:
    shown = [block for block in blocks(ROOT / "docs" / "audit.md") if ".venv/bin/specie audit" in block.text]
    assert len(shown) == 3
    for block in shown:
        run(block, stack, tmp_path)
