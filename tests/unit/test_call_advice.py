"""What a person is advised when a call fails: to send it again only where it then happens once."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import grpc
import pytest
from typer.testing import CliRunner

from specie_cli.main import app

WITH_REQUEST_ID = (
    ("wallet", "create", "ann", "--currency", "USD", "--request-id", "w-1"),
    ("transfer", "ann", "bob", "--amount", "1", "--currency", "USD", "--request-id", "w-1"),
)
WITHOUT = (
    ("wallet", "create", "ann", "--currency", "USD"),
    ("payouts", "retry", "00000000-0000-0000-0000-000000000000"),
    ("webhooks", "create", "https://shop.example/hooks"),
)


class Failing(grpc.GenericRpcHandler):
    """Every call in the same way."""

    def __init__(self, code: grpc.StatusCode) -> None:
        self._code = code

    def service(self, _: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[bytes, bytes]":
        return grpc.unary_unary_rpc_method_handler(self._fail)

    def _fail(self, _: bytes, context: grpc.ServicerContext) -> bytes:
        context.abort(self._code, "it took too long")
        return b""


@contextmanager
def failing(code: grpc.StatusCode) -> Iterator[Callable[..., str]]:
    """A command's messages, given its arguments."""
    server = grpc.server(ThreadPoolExecutor(1), handlers=[Failing(code)])
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()

    def told(*arguments: str) -> str:
        result = CliRunner().invoke(app, [*arguments, "--server", address])
        assert (result.exit_code, result.stdout) == (1, "")
        return result.stderr

    try:
        yield told
    finally:
        server.stop(None).wait()


def test_what_happens_once_is_to_be_sent_again_with_its_request_id() -> None:
    with failing(grpc.StatusCode.DEADLINE_EXCEEDED) as told:
        for arguments in WITH_REQUEST_ID:
            assert "it tells what happened and happens once" in told(*arguments)
            assert "request id: w-1" in told(*arguments)


@pytest.mark.parametrize("arguments", WITHOUT)
def test_what_may_happen_twice_is_to_be_looked_for_first(arguments: tuple[str, ...]) -> None:
    with failing(grpc.StatusCode.DEADLINE_EXCEEDED) as told:
        message = told(*arguments)
    assert "look before you send it again" in message
    assert "request" not in message
