"""The simulator's faults: switched by a file, which may be wrong, and each as it is described."""

import asyncio
import json
import os
import random
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from uuid import uuid4

import pytest

from payout_simulator.bank import Verdict
from payout_simulator.faults import Faults, FaultSettings, FaultsFile, Lost, WrongFaultsError

KEY = str(uuid4())


class Bench:
    """Faults around a call that only counts; and what was told of them."""

    def __init__(self, folder: Path, seed: int = 1, **switched: float) -> None:
        self.path = folder / "faults.json"
        self.switch(**switched)
        self.complaints: list[str] = []
        self.told: list[str] = []
        self.handled = 0
        chance = random.Random(seed)  # noqa: S311 - no secret
        file = FaultsFile(self.path, self.complaints.append)
        self.faults = Faults(file, chance, lambda fault, _: self.told.append(fault))

    def switch(self, **switched: float) -> None:
        """Another file each time, as an editor leaves it: the clock of files may be too coarse."""
        new = self.path.with_suffix(".new")
        new.write_text(json.dumps(switched))
        new.replace(self.path)

    async def call(self) -> int:
        return await self.faults.around(KEY, self._handle)

    async def _handle(self) -> int:
        self.handled += 1
        return self.handled


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{", "no JSON"),
        ("[]", "it must be a JSON object"),
        ('{"crush": 1}', "there is no fault 'crush'; there are delay_ms, delay_share, unavailable"),
        ('{"crash": 1.5}', "crash must be a number from 0 to 1, not 1.5"),
        ('{"crash": -1}', "crash must be a number from 0 to 1"),
        ('{"crash": "often"}', 'not "often"'),
        ('{"crash": true}', "not true"),
        ('{"crash": NaN}', "not NaN"),
        ('{"delay_ms": 3600001}', "delay_ms must be a number from 0 to 3600000"),
    ],
)
def test_a_wrong_file_is_told_in_words(text: str, problem: str) -> None:
    with pytest.raises(WrongFaultsError) as error:
        FaultSettings.parse(text)
    assert problem in str(error.value)


def test_the_guide_names_every_fault() -> None:
    guide = (Path(__file__).resolve().parents[2] / "docs" / "payouts.md").read_text()
    table = guide.partition("| fault | what happens |")[2].partition("\n\n")[0]
    assert set(re.findall(r"^\| (`.*?) \|", table, re.MULTILINE)) == {
        "`delay_ms`, `delay_share`",
        *(f"`{field.name}`" for field in fields(FaultSettings) if not field.name.startswith("delay")),
    }


def test_what_is_not_named_is_off() -> None:
    assert FaultSettings.parse('{"delay_ms": 20, "refuse": 0.25}') == FaultSettings(delay_ms=20, refuse=0.25)


def test_faults_are_switched_while_it_runs(bench: Bench) -> None:
    assert asyncio.run(bench.call()) == 1
    bench.switch(unavailable=1)
    with pytest.raises(Lost):
        asyncio.run(bench.call())
    bench.switch()
    assert asyncio.run(bench.call()) == 2


@pytest.mark.parametrize(
    "spoil", [lambda path: path.write_text("{"), lambda path: path.unlink()], ids=["wrong", "gone"]
)
def test_a_file_that_is_spoilt_changes_nothing_and_is_told_of_once(bench: Bench, spoil: Callable[[Path], None]) -> None:
    bench.switch(unavailable=1)
    with pytest.raises(Lost):
        asyncio.run(bench.call())
    spoil(bench.path)
    for _ in range(2):
        with pytest.raises(Lost):
            asyncio.run(bench.call())
    (complaint,) = bench.complaints
    assert str(bench.path) in complaint
    assert complaint.endswith("; the faults stay as they were")
    bench.switch()
    assert asyncio.run(bench.call()) == 1


def test_a_file_that_is_wrong_from_the_beginning_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "faults.json"
    with pytest.raises(OSError, match=r"faults\.json"):
        FaultsFile(path, print)
    path.write_text("no")
    with pytest.raises(WrongFaultsError, match=r"faults\.json: no JSON"):
        FaultsFile(path, print)


def test_without_a_file_there_are_none() -> None:
    assert FaultsFile(None, print).settings() == FaultSettings()


def test_unavailable_does_nothing(tmp_path: Path) -> None:
    bench = Bench(tmp_path, unavailable=1)
    with pytest.raises(Lost):
        asyncio.run(bench.call())
    assert (bench.handled, bench.told) == (0, ["unavailable"])


def test_a_lost_answer_comes_after_the_work(tmp_path: Path) -> None:
    """As an error, or not at all."""
    bench = Bench(tmp_path, lost_answer=1)

    async def ends() -> Counter[str]:
        found: Counter[str] = Counter()
        for _ in range(20):
            try:
                async with asyncio.timeout(0.01):
                    await bench.call()
            except Lost:
                found["error"] += 1
            except TimeoutError:
                found["nothing"] += 1
        return found

    found = asyncio.run(ends())
    assert set(found) == {"error", "nothing"}
    assert bench.handled == found.total() == 20


def test_a_duplicate_is_handled_twice_at_once(bench: Bench) -> None:
    bench.switch(duplicate=1)
    together = asyncio.Barrier(2)

    async def handle() -> str:
        await together.wait()
        return "done"

    assert asyncio.run(bench.faults.around(KEY, handle)) == "done"


def test_delays_come_before_the_work(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    slept = []

    async def sleep(seconds: float) -> None:
        slept.append((seconds, bench.handled))

    monkeypatch.setattr(asyncio, "sleep", sleep)
    bench.switch(delay_ms=250)
    asyncio.run(bench.call())
    bench.switch(delay_ms=250, delay_share=0)
    asyncio.run(bench.call())
    assert slept == [(0.25, 0)]


def test_it_dies_before_the_work_or_after_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Died(BaseException):
        pass

    def die(code: int) -> None:
        raise Died(code)

    monkeypatch.setattr(os, "_exit", die)
    found = set()
    for seed in range(20):
        bench = Bench(tmp_path, seed, crash=1)
        with pytest.raises(Died):
            asyncio.run(bench.call())
        found.add(bench.handled)
    assert found == {0, 1}


def test_the_key_decides_who_is_refused(bench: Bench) -> None:
    bench.switch(refuse=0.25)
    keys = [str(uuid4()) for _ in range(400)]
    refused = {key for key in keys if bench.faults.verdict(key).refusal}
    assert 40 < len(refused) < 180
    assert {key for key in keys if bench.faults.verdict(key).refusal} == refused
    bench.switch(refuse=0.5)
    assert {key for key in keys if bench.faults.verdict(key).refusal} > refused


def test_some_are_pending_first(bench: Bench) -> None:
    bench.switch(pending=0.5)
    seconds = {bench.faults.verdict(KEY).after_seconds for _ in range(50)}
    assert seconds == {0, 0.5}
    bench.switch()
    assert bench.faults.verdict(KEY) == Verdict()


def test_a_seed_repeats_a_run(tmp_path: Path) -> None:
    def run() -> list[str]:
        bench = Bench(tmp_path, 7, unavailable=0.5)
        for _ in range(50):
            try:
                asyncio.run(bench.call())
            except Lost:
                continue
        return [f"{bench.handled}", *bench.told]

    assert run() == run()
