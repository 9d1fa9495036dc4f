"""Between the contract's messages and the domain's values."""

from datetime import datetime
from enum import IntEnum
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfoNotFoundError

from google.protobuf.timestamp_pb2 import Timestamp
from specie.transaction.v1 import Account as AccountMessage
from specie.transaction.v1 import Entry as EntryMessage
from specie.transaction.v1 import Hold as HoldMessage
from specie.transaction.v1 import Payout as PayoutMessage
from specie.transaction.v1 import PayoutDestination, ReportClosing, ReportOpening
from specie.transaction.v1 import Transaction as TransactionMessage
from specie.type.v1 import Balance, Money
from specie.type.v1 import Limits as LimitsMessage

from service_kit.status import Refusal, to_status
from transaction_service.domain.account import Account, AccountKind, AccountState, Limits, zone
from transaction_service.domain.hold import Hold
from transaction_service.domain.identity import account_id
from transaction_service.domain.movement import Movement, Transaction, TransactionState, postings_of
from transaction_service.domain.terms import PLAIN
from transaction_service.payouts.payout import Payout, PayoutState
from transaction_service.ports import Line, PastBalance, Period
from transaction_service.rpc.errors import check_currency, to_refusal


def transaction_name(transaction_id: str) -> str:
    return f"transactions/{transaction_id}"


def _number(value: IntEnum) -> Any:
    """The domain's numbers are the contract's."""
    return value


@lru_cache(64)
def timestamp(time: datetime) -> Timestamp:
    """All transactions of a group have the same time, so most are made once. Never change what it returns."""
    message = Timestamp()
    message.FromDatetime(time)
    return message


def transaction_message(transaction: Transaction) -> TransactionMessage:
    message = TransactionMessage()
    write_transaction(transaction, message)
    return message


def write_transaction(transaction: Transaction, message: TransactionMessage) -> None:
    """Into an empty message: to make its parts apart and copy them in takes four times as long."""
    movement, terms, state = transaction.movement, transaction.movement.terms, transaction.state
    message.name = transaction_name(movement.id)
    message.kind = _number(movement.kind)
    message.state = _number(state)
    message.source = movement.source
    message.destination = movement.destination
    if movement.amount:
        message.amount.currency_code = movement.currency
        message.amount.minor_units = movement.amount
    message.description = movement.description
    message.external_reference = movement.external_reference
    if movement.labels:
        message.labels.update(movement.labels)
    message.principal = movement.principal
    message.request_id = movement.request_id
    message.trace_id = movement.trace_id
    message.create_time.CopyFrom(timestamp(transaction.create_time))
    if state is not TransactionState.PENDING:
        message.decide_time.CopyFrom(timestamp(transaction.decide_time))
    if state is TransactionState.POSTED:
        message.post_time.CopyFrom(timestamp(transaction.decide_time))
    if movement.hold:
        message.hold = hold_name(movement.hold)
    if movement.reverses:
        message.reverses = transaction_name(movement.reverses)
    if terms is not PLAIN:
        _add_terms(transaction, message)
    if transaction.failure is not None:
        message.error.CopyFrom(to_status(to_refusal(transaction.failure, {"transaction": message.name})))


def _add_terms(transaction: Transaction, message: TransactionMessage) -> None:
    """What few transactions have."""
    terms = transaction.movement.terms
    if terms.fee is not None:
        message.fee.CopyFrom(Money(currency_code=transaction.movement.currency, minor_units=terms.fee.amount))
        message.fee_destination = terms.fee.destination
    if terms.fee is not None or terms.postings:
        for account, amount, currency in postings_of(transaction.movement):
            message.postings.add(account=account, amount=Money(currency_code=currency, minor_units=amount))
    if terms.deferred:
        message.execute_time.CopyFrom(timestamp(terms.execute_time or transaction.create_time))
    if terms.payout is not None and transaction.state is TransactionState.POSTED:
        message.payout = payout_name(transaction.movement.id)


def entry_message(line: Line, account: Account) -> EntryMessage:
    entry, transaction = line
    movement = transaction.movement
    return EntryMessage(
        wallet=account.name,
        sequence=entry.seq,
        transaction=transaction_name(entry.transaction_id),
        kind=_number(movement.kind),
        counterparty=_counterparty(movement, account.name, entry.amount),
        description=movement.description,
        amount=Money(currency_code=account.currency, minor_units=entry.amount),
        balance=Money(currency_code=account.currency, minor_units=entry.balance),
        post_time=timestamp(entry.post_time),
    )


