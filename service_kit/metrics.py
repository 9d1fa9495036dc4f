"""Metrics of every service, in Prometheus' own registry. Labels are bound once, because binding costs microseconds."""

from functools import cache
from typing import Final

from prometheus_client import Counter, Gauge, Histogram

CALLS: Final = Counter("specie_calls", "Calls answered, by method and gRPC code", ["method", "code"])
CALL_SECONDS: Final = Histogram(
    "specie_call_seconds",
    "How long calls took, by method",
    ["method"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
CALLS_RUNNING: Final = Gauge("specie_calls_running", "Calls being handled")

_calls = cache(CALLS.labels)
_seconds = cache(CALL_SECONDS.labels)


class Running:
    """The calls being handled. Of the event loop's thread only, so that it needs no lock."""

    calls = 0


CALLS_RUNNING.set_function(lambda: Running.calls)


def call_ended(method: str, code: str, seconds: float) -> None:
    """Counts one answered call."""
    _calls(method, code).inc()
    _seconds(method).observe(seconds)
