"""Every call of the contract has a deadline at the gateway, and in the services. Streams alone have none."""

from typing import Any

import pytest
import yaml
from google.protobuf.descriptor import MethodDescriptor
from specie.transaction.v1 import (
    account_service_pb2,
    audit_service_pb2,
    health_service_pb2,
    payout_service_pb2,
    transaction_service_pb2,
    webhook_service_pb2,
)
from specie.wallet.v1 import wallet_audit_service_pb2, wallet_service_pb2

from service_kit.call import Call
from service_kit.interceptors import CALL_SECONDS_MAX, deadline
from tests.kit.gateway import gateway_config
from tests.kit.wallets import asynchronous

FILES = (
    account_service_pb2,
    audit_service_pb2,
    health_service_pb2,
    payout_service_pb2,
    transaction_service_pb2,
    wallet_audit_service_pb2,
    wallet_service_pb2,
    webhook_service_pb2,
)
METHODS: list[MethodDescriptor] = [
    method for file in FILES for service in file.DESCRIPTOR.services_by_name.values() for method in service.methods
]
INTERNAL = "specie.transaction.v1.AccountService"
NOWHERE = "nowhere"
"""A cluster without a server, for paths that the transcoder turns into those of calls, which are matched anew."""
STREAMS = {f"specie.transaction.v1.TransactionService.{name}" for name in ("ReportEntries", "WatchTransactions")} | {
    "specie.transaction.v1.AuditService.ReadBlocks"
}
"""They last for as long as their callers like: signs of life tell that they work, not their end."""


@pytest.fixture(scope="module")
def routes() -> list[dict[str, Any]]:
    """Of the configuration that Envoy gets, in the order in which it tries them."""
    config = yaml.safe_load(gateway_config().render())
    (listener,) = config["static_resources"]["listeners"]
    manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
    (host,) = manager["route_config"]["virtual_hosts"]
    found: list[dict[str, Any]] = host["routes"]
    return found


def path(method: MethodDescriptor) -> str:
    return f"/{method.containing_service.full_name}/{method.name}"


def leads(route: dict[str, Any], called: str) -> bool:
    match = route["match"]
    return called == match["path"] if "path" in match else called.startswith(match.get("prefix", "\0"))


def test_every_route_to_a_service_has_a_deadline_but_those_of_streams(routes: list[dict[str, Any]]) -> None:
    without = set()
    for route in routes:
        if "route" not in route or route["route"].get("cluster") == NOWHERE:
            continue
        limits = route["route"]["max_stream_duration"]
        if limits["max_stream_duration"] == "0s":
            without.add(route["match"]["path"])
        else:
            assert limits == {"max_stream_duration": "15s", "grpc_timeout_header_max": "15s"}, route["match"]
            # It would reach the service as no deadline, and be told as UNAVAILABLE.
            assert "timeout" not in route["route"]
    assert without == {path(method) for method in METHODS if method.full_name in STREAMS}


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.full_name)
def test_every_call_has_a_route_with_a_deadline(method: MethodDescriptor, routes: list[dict[str, Any]]) -> None:
    route = next(route for route in routes if leads(route, path(method)))
    if method.containing_service.full_name == INTERNAL:
        assert "direct_response" in route or route["route"]["cluster"] == NOWHERE
        return
    unlimited = route["route"]["max_stream_duration"]["max_stream_duration"] == "0s"
    assert unlimited == method.server_streaming == (method.full_name in STREAMS)


class WithoutDeadline:
    """The context of a caller who has set none."""

    def time_remaining(self) -> None:
        return None


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.full_name)
@asynchronous
async def test_every_call_ends_in_the_services_also_without_a_gateway(method: MethodDescriptor) -> None:
    left: list[float] = []

    async def proceed(call: Call) -> None:
        left.append(call.seconds_left())

    context: Any = WithoutDeadline()
    await deadline(Call(path(method), b"", _unread, context, {}, streams=method.server_streaming), proceed)
    assert left[0] == float("inf") if method.full_name in STREAMS else left[0] <= CALL_SECONDS_MAX


def _unread(_: bytes) -> Any:  # noqa: ANN401 - any message
    raise AssertionError("nothing is read")
