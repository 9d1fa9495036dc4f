"""What a call names, read or refused as not found."""

from transaction_service.domain.failure import Failure, Reason
from transaction_service.domain.hold import Hold
from transaction_service.domain.movement import Transaction
from transaction_service.ports import HoldReader, LedgerReader
from transaction_service.rpc.errors import to_refusal


async def find_transaction(reader: LedgerReader, name: str) -> Transaction:
    """`transactions/{uuid}`. Raises Refusal TRANSACTION_NOT_FOUND."""
    transaction = await reader.transaction(name.removeprefix("transactions/"))
    if transaction is None:
        raise to_refusal(Failure(Reason.TRANSACTION_NOT_FOUND, {"transaction": name}))
    return transaction


async def find_hold(reader: HoldReader, name: str) -> Hold:
    """`holds/{uuid}`. Raises Refusal HOLD_NOT_FOUND."""
    hold = await reader.hold(name.removeprefix("holds/"))
    if hold is None:
        raise to_refusal(Failure(Reason.HOLD_NOT_FOUND, {"hold": name}))
    return hold
