"""Signatures of blocks: Ed25519 (RFC 8032), with keys in PEM (RFC 8410)."""

from collections.abc import Mapping
from hashlib import sha256
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

KEY_ID_DIGITS: Final = 16


class KeyUnreadable(ValueError):  # noqa: N818 - what happened, in plain words
    """The file has no key of the wanted kind."""


class Signer:
    """Of the one key that it has been given."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self.public_pem: Final = _pem(key.public_key())
        self.key_id: Final = key_id(key.public_key())

    @classmethod
    def from_pem(cls, pem: bytes) -> "Signer":
        """Raises KeyUnreadable."""
        try:
            key = serialization.load_pem_private_key(pem, password=None)
        except (ValueError, TypeError) as error:
            raise KeyUnreadable("not a private key in PEM, without a password") from error
        if not isinstance(key, Ed25519PrivateKey):
            raise KeyUnreadable("not an Ed25519 key")
        return cls(key)

    def sign(self, text: str) -> bytes:
        """64 bytes."""
        return self._key.sign(text.encode())


def new_private_pem() -> bytes:
    """A key of chance, unencrypted: whoever stores it sees to who can read it."""
    return Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def key_id(key: Ed25519PublicKey) -> str:
    """The first 16 hexadecimal digits of SHA-256 of its 32 bytes."""
    raw = key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    return sha256(raw).hexdigest()[:KEY_ID_DIGITS]


class PublicKeys:
    """The keys that whoever checks believes, by their ids."""

    def __init__(self, keys: Mapping[str, Ed25519PublicKey]) -> None:
        self._keys = dict(keys)

    @classmethod
    def from_pem(cls, pem: str) -> "PublicKeys":
        """Of one key, or of several one after another, as after a change of keys. Raises KeyUnreadable."""
        end = "-----END PUBLIC KEY-----"
        blocks = [f"{block}{end}\n" for block in pem.split(end)[:-1]]
        keys: dict[str, Ed25519PublicKey] = {}
        for block in blocks:
            try:
                key = serialization.load_pem_public_key(block.encode())
            except ValueError as error:
                raise KeyUnreadable("not a public key in PEM") from error
            if not isinstance(key, Ed25519PublicKey):
                raise KeyUnreadable("not an Ed25519 key")
            keys[key_id(key)] = key
        if not keys:
            raise KeyUnreadable("no public key in PEM")
        return cls(keys)

    @property
    def ids(self) -> frozenset[str]:
        return frozenset(self._keys)

    def vouch(self, key: str, text: str, signature: bytes) -> bool:
        """Whether this key, which must be one of these, has signed the text."""
        found = self._keys.get(key)
        if found is None:
            return False
        try:
            found.verify(signature, text.encode())
        except InvalidSignature:
            return False
        return True


def _pem(key: Ed25519PublicKey) -> str:
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()
