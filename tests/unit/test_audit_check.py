"""`specie audit check` needs a file and a key, and no network; `specie audit prove` gives only the proof asked for."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from uuid import UUID

import pytest
from specie.transaction.v1 import Block, GetInclusionProofResponse, InclusionProof
from typer.testing import CliRunner

from audit_chain.header import BEGINNING, GENESIS, Header, Mark
from audit_chain.merkle import leaf_hash, path_of, root_of
from audit_chain.proof import Proof
from audit_chain.seal import Seal
from specie_cli.main import app
from tests.kit.made_chain import SIGNER, STRANGER

ID = UUID(int=1)
NAME = f"transactions/{ID}"
RECORD = {
    "id": str(ID),
    "kind": 1,
    "state": 1,
    "source": "wallets/alice",
    "destination": "wallets/bob",
    "amount": 2500,
    "currency": "USD",
    "description": "rent \x1b[2J[red]",
    "labels": {"month": "11"},
    "principal": "alice",
    "create_time": "2026-11-21T12:00:00.5",
    "entries": [{"amount": -2500}, {"amount": 2500}],
}
NO_NETWORK = """
import socket
def nothing(*_, **__):
    raise AssertionError("it used the network")
class Socket(socket.socket):
    __init__ = nothing
socket.socket, socket.create_connection, socket.getaddrinfo = Socket, nothing, nothing
from specie_cli.main import app
app()
"""


def proof(facts: dict[str, object], age: timedelta = timedelta()) -> Proof:
    text = json.dumps(facts)
    leaves = [leaf_hash(text.encode()), leaf_hash(b"another")]
    sealed, until = datetime.now(UTC) - age, Mark(1, str(ID))
    header = Header(3, 2, root_of(leaves), GENESIS, BEGINNING, until, sealed, SIGNER.key_id).text()
    return Proof(text, 0, tuple(path_of(leaves, 0)), Seal(header, SIGNER.sign(header)))


@pytest.fixture
def key(tmp_path: Path) -> Path:
    path = tmp_path / "seal.pub"
    path.write_text(SIGNER.public_pem)
    return path


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "proof.json"
    path.write_text(proof(RECORD, timedelta(hours=2)).written())
    return path


def check(*arguments: object, code: int = 0) -> str:
    """What it says: on standard output when all is well, on standard error when not, and never on both."""
    result = CliRunner().invoke(app, ["audit", "check", *map(str, arguments)], env={"COLUMNS": "200"})
    assert result.exit_code == code, result.output
    assert (result.stderr if code == 0 else result.stdout) == ""
    # Usage errors come in a box, in lines as long as the terminal's.
    return result.stdout if code == 0 else " ".join(result.stderr.replace("│", " ").split())


def test_it_shows_what_is_proven(file: Path, key: Path) -> None:
    output = check(file, "--public-key", key, "--max-age", "3h", "--transaction", NAME)
    assert f"This is {NAME} as it was sealed in block 3 at " in output
    for shown in ("TRANSFER", "POSTED", "wallets/alice", "25.00 USD (2500)", "month: 11", "2026-11-21T12:00:00.5"):
        assert shown in output
    assert "\x1b" not in output
    assert "[red]" in output


def test_it_shows_postings_and_what_it_has_no_name_for(file: Path, key: Path) -> None:
    postings = [["wallets/alice", -100, "USD"], ["wallets/bob", 100, "USD"]]
    facts = RECORD | {"kind": 99, "amount": 0, "terms": {"postings": postings}, "labels": None}
    file.write_text(proof(facts).written())
    output = check(file, "--public-key", key)
    assert "wallets/alice -1.00 USD (-100)" in output
    assert "99" in output


def test_it_uses_no_network(file: Path, key: Path) -> None:
    command = [sys.executable, "-c", NO_NETWORK, "audit", "check", str(file), "--public-key", str(key)]
    done = subprocess.run(command, env=os.environ, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert NAME in done.stdout


@pytest.mark.parametrize("name", [NAME, str(ID)])
def test_the_transaction_may_be_named_either_way(file: Path, key: Path, name: str) -> None:
    assert f"This is {NAME} as" in check(file, "--public-key", key, "--transaction", name)


@pytest.mark.parametrize(("too_short", "enough"), [("7199s", "7290s"), ("119m", "121m"), ("1h", "3h"), ("0d", "1d")])
def test_how_old_it_may_be_is_told_in_any_unit(file: Path, key: Path, too_short: str, enough: str) -> None:
    """It is two hours old."""
    check(file, "--public-key", key, "--max-age", enough)
    assert "the proof has expired" in check(file, "--public-key", key, "--max-age", too_short, code=1)


def test_an_expired_proof_is_refused(file: Path, key: Path) -> None:
    told = check(file, "--public-key", key, "--max-age", "90m", code=1)
    assert "the proof has expired: it was sealed at 20" in told
    assert "more than 90m ago" in told
    assert "a longer --max-age accepts it" in told


def test_the_proof_of_another_transaction_is_refused(file: Path, key: Path) -> None:
    other = f"transactions/{UUID(int=2)}"
    assert f"this is the proof of {NAME}" in check(file, "--public-key", key, "--transaction", other, code=1)


def test_another_key_is_refused(file: Path, key: Path) -> None:
    key.write_text(STRANGER.public_pem)
    told = check(file, "--public-key", key, code=1)
    assert f"error: nobody vouches for the block: its key {SIGNER.key_id} is none of those that are trusted" in told


def test_after_a_change_of_keys_both_are_trusted(file: Path, key: Path) -> None:
    key.write_text(STRANGER.public_pem + SIGNER.public_pem)
    check(file, "--public-key", key)


def test_a_changed_record_is_refused(file: Path, key: Path) -> None:
    file.write_text(replace(proof(RECORD), record=json.dumps(RECORD | {"amount": 2501})).written())
    assert "error: the record is not the one that was sealed" in check(file, "--public-key", key, code=1)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "this is no specie-proof: it is not JSON"),
        (b"{}", "this is no specie-proof: it does not say that it is"),
        (b'{"format": "specie-proof 7"}', "this is a specie-proof of version 7, and only version 1 is known here"),
        (b"\xff\xfe", "is no text in UTF-8"),
        (b" " * (4 * 1024 * 1024 + 1), "is too long to be what it should be"),
    ],
)
def test_a_file_that_is_no_proof_is_refused(file: Path, key: Path, content: bytes, told: str) -> None:
    file.write_bytes(content)
    assert told in check(file, "--public-key", key, code=1)


@pytest.mark.parametrize("content", ["", "no key", "-----BEGIN PUBLIC KEY-----\nxx\n-----END PUBLIC KEY-----\n"])
def test_a_file_that_is_no_key_is_refused(file: Path, key: Path, content: str) -> None:
    key.write_text(content)
    assert f"error: {key}: no" in check(file, "--public-key", key, code=1)


def test_what_is_not_there_is_told(file: Path, key: Path, tmp_path: Path) -> None:
    none = tmp_path / "none"
    told = f"error: {none} cannot be read: No such file or directory"
    assert told in check(none, "--public-key", key, code=1)
    assert told in check(file, "--public-key", none, code=1)
    assert "Is a directory" in check(tmp_path, "--public-key", key, code=1)


@pytest.mark.parametrize("duration", ["", "12", "h", "-1h", "1 h", "1w", "9999999999d"])
def test_what_is_no_duration_is_told(file: Path, key: Path, duration: str) -> None:
    told = check(file, "--public-key", key, "--max-age", duration, code=2)
    assert "is not a duration like 90s, 15m, 12h or 30d" in told


def test_the_longest_duration_is_one(file: Path, key: Path) -> None:
    check(file, "--public-key", key, "--max-age", "999999999d")


def test_the_proof_of_another_transaction_is_not_taken_from_the_service(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sealed, output, other = proof(RECORD), tmp_path / "proof.json", f"transactions/{UUID(int=2)}"
    block = Block(number=3, header=sealed.seal.header, signature=sealed.seal.signature)
    sent = InclusionProof(record=sealed.record, index=sealed.index, path=sealed.path, block=block)
    answer = GetInclusionProofResponse(proof=sent)
    service = SimpleNamespace(GetInclusionProof=lambda _, timeout: answer if timeout else None)
    monkeypatch.setattr("specie_cli.audits.proving.AuditServiceStub", lambda _: service)
    assert CliRunner().invoke(app, ["audit", "prove", NAME]).stdout == sealed.written()
    result = CliRunner().invoke(app, ["audit", "prove", other, "--output", str(output)])
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == f"error: the service sent a proof of {NAME}\n"
    assert not output.exists()
