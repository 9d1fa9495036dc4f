"""TLS at the gateway's doors, in Envoy's form."""

import ipaddress
from dataclasses import dataclass
from pathlib import Path

DOWNSTREAM = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext"
UPSTREAM = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext"
SYSTEM_AUTHORITIES = Path("/etc/ssl/certs/ca-certificates.crt")  # Debian's name, and that of Envoy's own image
AT_LEAST_TLS_1_2 = {"tls_minimum_protocol_version": "TLSv1_2"}


@dataclass(frozen=True)
class PublicTls:
    """What callers see: certificate (with its chain) and key, PEM. Envoy reads the files once, when it starts."""

    certificate: Path
    key: Path

    def socket(self) -> dict[str, object]:
        return tls_socket(
            DOWNSTREAM,
            {
                "tls_params": AT_LEAST_TLS_1_2,
                "tls_certificates": [certificate(self.certificate, self.key)],
                "alpn_protocols": ["h2", "http/1.1"],
            },
        )


@dataclass(frozen=True)
class InnerTls:
    """Mutual TLS with the services. `authority` signs the certificates of both sides, and of nobody else."""

    certificate: Path
    key: Path
    authority: Path

    def socket(self, hosts: frozenset[str]) -> dict[str, object]:
        """To a service on these hosts: its certificate must name one of them."""
        return tls_socket(
            UPSTREAM,
            {
                "tls_params": AT_LEAST_TLS_1_2,
                "tls_certificates": [certificate(self.certificate, self.key)],
                "validation_context": validation(self.authority, hosts),
                "alpn_protocols": ["h2"],
            },
        )


@dataclass(frozen=True)
class TlsToIssuer:
    """To a server whose certificate must name this host. `authority` signs it."""

    host: str
    authority: Path

    def socket(self) -> dict[str, object]:
        context = {"tls_params": AT_LEAST_TLS_1_2, "validation_context": validation(self.authority, {self.host})}
        return tls_socket(UPSTREAM, context, sni=self.host)


def tls_socket(kind: str, context: dict[str, object], **more: object) -> dict[str, object]:
    return {
        "name": "envoy.transport_sockets.tls",
        "typed_config": {"@type": kind, "common_tls_context": context, **more},
    }


def certificate(chain: Path, key: Path) -> dict[str, object]:
    return {"certificate_chain": {"filename": str(chain)}, "private_key": {"filename": str(key)}}


def validation(authority: Path, hosts: set[str] | frozenset[str]) -> dict[str, object]:
    names = [{"san_type": name_kind(host), "matcher": {"exact": host}} for host in sorted(hosts)]
    return {"trusted_ca": {"filename": str(authority)}, "match_typed_subject_alt_names": names}


def name_kind(host: str) -> str:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return "DNS"
    return "IP_ADDRESS"
