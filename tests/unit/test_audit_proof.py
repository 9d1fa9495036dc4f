"""A proof proves one transaction as it was sealed, and nothing else; a checkpoint is a file of the same kind."""

import json
import string
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit_chain import checkpoint, proof
from audit_chain.document import Unreadable
from audit_chain.header import BEGINNING, GENESIS, Header, Mark
from audit_chain.merkle import leaf_hash, path_of, root_of
from audit_chain.proof import Proof, Unproven
from audit_chain.seal import Seal, Unvouched
from audit_chain.signing import PublicKeys, Signer, new_private_pem

SIGNER = Signer.from_pem(new_private_pem())
KEYS = PublicKeys.from_pem(SIGNER.public_pem)
STRANGERS = PublicKeys.from_pem(Signer.from_pem(new_private_pem()).public_pem)
SEALED = datetime(2026, 11, 21, 12, tzinfo=UTC)
RECORDS = [
    json.dumps({"id": str(UUID(int=number)), "state": 1, "description": "für Zoë", "entries": []}, ensure_ascii=False)
    for number in range(11)
]


def block(records: list[str]) -> Seal:
    leaves = [leaf_hash(record.encode()) for record in records]
    until = Mark(7, str(UUID(int=7)))
    text = Header(9, len(records), root_of(leaves), GENESIS, BEGINNING, until, SEALED, SIGNER.key_id).text()
    return Seal(text, SIGNER.sign(text))


def proven(index: int, records: list[str] = RECORDS) -> Proof:
    path = path_of([leaf_hash(record.encode()) for record in records], index)
    return Proof(records[index], index, tuple(path), block(records))


WHOLE = proven(5)
DOCUMENT: dict[str, Any] = json.loads(WHOLE.written())


def verdict(document: object) -> str:
    """What is wrong with it; empty: nothing."""
    try:
        proof.read(json.dumps(document)).checked(KEYS)
    except (Unreadable, Unproven) as error:
        return str(error)
    return ""


@pytest.mark.parametrize("index", range(len(RECORDS)))
def test_every_transaction_of_a_block_can_be_proven(index: int) -> None:
    record, header = proof.read(proven(index).written()).checked(KEYS)
    assert record.name == f"transactions/{UUID(int=index)}"
    assert record.facts["description"] == "für Zoë"
    assert (header.number, header.sealed) == (9, SEALED)


def test_a_block_of_one_needs_no_path() -> None:
    alone = proven(0, RECORDS[:1])
    assert alone.path == ()
    assert alone.checked(KEYS)[0].name == f"transactions/{UUID(int=0)}"


def places() -> list[tuple[str, int]]:
    """Every field with text, and each of its places; the path is told as `path 0` and so on."""
    texts = {name: DOCUMENT[name] for name in ("record", "header", "signature", "format")}
    texts |= {f"path {number}": sibling for number, sibling in enumerate(DOCUMENT["path"])}
    return [(name, place) for name, text in texts.items() for place in range(len(text))]


@given(st.sampled_from(places()), st.sampled_from(string.printable + "ü\x00"))
def test_one_other_letter_anywhere_and_it_proves_nothing(where: tuple[str, int], letter: str) -> None:
    document = json.loads(json.dumps(DOCUMENT))
    name, place = where
    field, _, number = name.partition(" ")
    text: str = document[field][int(number)] if number else document[field]
    other = text[:place] + letter + text[place + 1 :]
    if number:
        document[field][int(number)] = other
    else:
        document[field] = other
    assert (verdict(document) == "") == (other == text)


def test_every_bit_of_the_signature_counts() -> None:
    for bit in range(512):
        other = (int(DOCUMENT["signature"], 16) ^ (1 << bit)).to_bytes(64).hex()
        assert verdict(DOCUMENT | {"signature": other}) == "nobody vouches for the block: its signature is not good"


