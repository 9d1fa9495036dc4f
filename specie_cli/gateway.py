"""Calls to the gateway over gRPC, and what a person reads when one fails."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import grpc
import typer
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from specie_cli.ending import EXIT_INTERRUPTED, EXIT_REFUSED, EXIT_UNREACHABLE, messages, tell_error

CALL_TIMEOUT_SECONDS = 15
TOKEN_VARIABLE = "SPECIE_TOKEN"  # noqa: S105 - the name of it
AUTHORITY_VARIABLE = "SPECIE_CA"
# Answers to batches are large: grpc takes 4 MiB unless it is told otherwise.
OPTIONS = (("grpc.max_receive_message_length", -1),)
NO_ANSWER = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED}
"""Without a status of ours."""

Server = Annotated[str, typer.Option(envvar="SPECIE_SERVER", help="HOST:PORT of the gateway")]
DEFAULT_SERVER = "127.0.0.1:8080"
Json = Annotated[bool, typer.Option("--json", help="Print the answer as JSON")]

# What to do, where it is not plain from the message.
ADVICE = {
    "INSUFFICIENT_FUNDS": "Deposit first, or transfer less.",
    "REQUEST_ID_REUSED": "Every new transfer needs a request id of its own; leave --request-id out to get one.",
    "WALLET_NOT_FOUND": "`specie wallet list` shows the wallets there are.",
    "ACCOUNT_NOT_FOUND": "`specie wallet list` shows the wallets there are.",
    "SOURCE_NOT_FOUND": "`specie wallet list` shows the wallets there are.",
    "DESTINATION_NOT_FOUND": "`specie wallet list` shows the wallets there are.",
    "CURRENCY_MISMATCH": "Both wallets and the amount must have the same currency.",
    "UNAUTHENTICATED": f"Set {TOKEN_VARIABLE}; `specie token` prints tokens of a local stack.",
    "PERMISSION_DENIED": f"{TOKEN_VARIABLE} needs another scope; `specie token --scope` gives it for a local stack.",
    "PAYOUT_NOT_FOUND": "`specie payouts list` shows the payouts there are.",
    "WEBHOOK_ENDPOINT_NOT_FOUND": "`specie webhooks list` shows the endpoints there are.",
    "WEBHOOK_DELIVERY_NOT_FOUND": "`specie webhooks deliveries` shows those of an endpoint.",
    "INVALID_CURSOR": "`specie webhooks deliveries` shows cursors; `--from beginning` is everything.",
}
# Of a call that happens once however often it is sent, by its request id.
ADVICE_WITH_REQUEST_ID = {
    "OVERLOADED": "Send the same again in a moment, with the same --request-id.",
    "RATE_LIMITED": "Send the same again in a moment, with the same --request-id.",
    "CONTENTION": "Send the same again, with the same --request-id.",
    "DEADLINE_EXCEEDED": "Send the same again with the same --request-id: it tells what happened and happens once.",
    "UNAVAILABLE": "Send the same again with the same --request-id: it tells what happened and happens once.",
}
# Of any other.
ADVICE_WITHOUT = {
    "OVERLOADED": "Send the same again in a moment.",
    "RATE_LIMITED": "Send the same again in a moment.",
    "CONTENTION": "Send the same again.",
    "DEADLINE_EXCEEDED": "If it was to change something, it may have: look before you send it again.",
    "UNAVAILABLE": "If it was to change something, it may have: look before you send it again.",
}


@contextmanager
def connection(server: str, request_id: str | None = None) -> Iterator[grpc.Channel]:
    """A channel; a call that fails, or is interrupted, ends the command with a message. `request_id`:
    of one that by it happens once.

    The token is in the environment, SPECIE_TOKEN: on the command line all who list processes would read it. SPECIE_CA
    is the file with the authority of the gateway's certificate; without it the connection is plain.
    """
    with _channel(server) as channel:
        try:
            yield grpc.intercept_channel(channel, _WithToken(os.environ.get(TOKEN_VARIABLE, "")))
        except grpc.RpcError as error:
            raise typer.Exit(explain(error, server, request_id)) from None
        except KeyboardInterrupt:
            tell_error("interrupted")
            if request_id is not None:
                # Nobody else knows the one that was made up, and the call may have come through.
                messages().print(ADVICE_WITH_REQUEST_ID["DEADLINE_EXCEEDED"])
                messages().print(f"request id: {request_id}")
            raise typer.Exit(EXIT_INTERRUPTED) from None


def _channel(server: str) -> grpc.Channel:
    if server.startswith(("http://", "https://")):  # as a stack prints its gateway
        raise typer.BadParameter(f"{server} is not HOST:PORT; leave {server.partition('//')[0]}// out")
    authority = os.environ.get(AUTHORITY_VARIABLE, "")
    if not authority:
        return grpc.insecure_channel(server, OPTIONS)
    try:
        return grpc.secure_channel(server, grpc.ssl_channel_credentials(Path(authority).read_bytes()), OPTIONS)
    except OSError as error:
        raise typer.BadParameter(f"{AUTHORITY_VARIABLE}: {error}") from None


class _Call(NamedTuple):
    """The details of a call, which grpc takes as any object with these attributes."""

    method: str
    timeout: float | None
    metadata: list[tuple[str, str | bytes]]
    credentials: grpc.CallCredentials | None
    wait_for_ready: bool | None
    compression: grpc.Compression | None


class _WithToken(grpc.UnaryUnaryClientInterceptor, grpc.UnaryStreamClientInterceptor):
    def __init__(self, token: str) -> None:
        self._token = token

    def intercept_unary_unary(self, continuation: Any, details: Any, request: Any) -> Any:  # noqa: ANN401 - grpc's
        return continuation(self._with_token(details), request)

    def intercept_unary_stream(self, continuation: Any, details: Any, request: Any) -> Any:  # noqa: ANN401 - grpc's
        return continuation(self._with_token(details), request)

    def _with_token(self, details: Any) -> Any:  # noqa: ANN401 - grpc's
        if not self._token:
            return details
        metadata = [*(details.metadata or ()), ("authorization", f"Bearer {self._token}")]
        return _Call(details.method, details.timeout, metadata, details.credentials, details.wait_for_ready, None)


def explain(error: grpc.RpcError, server: str, request_id: str | None) -> int:
    """Prints why the call failed and what to do; the exit code that fits."""
    console = messages()
    if not isinstance(error, grpc.Call):
        raise error
    status = rpc_status.from_call(error)
    reason = ""
    if status is None:
        tell_error(f"{error.code().name}: {error.details()}")
    else:
        info = error_details_pb2.ErrorInfo()
        for detail in status.details:
            if detail.Unpack(info):
                reason = info.reason
        tell_error(f"{reason or error.code().name}: {status.message}")
    no_answer = status is None and error.code() in NO_ANSWER
    # The gateway answers for a service that is away; then it is not the address that is wrong.
    unreachable = no_answer and error.code() is grpc.StatusCode.UNAVAILABLE and not error.trailing_metadata()
    if unreachable:
        console.print(f"Is anything listening on {server}? `specie up` starts a stack; --server names another one.")
        if not os.environ.get(AUTHORITY_VARIABLE):
            console.print(f"If it speaks TLS, {AUTHORITY_VARIABLE} must name the file with its authority.")
    advices = ADVICE | (ADVICE_WITHOUT if request_id is None else ADVICE_WITH_REQUEST_ID)
    if advice := advices.get(reason or ("" if unreachable and request_id is None else error.code().name)):
        console.print(advice)
    if request_id is not None:
        console.print(f"request id: {request_id}")
    return EXIT_UNREACHABLE if no_answer else EXIT_REFUSED
