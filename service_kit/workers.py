"""One process or several: the parent starts a child per worker, each with its own port, and starts a dead one again.

Children are fresh interpreters, not forks: no gRPC or database object exists before they start.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final, TypeVar

import structlog
import uvloop
from pydantic import ValidationError

from service_kit.logs import configure_logs
from service_kit.settings import ServiceSettings

log = structlog.stdlib.get_logger()

S = TypeVar("S", bound=ServiceSettings)

RESTART_SECONDS: Final = 1.0
POLL_SECONDS: Final = 0.1
CHILD_MARK: Final = "SPECIE_WORKER_CHILD"
STDIN: Final = 0


def run(module: str, settings_class: type[S], serve: Callable[[S], Awaitable[None]]) -> int:
    """Runs the service `module` until SIGTERM or SIGINT, with settings from the environment; the exit code."""
    configure_logs("INFO", module, 0)
    wait_for_turns()
    try:
        settings = settings_class()
    except ValidationError as error:
        prefix = str(settings_class.model_config.get("env_prefix", ""))
        # Without the values: one of them has a password in it.
        wrong = {
            prefix + str(e["loc"][0]).upper(): e["msg"] for e in error.errors(include_input=False, include_url=False)
        }
        log.error("failed", error="settings in the environment are missing or wrong", settings=wrong)
        return 2
    configure_logs(settings.log_level, module, settings.worker_index)
    if settings.workers > 1:
        return Supervisor(module, settings).run()
    if CHILD_MARK in os.environ:
        threading.Thread(target=_end_with_parent, daemon=True).start()

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


def _end_with_parent() -> None:
    """Standard input is a pipe that the parent never writes to: its end is the parent's end."""
    # Not sys.stdin: its lock, held by a waiting daemon thread, makes the interpreter abort when it ends.
    os.read(STDIN, 1)
    os.kill(os.getpid(), signal.SIGTERM)


class Supervisor:
    """Keeps every worker running until it is told to stop."""

    def __init__(self, module: str, settings: ServiceSettings) -> None:
        self._module = module
        self._settings = settings
        self._prefix = str(settings.model_config.get("env_prefix", ""))
        self._stopping = threading.Event()

    def run(self) -> int:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._stopping.set())
        children = [self._start(index) for index in range(self._settings.workers)]
        while not self._stopping.wait(POLL_SECONDS):
            for index, child in enumerate(children):
                if child.poll() is not None:
                    log.error("worker_died", index=index, pid=child.pid, exit_code=child.returncode)
                    time.sleep(RESTART_SECONDS)
                    children[index] = self._start(index)
        for child in children:
            child.terminate()
        codes = [child.wait() for child in children]
        return max(abs(code) for code in codes)

    def _start(self, index: int) -> subprocess.Popen[bytes]:
        """The child's environment differs from ours in what each worker has for itself."""
        own = {
            "PORT": self._settings.port + index,
            "WORKERS": 1,
            "WORKER_INDEX": index,
            "METRICS_PORT": self._settings.metrics_port and self._settings.metrics_port + index,
        }
        environment = {**os.environ, CHILD_MARK: "1"}
        environment |= {self._prefix + name: str(value) for name, value in own.items()}
        return subprocess.Popen(
            [sys.executable, "-m", self._module],
            env=environment,
            stdin=subprocess.PIPE,
            start_new_session=True,  # a Ctrl-C in the terminal reaches the parent, which stops the children in order
        )
