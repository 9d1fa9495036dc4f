"""The courier against a post office and a receiver that do as they are told: what it does when they do not."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID

import pytest
import structlog
from structlog.testing import capture_logs

from service_kit.status import Refusal
from tests.kit.service import wait_until_async
from transaction_service.ports import Mark
from transaction_service.webhooks import courier as courier_module
from transaction_service.webhooks import tour as tour_module
from transaction_service.webhooks.courier import Courier
from transaction_service.webhooks.courier_ports import Event, Found, Held, Known, Look, Result
from transaction_service.webhooks.endpoint import Wish
from transaction_service.webhooks.pace import Pace
from transaction_service.webhooks.schedule import JITTER, Parcel
from transaction_service.webhooks.secrets import SecretUnreadable
from transaction_service.webhooks.sending import Answer
from transaction_service.webhooks.tour import CONCURRENT_MAX, CONCURRENT_TOGETHER, WAITING_MAX, Patience

HELD = Held("endpoint", Wish("https://shop.example"), ("sealed",), Mark(0, ""), 1, 60)
PATIENCE = Patience(0.01, 0.05, 3600)
NOW_FULL, DOWN = Refusal("OVERLOADED", "full"), Refusal("UNAVAILABLE", "down")


def event(number: int) -> Event:
    id_ = str(UUID(int=number))
    return Event(
        f"evt_{number}", "transaction.posted", f"transactions/{id_}", (f"wallets/{number}",), Mark(number, id_)
    )


@dataclass
class House:
    """Post office, contents and receiver at once. `fails`: what a call of this name raises next."""

    events: list[Event] = field(default_factory=list)
    fails: dict[str, list[Exception]] = field(default_factory=dict)
    answer: Callable[[], Awaitable[Answer]] | None = None
    seconds_left: float = 60.0
    sent: list[str] = field(default_factory=list)
    marked: list[str] = field(default_factory=list)
    results: list[Result] = field(default_factory=list)
    stored: int = 0
    at_once: int = 0
    at_once_max: int = 0
    released: bool = False

    async def look(self, _lease_seconds: float) -> Look:
        self._fail("look")
        newest = self.events[-1].mark if self.events else Mark(0, "")
        return Look([HELD._replace(seconds_left=self.seconds_left)], newest)

    async def find(self, _endpoint: Held, position: Mark, limit: int) -> Found:
        self._fail("find")
        found = [one for one in self.events if one.mark > position][:limit]
        return Found(found, found[-1].mark, complete=len(found) < limit)

    async def store(self, _endpoint: Held, events: Sequence[Event], _until: Mark, _known: Known) -> list[Parcel] | None:
        self._fail("store")
        self.stored += len(events)
        return [Parcel(one.id, *one) for one in events]

    async def waiting(self, _endpoint: Held, known: Known) -> list[Parcel]:
        self._fail("waiting")
        done = {*self.marked, *known.untried, *known.tried}
        return [Parcel(one.id, *one) for one in self.events[: self.stored] if one.id not in done]

    async def mark(self, _endpoint: Held, results: Sequence[Result]) -> bool:
        self._fail("mark")
        self.results += results
        self.marked += [result.parcel.id for result in results if result.pause is None]
        await asyncio.sleep(0.001)  # answers come meanwhile
        return True

    async def disable(self, _endpoint: Held, _reason: str) -> bool:
        return True

    async def release(self) -> None:
        self.released = True

    async def prune(self, _keep_days: int, _limit: int) -> int:
        self._fail("prune")
        return 0

    async def bodies(self, parcels: Sequence[Parcel]) -> Mapping[str, str]:
        self._fail("bodies")
        return {parcel.id: "{}" for parcel in parcels}

    async def send(self, _url: str, headers: Mapping[str, str], _content: str) -> Answer:
        self.at_once += 1
        self.at_once_max = max(self.at_once_max, self.at_once)
        try:
            self._fail("send")
            answer = Answer(200) if self.answer is None else await self.answer()
        finally:
            self.at_once -= 1
        if answer.is_taken:
            self.sent.append(headers["webhook-id"])
        return answer

    def _fail(self, name: str) -> None:
        if self.fails.get(name):
            raise self.fails[name].pop(0)


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(courier_module, "AGAIN_SECONDS", 0.01)
    monkeypatch.setattr(courier_module, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(tour_module, "AGAIN_SECONDS", 0.01)
    monkeypatch.setattr(tour_module, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(tour_module, "MARK_SECONDS", 0.01)
    monkeypatch.setattr(tour_module, "FINISH_SECONDS", 0.05)
    structlog.reset_defaults()


def opened(_: str) -> str:
    return "whsec_" + "A" * 44


def run(
    house: House,
    happened: Callable[[], object],
    opened: Callable[[str], str] = opened,
) -> list[str]:
    """Until it has happened, and then stops; the events that were logged."""

    async def work() -> None:
        courier = Courier(house, house, house, opened, PATIENCE, Pace(10_000), 30)
        task = asyncio.create_task(courier.run())
        await wait_until_async(happened, "it has")
        assert not task.done()
        task.cancel()
        await asyncio.wait([task])
        assert house.released

    with capture_logs() as logs:
        asyncio.run(work())
    return [str(log["event"]) for log in logs]


def everything(house: House) -> Callable[[], bool]:
    return lambda: sorted(house.marked) == sorted(one.id for one in house.events)


@pytest.mark.parametrize("name", ["look", "find", "store", "waiting", "bodies", "mark", "prune"])
@pytest.mark.parametrize("failure", [DOWN, NOW_FULL, ValueError("a bug")], ids=str)
def test_no_failure_of_the_database_ends_it(name: str, failure: Exception) -> None:
    house = House([event(number) for number in range(1, 6)], {name: [failure, failure]})
    logged = run(house, lambda: everything(house)() and len(house.fails[name]) < 2)
    assert "courier_failed" in logged
    assert set(house.sent) == {one.id for one in house.events}


def test_a_bug_in_sending_keeps_nothing_away_for_ever() -> None:
    house = House([event(1), event(2)], {"send": [ValueError("a bug"), ValueError("another one")]})
    logged = run(house, everything(house))
    assert [name for name in logged if name == "webhook_failed"] == ["webhook_failed"] * 2


@pytest.mark.parametrize("secret", [None, "", "whsec_a", "no secret \u00fc"])
def test_without_its_secret_nothing_is_sent_and_that_is_said_once(secret: str | None) -> None:
    def unreadable(_: str) -> str:
        looks.append(1)
        if secret is None:
            raise SecretUnreadable
        return secret

    house, looks = House([event(1)]), list[int]()
    logged = run(house, lambda: len(looks) > 3, unreadable)
    assert logged.count("webhook_secret_unreadable") == 1
    assert house.sent == []


def test_nothing_is_sent_when_the_claim_may_be_over() -> None:
    house = House([event(1)], seconds_left=-1)
    run(house, lambda: house.stored)
    assert house.sent == []


@pytest.mark.parametrize(("together", "at_once"), [(CONCURRENT_TOGETHER, CONCURRENT_MAX), (16, 16)])
def test_no_more_is_sent_at_once_and_taken_ahead_than_may_be(
    monkeypatch: pytest.MonkeyPatch, together: int, at_once: int
) -> None:
    monkeypatch.setattr(tour_module, "CONCURRENT_TOGETHER", together)
    go_on = asyncio.Event()

    async def slow() -> Answer:
        await go_on.wait()
        return Answer(200)

    house = House([event(number) for number in range(1, WAITING_MAX + 501)], answer=slow)

    def is_full() -> bool:
        if not go_on.is_set() and house.stored >= WAITING_MAX and house.at_once >= at_once:
            assert house.stored == WAITING_MAX
            go_on.set()
        return everything(house)()

    run(house, is_full)
    assert house.at_once_max == at_once
    assert len(house.sent) == len(set(house.sent)), "what is answered while others are put on record is sent once"


def test_each_failure_is_put_on_record_with_its_attempt_and_the_pause_behind_it() -> None:
    answers = iter([Answer(503), Answer(503), Answer(503, "", 3600), Answer(200)])

    async def at_last() -> Answer:
        return next(answers)

    house = House([event(1)], answer=at_last)
    run(house, everything(house))
    first, second, third, taken = house.results
    assert [result.parcel.attempts for result in (first, second, third)] == [1, 2, 3]
    assert first.pause == pytest.approx(PATIENCE.first_pause, rel=JITTER)
    assert second.pause == pytest.approx(3 * PATIENCE.first_pause, rel=JITTER)
    assert third.pause == PATIENCE.pause_max, "as long as it asked for, up to the longest"
    assert taken.pause is None
    assert taken.since >= sum(result.pause or 0 for result in house.results), "counted from the first one"


def test_a_stop_does_not_wait_for_ever_for_an_answer() -> None:
    async def never() -> Answer:
        await asyncio.Event().wait()
        raise AssertionError

    house = House([event(1)], answer=never)
    run(house, lambda: house.at_once == 1)
    assert house.marked == []
