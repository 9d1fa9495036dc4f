"""Whose tokens the gateway takes, in Envoy's form."""

import json
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from specie_cli.stack.address import Address
from specie_cli.stack.tls import SYSTEM_AUTHORITIES, TlsToIssuer

JWKS_CLUSTER = "issuer"
CLOCK_SKEW_SECONDS = 5
JWKS_RETRY_SECONDS = 1
JWKS_TIMEOUT_SECONDS = 2
TOKENS_REMEMBERED = 10_000  # a worker of Envoy, at less than 2 KiB each
TOKEN_BYTES_MAX = 4096
SCHEMES = ("Bearer ", "bearer ", "BEARER ")
ASYMMETRIC = {"EC", "OKP", "RSA"}
USED = {"EC", "OKP"}  # others may stand beside them


class UnusableKeysError(ValueError):
    """The file is not a set of public keys that tokens can be verified with."""


@dataclass(frozen=True)
class Identity:
    """Tokens of this issuer for this audience are taken. `jwks`: the issuer's public keys, a file or an http(s) URL."""

    issuer: str
    jwks: str
    audience: str = "specie"
    max_lifetime_seconds: int = 86_400
    jwks_authority: Path = SYSTEM_AUTHORITIES
    """Of an https URL: who signs the certificate of the server that has the keys. PEM, as Envoy will find it."""
    refresh_seconds: int = 60
    """Of a URL: after so long a key that was withdrawn is good no more, and a new one is known."""

    def provider(self) -> dict[str, object]:
        """Raises UnusableKeysError and OSError for a file that is no good."""
        provider: dict[str, object] = {
            "issuer": self.issuer,
            "audiences": [self.audience],
            "require_expiration": True,
            "max_lifetime": f"{self.max_lifetime_seconds}s",
            "clock_skew_seconds": CLOCK_SKEW_SECONDS,
            # Whoever calls is somebody: the limits and the ledger count by subject.
            "subjects": {"safe_regex": {"regex": ".+"}},
            # The header and nothing else: what stands in a URL is written to logs and histories.
            # The scheme's case does not matter (RFC 9110, 11.1); these are the ways in which it is written.
            "from_headers": [{"name": "authorization", "value_prefix": scheme} for scheme in SCHEMES],
            "forward": True,  # the services verify again, and ask for the scope
            "payload_in_metadata": "token",
        }
        if not self._is_remote:
            require_public_keys(Path(self.jwks))
            # An ES256 signature costs 70 us. What is remembered stays good until it expires, though its key be
            # withdrawn, so this is for keys that cannot change: Envoy reads the file once.
            remembered = {"jwt_cache_size": TOKENS_REMEMBERED, "jwt_max_token_size": TOKEN_BYTES_MAX}
            return provider | {"local_jwks": {"filename": self.jwks}, "jwt_cache_config": remembered}
        return provider | {
            "remote_jwks": {
                "http_uri": {"uri": self.jwks, "cluster": JWKS_CLUSTER, "timeout": f"{JWKS_TIMEOUT_SECONDS}s"},
                "cache_duration": f"{self.refresh_seconds}s",
                # Before the first call, and then in the background: no call waits for the issuer.
                "async_fetch": {"failed_refetch_duration": f"{JWKS_RETRY_SECONDS}s"},
                "retry_policy": {"num_retries": 2, "retry_back_off": {"base_interval": "0.1s", "max_interval": "1s"}},
            }
        }

    def clusters(self) -> list[dict[str, object]]:
        """Where a remote key set is fetched."""
        if not self._is_remote:
            return []
        url = urlsplit(self.jwks)
        secure = url.scheme == "https"
        if not url.hostname:
            raise UnusableKeysError(f"{self.jwks} names no host")
        address = Address(url.hostname, url.port or (443 if secure else 80))
        cluster: dict[str, object] = {
            "name": JWKS_CLUSTER,
            "type": "STRICT_DNS",
            "dns_lookup_family": "V4_PREFERRED",
            "connect_timeout": f"{JWKS_TIMEOUT_SECONDS}s",
            "load_assignment": {"cluster_name": JWKS_CLUSTER, "endpoints": [{"lb_endpoints": [address.endpoint()]}]},
        }
        return [
            cluster | {"transport_socket": TlsToIssuer(address.host, self.jwks_authority).socket()}
            if secure
            else cluster
        ]

    @property
    def _is_remote(self) -> bool:
        return self.jwks.startswith(("http://", "https://"))


def require_public_keys(file: Path) -> None:
    """Envoy would take a symmetric key too, and then whoever can verify tokens can make them."""
    try:
        keys = json.loads(file.read_text())["keys"]
        kinds = {key["kty"] for key in keys}
        private = any("d" in key for key in keys)
    except (ValueError, KeyError, TypeError) as error:
        raise UnusableKeysError(f"{file} is not a JSON Web Key Set (RFC 7517)") from error
    if not kinds <= ASYMMETRIC:
        raise UnusableKeysError(f"{file} has a symmetric key: only public keys, for ES256 or EdDSA, may be in it")
    if private:
        raise UnusableKeysError(f"{file} has a private key: only public keys may be in it")
    if not kinds & USED:
        raise UnusableKeysError(f"{file} has no key for ES256 (EC, P-256) or EdDSA (OKP, Ed25519)")
