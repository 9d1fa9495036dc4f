"""Batches are sent again under the same ids until everything has an outcome, and no longer than patience lasts."""

from collections.abc import Callable, Sequence
from typing import Any

import grpc
import pytest
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status
from specie.transaction.v1 import (
    BatchTransferRequest,
    BatchTransferResponse,
    BatchTransferResult,
    Transaction,
    TransactionState,
    TransferRequest,
)

from specie_cli.imports.row import Row
from specie_cli.imports.sender import BATCH_BYTES_MAX, GaveUp, Kind, Outcome, Sender, batches
from specie_cli.imports.spool import Numbered

Answer = Callable[[Sequence[str]], BatchTransferResponse]


class Broken(grpc.RpcError, grpc.Call):
    """A call that failed; with `status`, as a service tells it, else as a gateway or a network."""

    def __init__(self, code: grpc.StatusCode, status: Status | None = None) -> None:
        self._code, self._status = code, status
        if status is not None:
            status.code = code.value[0]

    def code(self) -> grpc.StatusCode:
        return self._code

    def details(self) -> str:
        return "no route" if self._status is None else self._status.message

    def trailing_metadata(self) -> Any:  # noqa: ANN401 - grpc's
        return () if self._status is None else (("grpc-status-details-bin", self._status.SerializeToString()),)

    def initial_metadata(self) -> tuple[()]:
        return ()

    def is_active(self) -> bool:
        return False

    def time_remaining(self) -> float:
        return 0.0

    def cancel(self) -> bool:
        return False

    def add_callback(self, callback: object) -> bool:  # noqa: ARG002 - grpc's
        return False


class Ledger:
    """Answers one call after the other as told, and keeps what it was sent."""

    def __init__(self, *answers: Answer | Exception) -> None:
        self._answers = list(answers)
        self.sent: list[list[str]] = []
        self.now = 0.0
        self.pauses: list[float] = []
        self.problems: list[str] = []

    def call(self, request: BatchTransferRequest) -> BatchTransferResponse:
        ids = [transfer.request_id for transfer in request.transfers]
        self.sent.append(ids)
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer(ids)

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds

    def send(self, *ids: str, patience: float = 60) -> dict[str, Outcome]:
        sender = Sender(self.call, patience, self.problems.append, self.sleep, lambda: self.now, lambda: 0.0)
        return {ids[index]: outcome for index, outcome in sender.send([TransferRequest(request_id=i) for i in ids])}


def results(*each: BatchTransferResult) -> Answer:
    return lambda _: BatchTransferResponse(results=each)


def all_posted(ids: Sequence[str]) -> BatchTransferResponse:
    return BatchTransferResponse(results=[posted() for _ in ids])


def posted(replayed: bool = False, state: str = "TRANSACTION_STATE_POSTED") -> BatchTransferResult:
    return BatchTransferResult(transaction=Transaction(state=TransactionState.Value(state)), replayed=replayed)


def refused(reason: str, **metadata: str) -> BatchTransferResult:
    return BatchTransferResult(error=status(reason, **metadata))


def status(reason: str, *more: Message, **metadata: str) -> Status:
    details = [AnyMessage() for _ in (0, *more)]
    for detail, message in zip(details, (ErrorInfo(reason=reason, metadata=metadata), *more), strict=True):
        detail.Pack(message)
    return Status(code=9, message="so it is", details=details)


def test_each_item_has_its_outcome() -> None:
    ledger = Ledger(
        results(
            posted(),
            posted(replayed=True),
            posted(state="TRANSACTION_STATE_PENDING"),
            refused("INSUFFICIENT_FUNDS", transaction="transactions/1", replayed="true", available="5"),
            refused("INVALID_FIELD"),
        )
    )
    found = ledger.send("a", "b", "c", "d", "e")
    assert [(outcome.kind, outcome.replayed, outcome.is_on_record) for outcome in found.values()] == [
        (Kind.POSTED, False, False),
        (Kind.POSTED, True, False),
        (Kind.PENDING, False, False),
        (Kind.REJECTED, True, True),
        (Kind.REJECTED, False, False),
    ]
    assert (found["d"].reason, found["d"].metadata["available"]) == ("INSUFFICIENT_FUNDS", "5")
    assert ledger.pauses == []


@pytest.mark.parametrize(
    "code", ["UNAVAILABLE", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED", "ABORTED", "CANCELLED", "INTERNAL", "UNKNOWN"]
)
def test_a_call_that_failed_for_the_moment_is_sent_again_whole(code: str) -> None:
    ledger = Ledger(Broken(grpc.StatusCode[code]), Broken(grpc.StatusCode[code], status("OVERLOADED")), all_posted)
    assert len(ledger.send("a", "b")) == 2
    assert ledger.sent == [["a", "b"]] * 3
    assert ledger.problems == [f"{code}: no route", "OVERLOADED: so it is", ""]


@pytest.mark.parametrize("reason", ["CONTENTION", "OVERLOADED", "TOO_MANY_PENDING", "UNAVAILABLE", "DEADLINE_EXCEEDED"])
def test_only_the_items_without_an_outcome_are_sent_again(reason: str) -> None:
    ledger = Ledger(results(posted(), refused(reason), posted(), refused(reason)), all_posted)
    assert {outcome.kind for outcome in ledger.send("a", "b", "c", "d").values()} == {Kind.POSTED}
    assert ledger.sent == [["a", "b", "c", "d"], ["b", "d"]]


@pytest.mark.parametrize("code", ["UNAUTHENTICATED", "PERMISSION_DENIED", "INVALID_ARGUMENT", "UNIMPLEMENTED"])
def test_what_would_fail_again_is_not_sent_again(code: str) -> None:
    ledger = Ledger(Broken(grpc.StatusCode[code]))
    with pytest.raises(Broken):
        ledger.send("a")
    assert len(ledger.sent) == 1


def test_it_waits_ever_longer_up_to_a_bound_and_gives_up() -> None:
    ledger = Ledger(Broken(grpc.StatusCode.UNAVAILABLE))
    with pytest.raises(GaveUp, match="UNAVAILABLE: no route"):
        ledger.send("a", patience=10)
    assert ledger.pauses == [0.125, 0.25, 0.5, 1.0, 2.0, 2.5, 2.5, 2.5]


def test_patience_begins_anew_when_something_got_an_outcome() -> None:
    ledger = Ledger(
        Broken(grpc.StatusCode.UNAVAILABLE),
        results(posted(), refused("CONTENTION")),
        Broken(grpc.StatusCode.UNAVAILABLE),
        all_posted,
    )
    ledger.send("a", "b", patience=0.2)
    assert ledger.pauses == [0.125] * 2 + [0.25]


def test_the_services_own_wish_is_heard() -> None:
    wish = RetryInfo(retry_delay=Duration(seconds=3))
    ledger = Ledger(Broken(grpc.StatusCode.RESOURCE_EXHAUSTED, status("OVERLOADED", wish)), all_posted)
    ledger.send("a")
    assert ledger.pauses == [3.0]


def test_batches_have_a_bound_in_number_and_in_bytes() -> None:
    def rows(*sizes: int) -> list[Numbered]:
        return [Numbered(Row(1, TransferRequest(description="x" * size), ""), 1, is_given=False) for size in sizes]

    half = BATCH_BYTES_MAX // 2
    assert [len(batch) for batch in batches(rows(1, 1, 1, 1, 1), 2)] == [2, 2, 1]
    assert [len(batch) for batch in batches(rows(half, half, 1, BATCH_BYTES_MAX, 1), 100)] == [1, 2, 1, 1]
    assert list(batches([], 100)) == []
