"""The way of a wallet from state to state: what may begin when, what its account must be told next, and what follows
from the account's answer. Every function gives the row as it is to be stored over the one that it was given.
"""

from dataclasses import dataclass, replace
from enum import Enum
from typing import Final, assert_never

from wallet_service.domain.failure import Failure, InvariantViolation, Reason
from wallet_service.domain.wallet import (
    AccountState,
    Closing,
    Limits,
    TurnedDown,
    Updating,
    Wallet,
    WalletState,
)


class Intent(Enum):
    """What a caller wants of a wallet's state."""

    FREEZE = "FREEZE"
    UNFREEZE = "UNFREEZE"
    CLOSE = "CLOSE"


class Verdict(Enum):
    """BEGIN it; JOIN the same that is under way; DONE already; REFUSE."""

    BEGIN = "BEGIN"
    JOIN = "JOIN"
    DONE = "DONE"
    REFUSE = "REFUSE"


B, J, D, R = Verdict.BEGIN, Verdict.JOIN, Verdict.DONE, Verdict.REFUSE
VERDICTS: Final = {
    #                CREATING ACTIVE FREEZING FROZEN UNFREEZING CLOSING CLOSED
    Intent.FREEZE:   (R,      B,     J,       D,     R,         R,      R),
    Intent.UNFREEZE: (R,      D,     R,       B,     J,         R,      R),
    Intent.CLOSE:    (R,      B,     R,       B,     R,         J,      D),
}  # fmt: skip


def verdict(intent: Intent, state: WalletState) -> Verdict:
    return VERDICTS[intent][list(WalletState).index(state)]


PASSING_STATE: Final = {
    Intent.FREEZE: WalletState.FREEZING,
    Intent.UNFREEZE: WalletState.UNFREEZING,
    Intent.CLOSE: WalletState.CLOSING,
}


class Then(Enum):
    """DONE: nothing is to be stored. CARRY: carry what is under way to its end. SETTLE: the same, then ask again."""

    DONE = "DONE"
    CARRY = "CARRY"
    SETTLE = "SETTLE"


def begin(wallet: Wallet, intent: Intent) -> Wallet | Then | Failure:
    """What a call with this intent does to this wallet: the row to store, or what to do instead."""
    match verdict(intent, wallet.state):
        case Verdict.REFUSE:
            return wrong_state(wallet)
        case Verdict.DONE:
            return Then.DONE
        case Verdict.JOIN:
            # A close that was refused is on its way back: this one deserves its own answer.
            refused = isinstance(wallet.attempt, Closing) and wallet.attempt.turned_down
            return Then.SETTLE if refused else Then.CARRY
        case Verdict.BEGIN:
            # Changed limits under way end first. Not for a freeze: that must not wait for anything.
            if wallet.attempt is not None and intent is not Intent.FREEZE:
                return Then.SETTLE
            closing = Closing(wallet.revision + 1, wallet.state) if intent is Intent.CLOSE else wallet.attempt
            return replace(wallet, state=PASSING_STATE[intent], attempt=closing)
        case unknown:  # pragma: no cover
            assert_never(unknown)


def wrong_state(wallet: Wallet) -> Failure:
    return Failure(Reason.WALLET_STATE, {"wallet": wallet.name, "state": wallet.state.name})


@dataclass(frozen=True, slots=True)
class OpenAccount:
    """Open the account as the wallet says."""


@dataclass(frozen=True, slots=True)
class SetState:
    """Bring the account to this state."""

    state: AccountState


@dataclass(frozen=True, slots=True)
class SetLimits:
    """Put these limits in force."""

    limits: Limits


Step = OpenAccount | SetState | SetLimits

ACCOUNT_STATES: Final = {WalletState.ACTIVE: AccountState.OPEN, WalletState.FROZEN: AccountState.FROZEN}


