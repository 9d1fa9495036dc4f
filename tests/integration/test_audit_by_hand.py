"""What docs/audit.md says of checking a proof by hand, done as it stands there."""

import subprocess
from pathlib import Path

import pytest

from audit_chain.header import BEGINNING, GENESIS, Header, Mark
from audit_chain.merkle import leaf_hash, path_of, root_of
from audit_chain.proof import Proof
from audit_chain.seal import Seal
from tests.kit.made_chain import NOON, SIGNER, record
from tests.kit.readme import blocks

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "audit.md"
RECORDS = [record(number, note="ünïcode \\n") for number in range(11)]
UNTIL = Mark(7, "ffffffff-ffff-ffff-ffff-ffffffffffff")


def by_hand(folder: Path, proof: Proof) -> subprocess.CompletedProcess[str]:
    [commands] = [block.text for block in blocks(GUIDE) if "openssl pkeyutl" in block.text]
    (folder / "proof.json").write_text(proof.written())
    (folder / "seal.pub").write_text(SIGNER.public_pem)
    return subprocess.run(["bash", "-e", "-c", commands], cwd=folder, capture_output=True, text=True, check=False)


def proof_of(place: int, size: int) -> Proof:
    leaves = [leaf_hash(text.encode()) for text in RECORDS[:size]]
    header = Header(1, size, root_of(leaves), GENESIS, BEGINNING, UNTIL, NOON, SIGNER.key_id)
    seal = Seal(header.text(), SIGNER.sign(header.text()))
    return Proof(RECORDS[place], place, tuple(path_of(leaves, place)), seal)


@pytest.mark.parametrize(("place", "size"), [(0, 1), (1, 2), (2, 3), (4, 5), (5, 7), (6, 7), (10, 11), (3, 11)])
def test_a_proof_is_good_by_hand(tmp_path: Path, place: int, size: int) -> None:
    done = by_hand(tmp_path, proof_of(place, size))
    assert done.returncode == 0, done.stderr
    assert "Signature Verified Successfully" in done.stdout
    assert f"root {parsed_root(tmp_path)}" in done.stdout


def parsed_root(folder: Path) -> str:
    return next(line.split()[1] for line in (folder / "header.txt").read_text().splitlines() if line.startswith("root"))


def test_a_changed_record_is_not(tmp_path: Path) -> None:
    proof = proof_of(4, 7)
    changed = Proof(RECORDS[5], proof.index, proof.path, proof.seal)
    assert by_hand(tmp_path, changed).returncode != 0


def test_a_changed_header_is_not(tmp_path: Path) -> None:
    proof = proof_of(4, 7)
    seal = proof.seal._replace(header=proof.seal.header.replace("number 1", "number 2"))
    assert by_hand(tmp_path, Proof(proof.record, proof.index, proof.path, seal)).returncode != 0
