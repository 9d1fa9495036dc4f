"""specie.payout.v1.PayoutProvider as a bank answers it."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, Final, TypeVar
from uuid import UUID

import grpc
import grpc.aio
from specie.payout.v1 import (
    GetPaymentRequest,
    GetPaymentResponse,
    PaymentState,
    PayoutProviderServicer,
    PayRequest,
    PayResponse,
)
from specie.payout.v1 import Payment as PaymentMessage

from payout_simulator.bank import Bank, Order, OtherContentError, Payment, State
from payout_simulator.faults import Faults, Lost

T = TypeVar("T")
Context = grpc.aio.ServicerContext[Any, Any]

STATES: Final = {
    State.PENDING: PaymentState.PAYMENT_STATE_PENDING,
    State.PAID: PaymentState.PAYMENT_STATE_PAID,
    State.REFUSED: PaymentState.PAYMENT_STATE_REFUSED,
}


class InvalidOrderError(Exception):
    """What is wrong with a request."""


class NoSuchPaymentError(Exception):
    """No order with this key has come yet."""


class PayoutProvider(PayoutProviderServicer):
    """Payments are refused for good with a state. A status other than OK is about the call alone."""

    def __init__(self, bank: Bank, faults: Faults) -> None:
        self._bank = bank
        self._faults = faults

    async def Pay(self, request: PayRequest, context: Context) -> PayResponse:  # noqa: N802 - the contract's name
        payment = await self._answer(request.idempotency_key, lambda: self._pay(request), context)
        return PayResponse(payment=payment)

    async def GetPayment(self, request: GetPaymentRequest, context: Context) -> GetPaymentResponse:  # noqa: N802
        payment = await self._answer(request.idempotency_key, lambda: self._get(request), context)
        return GetPaymentResponse(payment=payment)

    async def _pay(self, request: PayRequest) -> PaymentMessage:
        order = _order(request)
        payment = await asyncio.to_thread(self._bank.pay, order, self._faults.verdict(order.key))
        return _message(payment)

    async def _get(self, request: GetPaymentRequest) -> PaymentMessage:
        payment = await asyncio.to_thread(self._bank.find, request.idempotency_key)
        if payment is None:
            raise NoSuchPaymentError
        return _message(payment)

    async def _answer(self, key: str, handle: Callable[[], Awaitable[T]], context: Context) -> T:
        """A bank without faults would just call `handle`."""
        try:
            return await self._faults.around(key, handle)
        except InvalidOrderError as error:
            code, text = grpc.StatusCode.INVALID_ARGUMENT, str(error)
        except OtherContentError:
            code, text = grpc.StatusCode.ALREADY_EXISTS, "this key has come with another payment"
        except NoSuchPaymentError:
            code, text = grpc.StatusCode.NOT_FOUND, "no payment with this key has come"
        except Lost:
            code, text = grpc.StatusCode.UNAVAILABLE, "a fault that is switched on"
        return await context.abort(code, text)


def _order(request: PayRequest) -> Order:
    """Raises InvalidOrderError."""
    key = request.idempotency_key
    if not _is_uuid(key):
        raise InvalidOrderError("idempotency_key must be a uuid, in lower case and with hyphens")
    if request.amount.minor_units <= 0 or not request.amount.currency_code:
        raise InvalidOrderError("amount must be above 0, of a currency")
    if not request.account:
        raise InvalidOrderError("account must say where to")
    return Order(
        key=key,
        currency=request.amount.currency_code,
        minor_units=request.amount.minor_units,
        account=request.account,
        beneficiary=request.beneficiary,
        reference=request.reference,
    )


def _is_uuid(key: str) -> bool:
    """In the one form that uuids are written in: two forms of one would be two keys."""
    try:
        return str(UUID(key)) == key
    except ValueError:
        return False


def _message(payment: Payment) -> PaymentMessage:
    message = PaymentMessage(
        idempotency_key=payment.order.key,
        state=STATES[payment.state],
        provider_reference=payment.reference,
        refusal=payment.refusal,
    )
    if payment.settle_time is not None:
        message.settle_time.FromDatetime(datetime.fromtimestamp(payment.settle_time, UTC))
    return message
