"""A local authority for certificates: for one machine and for trying things out, as the local issuer of tokens is."""

import datetime as dt
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from specie_cli.stack.directory import write_whole
from specie_cli.stack.failure import StackError

AUTHORITY_LIFE: Final = dt.timedelta(days=3650)
LIFE: Final = dt.timedelta(days=90)
"""Of what it signs, which a stack has signed anew at every start."""
CLOCKS_DIFFER: Final = dt.timedelta(hours=1)


@dataclass(frozen=True)
class KeyPair:
    """PEM files."""

    certificate: Path
    key: Path


class Authority:
    """The one whose key is in this directory."""

    def __init__(self, directory: Path) -> None:
        self.certificate: Final = directory.absolute() / "ca.pem"
        """Public: who trusts it trusts all that it signs."""
        self._secrets = directory.absolute() / "secrets"
        self._key_file = self._secrets / "ca.key"

    def make(self) -> None:
        """On first use."""
        if self._key_file.exists() and self.certificate.exists():
            return
        self._secrets.mkdir(mode=0o700, parents=True, exist_ok=True)
        key = ec.generate_private_key(ec.SECP256R1())
        name = named(f"Specie local {self._secrets.parent.name}")
        whose = x509.BasicConstraints(ca=True, path_length=0)
        signed = builder(name, name, key, AUTHORITY_LIFE).add_extension(whose, critical=True)
        write_whole(self._key_file, as_pem(key))
        write_whole(self.certificate, as_pem(signed.sign(key, hashes.SHA256())))
        self.certificate.chmod(0o644)

    def sign(self, name: str, hosts: Sequence[str]) -> KeyPair:
        """A new key and its certificate, for a server on these hosts and for a client alike."""
        authority = x509.load_pem_x509_certificate(self.certificate.read_bytes())
        authority_key = serialization.load_pem_private_key(self._key_file.read_bytes(), password=None)
        if not isinstance(authority_key, ec.EllipticCurvePrivateKey):
            raise StackError(f"{self._key_file} is not a key on the curve P-256; delete it to get a new one.")
        key = ec.generate_private_key(ec.SECP256R1())
        signed = builder(named(name), authority.subject, key, LIFE).add_extension(
            x509.SubjectAlternativeName([alternative_name(host) for host in hosts]), critical=False
        )
        pair = KeyPair(self._secrets / f"{name}.pem", self._secrets / f"{name}.key")
        write_whole(pair.certificate, as_pem(signed.sign(authority_key, hashes.SHA256())))
        write_whole(pair.key, as_pem(key))
        return pair


def builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, life: dt.timedelta
) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCKS_DIFFER)
        .not_valid_after(now + life)
    )


def named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def alternative_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def as_pem(made: x509.Certificate | ec.EllipticCurvePrivateKey) -> str:
    if isinstance(made, x509.Certificate):
        return made.public_bytes(serialization.Encoding.PEM).decode()
    return made.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
