"""What the benchmark makes of its rounds: sums, percentiles, ratios and bars."""

from typing import Any

import pytest

from bench.bars import BARS, bars, ratios
from bench.client import Finding
from bench.measured import Round, figures, percentile


def row(per_second: float, *, memory_mb: float = 120, p95_ms: float = 3, **cpu_us: float) -> dict[str, Any]:
    return {"says": "so", "per_second": per_second, "memory_mb": memory_mb, "p95_ms": p95_ms, "cpu_us": cpu_us}


@pytest.fixture
def results() -> dict[str, dict[str, Any]]:
    """Every bar holds, exactly where it may be reached."""
    return {
        "floor": row(4000, postgresql=300, client=100),
        "floor_set": row(20_000, postgresql=30, client=10),
        "floor_hot": row(1500, postgresql=600, client=100),
        "unary_64": row(2800, service=270, postgresql=50, client=100),
        "unary_256": row(3000, service=270, postgresql=50, client=100),
        "json_64": row(1400, service=270, postgresql=50, client=100, envoy=140),
        "batch_1": row(9000, memory_mb=199.9, service=30, postgresql=30, client=10),
        "batch_4": row(13_000, service=30, postgresql=30, client=10),
        "batch_held": row(10_000, service=30, postgresql=30, client=10),
        "batch_record": row(8_500, service=30, postgresql=40, back_office=9, client=10),
        "hot_256": row(3000, service=270, postgresql=50, client=100),
        "balance": row(500, p95_ms=4.9, service=400, postgresql=100, client=200),
    }


@pytest.mark.parametrize(
    ("values", "rank", "expected"),
    [
        ([7.0], 50, 7.0),
        ([7.0], 99, 7.0),
        ([1.0, 2.0], 50, 1.0),
        ([1.0, 2.0], 51, 2.0),
        (list(range(1, 101)), 95, 95),
        (list(range(1, 101)), 99, 99),
        (list(range(1, 101)), 100, 100),
        (list(range(1, 202)), 50, 101),
    ],
)
def test_a_percentile_is_the_nearest_rank(values: list[float], rank: int, expected: float) -> None:
    assert percentile(values, rank) == expected


def test_rounds_are_summed_not_averaged() -> None:
    """A slow round counts by how long it took."""
    fast = Round(Finding(3000, 1.0, 0.3, [1.0, 3.0]), {"client": 0.3, "service": 0.9}, 100.0)
    slow = Round(Finding(1000, 3.0, 0.5, [9.0, 2.0]), {"client": 0.5, "service": 0.7}, 130.0)
    assert figures("so", [fast, slow]) == {
        "says": "so",
        "done": 4000,
        "per_second": 1000.0,
        "rounds_per_second": [3000.0, 333.3],
        "p50_ms": 2.0,
        "p95_ms": 9.0,
        "p99_ms": 9.0,
        "cpu_us": {"client": 200.0, "service": 400.0},
        "memory_mb": 130.0,
    }


def test_without_latencies_there_are_no_percentiles() -> None:
    found = figures("so", [Round(Finding(10, 1.0, 0.1, []), {"client": 0.1}, 0.0)])
    assert not {name for name in found if name.endswith("_ms")}


def test_every_bar_holds_where_it_may_be_reached(results: dict[str, Any]) -> None:
    judged = bars(results)
    assert set(judged) == set(BARS)
    assert {name: bar["measured"] for name, bar in judged.items()} == {
        "batch_to_floor_set": 0.65,
        "batch_to_floor": 3.25,
        "unary_cpu": 0.8,
        "unary_rate": 3000,
        "hot_to_floor": 2,
        "json_to_grpc": 0.5,
        "record": 0.85,
        "balance_p95": 4.9,
        "batch_memory": 199.9,
    }
    assert [name for name, bar in judged.items() if not bar["met"]] == []


@pytest.mark.parametrize(
    ("bar", "measurement", "key", "value"),
    [
        ("batch_to_floor_set", "batch_4", "per_second", 12_990),
        ("batch_to_floor", "floor", "per_second", 4400),
        ("unary_cpu", "unary_256", "cpu_us", {"service": 271, "postgresql": 50, "client": 100}),
        ("unary_rate", "unary_256", "per_second", 2999),
        ("hot_to_floor", "hot_256", "per_second", 2990),
        ("json_to_grpc", "json_64", "per_second", 1399),
        ("record", "batch_record", "per_second", 8_490),
        ("balance_p95", "balance", "p95_ms", 5.0),
        ("batch_memory", "batch_4", "memory_mb", 200.0),
    ],
)
def test_a_bar_fails_just_beyond(results: dict[str, Any], bar: str, measurement: str, key: str, value: object) -> None:
    results[measurement][key] = value
    assert [name for name, judged in bars(results).items() if not judged["met"]] == [bar]


def test_grown_data_is_compared_with_the_same_on_empty_tables() -> None:
    results = {
        "unary_1": row(600, service=1),
        "grown_unary_1": row(480, service=1),
        "batch_4": row(10_000, service=1),
        "grown_batch_4": row(7900, service=1),
        "spread_batch_4": row(1, service=1),
    }
    judged = bars(results)
    assert {name: (bar["measured"], bar["met"]) for name, bar in judged.items()} == {
        "grown_unary_1": (0.8, True),
        "grown_batch_4": (0.79, False),
    }


def test_each_load_is_compared_with_its_floors(results: dict[str, Any]) -> None:
    compared = ratios(results)
    assert compared["batch_4"] == {"floor": 3.25, "floor_set": 0.65}
    assert compared["hot_256"] == {"floor_hot": 2.0}
    assert set(compared) == results.keys() - {"floor", "floor_set", "floor_hot", "balance"}
