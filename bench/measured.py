"""Short rounds of each measurement, taken in turn, and what they come to together.

The machine's speed drifts, so what is to be compared is measured again and again, side by side, and summed: a slow
minute then falls on all of them alike.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from bench.client import Finding
from bench.machine import Meter

Figures = dict[str, Any]
"""Of one measurement, as JSON keeps them. Times per transfer are in microseconds, latencies in milliseconds."""

PERCENTILES: Final = {"p50_ms": 50, "p95_ms": 95, "p99_ms": 99}


def nothing() -> None:
    """For what needs no preparation."""


@dataclass(frozen=True)
class Measurement:
    name: str
    says: str
    """What it is, in a few words."""
    take: Callable[[float], Finding]
    """For that many seconds."""
    meter: Meter
    parts: Sequence[str]
    """Of the meter's, those that work in it; the client always does."""
    prepare: Callable[[], None] = nothing
    """Before each turn, and not measured."""


@dataclass(frozen=True)
class Round:
    """One stretch of one measurement."""

    finding: Finding
    cpu_seconds: Mapping[str, float]
    memory_mb: float
    """The most that a process of the service had."""


def take_turns(
    measurements: Sequence[Measurement], rounds: int, seconds: float, console: Console
) -> dict[str, Figures]:
    """Figures by name. Every other round goes backward, so that none is always the first after another."""
    taken: dict[str, list[Round]] = {measurement.name: [] for measurement in measurements}
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("", total=rounds * len(measurements))
        for number in range(rounds):
            for measurement in measurements if number % 2 == 0 else reversed(measurements):
                progress.update(task, description=f"round {number + 1}: {measurement.says}")
                done = once(measurement, seconds)
                taken[measurement.name].append(done)
                progress.console.print(f"{measurement.says}: {per_second([done]):,.0f}/s", highlight=False)
                progress.advance(task)
    return {measurement.name: figures(measurement.says, taken[measurement.name]) for measurement in measurements}


def once(measurement: Measurement, seconds: float) -> Round:
    measurement.prepare()
    with measurement.meter as meter:
        finding = measurement.take(seconds)
    used = {part: meter.cpu_seconds.get(part, 0.0) for part in measurement.parts}
    return Round(finding, used | {"client": finding.cpu_seconds}, meter.memory_mb)


def figures(says: str, rounds: Sequence[Round]) -> Figures:
    done = sum(r.finding.done for r in rounds)
    latencies = sorted(latency for r in rounds for latency in r.finding.latencies_ms)
    return {
        "says": says,
        "done": done,
        "per_second": round(per_second(rounds), 1),
        "rounds_per_second": [round(per_second([r]), 1) for r in rounds],
        **({name: round(percentile(latencies, rank), 3) for name, rank in PERCENTILES.items()} if latencies else {}),
        "cpu_us": {
            part: round(sum(r.cpu_seconds[part] for r in rounds) / done * 1e6, 1) for part in rounds[0].cpu_seconds
        },
        "memory_mb": round(max(r.memory_mb for r in rounds), 1),
    }


def per_second(rounds: Sequence[Round]) -> float:
    return sum(r.finding.done for r in rounds) / sum(r.finding.seconds for r in rounds)


def percentile(ordered: Sequence[float], rank: int) -> float:
    """The least of them that at least `rank` percent of all are not above (nearest rank); `rank` 1 to 100."""
    return ordered[-(-len(ordered) * rank // 100) - 1]
