"""What the processes of a stack use: CPU seconds and resident memory."""

import resource
from types import TracebackType

import psutil

MEBIBYTE = 2**20


class CpuMeter:
    """CPU seconds used between entering and leaving, of PostgreSQL, of each service, and of our own ended children."""

    def __init__(self, stack: psutil.Process) -> None:
        self._stack = stack
        self.seconds: dict[str, float] = {}
        self._before: dict[str, float] = {}

    def __enter__(self) -> "CpuMeter":
        self._before = self._now()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        now = self._now()
        self.seconds = {name: now[name] - self._before.get(name, 0.0) for name in now}

    def _now(self) -> dict[str, float]:
        used: dict[str, float] = {}
        for process in self._stack.children(recursive=True):
            name = part_of(process)
            if name:
                times = process.cpu_times()
                # A server process of PostgreSQL lives on in its parent's figures when its client has gone.
                gone = times.children_user + times.children_system
                used[name] = used.get(name, 0.0) + times.user + times.system + gone
        children = resource.getrusage(resource.RUSAGE_CHILDREN)
        used["children"] = children.ru_utime + children.ru_stime
        return used


def part_of(process: psutil.Process) -> str:
    """`postgres`, `transaction_service`, `wallet_service`, `envoy`, or empty."""
    try:
        command = process.cmdline()
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return ""
    words = " ".join(command[:4])
    for name in ("transaction_service", "wallet_service", "postgres", "envoy"):
        if name in words:
            return name
    return ""


def memory_mib(stack: psutil.Process) -> dict[str, float]:
    """The largest resident size among the processes of each service."""
    sizes: dict[str, float] = {}
    for process in stack.children(recursive=True):
        name = part_of(process)
        if name in ("transaction_service", "wallet_service"):
            sizes[name] = max(sizes.get(name, 0.0), round(process.memory_info().rss / MEBIBYTE, 1))
    return sizes
