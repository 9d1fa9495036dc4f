"""What the processes of a stack use: CPU seconds and resident memory."""

import threading
from collections.abc import Sequence
from contextlib import suppress
from types import TracebackType
from typing import Final, Self

import psutil

MEGABYTE: Final = 10**6
SAMPLE_SECONDS: Final = 0.05
PROGRAMS: Final = {"postgres": "postgresql", "envoy": "envoy"}
SERVICES: Final = {
    "transaction_service": "service",
    "transaction_service.back_office": "back_office",
    "wallet_service": "wallet_service",
}


class Meter:
    """CPU seconds by part between entering and leaving, and the most memory that a process of the transaction service
    had meanwhile. The parts are `service` (the transaction service), `back_office`, `wallet_service`, `postgresql` and
    `envoy`."""

    def __init__(self, roots: Sequence[psutil.Process]) -> None:
        """Of these processes and all below them."""
        self._roots = roots
        self._before: dict[str, float] = {}
        self._left = threading.Event()
        self._sampler = threading.Thread()
        self.cpu_seconds: dict[str, float] = {}
        self.memory_mb = 0.0

    def __enter__(self) -> Self:
        self._left.clear()
        self.memory_mb = 0.0
        self._sampler = threading.Thread(target=self._sample, args=(self._parts().get("service", []),), daemon=True)
        self._before = self._used()
        self._sampler.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        now = self._used()
        self.cpu_seconds = {part: now[part] - self._before.get(part, 0.0) for part in now}
        self._left.set()
        self._sampler.join()

    def _used(self) -> dict[str, float]:
        """Again when a process has ended meanwhile: its part may have been counted twice or not at all."""
        while True:
            with suppress(psutil.NoSuchProcess):
                return self._counted()

    def _counted(self) -> dict[str, float]:
        used: dict[str, float] = {}
        for part, processes in self._parts().items():
            for process in processes:
                times = process.cpu_times()
                # A server process of PostgreSQL lives on in its parent's figures when its client has gone.
                gone = times.children_user + times.children_system
                used[part] = used.get(part, 0.0) + times.user + times.system + gone
        return used

    def _parts(self) -> dict[str, list[psutil.Process]]:
        found: dict[str, list[psutil.Process]] = {}
        for root in self._roots:
            for process in (root, *root.children(recursive=True)):
                if part := part_of(process):
                    found.setdefault(part, []).append(process)
        return found

    def _sample(self, processes: Sequence[psutil.Process]) -> None:
        while True:
            for process in processes:  # they outlive what is measured
                self.memory_mb = max(self.memory_mb, process.memory_info().rss / MEGABYTE)
            if self._left.wait(SAMPLE_SECONDS):
                return


def part_of(process: psutil.Process) -> str:
    """Empty: it is none of them."""
    with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
        # First, as a process that has ended but is not yet counted in its parent's figures has no more than a name.
        if part := PROGRAMS.get(process.name()):
            return part
        command = process.cmdline()
        if "-m" in command[:3]:
            return SERVICES.get(command[command.index("-m") + 1], "")
    return ""
