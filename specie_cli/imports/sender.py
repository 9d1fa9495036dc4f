"""Batches on their way: what may be sent again is, under the same request ids, until everything has an outcome."""

import random
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

import grpc
from google.rpc import error_details_pb2
from google.rpc.status_pb2 import Status
from grpc_status import rpc_status
from specie.transaction.v1 import (
    BatchTransferRequest,
    BatchTransferResponse,
    BatchTransferResult,
    TransactionState,
    TransferRequest,
)

from specie_cli.imports.spool import Numbered

AGAIN: Final = frozenset(
    {
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.CANCELLED,  # a connection that breaks off is told as this or as one of the next two
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNKNOWN,
    }
)
"""Of a call. Nothing was done, or nobody knows: the same ids tell, and do nothing twice."""
AGAIN_REASONS: Final = frozenset(
    {"OVERLOADED", "RATE_LIMITED", "CONTENTION", "UNAVAILABLE", "DEADLINE_EXCEEDED", "TOO_MANY_PENDING", "CANCELLED"}
)
"""Of an item."""
FIRST_PAUSE_SECONDS: Final = 0.25
PAUSE_SECONDS_MAX: Final = 5.0
ITEMS_MAX: Final = 5000
BATCH_BYTES_MAX: Final = 4 * 1024 * 1024
"""The service takes 16 MiB; the answer is somewhat larger than the request."""


class Kind(Enum):
    POSTED = "posted"
    PENDING = "pending"
    """Stored, and posted when its time comes."""
    REJECTED = "rejected"


@dataclass(frozen=True)
class Outcome:
    """What became of a transfer."""

    kind: Kind
    replayed: bool
    """It had been answered before."""
    reason: str = ""
    message: str = ""
    metadata: dict[str, str] = field(default_factory=dict)

    @property
    def is_on_record(self) -> bool:
        """It failed for good under this request id."""
        return self.kind is Kind.REJECTED and "transaction" in self.metadata and self.reason != "REQUEST_ID_REUSED"


class GaveUp(Exception):  # noqa: N818 - what it is
    """For so long nothing got an outcome. Its text is the last problem."""


@dataclass
class Sender:
    """Sends one batch at a time, in order: what a line pays out is there before the next batch spends it."""

    call: Callable[[BatchTransferRequest], BatchTransferResponse]
    patience_seconds: float
    waiting: Callable[[str], None]
    """Is told why it waits; empty when it goes on."""
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic
    jitter: Callable[[], float] = random.random

    def send(self, transfers: Sequence[TransferRequest]) -> Iterator[tuple[int, Outcome]]:
        """Each with its index, as soon as it is known. Raises GaveUp, or the call's error where it would come again."""
        left, attempt, since = list(range(len(transfers))), 0, self.clock()
        while left:
            try:
                response = self.call(BatchTransferRequest(transfers=[transfers[index] for index in left]))
            except grpc.RpcError as error:
                problem, wanted = _explained(error)
            else:
                problem, wanted, unfinished = "", 0.0, []
                for index, result in zip(left, response.results, strict=True):
                    reason, message, metadata, delay = _error(result.error)
                    if reason in AGAIN_REASONS:
                        problem, wanted = f"{reason}: {message}", max(wanted, delay)
                        unfinished.append(index)
                    else:
                        yield index, _outcome(result, reason, message, metadata)
                if len(unfinished) < len(left):
                    attempt, since = 0, self.clock()
                left = unfinished
            if left:
                if self.clock() - since >= self.patience_seconds:
                    raise GaveUp(problem)
                self.waiting(problem)
                self.sleep(self._pause(attempt, wanted))
                attempt += 1
        self.waiting("")

    def _pause(self, attempt: int, wanted: float) -> float:
        """Half of it at random, so that many who were refused together do not come back together."""
        pause = min(FIRST_PAUSE_SECONDS * 2.0 ** min(attempt, 10), PAUSE_SECONDS_MAX)
        wanted = min(wanted, PAUSE_SECONDS_MAX)
        return max(pause * (1 + self.jitter()) / 2, wanted)


def batches(rows: Iterable[Numbered], items_max: int) -> Iterator[list[Numbered]]:
    """In their order, none above BATCH_BYTES_MAX."""
    batch: list[Numbered] = []
    in_all = 0
    for numbered in rows:
        size = numbered.row.request.ByteSize()
        if batch and (len(batch) == items_max or in_all + size > BATCH_BYTES_MAX):
            yield batch
            batch, in_all = [], 0
        batch.append(numbered)
        in_all += size
    if batch:
        yield batch


def _explained(error: grpc.RpcError) -> tuple[str, float]:
    """The problem and for how many seconds to wait at least. Raises the error when it would come again."""
    if not isinstance(error, grpc.Call) or error.code() not in AGAIN:
        raise error
    status = rpc_status.from_call(error)
    if status is None:
        return f"{error.code().name}: {error.details()}", 0.0
    reason, message, _, delay = _error(status)
    return f"{reason or error.code().name}: {message}", delay


def _error(status: Status) -> tuple[str, str, dict[str, str], float]:
    """Reason, message, metadata, and the seconds that RetryInfo asks for."""
    info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
    delay = 0.0
    for detail in status.details:
        detail.Unpack(info)
        if detail.Unpack(retry):
            delay = retry.retry_delay.ToTimedelta().total_seconds()
    return info.reason, status.message, dict(info.metadata), delay


def _outcome(result: BatchTransferResult, reason: str, message: str, metadata: dict[str, str]) -> Outcome:
    if result.HasField("error"):
        replayed = metadata.pop("replayed", "") == "true" or result.replayed
        return Outcome(Kind.REJECTED, replayed, reason, message, metadata)
    is_pending = result.transaction.state == TransactionState.TRANSACTION_STATE_PENDING
    return Outcome(Kind.PENDING if is_pending else Kind.POSTED, result.replayed)
