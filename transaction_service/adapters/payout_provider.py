"""A payout provider over gRPC: specie.payout.v1.PayoutProvider, as anybody may implement it.

What it says is believed only if it is whole and about the payment that was asked for. Everything else tells nothing,
as an error does: the payment may have been made or not, and is asked for again under the same key.
"""

from collections.abc import Awaitable, Mapping
from typing import Any, Final, TypeVar

import grpc
import grpc.aio
from specie.payout.v1 import (
    GetPaymentRequest,
    GetPaymentResponse,
    PaymentState,
    PayoutProviderStub,
    PayRequest,
    PayResponse,
)
from specie.payout.v1 import Payment as PaymentMessage
from specie.type.v1 import Money

from transaction_service.payouts import ports
from transaction_service.payouts.payout import Payout
from transaction_service.payouts.ports import Payment, ProviderUnavailable

R = TypeVar("R", PayResponse, GetPaymentResponse)

REFERENCE_MAX: Final = 128
REFUSAL_MAX: Final = 500
ERROR_SHOWN_MAX: Final = 300
"""Characters of what a provider says about an error."""
MALFORMED: Final = "MALFORMED_ANSWER"

CHANNEL_OPTIONS: Final = (
    ("grpc.service_config_disable_resolution", 1),  # no lookup of TXT records
    # The default grows to two minutes: that long would every call fail after the provider is back.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 1_000),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    # Above what a payment may have, and little: it is somebody else's program.
    ("grpc.max_receive_message_length", 64 * 1024),
)

STATES: Final[Mapping[int, ports.PaymentState]] = {
    PaymentState.PAYMENT_STATE_PENDING: ports.PaymentState.PENDING,
    PaymentState.PAYMENT_STATE_PAID: ports.PaymentState.PAID,
    PaymentState.PAYMENT_STATE_REFUSED: ports.PaymentState.REFUSED,
}


class GrpcPayoutProvider:
    """It is made where the event loop runs. Fills ports.Provider."""

    def __init__(self, target: str, credentials: grpc.ChannelCredentials | None, timeout_seconds: float) -> None:
        """`target`: as gRPC names it. Without credentials: plain."""
        if credentials is None:
            self._channel = grpc.aio.insecure_channel(target, options=CHANNEL_OPTIONS)
        else:
            self._channel = grpc.aio.secure_channel(target, credentials, options=CHANNEL_OPTIONS)
        self._stub: Any = PayoutProviderStub(self._channel)
        self._timeout_seconds = timeout_seconds

    async def pay(self, payout: Payout) -> Payment:
        request = PayRequest(
            idempotency_key=payout.id,
            amount=Money(currency_code=payout.currency, minor_units=payout.amount),
            account=_line(payout.account),
            beneficiary=_line(payout.beneficiary),
            reference=_line(payout.reference),
        )
        try:
            answer = await _whole(self._stub.Pay(request, timeout=self._timeout_seconds))
        except grpc.aio.AioRpcError as error:
            raise _unavailable(error) from error
        return _payment(answer.payment, payout.id)

    async def get(self, payout_id: str) -> Payment | None:
        request = GetPaymentRequest(idempotency_key=payout_id)
        try:
            answer = await _whole(self._stub.GetPayment(request, timeout=self._timeout_seconds))
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.NOT_FOUND:
                return None
            raise _unavailable(error) from error
        return _payment(answer.payment, payout_id)

    async def close(self) -> None:
        await self._channel.close()


def _line(text: str) -> str:
    """A customer's words, as one line: banks' files have lines of their own, which they must not look like."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


async def _whole(calling: Awaitable[R | None]) -> R:
    """gRPC gives None for bytes that are no such message."""
    answer = await calling
    if answer is None:
        raise ProviderUnavailable(MALFORMED, "the provider's answer is no message of the contract")
    return answer


def _payment(message: PaymentMessage, key: str) -> Payment:
    """Raises ProviderUnavailable for one that cannot be believed."""
    state = STATES.get(message.state)
    problem = _problem(message, key, state)
    if state is None or problem:
        raise ProviderUnavailable(MALFORMED, f"the provider's answer {problem}")
    return Payment(state, message.provider_reference, message.refusal)


def _problem(message: PaymentMessage, key: str, state: ports.PaymentState | None) -> str:
    """What is wrong with an answer about this payment; empty: nothing."""
    if message.idempotency_key != key:
        return "is about another payment"
    if state is None:
        return "does not say what became of the payment"
    if message.refusal and state is not ports.PaymentState.REFUSED:
        return "says why it refused a payment that it did not refuse"
    if len(message.provider_reference) > REFERENCE_MAX or len(message.refusal) > REFUSAL_MAX:
        return "has longer texts than the contract allows"
    if "\0" in message.provider_reference or "\0" in message.refusal:
        return "has a NUL character, which PostgreSQL does not take"
    return ""


def _unavailable(error: grpc.aio.AioRpcError) -> ProviderUnavailable:
    code = error.code().name
    said = (error.details() or "")[:ERROR_SHOWN_MAX]
    return ProviderUnavailable(code, f"{code}: {said}" if said else code)
