"""PayoutService: what was to be paid out, and what became of it."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from specie.transaction.v1 import (
    GetPayoutRequest,
    GetPayoutResponse,
    ListPayoutsRequest,
    ListPayoutsResponse,
    PayoutServiceServicer,
    RetryPayoutRequest,
    RetryPayoutResponse,
)
from specie.transaction.v1 import Payout as PayoutMessage

from service_kit import pages
from service_kit.call import bound_to, current_call
from service_kit.status import Refusal
from transaction_service.payouts.payout import Payout, PayoutState
from transaction_service.payouts.ports import Payouts
from transaction_service.ports import Accounts, Position
from transaction_service.rpc.convert import payout_message
from transaction_service.rpc.lookups import check_wallet

PREFIX = "payouts/"


class PayoutServicer(PayoutServiceServicer):
    """Thin over its port. Who is bound sees the payouts out of wallets of his own, and of what went wrong only why the
    provider refused: the rest is for operators."""

    def __init__(self, payouts: Payouts, accounts: Accounts) -> None:
        self._payouts = payouts
        self._accounts = accounts

    async def GetPayout(self, request: GetPayoutRequest, context: Any) -> GetPayoutResponse:
        payout = await self._payouts.payout(request.name.removeprefix(PREFIX), bound_to())
        if payout is None:
            raise _not_found(request.name)
        return GetPayoutResponse(payout=_message(payout))

    async def ListPayouts(self, request: ListPayoutsRequest, context: Any) -> ListPayoutsResponse:
        await check_wallet(self._accounts, request.wallet)
        state = PayoutState(request.state) if request.state else None
        filters = ("payouts", request.wallet, state)
        after = pages.decode(request.page_token, *filters) if request.page_token else None

        def answer(payouts: Sequence[Any], token: str) -> ListPayoutsResponse:
            return ListPayoutsResponse(payouts=map(_message, payouts), next_page_token=token)

        async def page(size: int) -> tuple[Sequence[Any], Position | None]:
            return await self._payouts.payouts(request.wallet, state, after, size)

        return await pages.fitting(page, answer, request.page_size, filters)

    async def RetryPayout(self, request: RetryPayoutRequest, context: Any) -> RetryPayoutResponse:
        call = current_call()
        payout = await self._payouts.retry(request.name.removeprefix(PREFIX), call.principal, call.trace_id)
        if payout is None:
            raise _not_found(request.name)
        return RetryPayoutResponse(payout=payout_message(payout))


def _message(payout: Payout) -> PayoutMessage:
    return payout_message(replace(payout, last_error=payout.refusal) if bound_to() else payout)


def _not_found(name: str) -> Refusal:
    return Refusal("PAYOUT_NOT_FOUND", f"there is no {name}", {"payout": name})
