"""WalletService over the real transaction service: what the fake accounts promise, the real ones keep."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import grpc.aio
from pydantic import SecretStr
from specie.transaction.v1 import (
    DepositRequest,
    PayoutDestination,
    TransactionServiceStub,
    TransferRequest,
    WithdrawRequest,
)
from specie.type.v1 import Limits, Money
from specie.wallet.v1 import (
    CloseWalletRequest,
    CreateWalletRequest,
    FreezeWalletRequest,
    GetWalletRequest,
    UnfreezeWalletRequest,
    UpdateWalletRequest,
    Wallet,
    WalletServiceStub,
    WalletState,
)

from service_kit.interceptors import ChainInterceptor, chain
from service_kit.server import Application
from tests.kit.ledgers import session
from tests.kit.postgres import Database
from tests.kit.tokens import IDENTITY, Authorised, verifier
from tests.kit.wallets import asynchronous, failed, wallet_settings
from transaction_service import bootstrap as transaction_bootstrap
from transaction_service.settings import TransactionSettings
from wallet_service import bootstrap as wallet_bootstrap


@dataclass(frozen=True)
class Services:
    """Both, as their callers see them."""

    wallets: Any
    money: Any

    async def create(self, **fields: Any) -> str:  # noqa: ANN401 - a wallet's fields
        wallet = Wallet(**({"currency_code": "USD"} | fields))
        made = await self.wallets.CreateWallet(CreateWalletRequest(wallet_id=f"w-{uuid4()}", wallet=wallet))
        name: str = made.wallet.name
        return name

    async def deposit(self, name: str, amount: int) -> None:
        await self.money.Deposit(DepositRequest(wallet=name, amount=usd(amount), request_id=str(uuid4())))

    async def withdraw(self, name: str, amount: int) -> None:
        await self.money.Withdraw(WithdrawRequest(wallet=name, amount=usd(amount), request_id=str(uuid4())))

    async def get(self, name: str) -> Wallet:
        wallet: Wallet = (await self.wallets.GetWallet(GetWalletRequest(name=name))).wallet
        return wallet


def usd(amount: int) -> Money:
    return Money(currency_code="USD", minor_units=amount)


@asynccontextmanager
async def serving(application: Application) -> AsyncIterator[int]:
    server = grpc.aio.server(interceptors=(ChainInterceptor(chain(verifier())),), options=(("grpc.so_reuseport", 0),))
    for register in application.servicers.values():
        register(server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield port
    finally:
        await server.stop(None)
        await application.close()


@asynccontextmanager
async def both_services(database: Database) -> AsyncIterator[Services]:
    ledger = transaction_bootstrap.build(
        TransactionSettings(
            database_dsn=SecretStr(database.transaction_dsn), payout_providers="bank=127.0.0.1:9", **IDENTITY
        )
    )
    async with AsyncExitStack() as stack:
        transaction_port = await stack.enter_async_context(serving(ledger))
        wallets = wallet_bootstrap.application(wallet_settings(database, transaction_port))
        wallet_port = await stack.enter_async_context(serving(wallets))
        to_wallets = await stack.enter_async_context(grpc.aio.insecure_channel(f"127.0.0.1:{wallet_port}"))
        to_money = await stack.enter_async_context(grpc.aio.insecure_channel(f"127.0.0.1:{transaction_port}"))
        yield Services(Authorised(WalletServiceStub(to_wallets)), Authorised(TransactionServiceStub(to_money)))


@asynchronous
async def test_a_new_wallet_can_be_paid_and_shows_what_it_has(database: Database) -> None:
    async with both_services(database) as services:
        name = await services.create()
        assert (await services.get(name)).balance.posted == usd(0)
        await services.deposit(name, 10_000)
        balance = (await services.get(name)).balance
        assert (balance.posted, balance.held, balance.available, balance.version) == (
            usd(10_000),
            usd(0),
            usd(10_000),
            1,
        )


@asynchronous
async def test_no_debit_posts_once_a_freeze_has_returned(database: Database) -> None:
    async with both_services(database) as services:
        source, destination = await services.create(), await services.create()
        await services.deposit(source, 1_000)

        async def pay(number: int) -> str:
            transfer = TransferRequest(
                source=source, destination=destination, amount=usd(1), request_id=f"{source}/{number}"
            )
            try:
                await services.money.Transfer(transfer)
            except grpc.aio.AioRpcError:
                return "refused"
            return "paid"

        paying = [asyncio.create_task(pay(number)) for number in range(100)]
        await services.wallets.FreezeWallet(FreezeWalletRequest(name=source))
        at_freeze = (await services.get(source)).balance.version
        late = await asyncio.gather(*(pay(number) for number in range(100, 120)))
        await asyncio.gather(*paying)
        assert set(late) == {"refused"}
        assert (await services.get(source)).balance.version == at_freeze
        await services.deposit(source, 1)  # credits still do
        thawed = await services.wallets.UnfreezeWallet(UnfreezeWalletRequest(name=source))
        assert thawed.wallet.state == WalletState.WALLET_STATE_ACTIVE
        assert await pay(1000) == "paid"


@asynchronous
async def test_limits_bind_as_soon_as_the_update_has_returned(database: Database) -> None:
    async with both_services(database) as services:
        name = await services.create()
        await services.deposit(name, 100)
        limits = Limits(max_minor_units_per_transaction=10)
        await services.wallets.UpdateWallet(UpdateWalletRequest(wallet=Wallet(name=name, limits=limits)))
        error = await failed(services.withdraw(name, 11))
        assert error.reason == "TRANSACTION_LIMIT_EXCEEDED"
        await services.withdraw(name, 10)


@asynchronous
async def test_a_credit_line_in_use_cannot_be_taken_away(database: Database) -> None:
    async with both_services(database) as services:
        line = Limits(credit_minor_units=100, time_zone="Europe/Berlin")
        name = await services.create(limits=line)
        await services.withdraw(name, 60)
        less = UpdateWalletRequest(wallet=Wallet(name=name, display_name="new", limits=Limits(credit_minor_units=50)))
        error = await failed(services.wallets.UpdateWallet(less))
        assert (error.code, error.reason) == ("FAILED_PRECONDITION", "FLOOR_ABOVE_BALANCE")
        assert error.metadata == {"wallet": name, "available": "-60", "credit": "50"}
        after = await services.get(name)
        assert (after.display_name, after.limits) == ("", line)
        await services.withdraw(name, 40)  # the line is in force still
        await services.deposit(name, 50)
        assert (await services.wallets.UpdateWallet(less)).wallet.limits.credit_minor_units == 50


@asynchronous
async def test_only_an_empty_wallet_closes_and_then_nothing_moves(database: Database) -> None:
    async with both_services(database) as services:
        name = await services.create()
        await services.deposit(name, 5)
        error = await failed(services.wallets.CloseWallet(CloseWalletRequest(name=name)))
        assert (error.reason, error.metadata) == ("WALLET_NOT_EMPTY", {"wallet": name, "posted": "5", "held": "0"})
        await services.withdraw(name, 5)
        closed = await services.wallets.CloseWallet(CloseWalletRequest(name=name))
        assert closed.wallet.state == WalletState.WALLET_STATE_CLOSED
        assert (await failed(services.deposit(name, 1))).reason == "DESTINATION_CLOSED"


@asynchronous
async def test_a_wallet_whose_payouts_may_come_back_does_not_close(database: Database) -> None:
    async with both_services(database) as services:
        name = await services.create()
        await services.deposit(name, 5)
        payout = PayoutDestination(provider="bank", account="DE89")
        request = WithdrawRequest(wallet=name, amount=usd(5), request_id=str(uuid4()), payout=payout)
        paid_out = (await services.money.Withdraw(request)).transaction.payout
        error = await failed(services.wallets.CloseWallet(CloseWalletRequest(name=name)))
        assert (error.code, error.reason) == ("FAILED_PRECONDITION", "PAYOUTS_UNDER_WAY")
        assert error.metadata == {"wallet": name, "payouts": "1"}
        assert (await services.get(name)).state == WalletState.WALLET_STATE_ACTIVE
        with session(database.owner_dsn) as cursor:
            paid = "UPDATE transactions.payout SET state = 2, next_time = NULL WHERE id = %s"
            cursor.execute(paid, (paid_out.removeprefix("payouts/"),))
            cursor.connection.commit()
        closed = await services.wallets.CloseWallet(CloseWalletRequest(name=name))
        assert closed.wallet.state == WalletState.WALLET_STATE_CLOSED


@asynchronous
async def test_freezing_and_thawing_at_once_ends_in_one_state_on_both_sides(database: Database) -> None:
    async with both_services(database) as services:
        name = await services.create()
        await services.deposit(name, 100)
        calls = [services.wallets.FreezeWallet(FreezeWalletRequest(name=name)) for _ in range(10)]
        calls += [services.wallets.UnfreezeWallet(UnfreezeWalletRequest(name=name)) for _ in range(10)]
        await asyncio.gather(*calls, return_exceptions=True)
        wallet = await services.get(name)
        if wallet.state == WalletState.WALLET_STATE_FROZEN:
            assert (await failed(services.withdraw(name, 1))).reason == "SOURCE_FROZEN"
        else:
            assert wallet.state == WalletState.WALLET_STATE_ACTIVE
            await services.withdraw(name, 1)
