"""Keys and signatures of blocks."""

from hashlib import sha256

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1
from cryptography.hazmat.primitives.asymmetric.ec import generate_private_key as other_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from audit_chain.signing import KEY_ID_DIGITS, KeyUnreadable, PublicKeys, Signer, key_id, new_private_pem

TEXT = "specie-block 1\n"
# RFC 8032, 7.1, test 1: the secret and the public key, and the signature of nothing.
SECRET = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"  # noqa: S105 - the RFC has published it
PUBLIC = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
SIGNATURE = (
    "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155"
    "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"
)


def known_signer() -> Signer:
    return Signer(Ed25519PrivateKey.from_private_bytes(bytes.fromhex(SECRET)))


def other_pem(password: bytes = b"") -> bytes:
    encryption = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    key = Ed25519PrivateKey.generate() if password else other_private_key(SECP256R1())
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)


def test_the_key_of_the_rfc_signs_as_the_rfc_says() -> None:
    assert known_signer().sign("").hex() == SIGNATURE


def test_a_key_is_known_by_the_hash_of_its_bytes() -> None:
    assert known_signer().key_id == sha256(bytes.fromhex(PUBLIC)).hexdigest()[:KEY_ID_DIGITS]


def test_what_was_signed_is_vouched_for() -> None:
    signer = Signer.from_pem(new_private_pem())
    keys = PublicKeys.from_pem(signer.public_pem)
    assert keys.ids == {signer.key_id}
    assert keys.vouch(signer.key_id, TEXT, signer.sign(TEXT))


def test_another_text_or_signature_is_not() -> None:
    signer = Signer.from_pem(new_private_pem())
    keys, signature = PublicKeys.from_pem(signer.public_pem), signer.sign(TEXT)
    assert not keys.vouch(signer.key_id, TEXT + "x", signature)
    assert not keys.vouch(signer.key_id, TEXT, bytes([signature[0] ^ 1]) + signature[1:])
    assert not keys.vouch(signer.key_id, TEXT, b"")


def test_a_key_that_nobody_has_named_vouches_for_nothing() -> None:
    signer, stranger = Signer.from_pem(new_private_pem()), Signer.from_pem(new_private_pem())
    keys = PublicKeys.from_pem(signer.public_pem)
    assert not keys.vouch(stranger.key_id, TEXT, stranger.sign(TEXT))


def test_after_a_change_of_keys_both_are_believed() -> None:
    old, new = Signer.from_pem(new_private_pem()), Signer.from_pem(new_private_pem())
    keys = PublicKeys.from_pem(f"the old one\n{old.public_pem}\nthe new one\n{new.public_pem}")
    assert keys.ids == {old.key_id, new.key_id}
    assert all(keys.vouch(signer.key_id, TEXT, signer.sign(TEXT)) for signer in (old, new))


def test_two_keys_of_chance_are_two() -> None:
    assert new_private_pem() != new_private_pem()


@pytest.mark.parametrize(
    "pem", [b"", b"no key", other_pem(), other_pem(b"password"), known_signer().public_pem.encode()]
)
def test_what_is_no_private_key_of_the_kind_is_refused(pem: bytes) -> None:
    with pytest.raises(KeyUnreadable):
        Signer.from_pem(pem)


@pytest.mark.parametrize(
    "pem",
    [
        "",
        "no key",
        new_private_pem().decode(),
        "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
        other_private_key(SECP256R1())
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        .decode(),
    ],
)
def test_what_is_no_public_key_of_the_kind_is_refused(pem: str) -> None:
    with pytest.raises(KeyUnreadable):
        PublicKeys.from_pem(pem)


def test_a_key_id_is_of_the_public_key() -> None:
    private = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(SECRET))
    assert key_id(private.public_key()) == known_signer().key_id
