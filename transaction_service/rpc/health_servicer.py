"""HealthService: how this process and the ledger are, for people and monitors."""

from collections.abc import Sized
from time import monotonic
from typing import Any, Final

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from specie.transaction.v1 import GetHealthRequest, GetHealthResponse, HealthServiceServicer

from service_kit.call import current_call
from service_kit.status import RETRY_AFTER_SECONDS, Refusal
from service_kit.version import VERSION
from transaction_service.integrity import LatestSums
from transaction_service.rpc.soundness import state_of, told

WAIT_SECONDS_MAX: Final = 5.0
"""For the sums. Who asks for health wants to hear that there is none, too."""
WAIT_SHARE: Final = 0.8
"""Of the time that the caller has left: the rest is for telling that there are none."""


class HealthServicer(HealthServiceServicer):
    def __init__(self, sums: LatestSums, queue: Sized) -> None:
        """`queue`: the commands that wait in this process."""
        self._sums = sums
        self._queue = queue
        self._started = monotonic()

    async def GetHealth(self, request: GetHealthRequest, context: Any) -> GetHealthResponse:
        try:
            sums = await self._sums.get(min(WAIT_SECONDS_MAX, WAIT_SHARE * current_call().seconds_left()))
        except (TimeoutError, Refusal) as error:
            raise Refusal(
                "UNAVAILABLE", "the ledger's sums could not be read", retry_after_seconds=RETRY_AFTER_SECONDS
            ) from error
        uptime, sum_time = Duration(), Timestamp()
        uptime.FromMilliseconds(int((monotonic() - self._started) * 1000))
        sum_time.FromDatetime(sums.time)
        response = GetHealthResponse(
            version=VERSION,
            uptime=uptime,
            ledger_integrity_sum=told(sums.by_currency),
            sum_time=sum_time,
            queue_depth=len(self._queue),
            integrity=state_of(sums.by_currency, sums.check_time, sums.findings),
        )
        if sums.check_time is not None:
            response.check_time.FromDatetime(sums.check_time)
        return response
