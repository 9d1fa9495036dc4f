"""WalletService: from a request to a use case and back, nothing else."""

from typing import Any, Final

from grpc import aio
from specie.wallet.v1 import (
    BatchGetWalletsRequest,
    BatchGetWalletsResponse,
    CloseWalletRequest,
    CloseWalletResponse,
    CreateWalletRequest,
    CreateWalletResponse,
    FreezeWalletRequest,
    FreezeWalletResponse,
    GetWalletRequest,
    GetWalletResponse,
    ListWalletsRequest,
    ListWalletsResponse,
    UnfreezeWalletRequest,
    UnfreezeWalletResponse,
    UpdateWalletRequest,
    UpdateWalletResponse,
    WalletServiceServicer,
)

from service_kit import pages
from service_kit.call import bound_to, current_call
from wallet_service.app.changes import Changes
from wallet_service.app.reading import Reading
from wallet_service.domain import update
from wallet_service.domain.failure import Failure
from wallet_service.domain.lifecycle import Intent
from wallet_service.rpc.conversion import as_many_as_fit, creation, etag, message, particulars, position, state_filter
from wallet_service.rpc.errors import failures_as_refusals, to_refusal

Context = aio.ServicerContext[Any, Any]

FIRST_PAGE: Final = ""
"""Before every name."""


class WalletServicer(WalletServiceServicer):
    """Validated requests in; Refusals out where a request cannot be granted."""

    def __init__(self, reading: Reading, changes: Changes) -> None:
        self._reading = reading
        self._changes = changes

    async def CreateWallet(self, request: CreateWalletRequest, _: Context) -> CreateWalletResponse:
        with failures_as_refusals():
            wallet = await self._changes.create(creation(request, current_call().caller))
        return CreateWalletResponse(wallet=message(wallet))

    async def GetWallet(self, request: GetWalletRequest, _: Context) -> GetWalletResponse:
        with failures_as_refusals():
            wallet = await self._reading.get(request.name, bound_to())
        return GetWalletResponse(wallet=message(wallet))

    async def BatchGetWallets(self, request: BatchGetWalletsRequest, _: Context) -> BatchGetWalletsResponse:
        with failures_as_refusals():
            wallets = await self._reading.get_many(request.names, bound_to())
        return BatchGetWalletsResponse(wallets=map(message, wallets))

    async def ListWallets(self, request: ListWalletsRequest, _: Context) -> ListWalletsResponse:
        filters = (request.owner, int(request.state))
        after = position(pages.decode(request.page_token, *filters)) if request.page_token else FIRST_PAGE
        size = pages.page_size(request.page_size)
        with failures_as_refusals():
            page = await self._reading.page(request.owner, state_filter(request.state), after, size, bound_to())
        wallets, end = as_many_as_fit([message(wallet) for wallet in page.wallets], page.end)
        token = pages.encode([end], *filters) if end else ""
        return ListWalletsResponse(wallets=wallets, next_page_token=token)

    async def UpdateWallet(self, request: UpdateWalletRequest, _: Context) -> UpdateWalletResponse:
        values = particulars(request.wallet)
        fields = update.fields(request.update_mask.paths, values)
        if isinstance(fields, Failure):
            raise to_refusal(fields)
        with failures_as_refusals():
            wallet = await self._changes.update(request.wallet.name, fields, values, etag(request), bound_to())
        return UpdateWalletResponse(wallet=message(wallet))

    async def FreezeWallet(self, request: FreezeWalletRequest, _: Context) -> FreezeWalletResponse:
        with failures_as_refusals():
            wallet = await self._changes.set_state(request.name, Intent.FREEZE, bound_to())
        return FreezeWalletResponse(wallet=message(wallet))

    async def UnfreezeWallet(self, request: UnfreezeWalletRequest, _: Context) -> UnfreezeWalletResponse:
        with failures_as_refusals():
            wallet = await self._changes.set_state(request.name, Intent.UNFREEZE, bound_to())
        return UnfreezeWalletResponse(wallet=message(wallet))

    async def CloseWallet(self, request: CloseWalletRequest, _: Context) -> CloseWalletResponse:
        with failures_as_refusals():
            wallet = await self._changes.set_state(request.name, Intent.CLOSE, bound_to())
        return CloseWalletResponse(wallet=message(wallet))
