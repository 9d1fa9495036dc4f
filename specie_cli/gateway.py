"""Calls to the gateway over gRPC, and what a person reads when one fails."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import grpc
import typer
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from rich.console import Console

from specie_cli import show

CALL_TIMEOUT_SECONDS = 15
EXIT_REFUSED = 1
EXIT_UNREACHABLE = 3

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
    "OVERLOADED": "Send the same again in a moment, with the same --request-id.",
    "RATE_LIMITED": "Send the same again in a moment, with the same --request-id.",
    "CONTENTION": "Send the same again, with the same --request-id.",
    "DEADLINE_EXCEEDED": "Send the same again with the same --request-id: it tells what happened and happens once.",
    "UNAVAILABLE": "Send the same again with the same --request-id: it tells what happened and happens once.",
}


@contextmanager
def connection(server: str, request_id: str | None = None) -> Iterator[grpc.Channel]:
    """A channel; a call that fails ends the command with a message. `request_id`: of a call that moves money."""
    with grpc.insecure_channel(server) as channel:
        try:
            yield channel
        except grpc.RpcError as error:
            raise typer.Exit(explain(error, server, request_id)) from None


def explain(error: grpc.RpcError, server: str, request_id: str | None) -> int:
    """Prints why the call failed and what to do; the exit code that fits."""
    console = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
    if not isinstance(error, grpc.Call):
        raise error
    status = rpc_status.from_call(error)
    reason = ""
    if status is None:
        console.print(show.plain(f"error: {error.code().name}: {error.details()}"), style="red")
    else:
        info, fields = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
        for detail in status.details:
            if detail.Unpack(info):
                reason = info.reason
            detail.Unpack(fields)
        console.print(show.plain(f"error: {reason or error.code().name}: {status.message}"), style="red")
        for violation in fields.field_violations:
            console.print(show.plain(f"  {violation.field}: {violation.description}"))
    unreachable = status is None and error.code() is grpc.StatusCode.UNAVAILABLE
    if unreachable:
        console.print(f"Is anything listening on {server}? `specie up` starts a stack; --server names another one.")
    if advice := ADVICE.get(reason or ("" if unreachable and request_id is None else error.code().name)):
        console.print(advice)
    if request_id is not None:
        console.print(f"request id: {request_id}")
    return EXIT_UNREACHABLE if unreachable else EXIT_REFUSED
