"""The line between a worker and the parent that started it: the worker's standard input, which is a socket.

The parent never writes: the end of the line is the parent's end, however it came. The worker writes one byte when it is
ready.
"""

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from time import monotonic
from typing import Final

CHILD_MARK: Final = "SPECIE_WORKER_CHILD"
STDIN: Final = 0
READY: Final = b"R"


def end_with_parent() -> None:
    """In a worker: it stops, in order, when its parent has ended. In any other process it does nothing."""
    if CHILD_MARK in os.environ:
        threading.Thread(target=_wait_for_the_end, daemon=True).start()


def _wait_for_the_end() -> None:
    with suppress(OSError):  # how the end is told when the parent had not listened to the last
        # Not sys.stdin: its lock, held by a waiting daemon thread, makes the interpreter abort when it ends.
        os.read(STDIN, 1)
    os.kill(os.getpid(), signal.SIGTERM)


def tell_ready() -> None:
    """In a worker: the parent hears that it answers calls. In any other process it does nothing."""
    if CHILD_MARK in os.environ:
        with suppress(OSError):  # the parent has gone, which is told otherwise
            os.write(STDIN, READY)


class Worker:
    """The parent's side: a running worker."""

    def __init__(self, module: str, environment: Mapping[str, str]) -> None:
        self._line, theirs = socket.socketpair()
        self._line.setblocking(False)
        self._ready_since: float | None = None
        self._told = False
        with theirs:
            # A fresh interpreter, and no fork: no gRPC or database object exists before it starts.
            self._process = subprocess.Popen(
                [sys.executable, "-m", module],
                env={**environment, CHILD_MARK: "1"},
                stdin=theirs.fileno(),
                start_new_session=True,  # a Ctrl-C in the terminal reaches the parent, which stops its workers in order
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def listen(self) -> None:
        """Hears whether it has become ready. To be called often: from then on counts how long it has been."""
        if self._ready_since is None:
            with suppress(OSError):  # it has said nothing
                if self._line.recv(1) == READY:
                    self._ready_since = monotonic()

    def has_been_ready(self, seconds: float) -> bool:
        """Whether it runs, and became ready so long ago."""
        since = self._ready_since
        return since is not None and monotonic() - since >= seconds and self.exit_code() is None

    def exit_code(self) -> int | None:
        """None while it runs; below 0: the signal that ended it."""
        return self._process.poll()

    def terminate(self) -> None:
        """It stops in order. It is told once: an interpreter at its end has no handlers any more, and would die of a
        second time."""
        if not self._told:
            self._told = True
            self._process.terminate()

    def wait(self) -> int:
        """Its exit code, once it has ended."""
        code = self._process.wait()
        self._line.close()
        return code
