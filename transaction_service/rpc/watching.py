"""WatchTransactions: the tail of the feed as a stream of messages."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, Final

from specie.transaction.v1 import WatchTransactionsRequest, WatchTransactionsResponse

from service_kit.call import bound_to, current_call
from service_kit.status import RETRY_AFTER_SECONDS, Refusal
from transaction_service.ports import Accounts, Mark
from transaction_service.rpc.convert import transaction_message
from transaction_service.rpc.cursors import to_cursor, to_mark
from transaction_service.rpc.lookups import check_wallet
from transaction_service.tail import Tail, TooManyWatchers

BEGINNING: Final = "beginning"
LAST_EVENT_ID: Final = "last-event-id"
"""The header with which a browser takes up a stream again (WHATWG HTML, server-sent events). Browsers ask the same URL
as the first time, so it is newer than the cursor in the request."""


class Watching:
    """Needs what it names."""

    _tail: Tail
    _accounts: Accounts

    async def WatchTransactions(
        self, request: WatchTransactionsRequest, context: Any
    ) -> AsyncGenerator[WatchTransactionsResponse, None]:
        wallet = request.wallet
        await check_wallet(self._accounts, wallet)
        after = await self._mark(request)
        try:
            async with aclosing(self._tail.watch(wallet, after, bound_to())) as news:
                async for mark, transaction in news:
                    yield WatchTransactionsResponse(
                        transaction=None if transaction is None else transaction_message(transaction),
                        cursor=to_cursor(mark, wallet),
                    )
        except TooManyWatchers:
            text = "as many streams of WatchTransactions are open as may be; try again later, or at another instance"
            raise Refusal("OVERLOADED", text, retry_after_seconds=RETRY_AFTER_SECONDS) from None

    async def _mark(self, request: WatchTransactionsRequest) -> Mark | None:
        """Raises Refusal INVALID_CURSOR for one that this ledger has not sent for this wallet. One from beyond the end
        of the feed is of another ledger, or of the time before a restore: what is to come would be missed."""
        last_event = current_call().metadata.get(LAST_EVENT_ID)
        cursor = request.cursor if last_event is None else last_event
        if not cursor and last_event is None:
            return None
        feed = self._tail.feed
        if cursor == BEGINNING:
            return feed.beginning
        mark = to_mark(cursor, request.wallet)
        if mark is None or mark > await feed.end():
            what = "cursor" if last_event is None else "Last-Event-ID"
            raise Refusal(
                "INVALID_CURSOR",
                f"the {what} was not sent by WatchTransactions for this wallet; use one that was, or `beginning`",
            )
        return mark
