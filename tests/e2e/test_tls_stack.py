"""`specie up --tls`: everything over TLS, between the parts too."""

from collections.abc import Iterator
from typing import Any

import grpc
import pytest

from tests.kit.stack import Stack, running_stack, specie


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    with running_stack(["--ephemeral", "--tls", "--transaction-workers", "2"]) as running:
        yield running


def test_money_moves(stack: Stack) -> None:
    """Through both services, so the one calls the other."""
    assert stack.gateway.startswith("https://")
    for wallet in ("alice", "bob"):
        made = stack.call("POST", f"/v1/wallets?walletId={wallet}&requestId={wallet}", {"currencyCode": "EUR"})
        assert made.body["wallet"]["name"] == f"wallets/{wallet}"
    ten = {"currencyCode": "EUR", "minorUnits": "10"}
    assert stack.call("POST", "/v1/wallets/alice:deposit", {"amount": ten, "requestId": "in"}).status == 200
    transfer = {"source": "wallets/alice", "destination": "wallets/bob", "amount": ten, "requestId": "over"}
    assert stack.call("POST", "/v1/transfers", transfer).status == 200


def test_the_command_line_trusts_the_authority_that_it_is_told_of(stack: Stack) -> None:
    known = {"SPECIE_TOKEN": stack.token, "SPECIE_CA": str(stack.data_dir / "ca.pem")}
    assert specie("wallet", "list", "--server", stack.grpc, env=known).returncode == 0
    assert specie("wallet", "list", "--server", stack.grpc, env=known | {"SPECIE_CA": ""}).returncode != 0


@pytest.mark.parametrize("trusting", [False, True], ids=["plain", "TLS without a certificate"])
def test_the_services_listen_to_nobody_without_a_certificate(stack: Stack, trusting: bool) -> None:
    authority = (stack.data_dir / "ca.pem").read_bytes()
    for target in (*stack.wallet, *stack.transaction):
        credentials = grpc.ssl_channel_credentials(authority)
        with grpc.secure_channel(target, credentials) if trusting else grpc.insecure_channel(target) as channel:
            call: Any = channel.unary_unary("/grpc.health.v1.Health/Check")
            assert call.future(b"", timeout=10).code() is grpc.StatusCode.UNAVAILABLE
