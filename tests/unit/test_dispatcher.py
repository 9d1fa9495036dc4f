"""The dispatcher by itself: what it hands on, what it gives back, when it looks again, and how it ends."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import pytest
import structlog

from service_kit.status import Refusal
from tests.kit.builders import NOON, transfer
from tests.kit.service import wait_until_async
from tests.kit.wallets import asynchronous
from transaction_service.domain.movement import Manner, Movement, Outcome, Transaction, TransactionState, Work
from transaction_service.ports import Backlog
from transaction_service.posting import dispatcher as module
from transaction_service.posting.dispatcher import CLAIM_MAX, Dispatcher
from transaction_service.posting.queue import Contention, PostingQueue, QueueFull, Result

NEVER_SECONDS = 3600.0
SOON_SECONDS = 0.001


class ScriptedWork:
    """`claims` tells what the next claims give: movements, or an exception that is raised. Then nothing is due."""

    def __init__(self, *claims: Sequence[Movement] | Exception) -> None:
        self.claims = list(claims)
        self.claimed = 0
        self.given_back: list[Movement] = []
        self.counted = 0
        self.idle = asyncio.Event()
        """Set when nothing was due."""

    async def claim(self, limit: int, lease_seconds: float) -> list[Movement]:
        assert (limit, lease_seconds) == (CLAIM_MAX, module.LEASE_SECONDS)
        self.claimed += 1
        step = self.claims.pop(0) if self.claims else []
        if isinstance(step, Exception):
            raise step
        if not step:
            self.idle.set()
        return list(step)

    async def give_back(self, movements: Sequence[Movement]) -> None:
        self.given_back += movements

    async def backlog(self, count_max: int) -> Backlog:
        self.counted += 1
        return Backlog(min(7, count_max), 1.5)


class ScriptedQueue(PostingQueue):
    """Answers as it is told, or posts everything."""

    def __init__(self, answer: Callable[[Work], Coroutine[Any, Any, list[Result]]] | None = None) -> None:
        super().__init__(1, 1)
        self.works: list[Work] = []
        self._answer = answer

    async def post(self, work: Work, deadline: float = float("inf"), size: int = 0) -> list[Result]:
        assert (deadline, size) == (float("inf"), 0)
        self.works.append(work)
        return [posted(m) for m in work.movements] if self._answer is None else await self._answer(work)


def posted(movement: Movement) -> Outcome:
    return Outcome(Transaction(movement, TransactionState.POSTED, NOON, NOON), replayed=False)


def made(due: ScriptedWork, queue: PostingQueue, every_seconds: float = NEVER_SECONDS, **more: Any) -> Dispatcher:  # noqa: ANN401
    return Dispatcher("tries", due, Manner.DUE, queue, every_seconds, **({"count_max": 5} | more))


async def ended(running: asyncio.Task[None]) -> None:
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


@asynchronous
async def test_what_is_due_is_posted_as_one_work() -> None:
    movements = [transfer() for _ in range(3)]
    due, queue = ScriptedWork(movements), ScriptedQueue()
    assert await made(due, queue).round() is False
    assert queue.works == [Work(movements, Manner.DUE)]
    assert not due.given_back


@asynchronous
async def test_after_a_full_claim_it_looks_again_at_once() -> None:
    full = [transfer()] * CLAIM_MAX
    due = ScriptedWork(full, full, [transfer()])
    running = asyncio.create_task(made(due, ScriptedQueue()).run())
    await wait_until_async(lambda: due.claimed == 3, "it has come so far")
    assert not due.idle.is_set()
    await ended(running)


@asynchronous
async def test_it_looks_again_when_its_time_has_come_or_the_bell_rings() -> None:
    bell, by_time, by_bell = asyncio.Event(), ScriptedWork(), ScriptedWork()
    dispatchers = [
        made(by_time, ScriptedQueue(), SOON_SECONDS),
        made(by_bell, ScriptedQueue(), NEVER_SECONDS, bell=bell),
    ]
    running = [asyncio.create_task(dispatcher.run()) for dispatcher in dispatchers]
    await wait_until_async(lambda: by_time.claimed > 5, "it has come so far")
    assert by_bell.claimed == 1
    bell.set()
    await wait_until_async(lambda: by_bell.claimed == 2, "it has come so far")
    for task in running:
        await ended(task)


@asynchronous
async def test_a_bell_that_rings_while_it_posts_is_not_missed() -> None:
    bell = asyncio.Event()

    async def ringing(work: Work) -> list[Result]:
        bell.set()
        return [posted(movement) for movement in work.movements]

    due = ScriptedWork([transfer()])
    running = asyncio.create_task(made(due, ScriptedQueue(ringing), bell=bell).run())
    await wait_until_async(lambda: due.claimed == 2, "it has come so far")
    await ended(running)


@asynchronous
async def test_what_could_not_be_posted_now_is_given_back_and_nothing_else() -> None:
    first, second, third = (transfer() for _ in range(3))

    async def answer(_: Work) -> list[Result]:
        return [posted(first), Contention(), posted(third)]

    due = ScriptedWork([first, second, third])
    with structlog.testing.capture_logs() as logs:
        await made(due, ScriptedQueue(answer)).round()
    assert due.given_back == [second]
    assert logs == [
        {"event": "dispatch_postponed", "log_level": "warning", "work": "tries", "count": 1, "error": "Contention"}
    ]


@asynchronous
async def test_with_a_full_queue_everything_is_given_back_and_it_rests() -> None:
    async def full(_: Work) -> list[Result]:
        raise QueueFull

    movements = [transfer()] * CLAIM_MAX
    due = ScriptedWork(movements)
    assert await made(due, ScriptedQueue(full)).round() is False
    assert due.given_back == movements


@pytest.mark.parametrize(
    ("error", "level"), [(Refusal("UNAVAILABLE", "no database"), "warning"), (ValueError("a bug"), "error")]
)
@asynchronous
async def test_a_round_that_fails_is_told_and_the_next_ones_go_on(error: Exception, level: str) -> None:
    due, queue = ScriptedWork(error, error, [transfer()]), ScriptedQueue()
    with structlog.testing.capture_logs() as logs:
        running = asyncio.create_task(made(due, queue, SOON_SECONDS).run())
        await wait_until_async(lambda: bool(queue.works), "it has come so far")
        await ended(running)
    assert [(log["event"], log["log_level"], log["work"]) for log in logs] == [("dispatch_failed", level, "tries")] * 2


@asynchronous
async def test_pauses_grow_while_rounds_fail_and_the_bell_does_not_shorten_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pauses: list[float] = []
    sleep, bell = asyncio.sleep, asyncio.Event()

    async def at_once(seconds: float) -> None:
        pauses.append(seconds)
        await sleep(0)

    bell.set()
    due = ScriptedWork(*[Refusal("UNAVAILABLE", "no database")] * 7)
    monkeypatch.setattr(asyncio, "sleep", at_once)
    running = asyncio.create_task(made(due, ScriptedQueue(), 0.2, bell=bell).run())
    await due.idle.wait()
    monkeypatch.undo()
    assert pauses == [0.4, 0.8, 1.6, 3.2, 5.0, 5.0, 5.0]
    await ended(running)


@asynchronous
async def test_a_stop_lets_the_round_end() -> None:
    handed_over, go_on = asyncio.Event(), asyncio.Event()
    first, second = transfer(), transfer()

    async def slow(_: Work) -> list[Result]:
        handed_over.set()
        await go_on.wait()
        return [posted(first), Contention()]

    due = ScriptedWork([first, second], [transfer()])
    running = asyncio.create_task(made(due, ScriptedQueue(slow)).run())
    await handed_over.wait()
    running.cancel()
    await asyncio.sleep(SOON_SECONDS)
    assert not running.done()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert (due.given_back, due.claimed) == ([second], 1)


@asynchronous
async def test_a_stop_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    handed_over, cut_off = asyncio.Event(), False

    async def for_ever(_: Work) -> list[Result]:
        nonlocal cut_off
        handed_over.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cut_off = True
            raise
        raise AssertionError

    monkeypatch.setattr(module, "FINISH_SECONDS", SOON_SECONDS)
    running = asyncio.create_task(made(ScriptedWork([transfer()]), ScriptedQueue(for_ever)).run())
    await handed_over.wait()
    await ended(running)
    assert cut_off


@asynchronous
async def test_a_round_that_fails_while_it_is_stopped_is_not_heard_of() -> None:
    handed_over, go_on = asyncio.Event(), asyncio.Event()

    async def failing(_: Work) -> list[Result]:
        handed_over.set()
        await go_on.wait()
        raise ValueError

    running = asyncio.create_task(made(ScriptedWork([transfer()]), ScriptedQueue(failing)).run())
    await handed_over.wait()
    running.cancel()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await running


@asynchronous
async def test_the_backlog_is_told_and_counted_no_more_often_than_it_pays(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    seen: list[Backlog] = []
    monkeypatch.setattr(module, "monotonic", lambda: now)
    due = ScriptedWork()
    dispatcher = made(due, ScriptedQueue(), seen=seen.append)
    await dispatcher.round()
    await dispatcher.round()
    assert (seen, due.counted) == ([Backlog(5, 1.5)], 1)
    now += module.LOOK_SECONDS
    await dispatcher.round()
    assert due.counted == 2
