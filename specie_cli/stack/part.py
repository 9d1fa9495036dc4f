"""One process of the local stack: started on a leash, logging to a file, stopped in its own way."""

import contextlib
import os
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path

LEASH = Path(__file__).with_name("leash.py")


class Part:
    """A running process. It has a session of its own, so that Ctrl-C at the terminal reaches only the stack's own
    process, which then stops its parts in order."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        log: Path,
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        user: str | None = None,
        stop_signal: signal.Signals = signal.SIGTERM,
        inherit: Sequence[int] = (),
    ) -> None:
        """`inherit`: file descriptors that it and its children keep open as long as one of them lives."""
        self.name = name
        self.log = log
        self._stop_signal = stop_signal
        leash = [sys.executable, "-I", "-S", str(LEASH), str(os.getpid()), stop_signal.name, user or "-"]
        # Logs can name wallets and people: they are for the owner of the stack only.
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        with os.fdopen(descriptor, "ab") as output:
            self._log_start = log.stat().st_size
            self.process = subprocess.Popen(
                [*leash, *command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=None if env is None else dict(env),
                cwd=cwd,
                start_new_session=True,
                pass_fds=inherit,
            )

    @property
    def pid(self) -> int:
        return self.process.pid

    def exit_code(self) -> int | None:
        """None while it runs; below 0: the signal that ended it."""
        return self.process.poll()

    def stop(self, timeout_seconds: float) -> bool:
        """Asks it to stop and waits. False: it did not in time and was killed."""
        if self.process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                self.process.send_signal(self._stop_signal)
        try:
            self.process.wait(timeout_seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            return False
        return True

    def kill(self) -> None:
        """Ends it, and what it has started, at once."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def last_log_lines(self, count: int) -> list[str]:
        """The last lines that it wrote since it was started."""
        with self.log.open("rb") as log:
            log.seek(self._log_start)
            return [line.decode(errors="replace").rstrip() for line in deque(log, maxlen=count)]
