"""The calls that read wallets, and where their balances come from."""

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

from wallet_service.domain.failure import Declined, Failure, Reason
from wallet_service.domain.permission import listing_beyond
from wallet_service.domain.wallet import Account, Balance, Wallet, WalletState
from wallet_service.ports import AccountGateway, AccountServiceFault, WalletStore


class WalletWithBalance(NamedTuple):
    """`balance` is None only while the wallet is CREATING."""

    wallet: Wallet
    balance: Balance | None


class Page(NamedTuple):
    """`end` is the name after which the next page begins; empty: this is the last one."""

    wallets: list[WalletWithBalance]
    end: str


class Balances:
    """Finds what wallets have."""

    def __init__(self, accounts: AccountGateway) -> None:
        self._accounts = accounts

    async def of(self, wallet: Wallet, account: Account | None) -> WalletWithBalance:
        """With the balance of this account, if it is known already."""
        if account is not None and wallet.state is not WalletState.CREATING:
            return WalletWithBalance(wallet, account.balance)
        return (await self.of_all([wallet]))[0]

    async def of_all(self, wallets: Sequence[Wallet]) -> list[WalletWithBalance]:
        """One call for all of them."""
        names = list(dict.fromkeys(wallet.name for wallet in wallets if wallet.state is not WalletState.CREATING))
        accounts = await self._accounts.get_many(names) if names else {}
        return [with_balance(wallet, accounts.get(wallet.name)) for wallet in wallets]


def with_balance(wallet: Wallet, account: Account | None) -> WalletWithBalance:
    if wallet.state is WalletState.CREATING:
        return WalletWithBalance(wallet, None)
    if account is None:
        raise AccountServiceFault(f"{wallet.name} is {wallet.state.name} and has no account")
    return WalletWithBalance(wallet, account.balance)


def found(wallet: Wallet | None, name: str) -> Wallet:
    if wallet is None:
        raise Declined(Failure(Reason.WALLET_NOT_FOUND, {"wallet": name}))
    return wallet


class Reading:
    """Changes nothing. `bound_to` is the owner to whose wallets the caller is bound; empty: to nobody's."""

    def __init__(self, store: WalletStore, accounts: AccountGateway, balances: Balances) -> None:
        self._store = store
        self._accounts = accounts
        self._balances = balances

    async def get(self, name: str, bound_to: str) -> WalletWithBalance:
        """The database and the account service are asked at the same time: two waits cost one."""
        asking = asyncio.ensure_future(self._accounts.get_many([name]))
        try:
            wallet = found(await self._store.get(name, bound_to), name)
            account = None if wallet.state is WalletState.CREATING else (await asking).get(name)
        finally:
            asking.cancel()
            # It may have failed while nobody was waiting for it any more.
            await asyncio.gather(asking, return_exceptions=True)
        # Opened between the two answers: asked again, it is there.
        return with_balance(wallet, account) if account else await self._balances.of(wallet, None)

    async def get_many(self, names: Sequence[str], bound_to: str) -> list[WalletWithBalance]:
        """In the order of the names, all or nothing."""
        by_name = await self._store.get_many(list(dict.fromkeys(names)), bound_to)
        return await self._balances.of_all([found(by_name.get(name), name) for name in names])

    async def page(self, owner: str, state: WalletState | None, after: str, count: int, bound_to: str) -> Page:
        """One more than asked for is read, to know whether there is a next page."""
        failure = listing_beyond(bound_to, owner)
        if failure is not None:
            raise Declined(failure)
        wallets = await self._store.page(owner or bound_to, state, after, count + 1)
        shown = wallets[:count]
        end = shown[-1].name if len(wallets) > count else ""
        return Page(await self._balances.of_all(shown), end)
