"""docker-compose.yml, alone and below docker-compose.production.yml, against what the code really has."""

import re
import shlex
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from migrations.__main__ import parser as migrations_parser
from migrations.trees import TREES
from payout_simulator.__main__ import _options as simulator_options
from service_kit.settings import ServiceSettings
from specie_cli.main import app
from specie_cli.stack.issuer import AUDIENCE, ISSUER
from tests.kit.deployed import (
    COMPOSE,
    PRODUCTION,
    PROGRAMS,
    Program,
    compose,
    files_named,
    gateway_options,
    handed_to,
    validated_by_envoy,
)
from tests.kit.gateway import gateway_config, running_gateway
from tests.kit.stack import ROOT, Stack
from transaction_service.settings import TransactionSettings
from wallet_service.settings import WalletSettings

SETTINGS: dict[str, type[ServiceSettings]] = {"wallet": WalletSettings, "transaction": TransactionSettings}
ENVIRONMENT = {
    "SPECIE_AUTH_ISSUER": "https://issuer.example",
    "SPECIE_AUTH_JWKS": "https://issuer.example/.well-known/jwks.json",
}
BOTH = {"alone": compose(COMPOSE), "production": compose(COMPOSE, PRODUCTION, environment=ENVIRONMENT)}
HANDED_ON = re.compile(r"\$\{(\w+):-([^}]*)\}")
# The gateway and the wallet service are told where one worker is.
NOT_SET = {"workers", "worker_index", "database_dsn"}
TLS = {"tls_certificate_file", "tls_key_file", "tls_ca_file"}
FIXED = {"host", "port", "probe_port", "transaction_target", "service_token_file", "seal_key_file", "webhook_keys_file"}
# Under one name in .env.
TOLD_TO_TWO = {"PAYOUT_PROVIDERS", "WEBHOOK_PRIVATE_NETWORKS"}
SECRETS = {f"{role}_password": f"{role}0secret" for role in ("owner", "wallet", "transaction")}
HEALTHY, DONE = {"condition": "service_healthy"}, {"condition": "service_completed_successfully"}

both = pytest.mark.parametrize("deployment", BOTH)
each_program = pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.container)


def services(deployment: str) -> dict[str, Any]:
    """Those that Compose starts."""
    return {name: service for name, service in BOTH[deployment]["services"].items() if "profiles" not in service}


