"""Fills in gateway/envoy.yaml; `python -m specie_cli.stack.envoy_config --help` prints it for a deployment.

Needs nothing but the standard library, so that the image of the gateway can be made without an environment.
"""

import argparse
import json
import string
import sys
from dataclasses import dataclass, field
from pathlib import Path

from specie_cli.stack.address import Address, endpoints
from specie_cli.stack.docs_page import OPENAPI, PAGE, DocsPage, swagger_ui
from specie_cli.stack.identity import Identity, UnusableKeysError
from specie_cli.stack.local_replies import local_reply_config
from specie_cli.stack.origin import cors_policy, origin
from specie_cli.stack.subject_limits import Allowance, SubjectLimits, limiter_cluster, named_allowance
from specie_cli.stack.tls import InnerTls, PublicTls

GATEWAY = Path(__file__).resolve().parents[2] / "gateway"
TEMPLATE = GATEWAY / "envoy.yaml"
FLEET_LIMIT = GATEWAY / "fleet_limit.yaml"
DESCRIPTOR_SET = GATEWAY / "specie.binpb"
LUA = GATEWAY / "edge.lua"
HOST_PORT = "HOST:PORT"


@dataclass(frozen=True)
class GatewayConfig:
    """What differs between deployments."""

    listen: Address
    admin: Address
    wallet: tuple[Address, ...]
    transaction: tuple[Address, ...]
    identity: Identity
    descriptor_set: Path = DESCRIPTOR_SET
    lua: Path = LUA
    docs: DocsPage = field(default_factory=DocsPage)
    # Far above what one machine's services can do: these two hold back floods until somebody sets them.
    calls_per_second: int = 50_000
    calls_per_second_per_client: int = 20_000
    subject_limits: SubjectLimits = field(default_factory=SubjectLimits)
    limiter: Address | None = None
    """envoyproxy/ratelimit, for a fleet of gateways."""
    # The longest that a call may take; a client's own deadline may be shorter. Services give a statement 10 s.
    deadline_seconds: int = 15
    trusted_proxies: int = 0
    """Load balancers before the gateway that append to x-forwarded-for: a client's address is the one before theirs."""
    connections_max: int = 4096
    """Of all callers together. Envoy needs some 20 KiB for an idle one, and a file descriptor."""
    idle_seconds: int = 300
    """After so long a connection without a call is closed."""
    headers_seconds: int = 5
    """So long may the headers of a request take."""
    cors_origins: tuple[str, ...] = ()
    """Whose pages may call from a browser (specie_cli/stack/origin.py)."""
    public_tls: PublicTls | None = None
    inner_tls: InnerTls | None = None

    def render(self) -> str:
        """Raises UnusableKeysError and OSError for a file of keys that is no good."""
        more_clusters = self.identity.clusters() + ([limiter_cluster(self.limiter)] if self.limiter else [])
        return string.Template(TEMPLATE.read_text()).substitute(
            listen_host=self.listen.host,
            listen_port=self.listen.port,
            admin_host=self.admin.host,
            admin_port=self.admin.port,
            wallet_endpoints=endpoints(self.wallet),
            wallet_tls=self._inner_socket(self.wallet),
            transaction_endpoints=endpoints(self.transaction),
            transaction_tls=self._inner_socket(self.transaction),
            public_tls=json.dumps(self.public_tls and self.public_tls.socket()),
            token_provider=json.dumps(self.identity.provider()),
            descriptor_set=self.descriptor_set,
            lua=self.lua,
            docs_routes="".join(f"              - {json.dumps(route)}\n" for route in self.docs.routes()),
            calls_per_second=self.calls_per_second,
            calls_per_second_per_client=self.calls_per_second_per_client,
            subject_limits=json.dumps(self.subject_limits.descriptors()),
            fleet_limit=FLEET_LIMIT.read_text() if self.limiter else "",
            deadline=f"{self.deadline_seconds}s",
            trusted_proxies=self.trusted_proxies,
            connections_max=self.connections_max,
            idle=f"{self.idle_seconds}s",
            headers=f"{self.headers_seconds}s",
            cors_policy=json.dumps(cors_policy(self.cors_origins)),
            local_reply_config=json.dumps(local_reply_config()),
            more_clusters="".join(f"  - {json.dumps(cluster)}\n" for cluster in more_clusters),
        )

    def _inner_socket(self, addresses: tuple[Address, ...]) -> str:
        hosts = frozenset(address.host for address in addresses)
        return json.dumps(self.inner_tls and self.inner_tls.socket(hosts))