def _counterparty(movement: Movement, account: str, amount: int) -> str:
    """The account on the other side; of a fee's account: who paid the fee, or got it back. Empty for a compound one."""
    if account == movement.source:
        return movement.destination
    if account == movement.destination:
        return movement.source
    return movement.source if amount > 0 else movement.destination


def opening_message(period: Period, account: Account) -> ReportOpening:
    opening, closing, end = period
    return ReportOpening(
        balance=Money(currency_code=account.currency, minor_units=opening.amount),
        sequence=opening.version,
        entry_count=closing.version - opening.version,
        end_time=timestamp(end),
    )


def closing_message(period: Period, account: Account) -> ReportClosing:
    opening, closing, _ = period
    return ReportClosing(
        balance=Money(currency_code=account.currency, minor_units=closing.amount),
        sequence=closing.version,
        entry_count=closing.version - opening.version,
    )


def hold_name(hold_id: str) -> str:
    return f"holds/{hold_id}"


def hold_message(hold: Hold) -> HoldMessage:
    return HoldMessage(
        name=hold_name(hold.id),
        state=_number(hold.state),
        source=hold.source,
        destination=hold.destination,
        amount=Money(currency_code=hold.currency, minor_units=hold.amount),
        captured=Money(currency_code=hold.currency, minor_units=hold.captured),
        released=Money(currency_code=hold.currency, minor_units=hold.released),
        expire_time=timestamp(hold.expire_time),
        create_time=timestamp(hold.create_time),
        description=hold.description,
        external_reference=hold.external_reference,
        labels=hold.labels,
    )


def payout_name(payout_id: str) -> str:
    return f"payouts/{payout_id}"


def payout_message(payout: Payout) -> PayoutMessage:
    to_pay = payout.next_time if payout.state is PayoutState.PENDING else None
    return PayoutMessage(
        name=payout_name(payout.id),
        transaction=transaction_name(payout.id),
        wallet=payout.wallet,
        destination=PayoutDestination(provider=payout.provider, account=payout.account, beneficiary=payout.beneficiary),
        amount=Money(currency_code=payout.currency, minor_units=payout.amount),
        state=_number(payout.state),
        attempt_count=payout.attempts,
        next_attempt_time=timestamp(to_pay) if to_pay is not None else None,
        provider_reference=payout.provider_reference,
        last_error=payout.last_error,
        reversal=transaction_name(payout.reversal) if payout.reversal is not None else "",
        create_time=timestamp(payout.create_time),
        update_time=timestamp(payout.update_time),
    )


def past_balance_message(past: PastBalance, account: Account) -> Balance:
    return Balance(posted=Money(currency_code=account.currency, minor_units=past.amount), version=past.version)


def balance_message(account: Account) -> Balance:
    return Balance(
        posted=Money(currency_code=account.currency, minor_units=account.balance),
        held=Money(currency_code=account.currency, minor_units=account.held),
        available=Money(currency_code=account.currency, minor_units=account.available),
        version=account.version,
    )


def account_message(account: Account) -> AccountMessage:
    limits = account.limits
    return AccountMessage(
        name=account.name,
        owner=account.owner,
        currency_code=account.currency,
        kind=_number(account.kind),
        state=_number(account.state),
        limits=LimitsMessage(
            max_minor_units_per_transaction=limits.per_transaction,
            max_minor_units_per_day=limits.per_day,
            max_debits_per_hour=limits.debits_per_hour,
            time_zone=limits.time_zone,
            credit_minor_units=limits.credit,
        ),
        balance=balance_message(account),
        revision=account.revision,
    )


def to_limits(message: LimitsMessage) -> Limits:
    """Raises Refusal UNKNOWN_TIME_ZONE."""
    name = message.time_zone or "UTC"
    try:
        zone(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise Refusal("UNKNOWN_TIME_ZONE", f"there is no time zone {name}", {"time_zone": name}) from None
    return Limits(
        message.max_minor_units_per_transaction,
        message.max_minor_units_per_day,
        message.max_debits_per_hour,
        name,
        message.credit_minor_units,
    )


def to_account(message: AccountMessage) -> Account:
    """A new account as asked for. Raises Refusal UNKNOWN_CURRENCY, UNKNOWN_TIME_ZONE."""
    check_currency(message.currency_code)
    limits = to_limits(message.limits)
    return Account(
        id=account_id(message.name),
        name=message.name,
        owner=message.owner,
        currency=message.currency_code,
        kind=AccountKind(message.kind),
        state=AccountState.OPEN,
        floor=-limits.credit,
        revision=message.revision,
        limits=limits,
    )
