"""The calls that move money at once: thin over the poster. A batch has a file of its own."""

from collections.abc import Collection
from typing import Any

from specie.transaction.v1 import (
    BatchTransferRequest,
    BatchTransferResponse,
    CancelTransactionRequest,
    CancelTransactionResponse,
    DepositRequest,
    DepositResponse,
    PostTransactionRequest,
    PostTransactionResponse,
    ReverseTransactionRequest,
    ReverseTransactionResponse,
    TransferRequest,
    TransferResponse,
    WithdrawRequest,
    WithdrawResponse,
)

from service_kit.call import current_call
from service_kit.status import Refusal
from transaction_service.domain.failure import Reason
from transaction_service.domain.movement import Manner, Movement, Outcome, TransactionState, Work
from transaction_service.ports import LedgerReader
from transaction_service.posting.pending import Pending
from transaction_service.rpc import commands
from transaction_service.rpc.asynchronous import admit, tell_stored
from transaction_service.rpc.batches import all_or_none, each
from transaction_service.rpc.convert import transaction_message
from transaction_service.rpc.lookups import find_transaction
from transaction_service.rpc.poster import Poster, refused


class Moving:
    """Needs what it names."""

    _poster: Poster
    _reader: LedgerReader
    _pending: Pending
    _payout_providers: Collection[str]

    async def Transfer(self, request: TransferRequest, context: Any) -> TransferResponse:
        command = commands.transfer(request, current_call())
        deferred = command.terms.deferred
        if deferred:
            await admit(command, self._pending, self._reader)
        transaction, replayed, _ = outcome = await self._poster.one(command)
        if deferred:
            tell_stored([outcome], self._pending)
        return TransferResponse(transaction=transaction_message(transaction), replayed=replayed)

    async def Deposit(self, request: DepositRequest, context: Any) -> DepositResponse:
        transaction, replayed, _ = await self._poster.one(commands.deposit(request, current_call()))
        return DepositResponse(transaction=transaction_message(transaction), replayed=replayed)

    async def Withdraw(self, request: WithdrawRequest, context: Any) -> WithdrawResponse:
        command = commands.withdrawal(request, current_call())
        await self._check_provider(command)
        transaction, replayed, _ = await self._poster.one(command)
        return WithdrawResponse(transaction=transaction_message(transaction), replayed=replayed)

    async def _check_provider(self, command: Movement) -> None:
        """Raises Refusal UNKNOWN_PAYOUT_PROVIDER. What was stored is answered as stored, also when its provider has
        gone since."""
        payout = command.terms.payout
        if payout is None or payout.provider in self._payout_providers:
            return
        if command.id not in await self._reader.known([command.id]):
            text = f"there is no payout provider {payout.provider}"
            raise Refusal("UNKNOWN_PAYOUT_PROVIDER", text, {"provider": payout.provider})

    async def BatchTransfer(self, request: BatchTransferRequest, context: Any) -> BatchTransferResponse:
        if request.atomic:
            return await all_or_none(request.transfers, self._poster)
        return await each(request.transfers, self._poster, self._pending, self._reader)

    async def PostTransaction(self, request: PostTransactionRequest, context: Any) -> PostTransactionResponse:
        transaction, replayed, _ = await self._poster.one(commands.compound(request, current_call()))
        return PostTransactionResponse(transaction=transaction_message(transaction), replayed=replayed)

    async def ReverseTransaction(self, request: ReverseTransactionRequest, context: Any) -> ReverseTransactionResponse:
        original = await find_transaction(self._reader, request.name)
        command = commands.reversal(request, original.movement, current_call())
        transaction, replayed, _ = await self._poster.one(command)
        return ReverseTransactionResponse(transaction=transaction_message(transaction), replayed=replayed)

    async def CancelTransaction(self, request: CancelTransactionRequest, context: Any) -> CancelTransactionResponse:
        transaction = await find_transaction(self._reader, request.name)
        if transaction.state is TransactionState.PENDING:
            work = Work([transaction.movement], Manner.CANCEL, current_call().principal)
            result = (await self._poster.many(work))[0]
            if not isinstance(result, Outcome):
                raise refused(result)
            transaction = result.transaction
        if transaction.failure is None or transaction.failure.reason is not Reason.TRANSFER_CANCELLED:
            state = transaction.state.name
            text = f"{request.name} is {state} and cannot be cancelled any more"
            raise Refusal("NOT_PENDING", text, {"transaction": request.name, "state": state})
        return CancelTransactionResponse(transaction=transaction_message(transaction))
