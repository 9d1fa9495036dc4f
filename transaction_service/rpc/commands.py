"""Requests as commands of the ledger. What the request alone makes impossible is refused here: UNKNOWN_CURRENCY, and
INVALID_FIELD for what the contract's own rules cannot express."""

from collections.abc import Sequence
from typing import Any, Final

from specie.transaction.v1 import (
    DepositRequest,
    FeeMode,
    PostTransactionRequest,
    ReverseTransactionRequest,
    TransferMode,
    TransferRequest,
    WithdrawRequest,
)
from specie.transaction.v1 import PayoutDestination as PayoutDestinationMessage

from service_kit.call import Call
from service_kit.status import invalid
from service_kit.times import to_time
from transaction_service.domain.account import INT64_MAX, INT64_MIN, cash, fees
from transaction_service.domain.movement import Movement, TransactionKind, movement
from transaction_service.domain.reversal import reversal_terms
from transaction_service.domain.terms import PLAIN, Fee, PayoutDestination, Posting, Terms, fee_of
from transaction_service.rpc.errors import check_currency

# Looked up once: an enum of protobuf finds each of its names anew.
ASYNC: Final = TransferMode.TRANSFER_MODE_ASYNC
INCLUDED: Final = FeeMode.FEE_MODE_INCLUDED


def transfer(request: TransferRequest, call: Call) -> Movement:
    amount, source = request.amount, request.source
    check_currency(amount.currency_code)
    return movement(
        TransactionKind.TRANSFER,
        source,
        request.destination,
        amount.minor_units,
        amount.currency_code,
        terms=_transfer_terms(request),
        **said(request, call),
    )


def deposit(request: DepositRequest, call: Call) -> Movement:
    amount = request.amount
    check_currency(amount.currency_code)
    return movement(
        TransactionKind.DEPOSIT,
        request.provider or cash(amount.currency_code),
        request.wallet,
        amount.minor_units,
        amount.currency_code,
        provider=request.provider,
        **said(request, call),
    )


def withdrawal(request: WithdrawRequest, call: Call) -> Movement:
    amount = request.amount
    check_currency(amount.currency_code)
    fee = _fee(request, request.wallet) if request.HasField("fee") else None
    payout = _payout(request.payout) if request.HasField("payout") else None
    return movement(
        TransactionKind.WITHDRAWAL,
        request.wallet,
        request.provider or cash(amount.currency_code),
        amount.minor_units,
        amount.currency_code,
        provider=request.provider,
        terms=PLAIN if fee is None and payout is None else Terms(fee=fee, payout=payout),
        **said(request, call),
    )


def compound(request: PostTransactionRequest, call: Call) -> Movement:
    """Raises Refusal INVALID_FIELD for postings that do not sum to 0 in each currency."""
    postings = tuple(
        Posting(asked.account, asked.amount.minor_units, asked.amount.currency_code) for asked in request.postings
    )
    _check_sums(postings)
    return movement(TransactionKind.COMPOUND, "", "", 0, "", terms=Terms(postings=postings), **said(request, call))


def reversal(request: ReverseTransactionRequest, original: Movement, call: Call) -> Movement:
    """An original never changes, so neither does what the same request is."""
    currency = request.amount.currency_code if request.HasField("amount") else original.currency
    if request.HasField("amount"):
        check_currency(currency)
    return movement(
        TransactionKind.REVERSAL,
        original.destination,
        original.source,
        request.amount.minor_units,
        currency,
        terms=reversal_terms(original),
        reverses=original.id,
        **said(request, call),
    )


def said(request: Any, call: Call) -> dict[str, Any]:
    """What every request says about itself."""
    labels = request.labels
    return {
        "principal": call.principal,
        "request_id": request.request_id,
        "description": request.description,
        "external_reference": request.external_reference,
        "labels": dict(labels) if labels else {},
        "trace_id": call.trace_id,
    }


def _transfer_terms(request: TransferRequest) -> Terms:
    fee = _fee(request, request.source) if request.HasField("fee") else None
    deferred = request.mode == ASYNC
    version = request.expected_version if request.HasField("expected_version") else None
    minimum = request.minimum_balance_after if request.HasField("minimum_balance_after") else None
    if fee is None and version is None and minimum is None and not deferred:
        return PLAIN
    return Terms(
        fee=fee,
        expected_version=version,
        minimum_after=minimum,
        deferred=deferred,
        execute_time=to_time(request, "execute_time") if request.HasField("execute_time") else None,
    )


def _fee(request: TransferRequest | WithdrawRequest, source: str) -> Fee | None:
    """None: it comes to 0."""
    asked, amount = request.fee, request.amount.minor_units
    destination = asked.destination or fees(request.amount.currency_code)
    if destination == source:
        raise invalid("fee.destination", "fee.destination", "must be another wallet than the one that pays")
    price = asked.WhichOneof("price")
    charged = asked.minor_units if price == "minor_units" else fee_of(amount, asked.basis_points)
    included = asked.mode == INCLUDED
    if charged > amount:
        raise invalid(f"fee.{price}", "fee.amount", f"comes to {charged}, which is above the amount")
    if included and charged == amount:
        raise invalid(f"fee.{price}", "fee.amount", f"comes to {charged}, which leaves nothing of the amount")
    if not included and amount + charged > INT64_MAX:
        raise invalid(f"fee.{price}", "fee.range", f"comes to {charged}, with the amount above 2^63 - 1")
    return Fee(charged, destination, included, asked.basis_points) if charged else None


def _payout(asked: PayoutDestinationMessage) -> PayoutDestination:
    return PayoutDestination(asked.provider, asked.account, asked.beneficiary)


def _check_sums(postings: Sequence[Posting]) -> None:
    sums: dict[str, int] = {}
    for index, (_, amount, currency) in enumerate(postings):
        if amount == INT64_MIN:  # it could not be given back
            raise invalid(f"postings[{index}].amount", "amount.range", "must be above -2^63")
        sums[currency] = sums.get(currency, 0) + amount
    for currency, total in sums.items():
        if total:
            raise invalid("postings", "postings.balanced", f"must sum to 0 in {currency}, not to {total}")
    for currency in sums:
        check_currency(currency)