def parser() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(description="Prints Envoy's configuration. Defaults are in parentheses.")
    address = Address.parse
    wallet, transaction = Address("127.0.0.1", 50051), Address("127.0.0.1", 50061)
    options.add_argument("--output", type=Path, help="write it to this file instead of printing it")
    options.add_argument(
        "--listen",
        type=address,
        default=Address("0.0.0.0", 8080),  # noqa: S104 - the public door
        metavar=HOST_PORT,
        help="where callers come in (%(default)s)",
    )
    options.add_argument(
        "--admin",
        type=address,
        default=Address("127.0.0.1", 9901),
        metavar=HOST_PORT,
        help="Envoy's admin page, which asks for no token (%(default)s)",
    )
    options.add_argument(
        "--wallet",
        type=address,
        nargs="+",
        default=[wallet],
        metavar=HOST_PORT,
        help=f"the wallet service: each worker, or a name of all ({wallet})",
    )
    options.add_argument(
        "--transaction",
        type=address,
        nargs="+",
        default=[transaction],
        metavar=HOST_PORT,
        help=f"the transaction service, likewise ({transaction})",
    )
    options.add_argument(
        "--descriptor-set", type=Path, default=DESCRIPTOR_SET, help="the contract, as Envoy will find it (gateway/)"
    )
    options.add_argument("--lua", type=Path, default=LUA, help="edge.lua, as Envoy will find it (gateway/)")
    options.add_argument("--openapi", type=Path, default=OPENAPI, help="the document that /docs shows")
    options.add_argument("--docs", type=Path, default=PAGE, help="the folder of the page at /docs")
    options.add_argument("--swagger-ui", type=Path, help="its distribution; else that of the package flask-swagger-ui")
    options.add_argument(
        "--deadline-seconds",
        type=int,
        default=GatewayConfig.deadline_seconds,
        help="the longest that a call may take (%(default)s)",
    )
    options.add_argument(
        "--cors-origin",
        type=origin,
        action="append",
        default=[],
        metavar="https://HOST",
        help="whose pages may call from a browser; may be given several times",
    )

    tokens = options.add_argument_group("tokens")
    tokens.add_argument("--issuer", required=True, help="whose tokens are taken: their claim iss")
    tokens.add_argument(
        "--audience", default=Identity.audience, help="whom tokens are for: their claim aud (%(default)s)"
    )
    tokens.add_argument("--jwks", required=True, help="the issuer's public keys: a file, or an http(s) URL")
    tokens.add_argument(
        "--jwks-ca", type=Path, default=Identity.jwks_authority, help="who signs the certificate of an https URL"
    )
    tokens.add_argument(
        "--max-lifetime-seconds",
        type=int,
        default=Identity.max_lifetime_seconds,
        help="tokens that live longer, from iat to exp, are refused (%(default)s)",
    )

    limits = options.add_argument_group("limits")
    limits.add_argument(
        "--calls-per-second",
        type=int,
        default=GatewayConfig.calls_per_second,
        help="of all clients together (%(default)s)",
    )
    limits.add_argument(
        "--calls-per-second-per-client",
        type=int,
        default=GatewayConfig.calls_per_second_per_client,
        help="of one client address (%(default)s)",
    )
    limits.add_argument(
        "--subject-limit",
        type=Allowance.parse,
        default=SubjectLimits.usual,
        metavar="READS,WRITES,BATCHES",
        help="calls a second of one subject (%(default)s)",
    )
    limits.add_argument(
        "--subject-limits",
        type=named_allowance,
        action="append",
        default=[],
        metavar="NAME=READS,WRITES,BATCHES",
        help="other limits for this subject; may be given several times",
    )
    limits.add_argument(
        "--ratelimit-service", type=address, metavar=HOST_PORT, help="envoyproxy/ratelimit, for a fleet of gateways"
    )
    limits.add_argument(
        "--trusted-proxies",
        type=int,
        default=GatewayConfig.trusted_proxies,
        help="how many load balancers before the gateway append to x-forwarded-for (%(default)s)",
    )
    limits.add_argument(
        "--connections-max",
        type=int,
        default=GatewayConfig.connections_max,
        help="of all clients together; those beyond are closed (%(default)s)",
    )
    limits.add_argument(
        "--idle-seconds",
        type=int,
        default=GatewayConfig.idle_seconds,
        help="after so long a connection without a call is closed (%(default)s)",
    )
    limits.add_argument(
        "--headers-seconds",
        type=int,
        default=GatewayConfig.headers_seconds,
        help="so long may the headers of a request take (%(default)s)",
    )

    tls = options.add_argument_group("TLS (files in PEM, as Envoy will find them)")
    tls.add_argument("--tls-certificate", type=Path, help="for callers; with --tls-key")
    tls.add_argument("--tls-key", type=Path, help="its key")
    tls.add_argument("--services-certificate", type=Path, help="for the services; with the other two --services-...")
    tls.add_argument("--services-key", type=Path, help="its key")
    tls.add_argument("--services-ca", type=Path, help="who signed the certificates of services and gateway")
    return options


def config_of(options: argparse.Namespace) -> GatewayConfig:
    """Raises ValueError for half a setting of TLS."""
    public = (options.tls_certificate, options.tls_key)
    inner = (options.services_certificate, options.services_key, options.services_ca)
    for files, names in ((public, "--tls-..."), (inner, "--services-...")):
        if any(files) and not all(files):
            raise ValueError(f"give all of the options {names} or none")
    return GatewayConfig(
        listen=options.listen,
        admin=options.admin,
        wallet=tuple(options.wallet),
        transaction=tuple(options.transaction),
        identity=Identity(
            options.issuer, options.jwks, options.audience, options.max_lifetime_seconds, options.jwks_ca
        ),
        descriptor_set=options.descriptor_set,
        lua=options.lua,
        docs=DocsPage(options.openapi, options.docs, options.swagger_ui or swagger_ui()),
        calls_per_second=options.calls_per_second,
        calls_per_second_per_client=options.calls_per_second_per_client,
        subject_limits=SubjectLimits(options.subject_limit, dict(options.subject_limits)),
        limiter=options.ratelimit_service,
        deadline_seconds=options.deadline_seconds,
        trusted_proxies=options.trusted_proxies,
        connections_max=options.connections_max,
        idle_seconds=options.idle_seconds,
        headers_seconds=options.headers_seconds,
        cors_origins=tuple(options.cors_origin),
        public_tls=PublicTls(*public) if all(public) else None,
        inner_tls=InnerTls(*inner) if all(inner) else None,
    )


def main() -> None:
    options = parser()
    given = options.parse_args()
    try:
        rendered = config_of(given).render()
        if given.output:
            given.output.write_text(rendered)
        else:
            sys.stdout.write(rendered)
    except (UnusableKeysError, ValueError, OSError) as error:
        options.error(str(error))


if __name__ == "__main__":
    main()