@both
@each_program
def test_the_programs_take_these_settings(
    deployment: str, program: Program, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    service = services(deployment)[program.container]
    fields = program.settings.model_fields
    tls = TLS if deployment == "production" else set()
    expected = fields.keys() - NOT_SET - TLS | tls
    assert program.told(service["environment"]) == expected
    assert all(isinstance(value, str) for value in service["environment"].values())
    command = f"exec python -m {program.module}"
    environment = handed_to(service["command"][-1], command, SECRETS, tmp_path) | service["environment"]
    assert (ROOT / program.module.replace(".", "/") / "__main__.py").exists()
    for key, value in environment.items():
        monkeypatch.setenv(key, value)
    settings = program.settings()
    dsn = f"postgresql://specie_{program.role}:{program.role}0secret@postgres:5432/specie"
    assert settings.database_dsn.get_secret_value() == dsn
    # Inside the network of the containers; nobody but itself asks the back office.
    assert settings.host == ("127.0.0.1" if program.container == "back-office" else "0.0.0.0")  # noqa: S104
    assert settings.port == fields["port"].default
    changed = {field for field in expected if getattr(settings, field) != fields[field].default}
    assert changed <= FIXED | tls | {"auth_issuer", "auth_jwks"}
    assert f"127.0.0.1:{program.health_port(settings)}" == service["healthcheck"]["test"][-1]
    assert service["healthcheck"]["test"][:-1] == ["CMD", "python", "-m", "service_kit.probe"]
    grace = int(service["stop_grace_period"].removesuffix("s"))
    assert grace > getattr(settings, "shutdown_notice_seconds", 0) + settings.shutdown_grace_seconds
    assert all_mounted(program.files(settings), service)


@both
def test_the_ways_outside_are_told_alike(deployment: str) -> None:
    told = [services(deployment)[program.container]["environment"] for program in PROGRAMS[1:]]
    ledger, office = (
        {k.partition(p.prefix)[2]: v for k, v in t.items()} for p, t in zip(PROGRAMS[1:], told, strict=True)
    )
    alike = {"PAYOUT_PROVIDERS", "WEBHOOK_KEYS_FILE", "WEBHOOK_PRIVATE_NETWORKS"}
    assert {name: ledger[name] for name in alike} == {name: office[name] for name in alike}


def test_the_payout_simulator_is_where_the_file_says() -> None:
    simulator = BOTH["alone"]["services"]["payout-simulator"]
    assert simulator["profiles"] == ["payout-simulator"]
    options = simulator_options(simulator["command"][3:])
    assert simulator["command"][:3] == ["python", "-m", "payout_simulator"]
    assert f"simulator=payout-simulator:{options.port} in .env" in COMPOSE.read_text()
    assert simulator["healthcheck"]["test"][-1] == f"127.0.0.1:{options.port}"


def all_mounted(files: Iterable[str], service: dict[str, Any]) -> bool:
    """Whether the container has these files, as its own to read only."""
    secrets = {f"/run/secrets/{secret}" for secret in service.get("secrets", [])}
    folders = {volume.split(":")[1] for volume in service.get("volumes", []) if volume.endswith(":ro")}
    return all(str(file) in secrets or str(Path(file).parent) in folders for file in files if file)


@each_program
def test_what_is_handed_on_keeps_its_name_and_its_default(program: Program) -> None:
    service = yaml.safe_load(COMPOSE.read_text())["services"][program.container]
    handed_on = {key: HANDED_ON.findall(value) for key, value in service["environment"].items() if "$" in value}
    assert handed_on
    own = {key: found for key, found in handed_on.items() if key.removeprefix(program.prefix) not in TOLD_TO_TWO}
    for key, found in own.items():
        assert [variable for variable, _ in found] == [key]
    of_the_issuer = {field for field in program.settings.model_fields if field.startswith("auth_")}
    assert program.told(service["environment"]) - FIXED - of_the_issuer == program.told(handed_on)


@both
def test_the_wallet_service_calls_the_transaction_service(deployment: str) -> None:
    target = services(deployment)["wallet-service"]["environment"]["SPECIE_WALLET_TRANSACTION_TARGET"]
    assert target == f"dns:///transaction-service:{TransactionSettings.model_fields['port'].default}"


@both
def test_the_migrations_take_these_settings(deployment: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    migrate = services(deployment)["migrate"]
    program = "python -m migrations roles && python -m migrations upgrade"
    for key, value in handed_to(migrate["command"][-1], program, SECRETS, tmp_path).items():
        monkeypatch.setenv(key, value)
    for name, tree in TREES.items():
        assert tree.owner_dsn == "postgresql://specie_owner:owner0secret@postgres:5432/specie"
        assert tree.service_dsn == f"postgresql://specie_{name}:{name}0secret@postgres:5432/specie"
    for command in re.findall(r"python -m migrations (\w+)", program):
        migrations_parser().parse_args([command])


def test_the_issuer_makes_keys_and_tokens_that_the_services_take(tmp_path: Path) -> None:
    issuer = BOTH["alone"]["services"]["issuer"]
    command = shlex.split(issuer["command"])
    assert command[:2] == ["specie", "token"]
    assert command[-1] == "--renew"
    there = {"/keys": tmp_path, "/service-token/token": tmp_path / "token"}
    here = [str(there.get(word, word)) for word in command[1:-1]]
    assert CliRunner().invoke(app, here).exit_code == 0
    assert (tmp_path / "token").read_text().count(".") == 2
    for name in SETTINGS:
        service = BOTH["alone"]["services"][f"{name}-service"]
        told = {key.partition("_AUTH_")[2]: value for key, value in service["environment"].items() if "_AUTH_" in key}
        assert (told["ISSUER"], told["AUDIENCE"], told["JWKS"]) == (ISSUER, AUDIENCE, "/keys/jwks.json")
        assert all_mounted([told["JWKS"]], service)
    assert (tmp_path / "jwks.json").exists()


def test_the_private_key_and_the_services_token_are_out_of_the_gateways_reach() -> None:
    volumes = {
        name: {volume.split(":")[0] for volume in service.get("volumes", [])}
        for name, service in services("alone").items()
    }
    assert [name for name, mounted in volumes.items() if "issuer-key" in mounted] == ["issuer"]
    assert [name for name, mounted in volumes.items() if "service-token" in mounted] == ["issuer", "wallet-service"]
    assert BOTH["alone"]["services"]["issuer"]["network_mode"] == "none"
    mounted = {name for name, s in services("production").items() if "./secrets" in str(s.get("volumes"))}
    assert mounted == {"wallet-service"}


@both
def test_envoy_accepts_the_configuration_that_is_written_for_it(deployment: str, tmp_path: Path) -> None:
    running = services(deployment)
    writer, envoy = running["gateway-configuration"], running["envoy"]
    options = gateway_options(writer["command"])
    rendered = validated_by_envoy(options, tmp_path)
    for name in SETTINGS:
        (address,) = getattr(options, name)
        assert address.host == f"{name}-service"
        assert address.host in running
        assert address.port == SETTINGS[name].model_fields["port"].default
    assert envoy["ports"][0].endswith(f":{options.listen.port}")
    assert options.admin.host == "127.0.0.1"
    in_the_image = {path for path in files_named(options) if path.startswith("/etc/specie/")}
    assert in_the_image == {f"/etc/specie/{name}" for name in image_files()}
    assert all_mounted(list(files_named(options) - in_the_image), envoy)
    assert str(options.output) == "/configuration/envoy.yaml"
    assert "configuration:/configuration:ro" in envoy["volumes"]
    assert '"-c", "/configuration/envoy.yaml"' in (ROOT / "deploy" / "Dockerfile").read_text()
    names = {cluster["name"] for cluster in rendered["static_resources"]["clusters"]}
    assert ({"issuer", "limiter"} <= names) == (deployment == "production")


def image_files() -> set[str]:
    text = (ROOT / "deploy" / "Dockerfile").read_text().partition(" AS gateway\n")[2]
    copies: list[tuple[str, str]] = re.findall(r"^COPY (?:--from=\S+ )?(.+) (/etc/specie\S*)$", text, re.MULTILINE)
    return {
        Path(source).name if target.endswith("/") else Path(target).name
        for sources, target in copies
        for source in sources.split()
    }


@both
def test_gateway_and_services_trust_the_same_issuer(deployment: str) -> None:
    running = services(deployment)
    options = gateway_options(running["gateway-configuration"]["command"])
    told = (options.issuer, options.audience, options.jwks, str(options.max_lifetime_seconds))
    for name in SETTINGS:
        environment = running[f"{name}-service"]["environment"]
        prefix = f"SPECIE_{name.upper()}_AUTH_"
        own = tuple(environment[prefix + key] for key in ("ISSUER", "AUDIENCE", "JWKS", "MAX_LIFETIME_SECONDS"))
        assert own == told


@both
def test_everything_waits_for_what_it_needs(deployment: str) -> None:
    waits = {name: service.get("depends_on", {}) for name, service in services(deployment).items()}
    issuer = {"issuer": HEALTHY} if deployment == "alone" else {}
    ready = {"migrate": DONE, "postgres": HEALTHY, **issuer}
    assert waits["migrate"] == {"postgres": HEALTHY}
    assert waits["transaction-service"] == ready
    assert waits["wallet-service"] == {**ready, "transaction-service": HEALTHY}
    assert waits["back-office"] == {"migrate": DONE, "postgres": HEALTHY}
    assert waits["gateway-configuration"] == issuer
    assert waits["envoy"] == {
        "gateway-configuration": {**DONE, "restart": True},
        "transaction-service": HEALTHY,
        "wallet-service": HEALTHY,
    }
    assert {needed for waited in waits.values() for needed in waited} <= waits.keys()


@both
def test_only_the_gateway_is_published(deployment: str) -> None:
    published = {name: service["ports"] for name, service in services(deployment).items() if "ports" in service}
    # In production a port for each of the two gateways.
    ports = {"alone": "127.0.0.1:8080:8080", "production": "0.0.0.0:8443-8444:8443"}
    assert published == {"envoy": [ports[deployment]]}
    assert BOTH[deployment]["networks"]["inside"] == {"internal": True}


def exit_code(command: list[str], listen: int, admin: int = 0) -> int:
    """Of what a container runs beside its gateway, here with the ports of one that runs on this machine."""
    script = command[-1].replace("/8080", f"/{listen}").replace("/9901", f"/{admin}").replace("sleep 25", "true")
    return subprocess.run(["bash", "-c", script], check=False).returncode


def test_the_gateways_probes_see_what_they_are_for(stack: Stack, tmp_path: Path) -> None:
    """In front of services, without them, and on its way out."""
    with_services = services("alone")["envoy"]["healthcheck"]["test"]
    itself = services("production")["envoy"]["healthcheck"]["test"]
    leave = yaml.safe_load_all((ROOT / "deploy" / "kubernetes" / "gateway.yaml").read_text())
    (envoy,) = next(iter(leave))["spec"]["template"]["spec"]["containers"]
    assert exit_code(with_services, int(stack.grpc.partition(":")[2])) == 0
    with running_gateway(gateway_config(), tmp_path) as alone:
        ports = alone.config.listen.port, alone.config.admin.port
        assert exit_code(with_services, *ports) != 0
        assert exit_code(itself, *ports) == 0
        assert exit_code(envoy["lifecycle"]["preStop"]["exec"]["command"], *ports) == 0
        assert exit_code(itself, *ports) != 0


def test_in_production_a_port_is_there_for_each_gateway() -> None:
    envoy = services("production")["envoy"]
    first, last = map(int, envoy["ports"][0].split(":")[1].split("-"))
    assert last - first + 1 == envoy["deploy"]["replicas"]


def test_in_production_every_container_is_limited_and_writes_nowhere_else() -> None:
    for name, service in services("production").items():
        limits = service["deploy"]["resources"]["limits"]
        assert {"cpus", "memory"} <= limits.keys()
        if name != "postgres":
            assert service["read_only"]
            assert service["cap_drop"] == ["ALL"]
            assert service["security_opt"] == ["no-new-privileges:true"]


def test_in_production_the_limiter_gets_the_limits_of_the_code() -> None:
    running = services("production")
    limiter, options = running["ratelimit"], gateway_options(running["gateway-configuration"]["command"])
    assert limiter["environment"]["GRPC_PORT"] == str(options.ratelimit_service.port)
    assert options.ratelimit_service.host == "ratelimit"
    source, target, _ = limiter["volumes"][0].split(":")
    assert (ROOT / source).exists()
    environment = limiter["environment"]
    assert Path(target).parent == Path(environment["RUNTIME_ROOT"], environment["RUNTIME_SUBDIRECTORY"], "config")
    assert environment["REDIS_URL"] == "redis:6379"
    # Each of them is on a network with who asks it.
    assert set(running["redis"]["networks"]) & set(limiter["networks"])
    assert set(running["envoy"]["networks"]) & set(limiter["networks"])


@pytest.mark.parametrize("missing", ENVIRONMENT)
def test_production_does_not_start_without_an_issuer(missing: str) -> None:
    rest = {name: value for name, value in ENVIRONMENT.items() if name != missing}
    with pytest.raises(KeyError, match=missing):
        compose(COMPOSE, PRODUCTION, environment=rest)


@both
def test_no_secret_stands_in_the_files(deployment: str) -> None:
    secrets = BOTH[deployment]["secrets"]
    assert all(list(secret) == ["file"] for secret in secrets.values())
    named = {secret for service in services(deployment).values() for secret in service.get("secrets", [])}
    assert named == set(secrets)
    for service in services(deployment).values():
        for key, value in service.get("environment", {}).items():
            assert "PASSWORD" not in key or value.startswith("/run/secrets/")


def test_the_example_names_what_compose_asks_for() -> None:
    example = (ROOT / ".env.example").read_text()
    own = set(
        re.findall(r"\$\{(SPECIE_(?!WALLET|TRANSACTION|BACK_OFFICE)\w+):", COMPOSE.read_text() + PRODUCTION.read_text())
    )
    assert own == set(re.findall(r"(SPECIE_[A-Z_]+)=", example))
    assert {f"{role}_password" for role in re.findall(r"in (\w+ \w+ \w+); do", example)[0].split()} == set(SECRETS)
