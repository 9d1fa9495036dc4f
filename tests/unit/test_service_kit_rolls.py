"""SIGHUP restarts the workers one after another, and never takes one out that the others do not replace."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.kit.service import PATIENCE_SECONDS, wait_until
from tests.kit.tokens import SETTINGS
from tests.kit.worker import FOLDER

SCRIPT = """
from service_kit import workers
from service_kit.logs import configure_logs
from service_kit.settings import ServiceSettings

configure_logs("INFO", "test", 0)
workers.READY_SECONDS_MAX = {ready_seconds}
settings = ServiceSettings(database_dsn="postgresql://nobody", port=1, workers=2, shutdown_notice_seconds=0)
raise SystemExit(workers.Supervisor("tests.kit.worker", settings).run())
"""


class Parent:
    """A supervisor of two workers that do nothing."""

    def __init__(self, folder: Path, ready_seconds: float) -> None:
        self.folder = folder
        self._log = folder / "log"
        environment = os.environ | SETTINGS | {FOLDER: str(folder)}
        with self._log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", SCRIPT.format(ready_seconds=ready_seconds)],
                env=environment,
                stdout=log,
                stderr=log,
            )

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def journal(self) -> list[str]:
        """What its workers did, each with the worker's index."""
        file = self.folder / "journal"
        return file.read_text().splitlines() if file.exists() else []

    def began(self) -> list[int]:
        """The workers' indexes, in the order in which they were started."""
        return [int(line.removeprefix("began ")) for line in self.journal() if line.startswith("began")]

    def events(self, name: str) -> list[dict[str, Any]]:
        found = [json.loads(line) for line in self._log.read_text().splitlines()]
        return [event for event in found if event["event"] == name]

    def wait_for(self, name: str, count: int = 1) -> None:
        wait_until(lambda: len(self.events(name)) >= count, name)

    def end(self) -> int:
        self.send(signal.SIGTERM)
        return self.process.wait(PATIENCE_SECONDS)


@pytest.fixture
def parent(tmp_path: Path) -> Iterator[Parent]:
    started = Parent(tmp_path, PATIENCE_SECONDS)
    yield from kept(started)


@pytest.fixture
def hasty_parent(tmp_path: Path) -> Iterator[Parent]:
    """It waits for a worker for so long only."""
    started = Parent(tmp_path, 0.5)
    yield from kept(started)


def kept(parent: Parent) -> Iterator[Parent]:
    """From when both workers run, to the end."""
    try:
        wait_until(lambda: sorted(parent.began()) == [0, 1], "both have begun")
        yield parent
    finally:
        if parent.process.poll() is None:
            parent.process.kill()
        parent.process.wait()


def test_a_roll_restarts_each_worker_once_in_their_order(parent: Parent) -> None:
    parent.send(signal.SIGHUP)
    parent.wait_for("roll_ended")
    wait_until(lambda: len(parent.began()) == 4, "four have begun")
    assert parent.began()[2:] == [0, 1]
    assert parent.end() == 0
    assert parent.events("worker_died") == []


def test_the_next_worker_stays_until_the_one_before_is_ready_again(parent: Parent) -> None:
    wait_until(lambda: "ready 0" in parent.journal() and "ready 1" in parent.journal(), "both are ready")
    hesitate = parent.folder / "hesitate"
    hesitate.touch()
    parent.send(signal.SIGHUP)
    wait_until(lambda: len(parent.began()) == 3, "the first has been started again")
    hesitate.unlink()
    parent.wait_for("roll_ended")
    order = [line for line in parent.journal()[4:] if line.split()[0] in ("told", "ready")]
    assert order == ["told 0", "ready 0", "told 1", "ready 1"]
    assert parent.end() == 0


def test_a_worker_that_does_not_get_ready_stops_the_roll(hasty_parent: Parent) -> None:
    parent = hasty_parent
    wait_until(lambda: "ready 0" in parent.journal() and "ready 1" in parent.journal(), "both are ready")
    (parent.folder / "hesitate").touch()
    parent.send(signal.SIGHUP)
    parent.wait_for("roll_stopped")
    wait_until(lambda: parent.began()[2:] == [0], "the first has begun again")
    assert "told 1" not in parent.journal()
    assert parent.events("roll_ended") == []
    assert parent.events("worker_died") == []
    assert parent.end() == 0


def test_who_asks_during_a_roll_gets_another_one(parent: Parent) -> None:
    cling = parent.folder / "cling"
    cling.touch()
    parent.send(signal.SIGHUP)
    parent.wait_for("roll_begun")
    for _ in range(2):
        parent.send(signal.SIGHUP)
    cling.unlink()
    parent.wait_for("roll_ended", 2)
    wait_until(lambda: len(parent.began()) == 6, "both have been started twice more")
    assert parent.end() == 0
    assert len(parent.events("roll_begun")) == 2


def test_a_stop_during_a_roll_stops_all(parent: Parent) -> None:
    cling = parent.folder / "cling"
    cling.touch()
    parent.send(signal.SIGHUP)
    parent.wait_for("roll_begun")
    wait_until(lambda: "told 0" in parent.journal(), "the first is told")
    parent.send(signal.SIGTERM)
    wait_until(lambda: "told 1" in parent.journal(), "the other is told")
    cling.unlink()
    assert parent.process.wait(PATIENCE_SECONDS) == 0
    assert sorted(parent.began()) == [0, 1]
    assert sorted(line for line in parent.journal() if line.startswith("told")) == ["told 0", "told 1"]
