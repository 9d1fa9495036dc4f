"""BatchTransfer: what is wrong with one item is that item's error, unless the batch is all or none.

Thousands of items must hold up neither the event loop nor a lane: while they are worked on others get their turn, and
no commit takes more labels of them than it can write in a moment.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from time import monotonic
from typing import Final

import structlog
from google.rpc.status_pb2 import Status
from specie.transaction.v1 import BatchTransferResponse, BatchTransferResult, TransferRequest

from service_kit.call import Call, current_call
from service_kit.interceptors import check_rules
from service_kit.status import Refusal, internal, invalid, to_status, within
from transaction_service.domain.failure import Reason
from transaction_service.domain.movement import Manner, Movement, Outcome, Refused, Work
from transaction_service.ports import LedgerReader
from transaction_service.posting.pending import Pending
from transaction_service.posting.queue import Result
from transaction_service.rpc import commands
from transaction_service.rpc.asynchronous import tell_stored, too_many, without_room
from transaction_service.rpc.convert import write_transaction
from transaction_service.rpc.plain import is_certainly_valid
from transaction_service.rpc.poster import Poster, refused

log = structlog.stdlib.get_logger()

TURN_SECONDS: Final = 0.005
"""After so long others get their turn. One item takes microseconds; one with 64 broken labels, a millisecond or two."""
LABELS_MAX: Final = 20_000
"""So many of a batch go into one commit: each is a row of its own, and all who wait behind them wait half a second."""

Items = Sequence[TransferRequest]


async def each(transfers: Items, poster: Poster, pending: Pending, reader: LedgerReader) -> BatchTransferResponse:
    """An outcome per item. Raises Refusal only when nothing of the batch was taken."""
    call = current_call()
    movements: dict[int, Movement] = {}
    errors: dict[int, Status] = {}
    async for index in _in_turns(len(transfers)):
        try:
            movements[index] = _command(transfers[index], index, call)
        except Refusal as refusal:
            # Not the refusal itself: with its traceback it holds on to all that was found on the way.
            errors[index] = to_status(refusal)
    shut_out = await without_room(movements.values(), pending, reader)
    if shut_out:
        error = to_status(too_many(pending))
        errors |= {index: error for index, movement in movements.items() if movement.id in shut_out}
    results = await _post([movement for index, movement in movements.items() if index not in errors], poster)
    tell_stored(results, pending)
    return await _answer(len(transfers), results, errors, call)


async def all_or_none(transfers: Items, poster: Poster) -> BatchTransferResponse:
    """Raises Refusal with the metadata `item` when one of them fails: then none is posted."""
    call = current_call()
    movements: list[Movement] = []
    if sum(len(request.labels) for request in transfers) > LABELS_MAX:
        text = f"must not have more than {LABELS_MAX} labels, all together, in an atomic batch"
        raise invalid("transfers", "transfers.labels", text)
    async for index in _in_turns(len(transfers)):
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
            error.message = f"item {culprit}: {error.message}"
        raise error
    return await _answer(len(transfers), results, {}, call)


def _command(request: TransferRequest, index: int, call: Call) -> Movement:
    """Raises Refusal, its fields as those of the whole request."""
    try:
        if not is_certainly_valid(request):
            check_rules(request)
        return commands.transfer(request, call)
    except Refusal as refusal:
        raise within(f"transfers[{index}]", refusal) from None


async def _post(movements: Sequence[Movement], poster: Poster) -> list[Result]:
    """Piece by piece. When one is refused, the rest is refused with it, so that nothing overtakes what was before it.
    Raises Refusal when it is the first one."""
    results: list[Result] = []
    for piece in _pieces(movements):
        try:
            results += await poster.many(Work(piece))
        except Refusal as refusal:
            if not results:
                raise
            return results + [refusal] * (len(movements) - len(results))
    return results


def _pieces(movements: Sequence[Movement]) -> Iterator[Sequence[Movement]]:
    """In their order, none with more labels than go into one commit."""
    start = labels = 0
    for index, movement in enumerate(movements):
        labels += len(movement.labels)
        if labels > LABELS_MAX:
            yield movements[start:index]
            start, labels = index, len(movement.labels)
    if start < len(movements):
        yield movements[start:]


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
    count: int, results: Sequence[Result], errors: dict[int, Status], call: Call
) -> BatchTransferResponse:
    """An outcome per item, in their order: of those that were refused before they were posted, and of the others."""
    response = BatchTransferResponse()
    posted = iter(results)
    async for index in _in_turns(count):
        told, error = response.results.add(), errors.get(index)
        if error is not None:
            told.error.CopyFrom(error)
        else:
            _tell(told, next(posted), call)
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


async def _in_turns(count: int) -> AsyncIterator[int]:
    """The indexes of so many items."""
    until = monotonic() + TURN_SECONDS
    for index in range(count):
        if monotonic() >= until:
            await asyncio.sleep(0)
            until = monotonic() + TURN_SECONDS
        yield index
