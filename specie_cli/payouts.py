"""`specie payouts list|get|retry`."""

from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated

import typer
from specie.transaction.v1 import (
    GetPayoutRequest,
    GetPayoutResponse,
    ListPayoutsRequest,
    ListPayoutsResponse,
    Payout,
    PayoutServiceStub,
    PayoutState,
    RetryPayoutRequest,
    RetryPayoutResponse,
)

from specie_cli import show
from specie_cli.ending import told
from specie_cli.gateway import CALL_TIMEOUT_SECONDS, DEFAULT_SERVER, Json, Server, connection
from specie_cli.lists import LIMIT, Limit, at_most, full_name, in_lines, page_size, pages
from specie_cli.wallets import name_of

app = typer.Typer(no_args_is_help=True, help="Payouts: list, read, try dead ones again.")

Name = Annotated[str, typer.Argument(metavar="PAYOUT", help="Its name, or the uuid alone")]


class State(StrEnum):
    PENDING = "pending"
    PAID = "paid"
    REFUSED = "refused"
    REVERSED = "reversed"
    DEAD = "dead"


@app.command(name="list")
def list_payouts(
    wallet: Annotated[
        str, typer.Option(help="Only out of this wallet. To leave it out needs the scope admin or service")
    ] = "",
    state: Annotated[State | None, typer.Option(case_sensitive=False, help="Only in this state")] = None,
    limit: Limit = LIMIT,
    server: Server = DEFAULT_SERVER,
    json: Json = False,
) -> None:
    """Lists payouts, the newest first."""
    wanted = PayoutState.PAYOUT_STATE_UNSPECIFIED if state is None else PayoutState.Value(f"PAYOUT_STATE_{state.name}")
    request = ListPayoutsRequest(wallet=name_of(wallet) if wallet else "", state=wanted, page_size=page_size(limit))
    with told(), connection(server) as channel:
        found = at_most(limit, pages(PayoutServiceStub(channel).ListPayouts, request, lambda page: page.payouts))
        if json:
            show.as_json(ListPayoutsResponse(payouts=found))
        else:
            in_lines(found, _lines)


@app.command()
def get(payout: Name, server: Server = DEFAULT_SERVER, json: Json = False) -> None:
    """Reads a payout."""
    request = GetPayoutRequest(name=full_name("payouts/", payout))
    with connection(server) as channel:
        response = PayoutServiceStub(channel).GetPayout(request, timeout=CALL_TIMEOUT_SECONDS)
    _show(response, json=json)


@app.command()
def retry(payout: Name, server: Server = DEFAULT_SERVER, json: Json = False) -> None:
    """Tries a DEAD payout again, with the same key, so that it is paid once. Any other stays as it is."""
    request = RetryPayoutRequest(name=full_name("payouts/", payout))
    with connection(server) as channel:
        response = PayoutServiceStub(channel).RetryPayout(request, timeout=CALL_TIMEOUT_SECONDS)
    _show(response, json=json)


def _show(response: GetPayoutResponse | RetryPayoutResponse, *, json: bool) -> None:
    if json:
        show.as_json(response)
        return
    payout = response.payout
    to = payout.destination
    facts = [
        ("payout", payout.name),
        ("state", _state(payout)),
        ("wallet", payout.wallet),
        ("amount", show.money(payout.amount)),
        ("provider", to.provider),
        ("account", to.account),
        ("beneficiary", to.beneficiary),
        ("transaction", payout.transaction),
        ("provider's reference", payout.provider_reference),
        ("attempts", str(payout.attempt_count)),
        ("next attempt", show.time(payout.next_attempt_time) if payout.HasField("next_attempt_time") else ""),
        ("last error", payout.last_error),
        ("given back by", payout.reversal),
        ("asked for", show.time(payout.create_time)),
        ("changed", show.time(payout.update_time)),
    ]
    show.as_facts([(name, value) for name, value in facts if value])


def _lines(payout: Payout) -> Iterator[str]:
    """What is paid, and below it its name, the wallet and what went wrong."""
    time, amount = show.day_and_time(payout.create_time), show.money(payout.amount)
    yield f"{time} UTC  {_state(payout)}  {amount}  by {payout.destination.provider}"
    yield f"  {payout.name}"
    yield f"  {payout.wallet}"
    if payout.last_error:
        yield f"  {payout.last_error}"


def _state(payout: Payout) -> str:
    return show.short(PayoutState.Name(payout.state), "PAYOUT_STATE_")
