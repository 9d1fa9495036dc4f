"""A local issuer of tokens: a key pair in a directory, and the key set that gateway and services verify by.

For one machine and for trying things out; a company brings the issuer that it has.
"""

import hashlib
import json
import time
from pathlib import Path
from typing import Final

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from specie_cli.stack.directory import write_whole
from specie_cli.stack.failure import StackError

ISSUER: Final = "specie-local"
AUDIENCE: Final = "specie"
ALGORITHM: Final = "ES256"
TTL_SECONDS_MAX: Final = 86_400
"""As long as the services let a token live."""
KEY_ID_LENGTH: Final = 16


class Issuer:
    """The one whose key is in this directory."""

    def __init__(self, directory: Path) -> None:
        self.key_set: Final = directory.absolute() / "jwks.json"
        """Public."""
        self._key_file = directory.absolute() / "secrets" / "issuer.pem"

    @property
    def exists(self) -> bool:
        return self._key_file.exists()

    def make(self) -> None:
        """Makes a key on first use. The key set is written anew from the key that is there."""
        if not self.exists:
            self._key_file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            pem = ec.generate_private_key(ec.SECP256R1()).private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
            write_whole(self._key_file, pem.decode())
        key = self._key()
        public = {**key_as_dict(key.public_key()), "kid": key_id(key), "use": "sig", "alg": ALGORITHM}
        write_whole(self.key_set, json.dumps({"keys": [public]}, indent=2) + "\n")
        self.key_set.chmod(0o644)

    def mint(self, subject: str, scope: str, ttl_seconds: int, **claims: object) -> str:
        """A token that is valid from now on. `claims` replace the usual ones. Raises StackError without a key."""
        if not self.exists:
            raise StackError(
                f"There is no issuer in {self.key_set.parent}: `specie up` makes one at its first start, and --data-dir"
                " names the directory of a stack that is elsewhere."
            )
        now = int(time.time())
        usual = {"iss": ISSUER, "aud": AUDIENCE, "sub": subject, "scope": scope, "iat": now, "exp": now + ttl_seconds}
        key = self._key()
        return jwt.encode(usual | claims, key, ALGORITHM, {"kid": key_id(key)})

    def _key(self) -> ec.EllipticCurvePrivateKey:
        try:
            key = serialization.load_pem_private_key(self._key_file.read_bytes(), password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm):  # TypeError: it has a password
            key = None
        if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
            raise StackError(f"{self._key_file} is not a key on the curve P-256; delete it to get a new one.")
        return key


def key_as_dict(key: ec.EllipticCurvePublicKey) -> dict[str, str]:
    """RFC 7517."""
    found: dict[str, str] = jwt.algorithms.ECAlgorithm.to_jwk(key, as_dict=True)
    return found


def key_id(key: ec.EllipticCurvePrivateKey) -> str:
    """Another key has another id."""
    return hashlib.sha256(json.dumps(key_as_dict(key.public_key()), sort_keys=True).encode()).hexdigest()[
        :KEY_ID_LENGTH
    ]
