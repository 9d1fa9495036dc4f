"""The calls that place, capture and release holds: thin over the poster and the reader of holds."""

from typing import Any, Final

from specie.transaction.v1 import (
    CaptureHoldRequest,
    CaptureHoldResponse,
    PlaceHoldRequest,
    PlaceHoldResponse,
    ReleaseHoldRequest,
    ReleaseHoldResponse,
    ReleaseHoldsRequest,
    ReleaseHoldsResponse,
)

from service_kit.call import Call, current_call
from service_kit.times import to_bound, to_time
from transaction_service.domain import hold_commands
from transaction_service.domain.hold import Hold
from transaction_service.domain.movement import Movement, Outcome, TransactionKind, Work, movement
from transaction_service.domain.terms import PLAIN, Terms
from transaction_service.ports import Accounts, HoldFilter, HoldReader
from transaction_service.posting.queue import Result
from transaction_service.rpc import commands
from transaction_service.rpc.convert import hold_message, hold_name, transaction_message
from transaction_service.rpc.errors import check_currency
from transaction_service.rpc.lookups import check_wallet, find_hold
from transaction_service.rpc.poster import Poster, refused

RELEASED_MAX: Final = 1000
"""As the contract promises."""


class Holds:
    """Needs what it names."""

    _poster: Poster
    _holds: HoldReader
    _accounts: Accounts

    async def PlaceHold(self, request: PlaceHoldRequest, context: Any) -> PlaceHoldResponse:
        outcome = await self._poster.one(_place(request, current_call()))
        return PlaceHoldResponse(hold=hold_message(await self._after(outcome)), replayed=outcome.replayed)

    async def CaptureHold(self, request: CaptureHoldRequest, context: Any) -> CaptureHoldResponse:
        hold = await find_hold(self._holds, request.name)
        outcome = await self._poster.one(_capture(hold, request, current_call()))
        return CaptureHoldResponse(
            hold=hold_message(await self._after(outcome)),
            transaction=transaction_message(outcome.transaction),
            replayed=outcome.replayed,
        )

    async def ReleaseHold(self, request: ReleaseHoldRequest, context: Any) -> ReleaseHoldResponse:
        hold = await find_hold(self._holds, request.name)
        outcome = await self._poster.one(hold_commands.release(hold, **commands.said(request, current_call())))
        return ReleaseHoldResponse(hold=hold_message(await self._after(outcome)), replayed=outcome.replayed)

    async def ReleaseHolds(self, request: ReleaseHoldsRequest, context: Any) -> ReleaseHoldsResponse:
        await check_wallet(self._accounts, request.source, "source")
        placed_before = to_bound(request, "place_time_before")
        wanted = HoldFilter(request.source, request.destination, request.external_reference, placed_before)
        found = await self._holds.open_holds(wanted, RELEASED_MAX)
        if not found:
            return ReleaseHoldsResponse()
        call = current_call()
        results = await self._poster.many(Work([_bulk_release(hold, request, call) for hold in found]))
        released = [hold_name(hold.id) for hold, result in zip(found, results, strict=True) if _is_released(result)]
        unanswered = [result for result in results if isinstance(result, Exception)]
        if unanswered and not released:
            raise refused(unanswered[0])
        return ReleaseHoldsResponse(released=released, more=len(found) == RELEASED_MAX or bool(unanswered))

    async def _after(self, outcome: Outcome) -> Hold:
        """As the command has left it; of a repeated one: as it is now."""
        return outcome.hold or await find_hold(self._holds, hold_name(outcome.transaction.movement.hold))


def _place(request: PlaceHoldRequest, call: Call) -> Movement:
    amount = request.amount
    check_currency(amount.currency_code)
    return movement(
        TransactionKind.HOLD,
        request.source,
        request.destination,
        amount.minor_units,
        amount.currency_code,
        terms=_expiry(request),
        **commands.said(request, call),
    )


def _expiry(request: PlaceHoldRequest) -> Terms:
    match request.WhichOneof("expiry"):
        case "expire_time":
            return Terms(expire_time=to_time(request, "expire_time"))
        case "ttl":
            return Terms(ttl_microseconds=request.ttl.ToMicroseconds())
        case _:
            return PLAIN


def _capture(hold: Hold, request: CaptureHoldRequest, call: Call) -> Movement:
    currency = request.amount.currency_code if request.HasField("amount") else hold.currency
    check_currency(currency)
    amount = request.amount.minor_units or hold_commands.ALL_THAT_IS_LEFT
    return hold_commands.capture(hold, amount, currency, final=request.final, **commands.said(request, call))


def _bulk_release(hold: Hold, request: ReleaseHoldsRequest, call: Call) -> Movement:
    return hold_commands.release_of_many(hold, call.principal, description=request.description, trace_id=call.trace_id)


def _is_released(result: Result) -> bool:
    return isinstance(result, Outcome) and not result.replayed and result.transaction.failure is None
