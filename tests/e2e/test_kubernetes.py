"""deploy/kubernetes against what the code really has: settings, ports, commands, probes, and who may talk to whom."""

import re
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest
import yaml

from migrations.__main__ import parser as migrations_parser
from migrations.trees import TREES
from service_kit.health import LIVENESS
from service_kit.settings import ServiceSettings
from tests.kit.deployed import (
    PRODUCTION,
    PROGRAMS,
    Program,
    compose,
    files_named,
    gateway_options,
    validated_by_envoy,
)
from tests.kit.stack import ROOT
from transaction_service.settings import TransactionSettings
from wallet_service.settings import WalletSettings

DEPLOY = ROOT / "deploy"
KUSTOMIZATION: dict[str, Any] = yaml.safe_load((DEPLOY / "kustomization.yaml").read_text())
OBJECTS: dict[tuple[str, str], dict[str, Any]] = {
    (found["kind"], found["metadata"]["name"]): found
    for resource in KUSTOMIZATION["resources"]
    for found in yaml.safe_load_all((DEPLOY / resource).read_text())
}
CONFIGURATION: dict[str, str] = OBJECTS["ConfigMap", "specie"]["data"]
SETTINGS: dict[str, type[ServiceSettings]] = {"wallet": WalletSettings, "transaction": TransactionSettings}
DSN = "postgresql://role:password@database:5432/specie"
# What differs from the defaults because it must.
DEPLOYED = {
    "auth_issuer",
    "auth_jwks",
    "host",
    "probe_port",
    "seal_key_file",
    "service_token_file",
    "transaction_target",
    "webhook_keys_file",
}
TLS = {"tls_certificate_file", "tls_key_file", "tls_ca_file"}
# The parts of a stop after the notice and the grace: what is due, and a PostgreSQL that does not answer.
DUE_SECONDS, PATIENCE = 5, 3

each_program = pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.container)
each_pod = pytest.mark.parametrize(
    "key", [key for key in OBJECTS if key[0] in ("Deployment", "Job")], ids=lambda key: key[1]
)


