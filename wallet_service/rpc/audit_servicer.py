"""WalletAuditService: who did what to which wallet."""

from collections.abc import Sequence
from typing import Any

from grpc import aio
from specie.wallet.v1 import ListWalletActsRequest, ListWalletActsResponse, WalletAuditServiceServicer

from service_kit import pages
from service_kit.acts import Act, ActFilter, Acts, Position, act_message
from service_kit.times import to_bound

Context = aio.ServicerContext[Any, Any]


class WalletAuditServicer(WalletAuditServiceServicer):
    """For every caller with the scope, the same: whose the wallets are is not asked."""

    def __init__(self, acts: Acts) -> None:
        self._acts = acts

    async def ListWalletActs(self, request: ListWalletActsRequest, _: Context) -> ListWalletActsResponse:
        wanted = ActFilter(
            subject=request.wallet,
            principal=request.principal,
            act=request.act,
            trace_id=request.trace_id,
            start=to_bound(request, "start_time"),
            end=to_bound(request, "end_time"),
        )
        filters = ("wallet acts", wanted)
        after = pages.decode(request.page_token, *filters) if request.page_token else None

        def answer(acts: Sequence[Act], token: str) -> ListWalletActsResponse:
            return ListWalletActsResponse(acts=map(act_message, acts), next_page_token=token)

        async def page(size: int) -> tuple[Sequence[Act], Position | None]:
            return await self._acts.page(wanted, after, size)

        return await pages.fitting(page, answer, request.page_size, filters)
