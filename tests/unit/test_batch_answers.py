"""What callers of BatchTransfer are told of results that a ledger rarely gives, and what never gets to the ledger."""

import asyncio
import gc
import weakref
from collections.abc import Collection, Sequence
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from google.rpc.status_pb2 import Status
from specie.transaction.v1 import BatchTransferRequest, BatchTransferResponse, TransferMode, TransferRequest

from service_kit.call import Call, enter_call
from service_kit.caller import Caller
from service_kit.status import Refusal, to_status
from tests.kit.builders import NOON
from tests.kit.calls import usd
from transaction_service.domain.failure import Failure, Reason
from transaction_service.domain.identity import transaction_id
from transaction_service.domain.movement import Movement, Outcome, Refused, Transaction, TransactionState, Work
from transaction_service.posting.pending import Pending
from transaction_service.posting.queue import Contention, Expired, LedgerUnavailable, Result
from transaction_service.rpc import batches
from transaction_service.rpc.batches import LABELS_MAX, all_or_none, each

NOBODY: Any = None
LOCAL = Caller("local", frozenset({"service"}))
BROKE = Failure(Reason.INSUFFICIENT_FUNDS, {"wallet": "wallets/a", "available": "0", "amount": "1"})
STOPPED = Failure(Reason.BATCH_STOPPED, {"item": "1", "stopped_by": "transactions/x", "reason": "INSUFFICIENT_FUNDS"})
REUSED = Failure(Reason.REQUEST_ID_REUSED, {"request_id": "key", "transaction": "transactions/x"})
POSTED = "posted"

Answering = Failure | Refused | Exception | str


class ScriptedPoster:
    """Gives each movement what the test has for it. Takes as many pieces of work as it is told to."""

    def __init__(self, script: Sequence[Answering], takes: int = 1) -> None:
        self._script = list(script)
        self._takes = takes
        self.works: list[Work] = []

    async def many(self, work: Work) -> list[Result]:
        if len(self.works) == self._takes:
            raise Refusal("OVERLOADED", "later", retry_after_seconds=1)
        self.works.append(work)
        part, self._script = self._script[: len(work.movements)], self._script[len(work.movements) :]
        return [_result(movement, answer) for movement, answer in zip(work.movements, part, strict=True)]


class ScriptedReader:
    """Knows the transactions that the test names."""

    def __init__(self, *known: str) -> None:
        self._known = set(known)

    async def known(self, ids: Collection[str]) -> set[str]:
        return self._known & set(ids)


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


def told(transfers: Sequence[TransferRequest], poster: Any, pending: int = 0, *known: str) -> BatchTransferResponse:  # noqa: ANN401 - scripted
    """What each is answered with; `pending`: how many may be."""
    reader: Any = ScriptedReader(*known)

    async def call() -> BatchTransferResponse:
        enter_call(Call("/method", b"", NOBODY, NOBODY, {}, caller=LOCAL, trace_id="trace"))
        return await each(transfers, poster, Pending(pending), reader)

    return asyncio.run(call())


def answered(script: Sequence[Answering]) -> BatchTransferResponse:
    return told(items(len(script)), ScriptedPoster(script))


def reasons(answer: BatchTransferResponse) -> list[str]:
    """Empty: none."""
    found = []
    for result in answer.results:
        info = error_details_pb2.ErrorInfo()
        if result.HasField("error"):
            result.error.details[0].Unpack(info)
        found.append(info.reason)
    return found


def stopped(script: Sequence[Answering]) -> Exception:
    poster: Any = ScriptedPoster(script)

    async def call() -> None:
        enter_call(Call("/method", b"", NOBODY, NOBODY, {}, caller=LOCAL, trace_id="trace"))
        await all_or_none(items(len(script)), poster)

    with pytest.raises(Exception) as raised:  # noqa: PT011 - whatever it is
        asyncio.run(call())
    return raised.value


def test_each_item_has_its_own_error_be_it_the_ledger_s_the_house_s_or_a_bug() -> None:
    script: list[Answering] = [POSTED, Contention(), LedgerUnavailable(), Expired(), BROKE, ZeroDivisionError(), POSTED]
    answer = answered(script)
    assert reasons(answer) == [
        "",
        "CONTENTION",
        "UNAVAILABLE",
        "DEADLINE_EXCEEDED",
        "INSUFFICIENT_FUNDS",
        "INTERNAL",
        "",
    ]
    assert [result.replayed for result in answer.results] == [False, False, False, False, True, False, False]
    assert answer.results[5].error.message == "an internal error, logged under trace id trace"


@pytest.mark.parametrize("count", [1, 2, 5_000])
def test_a_batch_of_any_length_is_one_piece_of_work_in_order(count: int) -> None:
    answer = answered([POSTED] * count)
    assert [result.transaction.request_id for result in answer.results] == [f"key {number}" for number in range(count)]


