"""What docs/security.md says is true: its commands are run, its tables are compared with the contract and the code."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from specie.type.v1 import ErrorReason

from service_kit.caller import SUBJECT_LENGTH_MAX
from service_kit.settings import ServiceSettings
from service_kit.tokens import CLOCK_SKEW_SECONDS, REQUIRED
from specie_cli.stack.envoy_config import GatewayConfig
from specie_cli.stack.local_replies import REFUSALS
from specie_cli.stack.subject_limits import USUAL
from tests.kit.gateway import gateway_config
from tests.kit.guide import BEGIN, END, GUIDE, scopes_table, section
from tests.kit.readme import blocks
from tests.kit.shown import assert_contains, run
from tests.kit.stack import Stack


def rows(title: str) -> list[list[str]]:
    """Of the section's tables, without their heads."""
    lines = re.findall(r"^\| (.*) \|$", section(title), re.MULTILINE)
    return [line.split(" | ") for line in lines if not line.startswith("---")]


def manager() -> dict[str, Any]:
    """The gateway's HTTP connection manager."""
    (listener,) = yaml.safe_load(gateway_config().render())["static_resources"]["listeners"]
    found: dict[str, Any] = listener["filter_chains"][0]["filters"][0]["typed_config"]
    return found


def http_filter(name: str) -> dict[str, Any]:
    (found,) = [each["typed_config"] for each in manager()["http_filters"] if each["name"] == name]
    return dict(found)


def test_every_command_works_and_every_answer_is_as_shown(stack: Stack) -> None:
    output, compared = "", 0
    for block in blocks(GUIDE):
        if block.language == "bash":
            output = run(block, stack)
        elif block.language == "json":
            assert_contains(json.loads(output.splitlines()[-1]), json.loads(block.text))
            compared += 1
    assert compared == 2


def test_the_table_of_scopes_is_the_contracts() -> None:
    shown = GUIDE.read_text().partition(BEGIN)[2].partition(END)[0]
    assert shown == scopes_table(), "run `python -m tests.kit.guide`"


def test_the_claims_are_those_that_services_ask_for() -> None:
    told = " ".join(section("Bring your own issuer").split())
    named = re.findall(r"`(\w+)`", " ".join(row[0] for row in rows("Bring your own issuer")))
    assert set(REQUIRED) <= set(named)
    assert f"1 to {SUBJECT_LENGTH_MAX} printable" in told
    assert f"({ServiceSettings.model_fields['auth_max_lifetime_seconds'].default})" in told
    assert f"(`{ServiceSettings.model_fields['auth_audience'].default}`)" in told
    assert f"differ by {CLOCK_SKEW_SECONDS} s" in told


def test_the_limits_are_the_gateways() -> None:
    usual = [(f"`{name}`", str(calls)) for name, calls in USUAL.by_class().items()]
    all_callers = [str(GatewayConfig.calls_per_second_per_client), str(GatewayConfig.calls_per_second)]
    told = [row for row in rows("Limits") if row[0] != "class"]
    assert [(row[0], row[2]) for row in told[:3]] == usual
    assert [row[2] for row in told[3:]] == all_callers


def test_what_needs_no_token_is_what_the_gateway_lets_in() -> None:
    rules = http_filter("envoy.filters.http.jwt_authn")["rules"]
    free = {path for rule in rules if "requires" not in rule for path in rule["match"].values()}
    assert free == {path for row in rows("What needs no token") for path in re.findall(r"`(/.*?)`", row[0])}


def test_every_refusal_of_the_gateway_is_told() -> None:
    told = {(http, row[1]) for row in rows("What is refused") for http in row[0].split(", ") if http != "HTTP"}
    of_the_gateway = {(str(each.answer or each.http), each.reason) for each in REFUSALS}
    # The keys that are not there yet are told of as a service that cannot be reached.
    assert of_the_gateway <= told
    reasons = {value.name.removeprefix("ERROR_REASON_") for value in ErrorReason.DESCRIPTOR.values}
    assert {reason.removesuffix(" and others") for _, reason in told} <= reasons


def test_the_headers_that_are_taken_off_are_named() -> None:
    mutations = manager()["early_header_mutation_extensions"][0]["typed_config"]["mutations"]
    removed = {each["remove"] for each in mutations if "remove" in each}
    removed |= {each["remove_on_match"]["key_matcher"]["prefix"] for each in mutations if "remove_on_match" in each}
    text = section("What is refused").partition("These headers are taken off")[2]
    assert removed == set(re.findall(r"`(x-[a-z-]+)`", text))


@pytest.mark.parametrize(
    ("number", "sentence"),
    [
        (GatewayConfig.connections_max, "connections above {} are closed"),
        (GatewayConfig.idle_seconds, "idle ones after {} s"),
        (GatewayConfig.headers_seconds, "headers that take longer than {} s"),
        (GatewayConfig.deadline_seconds, "{} s at the most"),
        (manager()["max_request_headers_kb"], "headers above {} KiB"),
        (manager()["common_http_protocol_options"]["max_headers_count"], "or more than {} of them"),
        (manager()["http2_protocol_options"]["max_concurrent_streams"], "at most {} calls at a time"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_the_numbers_are_the_gateways(number: int, sentence: str) -> None:
    assert sentence.format(number) in " ".join(section("What is refused").split())


def test_what_it_points_at_exists() -> None:
    for path in re.findall(r"\]\(([\w./-]+)\)|`(deploy/[\w./-]+|docker-compose[\w.]*yml)`", GUIDE.read_text()):
        linked, named = path
        assert (GUIDE.parent / linked if linked else Path(GUIDE.parent.parent, named)).exists()
