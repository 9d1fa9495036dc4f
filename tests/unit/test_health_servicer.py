"""GetHealth: the sums are read once for all who ask, and that there are none is told in time."""

import asyncio
from datetime import UTC, datetime
from time import monotonic
from typing import Any

import pytest
from specie.transaction.v1 import GetHealthRequest, GetHealthResponse, IntegrityState

from service_kit.call import Call, deadline_of_call, enter_call
from service_kit.status import Refusal
from service_kit.version import VERSION
from tests.kit.wallets import asynchronous
from transaction_service.domain.account import INT64_MAX
from transaction_service.integrity import LatestSums
from transaction_service.ports import Sums
from transaction_service.rpc.health_servicer import HealthServicer

TIME = datetime(2026, 11, 21, 12, tzinfo=UTC)
LATELY = datetime(2999, 1, 1, tzinfo=UTC)
"""However long the tests before have taken."""
LONG = 1000.0


class Ledger:
    """Tells its sums when it may."""

    def __init__(
        self, *sums: dict[str, int] | Exception, check_time: datetime | None = None, findings: int = 0
    ) -> None:
        self._sums = list(sums)
        self._checked = (check_time, findings)
        self.may = asyncio.Event()
        self.may.set()
        self.reads = 0
        self.deadlines: list[float] = []

    async def sums(self) -> Sums:
        self.reads += 1
        self.deadlines.append(deadline_of_call())
        await self.may.wait()
        found = self._sums.pop(0)
        if isinstance(found, Exception):
            raise found
        return Sums(found, TIME, *self._checked)


def servicer(ledger: Ledger, fresh_seconds: float = LONG, waiting: int = 0) -> HealthServicer:
    return HealthServicer(LatestSums(ledger, fresh_seconds), range(waiting))


async def ask(health: HealthServicer, seconds: float = LONG) -> GetHealthResponse:
    """As a call that has so much time."""
    context: Any = None
    enter_call(Call("", b"", GetHealthRequest.FromString, context, {}, deadline=monotonic() + seconds))
    return await health.GetHealth(GetHealthRequest(), context)


@asynchronous
async def test_it_tells_the_sums_and_the_process() -> None:
    answer = await ask(servicer(Ledger({"EUR": 0, "USD": 0}), waiting=7))
    assert answer.version == VERSION
    assert answer.uptime.ToTimedelta().total_seconds() >= 0
    assert dict(answer.ledger_integrity_sum) == {"EUR": 0, "USD": 0}
    assert answer.sum_time.ToDatetime(UTC) == TIME
    assert answer.queue_depth == 7


@asynchronous
async def test_a_sum_beyond_the_range_is_told_as_far_as_it_goes() -> None:
    answer = await ask(servicer(Ledger({"EUR": 2**70, "USD": -(2**70)})))
    assert dict(answer.ledger_integrity_sum) == {"EUR": INT64_MAX, "USD": -INT64_MAX}


@pytest.mark.parametrize(
    ("total", "check_time", "findings", "state"),
    [
        (0, None, 0, IntegrityState.INTEGRITY_STATE_UNSPECIFIED),
        (0, LATELY, 0, IntegrityState.INTEGRITY_STATE_SOUND),
        (0, TIME, 0, IntegrityState.INTEGRITY_STATE_STALE),
        (0, TIME, 1, IntegrityState.INTEGRITY_STATE_BROKEN),
        (1, TIME, 0, IntegrityState.INTEGRITY_STATE_BROKEN),
        (-1, None, 0, IntegrityState.INTEGRITY_STATE_BROKEN),
    ],
)
@asynchronous
async def test_it_tells_what_the_check_has_found_with_the_same_reading(
    total: int, check_time: datetime | None, findings: int, state: IntegrityState.ValueType
) -> None:
    ledger = Ledger({"EUR": 0, "USD": total}, check_time=check_time, findings=findings)
    health = servicer(ledger)
    answers = [await ask(health) for _ in range(3)]
    assert [answer.integrity for answer in answers] == [state] * 3
    assert [answer.HasField("check_time") for answer in answers] == [check_time is not None] * 3
    assert check_time is None or answers[0].check_time.ToDatetime(UTC) == check_time
    assert ledger.reads == 1


@asynchronous
async def test_all_who_ask_at_once_share_one_reading_which_is_nobody_s_call() -> None:
    ledger = Ledger({"USD": 0})
    ledger.may.clear()
    health = servicer(ledger)
    asking = [asyncio.create_task(ask(health)) for _ in range(5)]
    await asyncio.sleep(0)
    asking[0].cancel()  # who goes away takes nothing from the others
    await asyncio.gather(asking[0], return_exceptions=True)
    ledger.may.set()
    answers = await asyncio.gather(*asking[1:])
    answers.append(await ask(health))  # and for a while nothing is read
    assert {answer.sum_time.ToDatetime(UTC) for answer in answers} == {TIME}
    assert (ledger.reads, ledger.deadlines) == (1, [float("inf")])


@asynchronous
async def test_what_is_no_longer_fresh_is_read_again() -> None:
    ledger = Ledger({"USD": 0}, {"USD": 1})
    health = servicer(ledger, fresh_seconds=0)
    found = dict((await ask(health)).ledger_integrity_sum)
    while found == {"USD": 0}:  # it rests for longer than it took
        found = dict((await ask(health)).ledger_integrity_sum)
    assert (found, ledger.reads) == ({"USD": 1}, 2)


@asynchronous
async def test_a_ledger_that_cannot_be_read_is_unavailable_and_asked_again() -> None:
    health = servicer(Ledger(Refusal("OVERLOADED", "too much to do"), {"USD": 0}))
    with pytest.raises(Refusal) as told:
        await ask(health)
    assert told.value.reason == "UNAVAILABLE"
    assert told.value.retry_after_seconds
    assert dict((await ask(health)).ledger_integrity_sum) == {"USD": 0}


@asynchronous
async def test_a_ledger_that_says_nothing_is_told_in_time_and_not_asked_twice() -> None:
    ledger = Ledger({"USD": 0})
    ledger.may.clear()
    health = servicer(ledger)
    for _ in range(2):
        with pytest.raises(Refusal) as told:
            await ask(health, seconds=0.01)
        assert told.value.reason == "UNAVAILABLE"
    ledger.may.set()
    assert dict((await ask(health)).ledger_integrity_sum) == {"USD": 0}
    assert ledger.reads == 1