@pytest.mark.parametrize("index", [*range(-1, 5), *range(6, 13), 2**70])
def test_it_proves_one_place_only(index: int) -> None:
    assert verdict(DOCUMENT | {"index": index})


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"record": RECORDS[4]}, "the record is not the one that was sealed"),
        ({"path": DOCUMENT["path"][:-1]}, "place and path are none of a block of 11: the path is too short"),
        ({"path": [*DOCUMENT["path"], "00" * 32]}, "place and path are none of a block of 11: the path is too long"),
        ({"path": DOCUMENT["path"][::-1]}, "the record is not the one that was sealed"),
        ({"index": 11}, "place and path are none of a block of 11: index 11 is outside"),
        ({"header": block(RECORDS[:8]).header}, "nobody vouches for the block: its signature is not good"),
        ({"header": "nonsense"}, "nobody vouches for the block: its header is none"),
        ({"format": "specie-proof 2"}, "this is a specie-proof of version 2, and only version 1 is known here"),
        ({"format": "specie-proof 01"}, "this is no specie-proof: it does not say that it is"),
        ({"format": "specie-proof 10"}, "this is a specie-proof of version 10, and only version 1 is known here"),
        ({"format": "specie-proof 1 "}, "this is no specie-proof: it does not say that it is"),
        ({"format": "specie-checkpoint 1"}, "this is no specie-proof: it does not say that it is"),
        ({"format": 1}, "this is no specie-proof: it does not say that it is"),
        ({"more": 1}, "a specie-proof has the fields record, index, path, header, signature, and this has header,"),
        ({"index": "5"}, "index is no whole number"),
        ({"index": 5.0}, "index is no whole number"),
        ({"index": True}, "index is no whole number"),
        ({"path": "00" * 32}, "path is no list"),
        ({"path": [1]}, "a hash of the path is not 64 hexadecimal digits in lower case"),
        ({"path": ["00" * 31]}, "a hash of the path is not 64 hexadecimal digits in lower case"),
        ({"path": ["00" * 33]}, "a hash of the path is not 64 hexadecimal digits in lower case"),
        ({"signature": "00" * 63}, "signature is not 128 hexadecimal digits in lower case"),
        ({"signature": DOCUMENT["signature"].upper()}, "signature is not 128 hexadecimal digits in lower case"),
        ({"record": 1}, "record is no text"),
        ({"record": "\ud800"}, "record is no text"),
        ({"record": "r\udfff"}, "record is no text"),
        ({"header": None}, "header is no text"),
    ],
)
def test_what_is_wrong_is_told(change: dict[str, object], text: str) -> None:
    assert verdict(DOCUMENT | change).startswith(text)


def test_a_field_that_is_missing_is_told() -> None:
    assert "and this has header, index, path, record" in verdict(
        {k: v for k, v in DOCUMENT.items() if k != "signature"}
    )


@pytest.mark.parametrize("document", [[], "proof", None, 1, {}])
def test_what_is_no_proof_is_told(document: object) -> None:
    assert verdict(document) == "this is no specie-proof: it does not say that it is"


@pytest.mark.parametrize(
    "text", ["", "{", "\x00", "[" * 100_000, '{"index": 1, "index": 2}', '{"index": ' + "9" * 5000]
)
def test_what_is_no_json_is_no_proof(text: str) -> None:
    with pytest.raises(Unreadable, match="this is no specie-proof: it is not JSON with each field once"):
        proof.read(text)


def test_another_key_does_not_vouch_for_it() -> None:
    with pytest.raises(Unproven, match=f"its key {SIGNER.key_id} is none of those that are trusted"):
        WHOLE.checked(STRANGERS)


@pytest.mark.parametrize("record", ["{}", "[]", "1", "no", '{"id": 1, "state": "x", "entries": []}', "[" * 100_000])
def test_what_was_sealed_must_be_a_transaction(record: str) -> None:
    with pytest.raises(Unproven, match="what was sealed is not the record of a transaction"):
        proven(0, [record]).checked(KEYS)


def test_a_checkpoint_is_kept_as_it_was() -> None:
    text = checkpoint.written(WHOLE.seal)
    assert text.endswith("}\n")
    kept = checkpoint.read(text)
    assert kept == WHOLE.seal
    assert kept.vouched(KEYS).number == 9
    with pytest.raises(Unvouched):
        kept.vouched(STRANGERS)
    with pytest.raises(Unreadable, match="this is no specie-checkpoint"):
        checkpoint.read(WHOLE.written())
