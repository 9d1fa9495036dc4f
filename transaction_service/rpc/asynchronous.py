"""ASYNC transfers as they are accepted: there must be room for them, and the dispatcher hears of them."""

from collections.abc import Iterable, Sequence

from service_kit.call import bound_to
from service_kit.status import RETRY_AFTER_SECONDS, Refusal
from transaction_service.domain.movement import Movement, Outcome, TransactionState
from transaction_service.domain.terms import PLAIN
from transaction_service.ports import LedgerReader
from transaction_service.posting.pending import Pending
from transaction_service.posting.queue import Result


async def admit(command: Movement, pending: Pending, reader: LedgerReader) -> None:
    """Raises Refusal TOO_MANY_PENDING for one more ASYNC transfer than may wait."""
    if await without_room([command], pending, reader):
        raise too_many(pending)


async def without_room(commands: Iterable[Movement], pending: Pending, reader: LedgerReader) -> set[str]:
    """The ids of those for which there is no room. What is stored already needs none: it is answered as it was."""
    deferred = [command.id for command in commands if command.terms is not PLAIN and command.terms.deferred]
    beyond = {id_ for id_ in dict.fromkeys(deferred) if not pending.admits(1, bound_to())}
    return beyond - await reader.known(beyond) if beyond else beyond


def too_many(pending: Pending) -> Refusal:
    limit = pending.limit_for(bound_to())
    text = f"{limit} ASYNC transfers are pending; send this one again later"
    told = {"max_pending": str(limit)}
    return Refusal("TOO_MANY_PENDING", text, told, retry_after_seconds=RETRY_AFTER_SECONDS)


def tell_stored(results: Sequence[Result], pending: Pending) -> None:
    """Wakes the dispatcher when one of them is to be posted at once."""
    if any(isinstance(result, Outcome) and _is_due(result) for result in results):
        pending.stored.set()


def _is_due(outcome: Outcome) -> bool:
    transaction = outcome.transaction
    if transaction.state is not TransactionState.PENDING:
        return False
    time = transaction.movement.terms.execute_time
    return time is None or time <= transaction.create_time