FULL = {f"k{number}": "" for number in range(64)}
A_PIECE = LABELS_MAX // len(FULL)


@pytest.mark.parametrize(
    ("count", "pieces"),
    [
        (A_PIECE, [A_PIECE]),
        (A_PIECE + 1, [A_PIECE, 1]),
        (2 * A_PIECE, [A_PIECE, A_PIECE]),
        (2 * A_PIECE + 3, [A_PIECE, A_PIECE, 3]),
    ],
)
def test_many_labels_are_posted_in_several_pieces_one_after_the_other(count: int, pieces: list[int]) -> None:
    poster = ScriptedPoster([POSTED] * count, takes=len(pieces))
    answer = told(items(count, labels=FULL), poster)
    assert [len(work.movements) for work in poster.works] == pieces
    assert [result.transaction.request_id for result in answer.results] == [f"key {number}" for number in range(count)]


def test_a_piece_that_is_refused_takes_the_rest_with_it_and_what_was_posted_stays_told() -> None:
    count = 3 * A_PIECE
    poster = ScriptedPoster([POSTED] * count, takes=1)
    answer = told(items(count, labels=FULL), poster)
    assert reasons(answer) == [""] * A_PIECE + ["OVERLOADED"] * (2 * A_PIECE)
    assert answer.results[A_PIECE].error.code == grpc.StatusCode.RESOURCE_EXHAUSTED.value[0]


def test_a_batch_of_which_nothing_is_taken_is_refused_as_a_call() -> None:
    with pytest.raises(Refusal) as raised:
        told(items(2), ScriptedPoster([], takes=0))
    assert raised.value.reason == "OVERLOADED"


def test_all_or_none_is_one_commit_and_so_has_not_too_many_labels() -> None:
    fits = [POSTED] * A_PIECE
    poster: Any = ScriptedPoster(fits)

    async def call(transfers: Sequence[TransferRequest]) -> None:
        enter_call(Call("/method", b"", NOBODY, NOBODY, {}, caller=LOCAL))
        await all_or_none(transfers, poster)

    asyncio.run(call(items(A_PIECE, labels=FULL)))
    with pytest.raises(Refusal) as raised:
        asyncio.run(call(items(A_PIECE + 1, labels=FULL)))
    assert (raised.value.reason, raised.value.metadata) == ("INVALID_FIELD", {"fields": "transfers"})
    assert [violation.rule for violation in raised.value.violations] == ["transfers.labels"]
    assert len(poster.works) == 1


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
    poster = ScriptedPoster([])
    answer = told(items(2, mode=TransferMode.TRANSFER_MODE_ASYNC), poster)
    assert reasons(answer) == ["TOO_MANY_PENDING"] * 2
    assert poster.works == []


def test_an_item_that_is_stored_already_needs_no_room() -> None:
    asked = items(4, mode=TransferMode.TRANSFER_MODE_ASYNC)
    poster = ScriptedPoster([POSTED] * 3)
    answer = told([*asked, asked[0]], poster, 1, transaction_id("local", "key 2"))
    assert reasons(answer) == ["", "TOO_MANY_PENDING", "", "TOO_MANY_PENDING", ""]
    assert [movement.request_id for movement in poster.works[0].movements] == ["key 0", "key 2", "key 0"]


def test_what_is_wrong_with_an_item_is_kept_without_what_led_to_it() -> None:
    """A refusal's traceback holds on to every violation, and there can be thousands of such items."""
    labels = {f"A{number}": "" for number in range(64)}
    seen: list[weakref.ref[Refusal]] = []

    def spy(refusal: Refusal) -> Status:
        seen.append(weakref.ref(refusal))
        return to_status(refusal)

    alive: list[int] = []

    class Poster(ScriptedPoster):
        async def many(self, work: Work) -> list[Result]:
            gc.collect()
            alive.append(sum(refusal() is not None for refusal in seen))
            return await super().many(work)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batches, "to_status", spy)
        answer = told([*items(3, labels=labels), *items(1)], Poster([POSTED]))
    assert reasons(answer) == ["INVALID_FIELD"] * 3 + [""]
    assert (len(seen), alive) == (3, [0])


def test_others_get_their_turn_between_two_items(monkeypatch: pytest.MonkeyPatch) -> None:
    """When the time is up; here it is always."""
    monkeypatch.setattr(batches, "TURN_SECONDS", 0)
    poster: Any = ScriptedPoster([POSTED] * 100)
    reader: Any = ScriptedReader()
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async def call() -> None:
        enter_call(Call("/method", b"", NOBODY, NOBODY, {}, caller=LOCAL))
        beside = asyncio.create_task(other())
        await each(items(100), poster, Pending(0), reader)
        beside.cancel()

    asyncio.run(call())
    assert turns >= 200  # before it is posted, and afterwards
