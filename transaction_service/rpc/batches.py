"""BatchTransfer: what is wrong with one item is that item's error, unless the batch is all or none.

Thousands of items must not hold up the event loop: they are worked on in slices, and between two slices others get
their turn.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Final

import structlog
from specie.transaction.v1 import BatchTransferResponse, BatchTransferResult, TransferRequest

from service_kit.call import Call, current_call
from service_kit.interceptors import check_rules
from service_kit.status import Refusal, internal, invalid, to_status, within
from transaction_service.domain.failure import Reason
from transaction_service.domain.movement import Manner, Movement, Outcome, Refused, Work
from transaction_service.posting.pending import Pending
from transaction_service.posting.queue import Result
from transaction_service.rpc import commands
from transaction_service.rpc.asynchronous import admit, tell_stored
from transaction_service.rpc.convert import write_transaction
from transaction_service.rpc.plain import is_certainly_valid
from transaction_service.rpc.poster import Poster, refused

log = structlog.stdlib.get_logger()

SLICE: Final = 250
"""Items; about five milliseconds."""

Items = Sequence[TransferRequest]


async def each(transfers: Items, poster: Poster, pending: Pending) -> BatchTransferResponse:
    """An outcome per item. Raises Refusal only when nothing of the batch was taken."""
    call = current_call()
    movements: list[Movement] = []
    refusals: dict[int, Exception] = {}
    async for part in _slices(transfers):
        for index in part:
            try:
                movement = _command(transfers[index], index, call)
                admit(movement, pending)
            except Refusal as refusal:
                refusals[index] = refusal
            else:
                movements.append(movement)
    results = await poster.many(Work(movements)) if movements else []
    tell_stored(results, pending)
    return await _answer(transfers, results, refusals, call)


async def all_or_none(transfers: Items, poster: Poster) -> BatchTransferResponse:
    """Raises Refusal with the metadata `item` when one of them fails: then none is posted."""
    call = current_call()
    movements: list[Movement] = []
    async for part in _slices(transfers):
        for index in part:
            try:
                movement = _command(transfers[index], index, call)
                if movement.terms.deferred:
                    rule, text = "mode.atomic", "must not be ASYNC in an atomic batch"
                    raise invalid(f"transfers[{index}].mode", rule, text)
            except Refusal as refusal:
                refusal.metadata["item"] = str(index)
                raise
            movements.append(movement)
    results = await poster.many(Work(movements, Manner.ATOMIC))
    culprit = _culprit(results)
    if culprit is not None:
        error = refused(results[culprit])
        if isinstance(error, Refusal) and isinstance(results[culprit], Outcome | Refused):
            error.metadata["item"] = str(culprit)
        raise error
    return await _answer(transfers, results, {}, call)


def _command(request: TransferRequest, index: int, call: Call) -> Movement:
    """Raises Refusal, its fields as those of the whole request."""
    try:
        if not is_certainly_valid(request):
            check_rules(request)
        return commands.transfer(request, call)
    except Refusal as refusal:
        raise within(f"transfers[{index}]", refusal) from None


def _culprit(results: Sequence[Result]) -> int | None:
    """The item that stopped an atomic batch: the first that failed for a reason of its own. None: all are posted."""
    failures = [index for index, result in enumerate(results) if not _is_success(result)]
    of_their_own = (index for index in failures if _reason(results[index]) is not Reason.BATCH_STOPPED)
    return next(of_their_own, failures[0] if failures else None)


def _is_success(result: Result) -> bool:
    return isinstance(result, Outcome) and result.transaction.failure is None


def _reason(result: Result) -> Reason | None:
    match result:
        case Outcome(transaction):
            return None if transaction.failure is None else transaction.failure.reason
        case Refused(failure):
            return failure.reason
    return None


async def _answer(
    transfers: Items, results: Sequence[Result], refusals: dict[int, Exception], call: Call
) -> BatchTransferResponse:
    """An outcome per item, in their order: of those that were refused before they were posted, and of the others."""
    response = BatchTransferResponse()
    posted = iter(results)
    async for part in _slices(transfers):
        for index in part:
            result = refusals.get(index)
            _tell(response.results.add(), next(posted) if result is None else result, call)
    return response


def _tell(told: BatchTransferResult, result: Result, call: Call) -> None:
    """What the call alone would have been answered with."""
    if isinstance(result, Outcome):
        told.replayed = result.replayed
        if result.transaction.failure is None:
            write_transaction(result.transaction, told.transaction)
            return
    error = refused(result)
    if not isinstance(error, Refusal):
        log.error("call_failed", method=call.method, trace_id=call.trace_id, exc_info=error)
        error = internal(call.trace_id)
    told.error.CopyFrom(to_status(error))


async def _slices(transfers: Items) -> AsyncIterator[range]:
    """Their indexes, piece by piece."""
    for start in range(0, len(transfers), SLICE):
        if start:
            await asyncio.sleep(0)
        yield range(start, min(start + SLICE, len(transfers)))
