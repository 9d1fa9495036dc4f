"""One process or several: the parent starts a worker for each, with a port of its own, starts a dead one again, and on
SIGHUP restarts them one after another, so that callers notice nothing.
"""

import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Generator, Iterator
from contextlib import suppress
from typing import Final, TypeVar

import structlog
import uvloop
from pydantic import ValidationError

from service_kit.logs import configure_logs
from service_kit.parent import Worker, end_with_parent
from service_kit.settings import ProcessSettings, ServiceSettings

log = structlog.stdlib.get_logger()

S = TypeVar("S", bound=ProcessSettings)

RESTART_SECONDS: Final = 1.0
POLL_SECONDS: Final = 0.1
READY_SECONDS_MAX: Final = 60.0
"""A worker that is not ready for so long stops the restart of the others: what keeps it would keep them too."""
NOBODY: Final = -1


def run(module: str, settings_class: type[S], serve: Callable[[S], Awaitable[None]]) -> int:
    """Runs the process `module` until SIGTERM or SIGINT, with settings from the environment; the exit code."""
    configure_logs("INFO", module, 0)
    wait_for_turns()
    try:
        settings = settings_class()
    except ValidationError as error:
        prefix = str(settings_class.model_config.get("env_prefix", ""))
        # Without the values: one of them has a password in it.
        wrong = {
            prefix + str((e["loc"] or ("*",))[0]).upper(): e["msg"]
            for e in error.errors(include_input=False, include_url=False)
        }
        log.error("failed", error="settings in the environment are missing or wrong", settings=wrong)
        return 2
    index = settings.worker_index if isinstance(settings, ServiceSettings) else 0
    configure_logs(settings.log_level, module, index)
    if isinstance(settings, ServiceSettings) and settings.workers > 1:
        return Supervisor(module, settings).run()
    end_with_parent()

    async def main() -> None:
        await serve(settings)

    try:
        uvloop.run(main())
    except OSError as error:
        log.error("failed", error=str(error))
        return 1
    return 0


def wait_for_turns() -> None:
    """From now on no thread that this one starts interrupts another when it wakes. gRPC's threads wake several times a
    call to hand on what arrived, and each would interrupt the event loop; after its turn they hand on many at once.
    See docs/adr/0012. On Linux only, and nothing where somebody has chosen a scheduling policy already."""
    if sys.platform == "linux" and os.sched_getscheduler(0) == os.SCHED_OTHER:
        with suppress(OSError):  # a sandbox may forbid it
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


class Supervisor:
    """Keeps every worker running until it is told to stop."""

    def __init__(self, module: str, settings: ServiceSettings) -> None:
        self._module = module
        self._settings = settings
        self._prefix = str(settings.model_config.get("env_prefix", ""))
        self._workers: list[Worker] = []
        # Plain flags: a lock that the main thread holds cannot be taken by its signal handlers.
        self._stopping = False
        self._roll_wanted = False

    def run(self) -> int:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        signal.signal(signal.SIGHUP, self._want_roll)
        self._workers = [self._start(index) for index in range(self._settings.workers)]
        rolling: Iterator[int] = iter(())
        while self._goes_on():
            leaving = next(rolling, None)
            if leaving is None and self._roll_wanted:
                self._roll_wanted = False
                rolling = self._roll()
            for worker in self._workers:
                worker.listen()
            self._revive(NOBODY if leaving is None else leaving)
        for worker in self._workers:
            worker.terminate()
        return max(abs(worker.wait()) for worker in self._workers)

    def _goes_on(self) -> bool:
        """After a pause."""
        time.sleep(POLL_SECONDS)
        return not self._stopping

    def _stop(self, *_: object) -> None:
        self._stopping = True

    def _want_roll(self, *_: object) -> None:
        """During a roll too: another one follows, for whoever asked may have changed something since it began."""
        self._roll_wanted = True

    def _revive(self, leaving: int) -> None:
        """Those that have died, but for the one that has been told to."""
        for index, worker in enumerate(self._workers):
            if index != leaving and (code := worker.exit_code()) is not None:
                log.error("worker_died", index=index, pid=worker.pid, exit_code=code)
                worker.wait()
                time.sleep(RESTART_SECONDS)
                self._workers[index] = self._start(index)

    def _roll(self) -> Generator[int, None, None]:
        """Restarts one after another, each when all others have been ready for as long as balancers may take to see it.
        Yields, again and again, which one is leaving."""
        log.info("roll_begun")
        for index in range(len(self._workers)):
            if not (yield from self._all_ready(self._settings.shutdown_notice_seconds)):
                return
            self._workers[index].terminate()
            while self._workers[index].exit_code() is None:
                yield index
            self._workers[index].wait()
            self._workers[index] = self._start(index)
        if (yield from self._all_ready(0)):
            log.info("roll_ended")

    def _all_ready(self, seconds: float) -> Generator[int, None, bool]:
        """Waits until they have been for so long; False: they do not get ready."""
        give_up = time.monotonic() + READY_SECONDS_MAX + seconds
        while waiting := [n for n, worker in enumerate(self._workers) if not worker.has_been_ready(seconds)]:
            if time.monotonic() > give_up:
                log.error("roll_stopped", not_ready=waiting)
                return False
            yield NOBODY
        return True

    def _start(self, index: int) -> Worker:
        """The worker's environment differs from ours in what each worker has for itself."""
        settings = self._settings
        own = {
            "PORT": settings.port + index,
            "WORKERS": 1,
            "WORKER_INDEX": index,
            "METRICS_PORT": settings.metrics_port and settings.metrics_port + index,
            "PROBE_PORT": settings.probe_port and settings.probe_port + index,
        }
        return Worker(self._module, os.environ | {self._prefix + name: str(value) for name, value in own.items()})
