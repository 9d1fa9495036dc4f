"""Carries a wallet from where it is to where nothing is under way: one order to its account, one write, and again.

Any number of workers may carry the same wallet at once. Each order has the revision of the row that asks for it, each
write counts only over that same row, so whoever comes late changes nothing and goes on from what the others did. No
database transaction is open while the account is spoken to.
"""

from collections.abc import Callable
from typing import Final, assert_never

from service_kit.status import Refusal
from wallet_service.domain import lifecycle
from wallet_service.domain.failure import Declined, Failure, InvariantViolation, Reason
from wallet_service.domain.lifecycle import OpenAccount, SetLimits, SetState, Step
from wallet_service.domain.wallet import Account, Wallet
from wallet_service.ports import AccountGateway, AccountServiceFault, WalletStore

STEPS_MAX: Final = 20
"""More than any way has; only a wallet that others keep changing takes as many."""

USER_CAUSED: Final = frozenset({Reason.UNKNOWN_CURRENCY, Reason.UNKNOWN_TIME_ZONE})
"""What an account can decline at its opening because it knows other standards' editions than we do."""

PROMISE_NO_EFFECT: Final = frozenset({"CONTENTION", "OVERLOADED"})
"""Reasons by which the contract promises that nothing was done."""


class Carrier:
    """Does the steps that the domain's rules ask for."""

    def __init__(self, store: WalletStore, accounts: AccountGateway) -> None:
        self._store = store
        self._accounts = accounts

    async def carry(self, wallet: Wallet, until: Callable[[Wallet], bool]) -> tuple[Wallet, Account | None]:
        """Carries on until `until` holds or nothing is under way; the wallet then, and its account as of the last
        order. Attempts that the account refuses end as well: their outcome stands in the wallet.

        Raises Refusal and AccountServiceFault; then the reconciler will finish it. Declined: the account cannot be
        opened as asked for.
        """
        account = None
        for _ in range(STEPS_MAX):
            step = None if until(wallet) else lifecycle.next_step(wallet)
            if step is None:
                return wallet, account
            try:
                account = await self._order(wallet, step)
            except Declined as declined:
                account = None
                wallet = await self._after_refusal(wallet, step, declined.failure)
            else:
                wallet = await self._store.replace(lifecycle.taken(wallet)) or await self.reread(wallet)
        raise Refusal("UNAVAILABLE", "other calls keep changing this wallet; send this one again to learn its end")

    async def _order(self, wallet: Wallet, step: Step) -> Account:
        try:
            return await self._send(wallet, step)
        except Refusal as refusal:
            if refusal.reason not in PROMISE_NO_EFFECT:
                raise
            # What was asked for is stored and will be done, so nobody may be told that nothing was.
            text = "what was asked for is on record and will be finished; send this call again to learn its end"
            raise Refusal("UNAVAILABLE", text, retry_after_seconds=refusal.retry_after_seconds) from refusal

    async def _send(self, wallet: Wallet, step: Step) -> Account:
        match step:
            case OpenAccount():
                return await self._accounts.open(wallet)
            case SetState(state):
                return await self._accounts.set_state(wallet.name, state, wallet.revision)
            case SetLimits(limits):
                return await self._accounts.set_limits(wallet.name, limits, wallet.revision)
            case unknown:  # pragma: no cover
                assert_never(unknown)

    async def _after_refusal(self, wallet: Wallet, step: Step, failure: Failure) -> Wallet:
        if failure.reason is Reason.STALE_REVISION:
            latest = await self.reread(wallet)
            if latest.revision == wallet.revision:
                raise InvariantViolation(f"the account of {wallet.name} is ahead of it: {dict(failure.metadata)}")
            return latest
        changed = lifecycle.refused(wallet, failure)
        if changed is not None:
            return await self._store.replace(changed) or await self.reread(wallet)
        latest = await self.reread(wallet)
        if latest.revision != wallet.revision:
            # The order was late, and the account refused it by a rule that looks at more than the revision.
            return latest
        if isinstance(step, OpenAccount) and failure.reason in USER_CAUSED:
            raise Declined(failure)
        raise AccountServiceFault(f"{step} for {wallet.name} was refused: {failure.reason} {dict(failure.metadata)}")

    async def reread(self, wallet: Wallet) -> Wallet:
        latest = await self._store.get(wallet.name)
        if latest is None:
            raise InvariantViolation(f"{wallet.name} is gone, and wallets are never deleted")
        return latest


def settled(wallet: Wallet) -> bool:
    """Carries to where nothing is left for the reconciler."""
    return wallet.settled
