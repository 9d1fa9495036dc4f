"""`specie deposit`, `specie transfer`, `specie entries`."""

from itertools import islice
from typing import Annotated
from uuid import uuid4

import typer
from specie.transaction.v1 import (
    DepositRequest,
    EntryOrder,
    ListEntriesRequest,
    ListEntriesResponse,
    Transaction,
    TransactionKind,
    TransactionServiceStub,
    TransferRequest,
)
from specie.type.v1 import Money

from specie_cli import show
from specie_cli.gateway import CALL_TIMEOUT_SECONDS, DEFAULT_SERVER, Json, Server, connection
from specie_cli.lists import PAGE_SIZE, pages
from specie_cli.wallets import WalletName, name_of

AMOUNT_MAX = 2**63 - 1

Amount = Annotated[int, typer.Option(min=1, max=AMOUNT_MAX, help="In minor units: 2500 is 25.00 USD")]
CurrencyCode = Annotated[str, typer.Option(help="ISO 4217 code")]
Description = Annotated[str, typer.Option(help="What it is for")]
RequestId = Annotated[
    str | None, typer.Option(help="The key of exactly-once; the same again for a second attempt. Default: a new one")
]


def deposit(
    wallet: WalletName,
    amount: Amount,
    currency: CurrencyCode,
    description: Description = "",
    provider: Annotated[str, typer.Option(help="The provider's wallet. Default: the outside world")] = "",
    external_reference: Annotated[str, typer.Option(help="What the outside calls it")] = "",
    request_id: RequestId = None,
    server: Server = DEFAULT_SERVER,
    json: Json = False,
) -> None:
    """Brings money from the outside world into a wallet."""
    key = request_id if request_id is not None else str(uuid4())
    request = DepositRequest(
        wallet=name_of(wallet),
        amount=Money(currency_code=currency.upper(), minor_units=amount),
        description=description,
        provider=name_of(provider) if provider else "",
        external_reference=external_reference,
        request_id=key,
    )
    with connection(server, key) as channel:
        response = TransactionServiceStub(channel).Deposit(request, timeout=CALL_TIMEOUT_SECONDS)
    if json:
        show.as_json(response)
    else:
        _show(response.transaction, response.replayed)


def transfer(
    source: Annotated[str, typer.Argument(help="The wallet that pays: alice or wallets/alice")],
    destination: Annotated[str, typer.Argument(help="The wallet that gets it")],
    amount: Amount,
    currency: CurrencyCode,
    description: Description = "",
    request_id: RequestId = None,
    server: Server = DEFAULT_SERVER,
    json: Json = False,
) -> None:
    """Moves money from one wallet to another."""
    key = request_id if request_id is not None else str(uuid4())
    request = TransferRequest(
        source=name_of(source),
        destination=name_of(destination),
        amount=Money(currency_code=currency.upper(), minor_units=amount),
        description=description,
        request_id=key,
    )
    with connection(server, key) as channel:
        response = TransactionServiceStub(channel).Transfer(request, timeout=CALL_TIMEOUT_SECONDS)
    if json:
        show.as_json(response)
    else:
        _show(response.transaction, response.replayed)


def entries(
    wallet: WalletName,
    limit: Annotated[int, typer.Option(min=1, help="How many at most")] = 50,
    newest_first: Annotated[bool, typer.Option("--newest-first", help="Instead of the oldest")] = False,
    server: Server = DEFAULT_SERVER,
    json: Json = False,
) -> None:
    """Lists what came into a wallet and went out of it, with the balance after each."""
    order = EntryOrder.ENTRY_ORDER_NEWEST_FIRST if newest_first else EntryOrder.ENTRY_ORDER_OLDEST_FIRST
    request = ListEntriesRequest(wallet=name_of(wallet), order=order, page_size=min(PAGE_SIZE, limit))
    found = ListEntriesResponse()
    with connection(server) as channel:
        every = pages(TransactionServiceStub(channel).ListEntries, request, lambda page: page.entries)
        found.entries.extend(islice(every, limit))
    if json:
        show.as_json(found)
        return
    columns = ["#", "time (UTC)", "kind", "counterparty", "amount", "balance"]
    rows = [
        [
            str(entry.sequence),
            show.day_and_time(entry.post_time),
            _kind(entry.kind),
            entry.counterparty,
            show.money(entry.amount),
            show.money(entry.balance),
        ]
        for entry in found.entries
    ]
    if any(entry.description for entry in found.entries):
        columns.append("description")
        for row, entry in zip(rows, found.entries, strict=True):
            row.append(entry.description)
    show.as_table(columns, rows)


def _show(transaction: Transaction, replayed: bool) -> None:
    show.as_facts(
        [
            ("transaction", transaction.name),
            ("kind", _kind(transaction.kind)),
            ("from", transaction.source),
            ("to", transaction.destination),
            ("amount", show.money(transaction.amount)),
            ("posted", show.time(transaction.post_time)),
            ("request id", transaction.request_id),
            ("replayed", "yes: it had happened before" if replayed else "no"),
        ]
    )


def _kind(kind: TransactionKind.ValueType) -> str:
    return show.short(TransactionKind.Name(kind), "TRANSACTION_KIND_")
