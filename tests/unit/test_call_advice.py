"""What a person is advised when a call fails or is interrupted: to send it again only where it then happens once."""

import re
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Event

import grpc
import pytest
from typer.testing import CliRunner, Result

from specie_cli.imports.report import Report
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
        context.set_trailing_metadata((("server", "specie"),))
        context.abort(self._code, "it took too long")
        return b""


class Interrupting(grpc.GenericRpcHandler):
    """Ctrl-C comes while the call is under way. It has no answer before `over` is set."""

    def __init__(self) -> None:
        self.over = Event()

    def service(self, _: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[bytes, bytes]":
        return grpc.unary_unary_rpc_method_handler(self._interrupt)

    def _interrupt(self, _: bytes, context: grpc.ServicerContext) -> bytes:
        signal.raise_signal(signal.SIGINT)
        self.over.wait()
        context.abort(grpc.StatusCode.CANCELLED, "too late")
        return b""


@contextmanager
def failing(code: grpc.StatusCode) -> Iterator[Callable[..., str]]:
    """A command's messages, given its arguments."""
    with answering(Failing(code)) as ended:

        def told(*arguments: str) -> str:
            result = ended(*arguments)
            assert result.exit_code == 3
            return result.stderr

        yield told


@contextmanager
def answering(handler: grpc.GenericRpcHandler) -> Iterator[Callable[..., Result]]:
    """How a command ends, given its arguments. It prints nothing on standard output."""
    server = grpc.server(ThreadPoolExecutor(1), handlers=[handler])
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()

    def ended(*arguments: str) -> Result:
        result = CliRunner().invoke(app, [*arguments, "--server", address])
        assert result.stdout == ""
        return result

    try:
        yield ended
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


def test_who_is_told_by_the_gateway_that_a_service_is_away_need_not_look_for_the_gateway() -> None:
    with failing(grpc.StatusCode.UNAVAILABLE) as told:
        message = told("webhooks", "create", "https://shop.example/hooks")
    assert "Is anything listening" not in message
    assert "look before you send it again" in message


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("transfer", "ann", "bob", "--amount", "1", "--currency", "USD"), "request id: [0-9a-f-]{36}"),
        (("payouts", "list"), None),
        (("payouts", "get", "00000000-0000-0000-0000-000000000000"), None),
        (("audit", "checkpoint"), None),
    ],
)
def test_what_is_interrupted_tells_the_request_id_that_it_made_up(
    arguments: tuple[str, ...], expected: str | None
) -> None:
    handler = Interrupting()
    with answering(handler) as ended:
        result = ended(*arguments)
        handler.over.set()
    assert result.exit_code == 130
    first, *others = result.stderr.splitlines()
    assert first == "error: interrupted"
    assert len(others) == (2 if expected else 0)
    assert expected is None or re.fullmatch(expected, others[-1])


def test_an_import_that_is_interrupted_at_its_end_does_not_say_that_nothing_was_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> bool:
        raise KeyboardInterrupt

    monkeypatch.setattr(Report, "outcome", interrupted)
    file = tmp_path / "pay.csv"
    file.write_text("source,destination,amount,currency\nann,bob,1,USD\n")
    with answering(Failing(grpc.StatusCode.PERMISSION_DENIED)) as ended:
        result = ended("import", str(file))
    assert result.exit_code == 130
    assert result.stderr.splitlines()[-1] == "error: interrupted"
