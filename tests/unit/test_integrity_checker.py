"""The loop that checks: what it calls when, what it tells, and that no failure ends it."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from service_kit.status import Refusal
from tests.kit.service import wait_until_async
from tests.kit.wallets import asynchronous
from transaction_service.integrity import checker
from transaction_service.integrity.checker import Checker
from transaction_service.integrity.findings import Broken, Check, Finding
from transaction_service.integrity.ports import Lap, Page, Step

SOON, NEVER = 0.001, 1000.0
NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
GAP = Finding(Broken(Check.NO_GAP, "wallets/alice", "has no entry 1 but has 2"), NOON, NOON)
NOTHING_NEW = Step(0, more=False, lag_seconds=0, findings=0, new=())
RESTING = Page(NEVER, 0, (), None)

Answer = Step | Page | Exception | None


class Script:
    """Answers as it is told to, the last answer for ever."""

    def __init__(self, looks: Sequence[Answer] = (NOTHING_NEW,), pages: Sequence[Answer] = (RESTING,)) -> None:
        self._looks, self._pages = list(looks), list(pages)
        self.calls: list[str] = []

    async def look_at_new(self, limit: int) -> Step | None:
        assert limit > 0
        return self._next("new", self._looks)  # type: ignore[return-value] # as the test has put it

    async def go_on_with_lap(self, every_seconds: float, rest_per_work: float) -> Page | None:
        assert (every_seconds, rest_per_work) == (NEVER, checker.REST_PER_WORK)
        return self._next("lap", self._pages)  # type: ignore[return-value] # as above

    def _next(self, word: str, answers: list[Answer]) -> Answer:
        self.calls.append(word)
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


@asynccontextmanager
async def running(script: Script, every_seconds: float = SOON) -> AsyncIterator[None]:
    """In the end it must still be running."""
    task = asyncio.create_task(Checker(script, every_seconds, NEVER).run())
    try:
        yield
        assert not task.done()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def metric(name: str) -> float:
    return REGISTRY.get_sample_value(f"specie_integrity_{name}") or 0.0


@asynchronous
async def test_what_is_new_is_looked_at_again_and_again_and_a_lap_that_rests_is_left_alone() -> None:
    script = Script()
    async with running(script):
        await wait_until_async(lambda: script.calls.count("new") >= 3, "it looks again")
    assert script.calls[:2] == ["new", "lap"]
    assert script.calls.count("lap") == 1


@asynchronous
async def test_a_lap_waits_until_all_that_is_new_was_looked_at() -> None:
    behind = Step(20_000, more=True, lag_seconds=7, findings=0, new=())
    script = Script([behind, behind, NOTHING_NEW])
    before = metric("checked_entries_total")
    async with running(script):
        await wait_until_async(lambda: "lap" in script.calls, "a lap begins")
        assert metric("lag_seconds") == 0
    assert script.calls[:3] == ["new"] * 3
    assert metric("checked_entries_total") == before + 40_000


@asynchronous
async def test_a_lap_goes_on_while_there_is_nothing_new_for_long() -> None:
    script = Script(pages=[Page(0, 0, (), None), Page(SOON, 0, (), None), RESTING])
    async with running(script, every_seconds=NEVER):
        await wait_until_async(lambda: script.calls.count("lap") == 3, "the lap goes on")
    assert script.calls.count("new") == 1


@asynchronous
async def test_each_new_finding_is_an_error_in_the_log_and_all_of_them_are_counted() -> None:
    script = Script([Step(2, more=False, lag_seconds=0, findings=3, new=[GAP]), NOTHING_NEW._replace(findings=3)])
    with capture_logs() as logs:
        async with running(script):
            await wait_until_async(lambda: script.calls.count("new") >= 3, "it looks again")
    expected = {"check": "NO_GAP", "subject": "wallets/alice", "detail": "has no entry 1 but has 2"}
    assert logs == [{"event": "integrity_broken", "log_level": "error"} | expected]


@asynchronous
async def test_the_end_of_a_lap_is_told_with_what_it_took() -> None:
    script = Script(
        [NOTHING_NEW._replace(findings=1)],
        [Page(0, 1, [GAP], Lap(entries=12, seconds=3.14)), RESTING._replace(findings=1)],
    )
    with capture_logs() as logs:
        async with running(script):
            await wait_until_async(lambda: script.calls.count("lap") == 2, "the next lap is asked for")
            assert (metric("lap_seconds"), metric("broken")) == (3.14, 1)
    assert [log["event"] for log in logs] == ["integrity_broken", "integrity_lap"]
    assert logs[1] == {"event": "integrity_lap", "log_level": "info", "entries": 12, "seconds": 3.1, "findings": 1}


@asynchronous
async def test_who_is_not_let_in_comes_again() -> None:
    script = Script([None, None, NOTHING_NEW], [None, RESTING])
    async with running(script):
        await wait_until_async(lambda: script.calls.count("lap") == 2, "it is let in")
    assert script.calls[:3] == ["new"] * 3


@pytest.mark.parametrize("error", [Refusal("UNAVAILABLE", "the database cannot be reached"), ValueError("a bug")])
@asynchronous
async def test_no_failure_ends_it_and_a_lap_that_fails_holds_up_nothing_else(error: Exception) -> None:
    script = Script([error, NOTHING_NEW], [error, RESTING])
    with capture_logs() as logs:
        async with running(script):
            await wait_until_async(lambda: script.calls.count("lap") == 2, "it goes on")
    assert [(log["event"], log["work"]) for log in logs] == [("integrity_failed", "new"), ("integrity_failed", "lap")]
    assert {log["log_level"] for log in logs} == {"warning" if isinstance(error, Refusal) else "error"}
