"""The calls that change wallets: create, update, freeze, unfreeze, close.

A call writes down what is wanted, then carries it out. When it is cut off in between (its caller goes away, the account
service is down: UNAVAILABLE, time is up: DEADLINE_EXCEEDED) what was written down stays wanted, and the reconciler
carries it out: a freeze that was answered with UNAVAILABLE still comes into force.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from service_kit.status import Refusal
from wallet_service.app.carry import STEPS_MAX, Carrier, settled
from wallet_service.app.reading import Balances, WalletWithBalance, found
from wallet_service.domain import creation, lifecycle, update
from wallet_service.domain.failure import Declined, Failure, Reason
from wallet_service.domain.lifecycle import PASSING_STATE, Intent, Then
from wallet_service.domain.permission import creation_beyond, update_beyond
from wallet_service.domain.wallet import (
    NAME_PREFIX,
    Account,
    Closing,
    NewWallet,
    Particulars,
    Updating,
    Wallet,
    WalletKind,
    WalletState,
)
from wallet_service.ports import Inserted, NameTaken, SameRequestId, WalletStore

ROUNDS_MAX: Final = STEPS_MAX
"""How often a call begins anew because others have changed the wallet under it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Creation:
    """What CreateWallet is asked for; empty strings: not given. `bound_to`: see `Changes`."""

    wallet_id: str
    owner: str
    currency_code: str
    kind: WalletKind
    particulars: Particulars
    principal: str
    request_id: str
    bound_to: str = ""


class Changes:
    """`fresh_id` gives ids that were never given before. `bound_to` is the owner to whose wallets the caller is bound;
    empty: to nobody's."""

    def __init__(self, store: WalletStore, carrier: Carrier, balances: Balances, fresh_id: Callable[[], UUID]) -> None:
        self._store = store
        self._carrier = carrier
        self._balances = balances
        self._fresh_id = fresh_id

    async def create(self, asked: Creation) -> WalletWithBalance:
        """Creates a wallet, or finds the one that the same request has created before, and carries it on until it is
        no more CREATING."""
        failure = (
            creation_beyond(asked.bound_to, asked.owner, asked.kind, asked.particulars.limits)
            or creation.check_currency(asked.currency_code)
            or creation.check_limits(asked.particulars.limits)
        )
        if failure is not None:
            raise Declined(failure)
        new = self._new_wallet(asked)
        match await self._store.insert(new):
            case Inserted(wallet):
                pass
            case SameRequestId(wallet):
                if wallet.fingerprint != new.fingerprint:
                    raise Declined(Failure(Reason.REQUEST_ID_REUSED, {"request_id": asked.request_id}))
            case NameTaken():
                raise Declined(Failure(Reason.WALLET_ALREADY_EXISTS, {"wallet": new.name}))
        wallet, account = await self._carrier.carry(wallet, _is_no_more(WalletState.CREATING))
        return await self._balances.of(wallet, account)

    def _new_wallet(self, asked: Creation) -> NewWallet:
        if asked.wallet_id:
            name = NAME_PREFIX + asked.wallet_id
        elif asked.request_id:
            name = creation.derived_name(asked.principal, asked.request_id)
        else:
            name = f"{NAME_PREFIX}{self._fresh_id()}"
        owner = asked.owner or asked.principal
        return NewWallet(
            name=name,
            owner=owner,
            currency_code=asked.currency_code,
            kind=asked.kind,
            particulars=asked.particulars,
            principal=asked.principal,
            request_id=asked.request_id or None,
            fingerprint=creation.fingerprint(name, owner, asked.currency_code, asked.kind, asked.particulars),
        )

    async def set_state(self, name: str, intent: Intent, bound_to: str) -> WalletWithBalance:
        """Freezes, unfreezes or closes. A call of the same intent that is under way is joined."""
        wallet, begun = await self._begin(name, bound_to, lambda wallet: lifecycle.begin(wallet, intent))
        closing = begun.attempt.revision if begun is not None and isinstance(begun.attempt, Closing) else None
        account: Account | None = None
        if begun is not None:
            wallet, account = await self._carrier.carry(begun, _is_no_more(PASSING_STATE[intent]))
        failure = lifecycle.outcome(wallet, intent, closing)
        if failure is not None:
            raise Declined(failure)
        return await self._balances.of(wallet, account)

    async def update(
        self, name: str, fields: frozenset[update.Field], values: Particulars, etag: str, bound_to: str
    ) -> WalletWithBalance:
        """Changes what people may change. Changed limits are in force when it returns."""
        failure = update_beyond(bound_to, fields)
        if failure is None and update.Field.LIMITS in fields:
            failure = creation.check_limits(values.limits)
        if failure is not None:
            raise Declined(failure)
        wallet, begun = await self._begin(name, bound_to, lambda wallet: update.update(wallet, fields, values, etag))
        if begun is None or not isinstance(begun.attempt, Updating):
            return await self._balances.of(begun or wallet, None)
        revision = begun.attempt.revision
        wallet, account = await self._carrier.carry(begun, lambda wallet: not _is_attempting(wallet, revision))
        failure = update.outcome(wallet, revision)
        if failure is not None:
            raise Declined(failure)
        return await self._balances.of(wallet, account)

    async def _begin(
        self, name: str, bound_to: str, rule: Callable[[Wallet], Wallet | Then | Failure]
    ) -> tuple[Wallet, Wallet | None]:
        """Applies the rule to the wallet until it could be stored; the wallet before, and after if it is to be carried
        on. Raises Declined when the rule fails."""
        for _ in range(ROUNDS_MAX):
            wallet = found(await self._store.get(name, bound_to), name)
            match rule(wallet):
                case Failure() as failure:
                    raise Declined(failure)
                case Then.DONE:
                    return wallet, None
                case Then.CARRY:
                    return wallet, wallet
                case Then.SETTLE:
                    await self._carrier.carry(wallet, settled)
                case Wallet() as changed:
                    stored = await self._store.replace(changed)
                    if stored is not None:
                        return wallet, stored
        raise Refusal("CONTENTION", "other calls keep changing this wallet; send this one again")


def _is_no_more(state: WalletState) -> Callable[[Wallet], bool]:
    return lambda wallet: wallet.state is not state


def _is_attempting(wallet: Wallet, revision: int) -> bool:
    return wallet.attempt is not None and wallet.attempt.revision == revision
