"""`specie wallet create|get|list`."""

from enum import StrEnum
from typing import Annotated

import typer
from specie.wallet.v1 import (
    CreateWalletRequest,
    GetWalletRequest,
    ListWalletsRequest,
    ListWalletsResponse,
    Wallet,
    WalletKind,
    WalletServiceStub,
    WalletState,
)

from specie_cli import show
from specie_cli.gateway import CALL_TIMEOUT_SECONDS, DEFAULT_SERVER, Json, Server, connection
from specie_cli.lists import PAGE_SIZE, full_name, pages

app = typer.Typer(no_args_is_help=True, help="Wallets: create, read, list.")


class Kind(StrEnum):
    USER = "user"
    PROVIDER = "provider"


class State(StrEnum):
    CREATING = "creating"
    ACTIVE = "active"
    FREEZING = "freezing"
    FROZEN = "frozen"
    UNFREEZING = "unfreezing"
    CLOSING = "closing"
    CLOSED = "closed"


WalletName = Annotated[str, typer.Argument(help="Its name: alice or wallets/alice")]


def name_of(wallet: str) -> str:
    """`alice` and `wallets/alice` are the same."""
    return full_name("wallets/", wallet)


@app.command()
def create(
    wallet: Annotated[str, typer.Argument(help="Its id, 1 to 63 of a-z, 0-9 and -")],
    currency: Annotated[str, typer.Option(help="ISO 4217 code")],
    owner: Annotated[str, typer.Option(help="Default: the caller")] = "",
    display_name: Annotated[str, typer.Option(help="What people call it")] = "",
    kind: Annotated[
        Kind, typer.Option(help="provider: deposits can come through it, withdrawals leave through it")
    ] = Kind.USER,
    request_id: Annotated[str, typer.Option(help="Makes a second attempt answer with the same wallet")] = "",
    server: Server = DEFAULT_SERVER,
    json: Json = False,
) -> None:
    """Creates a wallet."""
    request = CreateWalletRequest(
        wallet_id=wallet.removeprefix("wallets/"),
        wallet=Wallet(
            owner=owner,
            display_name=display_name,
            currency_code=currency.upper(),
            kind=WalletKind.Value(f"WALLET_KIND_{kind.name}"),
        ),
        request_id=request_id,
    )
    with connection(server, request_id or None) as channel:
        response = WalletServiceStub(channel).CreateWallet(request, timeout=CALL_TIMEOUT_SECONDS)
    if json:
        show.as_json(response)
    else:
        _show(response.wallet)


@app.command()
def get(wallet: WalletName, server: Server = DEFAULT_SERVER, json: Json = False) -> None:
    """Reads a wallet with its balance."""
    with connection(server) as channel:
        request = GetWalletRequest(name=name_of(wallet))
        response = WalletServiceStub(channel).GetWallet(request, timeout=CALL_TIMEOUT_SECONDS)
    if json:
        show.as_json(response)
    else:
        _show(response.wallet)


@app.command(name="list")
def list_wallets(
    owner: Annotated[str, typer.Option(help="Only of this owner")] = "",
    state: Annotated[State | None, typer.Option(case_sensitive=False, help="Only in this state")] = None,
    server: Server = DEFAULT_SERVER,
    json: Json = False,
) -> None:
    """Lists all wallets in the order of their names."""
    wanted = WalletState.WALLET_STATE_UNSPECIFIED if state is None else WalletState.Value(f"WALLET_STATE_{state.name}")
    request = ListWalletsRequest(owner=owner, state=wanted, page_size=PAGE_SIZE)
    found = ListWalletsResponse()
    with connection(server) as channel:
        found.wallets.extend(pages(WalletServiceStub(channel).ListWallets, request, lambda page: page.wallets))
    if json:
        show.as_json(found)
        return
    columns = ("wallet", "owner", "state", "posted", "held", "available")
    show.as_table(columns, [(w.name, w.owner, _state(w), *_balance(w)) for w in found.wallets])


def _show(wallet: Wallet) -> None:
    posted, held, available = _balance(wallet)
    show.as_facts(
        [
            ("wallet", wallet.name),
            ("owner", wallet.owner),
            ("name", wallet.display_name),
            ("kind", show.short(WalletKind.Name(wallet.kind), "WALLET_KIND_")),
            ("state", _state(wallet)),
            ("posted", posted),
            ("held", held),
            ("available", available),
            ("created", show.time(wallet.create_time)),
        ]
    )


def _state(wallet: Wallet) -> str:
    return show.short(WalletState.Name(wallet.state), "WALLET_STATE_")


def _balance(wallet: Wallet) -> tuple[str, str, str]:
    if not wallet.HasField("balance"):  # it is being created
        return ("", "", "")
    balance = wallet.balance
    return (show.money(balance.posted), show.money(balance.held), show.money(balance.available))