def pod(key: tuple[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = OBJECTS[key]["spec"]["template"]["spec"]
    return found


def environment(container: dict[str, Any]) -> dict[str, str]:
    """As the container gets it; every secret is a DSN."""
    return {each["name"]: _value(each) for each in container.get("env", [])}


def _value(variable: dict[str, Any]) -> str:
    if "value" in variable:
        assert isinstance(variable["value"], str)
        return str(variable["value"])
    (kind, source), *others = variable["valueFrom"].items()
    assert not others
    if kind == "configMapKeyRef":
        assert source["name"] == "specie"
        return CONFIGURATION[source["key"]]
    assert kind == "secretKeyRef"
    return DSN


def mounted(files: set[str], key: tuple[str, str], container: dict[str, Any]) -> bool:
    """Whether each of them is in a folder of a secret, mounted whole: only then a new content is seen."""
    secrets = {volume["name"] for volume in pod(key)["volumes"] if "secret" in volume}
    folders = {m["mountPath"] for m in container["volumeMounts"] if m["name"] in secrets and "subPath" not in m}
    return {str(Path(file).parent) for file in files} <= folders


def test_every_file_is_named() -> None:
    listed = {path for path in KUSTOMIZATION["resources"] if path.startswith("kubernetes/")}
    assert listed == {f"kubernetes/{file.name}" for file in (DEPLOY / "kubernetes").iterdir()}
    generated = KUSTOMIZATION["configMapGenerator"][0]
    assert (DEPLOY / generated["files"][0].partition("=")[2]).exists()
    images = {image["name"] for image in KUSTOMIZATION["images"]}
    used = {c["image"] for key in OBJECTS if key[0] in ("Deployment", "Job") for c in containers(pod(key))}
    assert images == {image for image in used if ":" not in image}


def containers(spec: dict[str, Any]) -> list[dict[str, Any]]:
    return [*spec.get("initContainers", []), *spec["containers"]]


def test_they_go_into_any_namespace_and_contain_no_secret() -> None:
    for (kind, _), found in OBJECTS.items():
        assert "namespace" not in found["metadata"]
        assert kind != "Secret"
        assert found["metadata"]["labels"]["app.kubernetes.io/part-of"] == "specie"


def test_the_guide_names_the_secrets_that_must_be_there() -> None:
    guide = (ROOT / "docs" / "operations.md").read_text().partition("| Secret | keys |")[2].partition("\n\n")[0]
    told: set[tuple[str, str]] = set()
    for row in guide.splitlines()[2:]:
        names, keys, _ = row.strip("| ").split(" | ")
        told |= {(name, key) for name in re.findall(r"`(.+?)`", names) for key in re.findall(r"`(.+?)`", keys)}
    asked: set[tuple[str, str]] = set()
    for pod_key in [key for key in OBJECTS if key[0] in ("Deployment", "Job")]:
        spec = pod(pod_key)
        variables = [variable for container in containers(spec) for variable in container.get("env", [])]
        references = [each["valueFrom"].get("secretKeyRef") for each in variables if "valueFrom" in each]
        asked |= {(reference["name"], reference["key"]) for reference in references if reference}
        mounts = {mount["name"]: mount["mountPath"] for c in containers(spec) for mount in c.get("volumeMounts", [])}
        for volume in spec.get("volumes", []):
            if "secret" in volume:
                files = re.findall(rf"{mounts[volume['name']]}/([\w.]+)", yaml.safe_dump(spec))
                asked |= {(volume["secret"]["secretName"], file) for file in files}
    assert asked == told


@each_program
def test_the_programs_take_these_settings(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    key = ("Deployment", program.container)
    (container,) = pod(key)["containers"]
    for variable, value in environment(container).items():
        monkeypatch.setenv(variable, value)
    settings = program.settings()
    told = program.told(environment(container))
    fields = program.settings.model_fields
    assert told <= fields.keys()
    changed = {field for field in told if getattr(settings, field) != fields[field].default}
    assert changed <= DEPLOYED | TLS | {"database_dsn"}
    assert told >= TLS | {"auth_audience", "auth_max_lifetime_seconds"} & fields.keys()
    assert container["command"] == ["python", "-m", program.module]
    assert (ROOT / program.module.replace(".", "/") / "__main__.py").exists()
    assert mounted(program.files(settings), key, container)
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    health = program.health_port(settings)
    answers_calls = isinstance(settings, ServiceSettings)
    assert ports == ({"grpc": settings.port} if answers_calls else {}) | {"probes": health}
    assert settings.port == fields["port"].default
    probes = {probe: container[probe]["grpc"] for probe in ("startupProbe", "livenessProbe", "readinessProbe")}
    liveness = {"port": health, "service": LIVENESS}
    assert probes == {"startupProbe": liveness, "livenessProbe": liveness, "readinessProbe": {"port": health}}
    stop = getattr(settings, "shutdown_notice_seconds", 0) + settings.shutdown_grace_seconds + DUE_SECONDS
    stop += PATIENCE * settings.statement_timeout_seconds
    assert pod(key)["terminationGracePeriodSeconds"] > stop


def test_the_wallet_service_finds_the_ledger_and_its_token() -> None:
    key = ("Deployment", "wallet-service")
    (container,) = pod(key)["containers"]
    told = environment(container)
    assert told["SPECIE_WALLET_TRANSACTION_TARGET"] == (
        f"dns:///transaction-service:{TransactionSettings.model_fields['port'].default}"
    )
    assert mounted({told["SPECIE_WALLET_SERVICE_TOKEN_FILE"]}, key, container)


def test_the_migrations_take_these_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    (container,) = pod(("Job", "migrations"))["containers"]
    for variable, value in environment(container).items():
        monkeypatch.setenv(variable, value)
    assert all(tree.owner_dsn == tree.service_dsn == DSN for tree in TREES.values())
    commands = re.findall(r"python -m migrations (\w+)", container["command"][-1])
    assert commands == ["roles", "upgrade"]
    for command in commands:
        migrations_parser().parse_args([command])


def options_of_the_gateway() -> Namespace:
    (writer,) = pod(("Deployment", "gateway"))["initContainers"]
    told = environment(writer)
    return gateway_options([re.sub(r"\$\((\w+)\)", lambda found: told[found[1]], word) for word in writer["command"]])


def test_envoy_accepts_the_configuration_that_is_written_for_it(tmp_path: Path) -> None:
    key = ("Deployment", "gateway")
    (envoy,), options = pod(key)["containers"], options_of_the_gateway()
    rendered = validated_by_envoy(options, tmp_path)
    clusters = {cluster["name"]: cluster for cluster in rendered["static_resources"]["clusters"]}
    assert {"issuer", "limiter"} <= clusters.keys()
    for name in SETTINGS:
        (address,) = getattr(options, name)
        # STRICT_DNS and a service without an address of its own: Envoy sees each pod.
        assert clusters[name]["type"] == "STRICT_DNS"
        service = OBJECTS["Service", address.host]["spec"]
        assert service["clusterIP"] == "None"
        assert [port["port"] for port in service["ports"]] == [address.port]
        assert address.port == SETTINGS[name].model_fields["port"].default
    assert options.admin.host == "127.0.0.1"
    assert [port["containerPort"] for port in envoy["ports"]] == [options.listen.port]
    in_the_image = {path for path in files_named(options) if path.startswith("/etc/specie/")}
    assert mounted(files_named(options) - in_the_image, key, envoy)
    assert envoy["command"][:3] == ["envoy", "-c", str(options.output)]
    # As in Compose, whose paths are compared with the image's.
    production = compose(PRODUCTION, environment=dict.fromkeys(("SPECIE_AUTH_ISSUER", "SPECIE_AUTH_JWKS"), "https://i"))
    other = gateway_options(production["services"]["gateway-configuration"]["command"])
    assert in_the_image == {path for path in files_named(other) if path.startswith("/etc/specie/")}


def test_the_gateway_leaves_when_no_call_can_be_under_way() -> None:
    key = ("Deployment", "gateway")
    (envoy,), options = pod(key)["containers"], options_of_the_gateway()
    stop = envoy["lifecycle"]["preStop"]["exec"]["command"][-1]
    assert f"/dev/tcp/{options.admin.host}/{options.admin.port}" in stop
    waits = int(re.findall(r"sleep (\d+)", stop)[0])
    probe = envoy["readinessProbe"]
    seen = probe["periodSeconds"] * probe["failureThreshold"]
    assert seen + options.deadline_seconds < waits < pod(key)["terminationGracePeriodSeconds"]


@each_pod
def test_pods_have_no_rights_that_they_do_not_need(key: tuple[str, str]) -> None:
    spec = pod(key)
    assert spec["securityContext"]["runAsNonRoot"]
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert spec["automountServiceAccountToken"] is False
    for container in containers(spec):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert container["resources"]["limits"]["memory"]
        assert {"cpu", "memory"} <= container["resources"]["requests"].keys()
    volumes = {volume["name"] for volume in spec.get("volumes", [])}
    for container in containers(spec):
        assert {mount["name"] for mount in container.get("volumeMounts", [])} <= volumes


@pytest.mark.parametrize("name", ["wallet-service", "transaction-service", "gateway"])
def test_no_moment_is_without_a_ready_pod(name: str) -> None:
    deployment = OBJECTS["Deployment", name]["spec"]
    assert deployment["replicas"] > 1
    assert deployment["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}
    budget = OBJECTS["PodDisruptionBudget", name]["spec"]
    assert budget["maxUnavailable"] < deployment["replicas"]
    labels = deployment["template"]["metadata"]["labels"]
    for selector in (budget["selector"]["matchLabels"], deployment["selector"]["matchLabels"]):
        assert selector.items() <= labels.items()


def test_every_service_finds_its_pods() -> None:
    for (kind, name), found in OBJECTS.items():
        if kind == "Service":
            template = OBJECTS["Deployment", name]["spec"]["template"]
            assert found["spec"]["selector"].items() <= template["metadata"]["labels"].items()
            ports = {port["name"] for container in template["spec"]["containers"] for port in container["ports"]}
            assert {port["targetPort"] for port in found["spec"]["ports"]} <= ports


def test_who_may_talk_to_whom() -> None:
    """Each line is allowed at both ends, and there is no other."""
    policies = {name: found["spec"] for (kind, name), found in OBJECTS.items() if kind == "NetworkPolicy"}
    every = policies.pop("specie-nothing-else")
    assert every["podSelector"] == {"matchLabels": {"app.kubernetes.io/part-of": "specie"}}
    assert "ingress" not in every
    assert {policy["podSelector"]["matchLabels"]["app.kubernetes.io/name"] for policy in policies.values()} == {
        key[1] for key in OBJECTS if key[0] in ("Deployment", "Job")
    }
    assert (
        lines(policies, "ingress", "from")
        == lines(policies, "egress", "to")
        == {
            ("gateway", "wallet-service", 50051),
            ("gateway", "transaction-service", 50061),
            ("gateway", "ratelimit", 8081),
            ("wallet-service", "transaction-service", 50061),
            ("ratelimit", "redis", 6379),
        }
    )
    out = {(name, port) for name, spec in policies.items() for port in to_anywhere(spec)}
    database = {(name, 5432) for name in ("wallet-service", "transaction-service", "back-office", "migrations")}
    issuer = {(name, 443) for name in ("wallet-service", "transaction-service", "gateway")}
    assert out == database | issuer | {("back-office", 443)}


def lines(policies: dict[str, Any], direction: str, other_end: str) -> set[tuple[str, str, int]]:
    found = set()
    for name, spec in policies.items():
        for rule in spec.get(direction, []):
            for peer in rule.get(other_end, []):
                other = peer["podSelector"]["matchLabels"]["app.kubernetes.io/name"]
                ends = (other, name) if direction == "ingress" else (name, other)
                found |= {(*ends, port["port"]) for port in rule["ports"]}
    return found


def to_anywhere(spec: dict[str, Any]) -> set[int]:
    return {port["port"] for rule in spec.get("egress", []) if "to" not in rule for port in rule["ports"]}
