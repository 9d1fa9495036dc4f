"""What each failure says to a caller. The reason's code stands in the contract, the words stand here."""

from collections.abc import Mapping
from typing import Final

from iso4217 import Currency

from service_kit.status import RETRY_AFTER_SECONDS, Refusal
from transaction_service.domain.failure import Failure, Reason
from transaction_service.posting.queue import Contention, Expired, LedgerUnavailable, QueueClosed, QueueFull

MESSAGES: Final[Mapping[Reason, str]] = {
    Reason.SAME_WALLET: "source and destination are both {wallet}; name two wallets",
    Reason.REQUEST_ID_REUSED: "request id {request_id} was used for another request; use a new one for a new request",
    Reason.TRANSFER_CANCELLED: "the transfer was cancelled by {cancelled_by} before it was due",
    Reason.TRANSACTION_NOT_FOUND: "there is no {transaction}",
    Reason.NOT_REVERSIBLE: "{reverses} is a {kind}, which cannot be reversed",
    Reason.TRANSACTION_NOT_POSTED: "{reverses} is {state} and has moved no money to give back",
    Reason.NOT_DIVISIBLE: "{reverses} is compound and can be reversed only as a whole; leave the amount out",
    Reason.ALREADY_REVERSED: "nothing is left of {reverses} to give back",
    Reason.EXPIRE_TIME_PASSED: "the hold would expire at {expire_time}, before it is placed",
    Reason.HOLD_NOT_FOUND: "there is no {hold}",
    Reason.HOLD_CAPTURED: "{hold} was captured; nothing of it is left",
    Reason.HOLD_RELEASED: "{hold} was released",
    Reason.HOLD_EXPIRED: "{hold} expired at {expire_time}",
    Reason.SOURCE_NOT_FOUND: "there is no {wallet} to pay from",
    Reason.DESTINATION_NOT_FOUND: "there is no {wallet} to pay to",
    Reason.NOT_A_PROVIDER: "{wallet} is not a provider's wallet",
    Reason.CURRENCY_MISMATCH: "{wallet} holds {wallet_currency}, not {currency}",
    Reason.REVERSAL_ABOVE_ORIGINAL: "{remaining} is left of {reverses} to give back, less than {amount}",
    Reason.CAPTURE_ABOVE_HOLD: "{hold} still reserves {remaining}, less than {amount}",
    Reason.SOURCE_CLOSED: "{wallet} is closed and cannot pay",
    Reason.SOURCE_FROZEN: "{wallet} is frozen and cannot pay; unfreeze it first",
    Reason.DESTINATION_CLOSED: "{wallet} is closed and cannot be paid",
    Reason.VERSION_MISMATCH: "{wallet} is at version {version}, not {expected_version}; read it again",
    Reason.TRANSACTION_LIMIT_EXCEEDED: "{amount} is above the {limit} that one debit of {wallet} may have",
    Reason.HOURLY_COUNT_EXCEEDED: "{wallet} has made {used} of {limit} debits of this hour; it goes on at {resets_at}",
    Reason.DAILY_LIMIT_EXCEEDED: "{wallet} has used {used} of the day's {limit}; {amount} waits until {resets_at}",
    Reason.INSUFFICIENT_FUNDS: "{wallet} has {available} available and needs {amount}",
    Reason.BALANCE_BELOW_MINIMUM: "{wallet} would have {available} available, less than the {minimum} asked for",
    Reason.BALANCE_OVERFLOW: "the balance of {wallet} would leave the range of 64 bits",
    Reason.BATCH_STOPPED: "item {item} of the same batch, {stopped_by}, failed with {reason}, and so all of it did",
    Reason.ACCOUNT_NOT_FOUND: "there is no account {account}",
    Reason.ACCOUNT_ALREADY_EXISTS: "there is an account {account} with another owner, currency or kind",
    Reason.STALE_REVISION: "{account} is at revision {revision} already",
    Reason.WALLET_STATE: "{wallet} is {state}, which does not allow this",
    Reason.WALLET_NOT_EMPTY: "{wallet} has a balance of {posted} and holds of {held}; both must be 0 to close it",
    Reason.PAYOUTS_UNDER_WAY: "{wallet} has {payouts} payouts whose money may come back; close it when they have ended",
    Reason.FLOOR_ABOVE_BALANCE: "{wallet} has {available} available, below what a credit line of {credit} allows",
}

PAID_OUT: Final = "{reverses} is paid out by {payout}, and given back by that alone, if it is refused"
"""NOT_REVERSIBLE, for another cause than the kind."""


def to_refusal(failure: Failure, extra: Mapping[str, str] | None = None) -> Refusal:
    """The failure as an error. `extra` metadata is not part of the message."""
    is_paid_out = failure.reason is Reason.NOT_REVERSIBLE and "payout" in failure.metadata
    message = (PAID_OUT if is_paid_out else MESSAGES[failure.reason]).format_map(failure.metadata)
    return Refusal(failure.reason.value, message, {**failure.metadata, **(extra or {})})


def not_posted(error: Exception) -> Exception:
    """Why a command has no answer, as an error; what it does not know it gives back."""
    match error:
        case QueueFull():
            text = "too many transfers are waiting; send this one again later"
            return Refusal("OVERLOADED", text, retry_after_seconds=RETRY_AFTER_SECONDS)
        case QueueClosed() | LedgerUnavailable():
            text = "the ledger cannot be reached; the same call with the same request id tells what became of it"
            return Refusal("UNAVAILABLE", text, retry_after_seconds=RETRY_AFTER_SECONDS)
        case Contention():
            return Refusal("CONTENTION", "others held the same wallets for too long; send this call again")
        case Expired():
            return Refusal("DEADLINE_EXCEEDED", "the call's time was up before its turn came; it had no effect")
    return error


def check_currency(code: str) -> None:
    """Raises Refusal UNKNOWN_CURRENCY for what ISO 4217 does not list."""
    if code not in _CURRENCIES:
        raise Refusal("UNKNOWN_CURRENCY", f"ISO 4217 has no currency {code}", {"currency": code})


# Without an exponent (gold, "no currency") there are no minor units to count in.
_CURRENCIES: Final = frozenset(currency.code for currency in Currency if currency.exponent is not None)
