"""`make bench`: a stack of its own, what its calls do, and beside them the floors on the same PostgreSQL server."""

import asyncio
from typing import Any, Final

import grpc.aio
import psutil
from rich.console import Console
from specie.transaction.v1 import DepositRequest, TransactionServiceStub
from specie.type.v1 import Money
from specie.wallet.v1 import CreateWalletRequest, Wallet, WalletServiceStub

from bench import floor_shapes, record
from bench.machine import Meter
from bench.measured import Figures, Measurement, take_turns
from bench.measurements import Place
from bench.record import BackOffice, one_webhook
from bench.wallets import ACTIVE, FUNDS, wallet
from tests.kit.stack import Stack, running_stack
from tests.kit.tokens import USUAL_SUBJECT

OPENED_AT_ONCE: Final = 32
BENCHED: Final = ("--ephemeral", "--private-webhooks", "--subject-limits", f"{USUAL_SUBJECT}=100000,100000,100000")
"""Limits are on, and counted, but this one subject may do what many would do together."""


def measure(rounds: int, seconds: float, console: Console) -> dict[str, Figures]:
    console.print("starting a stack")
    with running_stack(BENCHED) as stack:
        console.print(f"opening {ACTIVE:,} wallets")
        asyncio.run(open_wallets(stack))
        floor_shapes.prepare(stack.owner_dsn)
        office, place = BackOffice.of(stack), place_of(stack)
        with one_webhook(stack):
            pair = record.measurements(place, office)
            of_the_record = take_turns(pair, rounds, seconds, console)
        # What follows is compared with floors, and with what was measured before there was a record.
        with office.held():
            return take_turns(measurements(place, stack.gateway), rounds, seconds, console) | of_the_record


async def open_wallets(stack: Stack) -> None:
    """Through the services' own doors, as any wallet is opened."""
    async with (
        grpc.aio.insecure_channel(stack.wallet[0]) as wallets,
        grpc.aio.insecure_channel(stack.transaction[0]) as transactions,
    ):
        wallet_stub: Any = stack.authorised(WalletServiceStub(wallets))
        transaction_stub: Any = stack.authorised(TransactionServiceStub(transactions))
        funds = Money(currency_code="USD", minor_units=FUNDS)
        numbers = iter(range(ACTIVE))

        async def opener() -> None:
            for number in numbers:
                name = wallet(number)
                new = CreateWalletRequest(wallet_id=name.removeprefix("wallets/"), wallet=Wallet(currency_code="USD"))
                await wallet_stub.CreateWallet(new)
                await transaction_stub.Deposit(DepositRequest(wallet=name, amount=funds, request_id=f"open {name}"))

        await asyncio.gather(*(opener() for _ in range(OPENED_AT_ONCE)))


def place_of(stack: Stack) -> Place:
    meter = Meter([psutil.Process(stack.process.pid)])
    return Place(meter, stack.transaction[0], stack.owner_dsn, stack.token)


def measurements(place: Place, gateway: str) -> list[Measurement]:
    """Each near the floor that it is compared with."""
    return [
        place.floor(),
        place.unary(1),
        place.unary(64),
        place.unary(256),
        place.floor_set(),
        place.floor_set_ledger(),
        place.batch(4),
        place.batch(1),
        place.floor(hot=True),
        place.hot(256),
        place.through_gateway(gateway, 64),
        place.balance(),
    ]
