"""What callers of BatchTransfer are told of results that a ledger rarely gives, and what never gets to the ledger."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from google.rpc import error_details_pb2
from specie.transaction.v1 import BatchTransferRequest, BatchTransferResponse, TransferMode, TransferRequest

from service_kit.call import Call, enter_call
from service_kit.status import Refusal
from tests.kit.builders import NOON
from tests.kit.calls import usd
from transaction_service.domain.failure import Failure, Reason
from transaction_service.domain.movement import Movement, Outcome, Refused, Transaction, TransactionState, Work
from transaction_service.posting.pending import Pending
from transaction_service.posting.queue import Contention, Expired, LedgerUnavailable, Result
from transaction_service.rpc.batches import SLICE, all_or_none, each

NOBODY: Any = None
BROKE = Failure(Reason.INSUFFICIENT_FUNDS, {"wallet": "wallets/a", "available": "0", "amount": "1"})
STOPPED = Failure(Reason.BATCH_STOPPED, {"item": "1", "stopped_by": "transactions/x", "reason": "INSUFFICIENT_FUNDS"})
REUSED = Failure(Reason.REQUEST_ID_REUSED, {"request_id": "key", "transaction": "transactions/x"})
POSTED = "posted"

Answering = Failure | Refused | Exception | str


class ScriptedPoster:
    """Gives each movement what the test has for it."""

    def __init__(self, script: Sequence[Answering]) -> None:
        self._script = script
        self.works: list[Work] = []

    async def many(self, work: Work) -> list[Result]:
        self.works.append(work)
        return [_result(movement, answer) for movement, answer in zip(work.movements, self._script, strict=True)]


def _result(movement: Movement, answer: Answering) -> Result:
    if isinstance(answer, Failure):
        return Outcome(Transaction(movement, TransactionState.FAILED, NOON, NOON, answer), replayed=True)
    if isinstance(answer, str):
        return Outcome(Transaction(movement, TransactionState.POSTED, NOON, NOON), replayed=False)
    return answer


def items(count: int, **changed: Any) -> Sequence[TransferRequest]:  # noqa: ANN401 - any field
    asked = [
        TransferRequest(
            source="wallets/a", destination="wallets/b", amount=usd(1), request_id=f"key {number}", **changed
        )
        for number in range(count)
    ]
    return BatchTransferRequest(transfers=asked).transfers


def answered(script: Sequence[Answering]) -> BatchTransferResponse:
    poster: Any = ScriptedPoster(script)

    async def call() -> BatchTransferResponse:
        enter_call(Call("/method", b"", NOBODY, NOBODY, {}, trace_id="trace"))
        return await each(items(len(script)), poster, Pending(0))

    return asyncio.run(call())


def stopped(script: Sequence[Answering]) -> Exception:
    poster: Any = ScriptedPoster(script)

    async def call() -> None:
        enter_call(Call("/method", b"", NOBODY, NOBODY, {}, trace_id="trace"))
        await all_or_none(items(len(script)), poster)

    with pytest.raises(Exception) as raised:  # noqa: PT011 - whatever it is
        asyncio.run(call())
    return raised.value


def test_each_item_has_its_own_error_be_it_the_ledger_s_the_house_s_or_a_bug() -> None:
    script: list[Answering] = [POSTED, Contention(), LedgerUnavailable(), Expired(), BROKE, ZeroDivisionError(), POSTED]
    told = answered(script).results
    infos = []
    for result in told:
        info = error_details_pb2.ErrorInfo()
        if result.HasField("error"):
            result.error.details[0].Unpack(info)
        infos.append(info.reason)
    assert infos == ["", "CONTENTION", "UNAVAILABLE", "DEADLINE_EXCEEDED", "INSUFFICIENT_FUNDS", "INTERNAL", ""]
    assert [result.replayed for result in told] == [False, False, False, False, True, False, False]
    assert told[5].error.message == "an internal error, logged under trace id trace"


@pytest.mark.parametrize("count", [1, SLICE - 1, SLICE, SLICE + 1, 3 * SLICE])
def test_a_batch_of_any_length_is_one_piece_of_work_in_order(count: int) -> None:
    told = answered([POSTED] * count).results
    assert [result.transaction.request_id for result in told] == [f"key {number}" for number in range(count)]


# What becomes of the items, who stopped the batch, and for what reason.
CULPRITS: list[tuple[list[Answering], str, str]] = [
    ([BROKE], "0", "INSUFFICIENT_FUNDS"),
    ([STOPPED, BROKE, STOPPED], "1", "INSUFFICIENT_FUNDS"),
    ([STOPPED, STOPPED, BROKE], "2", "INSUFFICIENT_FUNDS"),
    ([POSTED, STOPPED, BROKE, BROKE], "2", "INSUFFICIENT_FUNDS"),
    ([Refused(STOPPED), Refused(REUSED), Refused(STOPPED)], "1", "REQUEST_ID_REUSED"),
    ([STOPPED, BROKE, Refused(REUSED)], "1", "INSUFFICIENT_FUNDS"),
    # All were part of other batches, which others stopped.
    ([POSTED, STOPPED, STOPPED], "1", "BATCH_STOPPED"),
]


@pytest.mark.parametrize(("script", "item", "reason"), CULPRITS)
def test_all_or_none_tells_who_stopped_it(script: list[Answering], item: str, reason: str) -> None:
    error = stopped(script)
    assert isinstance(error, Refusal)
    assert (error.reason, error.metadata["item"]) == (reason, item)


@pytest.mark.parametrize(
    ("cause", "reason"),
    [(Contention(), "CONTENTION"), (LedgerUnavailable(), "UNAVAILABLE"), (Expired(), "DEADLINE_EXCEEDED")],
)
def test_what_stops_all_or_none_from_outside_is_no_item_s(cause: Exception, reason: str) -> None:
    error = stopped([cause, cause])
    assert isinstance(error, Refusal)
    assert (error.reason, error.metadata) == (reason, {})


def test_a_bug_stays_one() -> None:
    assert isinstance(stopped([ZeroDivisionError(), ZeroDivisionError()]), ZeroDivisionError)


def test_nothing_is_handed_over_when_no_item_can_be() -> None:
    poster: Any = ScriptedPoster([])

    async def call() -> BatchTransferResponse:
        enter_call(Call("/method", b"", NOBODY, NOBODY, {}))
        return await each(items(2, mode=TransferMode.TRANSFER_MODE_ASYNC), poster, Pending(0))

    told = asyncio.run(call()).results
    assert [result.WhichOneof("outcome") for result in told] == ["error", "error"]
    assert poster.works == []


def test_others_get_their_turn_between_two_slices() -> None:
    poster: Any = ScriptedPoster([POSTED] * (4 * SLICE))
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async def call() -> None:
        enter_call(Call("/method", b"", NOBODY, NOBODY, {}))
        beside = asyncio.create_task(other())
        await each(items(4 * SLICE), poster, Pending(0))
        beside.cancel()

    asyncio.run(call())
    assert turns >= 6  # three times before it is posted, three times afterwards
