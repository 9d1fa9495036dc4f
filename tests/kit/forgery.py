"""Tokens that nobody may be let in with, made with the issuer's own key where its signature must be right."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable, Mapping
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from jwt.algorithms import get_default_algorithms

from specie_cli.stack.issuer import AUDIENCE, ISSUER, Issuer, key_as_dict, key_id
from tests.kit.tokens import EVERYTHING, LIFETIME_SECONDS_MAX, TTL_SECONDS

SUBJECT_LENGTH_MAX = 128
LATE_SECONDS = 60
"""Well beyond what clocks may be apart."""


class Forge:
    """Signs anything, as this issuer or as somebody else."""

    def __init__(self, issuer: Issuer) -> None:
        self.key = issuer._key()
        self.key_id = key_id(self.key)

    def good(self, subject: str = "local", scope: str = EVERYTHING, **changed: object) -> str:
        return self.signed(claims(sub=subject, scope=scope, **changed))

    def without(self, *names: str) -> str:
        return self.signed({name: value for name, value in claims().items() if name not in names})

    def signed(
        self,
        content: Mapping[str, object] | bytes,
        key: Any = None,  # noqa: ANN401 - as its algorithm takes it
        algorithm: str = "ES256",
        **header: object,
    ) -> str:
        """`header` replaces the usual one's parts; None: leaves it out."""
        parts = {"alg": algorithm, "typ": "JWT", "kid": self.key_id} | header
        head = encoded({name: value for name, value in parts.items() if value is not None})
        signing = f"{head}.{encoded(content)}"
        made = get_default_algorithms()[algorithm]
        signature = made.sign(signing.encode(), made.prepare_key(self.key if key is None else key))
        return f"{signing}.{encoded(signature)}"

    def public_pem(self) -> bytes:
        return self.key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )

    def signed_with_the_public_key(self) -> str:
        """The old trick: the public key, taken for a secret. PyJWT will not help with it."""
        head = encoded({"alg": "HS256", "typ": "JWT", "kid": self.key_id})
        signing = f"{head}.{encoded(claims())}"
        return f"{signing}.{encoded(hmac.digest(self.public_pem(), signing.encode(), hashlib.sha256))}"

    def with_its_own_key(self) -> str:
        """RFC 7515 has headers for the key, or for where it is. Whoever believes them believes anybody."""
        key = ec.generate_private_key(ec.SECP256R1())
        where = {"jku": "https://evil.example/jwks.json", "x5u": "https://evil.example/x.pem"}
        return self.signed(claims(), key, jwk=key_as_dict(key.public_key()), **where)

    def altered(self) -> str:
        """Other claims under the signature of a token that is good."""
        head, _, signature = self.good("alice", "wallets.read").split(".")
        return f"{head}.{encoded(claims(sub='root'))}.{signature}"


def claims(**changed: object) -> dict[str, object]:
    """Those of a token that may do everything, if its signature is right. Its subject has all that the gateway's limits
    can give: some flaws only the services see."""
    now = int(time.time())
    usual = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "local",
        "scope": EVERYTHING,
        "iat": now,
        "exp": now + TTL_SECONDS,
    }
    return usual | changed


def encoded(content: Mapping[str, object] | bytes) -> str:
    """RFC 7515: base64url without padding."""
    data = content if isinstance(content, bytes) else json.dumps(content).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _from_now(seconds: int) -> int:
    return int(time.time()) + seconds


FORGED: Mapping[str, tuple[Callable[[Forge], str], str]] = {
    "expired": (lambda f: f.good(iat=_from_now(-2 * LATE_SECONDS), exp=_from_now(-LATE_SECONDS)), "EXPIRED"),
    "not valid yet": (lambda f: f.good(nbf=_from_now(LATE_SECONDS)), "NOT_YET_VALID"),
    "wrong audience": (lambda f: f.good(aud="another"), "AUDIENCE"),
    "wrong issuer": (lambda f: f.good(iss="somebody"), "ISSUER"),
    "bad signature": (lambda f: f.signed(claims(), ec.generate_private_key(ec.SECP256R1())), "SIGNATURE"),
    "altered claims": (Forge.altered, "SIGNATURE"),
    "no signature": (lambda f: f.good().rpartition(".")[0] + ".", "SIGNATURE"),
    "alg none": (lambda _: f"{encoded({'alg': 'none', 'typ': 'JWT'})}.{encoded(claims())}.", "UNKNOWN_KEY"),
    "alg None, in other letters": (
        lambda f: f"{encoded({'alg': 'nOnE', 'kid': f.key_id})}.{encoded(claims())}.",
        "UNKNOWN_KEY",
    ),
    "HS256 with the public key": (Forge.signed_with_the_public_key, "UNKNOWN_KEY"),
    "EdDSA under an ES256 key's name": (
        lambda f: f.signed(claims(), Ed25519PrivateKey.generate(), "EdDSA"),
        "UNKNOWN_KEY",
    ),
    "unknown kid": (lambda f: f.signed(claims(), kid="another"), "UNKNOWN_KEY"),
    "kid of a path": (
        lambda f: f.signed(claims(), ec.generate_private_key(ec.SECP256R1()), kid="../../dev/null"),
        "UNKNOWN_KEY",
    ),
    "its own key in its header": (Forge.with_its_own_key, "SIGNATURE"),
    "lives too long": (lambda f: f.good(exp=_from_now(LIFETIME_SECONDS_MAX + LATE_SECONDS)), "LIFETIME"),
    "issued in the past, lives too long": (lambda f: f.good(iat=_from_now(-2 * LIFETIME_SECONDS_MAX)), "LIFETIME"),
    "no exp": (lambda f: f.without("exp"), "CLAIM"),
    "no iat": (lambda f: f.without("iat"), "CLAIM"),
    "no sub": (lambda f: f.without("sub"), "CLAIM"),
    "no aud": (lambda f: f.without("aud"), "CLAIM"),
    "no iss": (lambda f: f.without("iss"), "CLAIM"),
    "empty subject": (lambda f: f.good(""), "SUBJECT"),
    "subject of the house": (lambda f: f.good("system"), "SUBJECT"),
    "subject of a service": (lambda f: f.good("system/expiry"), "SUBJECT"),
    "control characters in the subject": (lambda f: f.good("mal\nlory"), "SUBJECT"),
    "subject too long": (lambda f: f.good("m" * (SUBJECT_LENGTH_MAX + 1)), "SUBJECT"),
    "subject is no text": (lambda f: f.signed(claims(sub=7)), "MALFORMED"),
    "no JWT": (lambda _: "secret", "MALFORMED"),
    "two parts": (lambda f: f.good().rpartition(".")[0], "MALFORMED"),
    "claims are a list": (lambda f: f.signed(b"[]"), "MALFORMED"),
    "a token in a token": (lambda f: f.signed(f.good().encode(), cty="JWT"), "MALFORMED"),
}
"""By what is wrong with it: the token, and the cause that a service tells."""
