"""GET /v1/health: for whoever asks, as JSON and over gRPC."""

import grpc
from specie.transaction.v1 import GetHealthRequest, HealthServiceStub

from service_kit.version import VERSION
from tests.kit.stack import Stack


def test_health_is_told_without_a_token(stack: Stack) -> None:
    told = stack.call("GET", "/v1/health", token="")
    assert told.status == 200
    assert told.body["version"] == VERSION
    assert told.body["uptime"].endswith("s")
    assert set(told.body["ledgerIntegritySum"].values()) <= {"0"}
    assert told.body["sumTime"]
    assert told.body["queueDepth"].isdecimal()


def test_health_is_told_over_grpc(stack: Stack) -> None:
    with grpc.insecure_channel(stack.grpc) as channel:
        told = HealthServiceStub(channel).GetHealth(GetHealthRequest())
    assert told.version == VERSION
    assert set(told.ledger_integrity_sum.values()) <= {0}
