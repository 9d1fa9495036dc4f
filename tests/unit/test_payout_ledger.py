"""The posting queue as the ledger in which payouts are given back: what is an answer, and what is none yet."""

import asyncio

import pytest

from tests.kit.builders import transfer
from tests.kit.ledgers import memory_ledger
from tests.kit.wallets import asynchronous
from transaction_service.back_office.payouts import QueuedLedger
from transaction_service.domain.failure import Failure, Reason
from transaction_service.domain.movement import Answer, Refused
from transaction_service.payouts.ports import LedgerBusy
from transaction_service.posting.queue import Contention, Expired, LedgerUnavailable, PostingQueue, Result

MOVEMENT = transfer()
BYTES_MAX = 100


async def posted(result: Result) -> Answer:
    """What is made of this result of the lane."""
    queue = PostingQueue(1, BYTES_MAX)
    posting = asyncio.create_task(QueuedLedger(memory_ledger().reader, queue).post(MOVEMENT))
    await asyncio.sleep(0)
    [ticket] = queue.take(1)
    assert ticket.work.movements == [MOVEMENT]
    ticket.resolve([result])
    return await posting


@asynchronous
async def test_an_answer_is_the_answer() -> None:
    answer = Refused(Failure(Reason.SAME_WALLET, {"wallet": "wallets/alice"}))
    assert await posted(answer) is answer


@pytest.mark.parametrize("result", [Contention(), LedgerUnavailable(), Expired()])
@asynchronous
async def test_what_may_have_an_effect_or_none_is_to_be_posted_again(result: Exception) -> None:
    with pytest.raises(LedgerBusy, match=type(result).__name__):
        await posted(result)


@asynchronous
async def test_a_bug_is_no_answer() -> None:
    with pytest.raises(ZeroDivisionError):
        await posted(ZeroDivisionError())


@asynchronous
async def test_a_queue_that_takes_nothing_has_no_answer_yet() -> None:
    queue = PostingQueue(1, BYTES_MAX)
    ledger = QueuedLedger(memory_ledger().reader, queue)
    waiting = asyncio.create_task(ledger.post(MOVEMENT))
    await asyncio.sleep(0)
    with pytest.raises(LedgerBusy, match="QueueFull"):
        await ledger.post(MOVEMENT)
    queue.close()
    with pytest.raises(LedgerBusy, match="QueueClosed"):
        await ledger.post(MOVEMENT)
    waiting.cancel()