def next_step(wallet: Wallet) -> Step | None:
    """What the account must be told next. None: the wallet is settled."""
    match wallet.state, wallet.attempt:
        case WalletState.CREATING, None:
            return OpenAccount()
        case WalletState.FREEZING, _:
            return SetState(AccountState.FROZEN)
        case WalletState.UNFREEZING, None:
            return SetState(AccountState.OPEN)
        case WalletState.CLOSING, Closing() as closing:
            return SetState(ACCOUNT_STATES[closing.back_to] if closing.turned_down else AccountState.CLOSED)
        case ((WalletState.ACTIVE | WalletState.FROZEN), Updating() as updating):
            return SetLimits(updating.particulars.limits)
        case ((WalletState.ACTIVE | WalletState.FROZEN | WalletState.CLOSED), None):
            return None
        case state, attempt:
            raise InvariantViolation(f"{wallet.name} is {state.name} with {attempt}")


def taken(wallet: Wallet) -> Wallet:
    """The row after the account did what `next_step` says."""
    match wallet.state, wallet.attempt:
        case ((WalletState.CREATING | WalletState.UNFREEZING), None):
            return replace(wallet, state=WalletState.ACTIVE)
        case WalletState.FREEZING, _:
            return replace(wallet, state=WalletState.FROZEN)
        case WalletState.CLOSING, Closing() as closing:
            state = closing.back_to if closing.turned_down else WalletState.CLOSED
            return replace(wallet, state=state, attempt=None)
        case ((WalletState.ACTIVE | WalletState.FROZEN), Updating(turned_down=True)):
            return replace(wallet, attempt=None)
        case ((WalletState.ACTIVE | WalletState.FROZEN), Updating() as updating):
            return replace(wallet, particulars=updating.particulars, attempt=None, update_revision=updating.revision)
        case state, attempt:
            raise InvariantViolation(f"{wallet.name} is {state.name} with {attempt}, which leads nowhere")


def refused(wallet: Wallet, failure: Failure) -> Wallet | None:
    """The row after the account refused what `next_step` says. None: no rule expects this refusal.

    A refusal alone proves nothing about other orders of the same attempt, from another worker, that are still on their
    way: one of them may arrive when the balance has changed and be taken. So the attempt is turned around instead of
    dropped: the account is told, at a later revision, what it has anyway, and from then on refuses the late ones.
    """
    turned_down = TurnedDown(wallet.attempt.revision, failure) if wallet.attempt is not None else None
    match wallet.state, wallet.attempt, failure.reason:
        case (
            WalletState.CLOSING,
            Closing(turned_down=False) as closing,
            (Reason.WALLET_NOT_EMPTY | Reason.PAYOUTS_UNDER_WAY),
        ):
            return replace(wallet, attempt=replace(closing, turned_down=True), turned_down=turned_down)
        case WalletState.CLOSING, Closing(turned_down=True), Reason.WALLET_STATE:
            # A late order of the close was taken after all, and closed is for ever.
            return replace(wallet, state=WalletState.CLOSED, attempt=None, turned_down=None)
        case (
            (WalletState.ACTIVE | WalletState.FROZEN),
            Updating(turned_down=False) as updating,
            (Reason.FLOOR_ABOVE_BALANCE | Reason.UNKNOWN_TIME_ZONE),
        ):
            back = replace(updating, particulars=wallet.particulars, turned_down=True)
            return replace(wallet, attempt=back, turned_down=turned_down)
        case _:
            return None


def outcome(wallet: Wallet, intent: Intent, closing_revision: int | None) -> Failure | None:
    """What a caller hears whose intent was carried until it was under way no more. None: it is as was wanted."""
    if verdict(intent, wallet.state) is Verdict.DONE:
        return None
    if intent is Intent.CLOSE and wallet.turned_down is not None and wallet.turned_down.revision == closing_revision:
        return wallet.turned_down.failure
    # Somebody else's later change has come in between.
    return wrong_state(wallet)
