"""What is asked of the figures: the bars, and the ratios to the floors.

A bar compares figures of one run wherever it can, because machines differ and drift.
"""

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from bench.measured import Figures

Results = Mapping[str, Figures]
Measure = Callable[[Results], float]

FLOORS: Final = ("floor", "floor_set", "floor_set_ledger")
"""What rates are compared with."""
GROWN: Final = "grown_"
"""Before the name of what was measured on grown data."""
SPREAD: Final = "spread_"
"""The same, with all of its wallets taking part."""
COMPARISONS: Final = {">=": operator.ge, "<=": operator.le, "<": operator.lt}


@dataclass(frozen=True)
class Bar:
    says: str
    comparison: str
    limit: float
    measure: Measure
    unit: str = ""

    def judge(self, results: Results) -> dict[str, Any]:
        measured = self.measure(results)
        return {
            "says": self.says,
            "asked": f"{self.comparison} {self.limit:,g}{self.unit}",
            "measured": round(measured, 3),
            "met": COMPARISONS[self.comparison](measured, self.limit),
        }


def ratio(name: str, floor: str) -> Measure:
    """How many times the floor's rate."""
    return lambda results: float(results[name]["per_second"] / results[floor]["per_second"])


def figure(name: str, key: str) -> Measure:
    return lambda results: float(results[name][key])


def unary_cpu(results: Results) -> float:
    """Of service and PostgreSQL, as a share of what PostgreSQL and pgbench take one by one."""
    unary, floor = results["unary_256"]["cpu_us"], results["floor"]["cpu_us"]
    return float((unary["service"] + unary["postgresql"]) / (floor["postgresql"] + floor["client"]))


def batch_memory(results: Results) -> float:
    return float(max(results[name]["memory_mb"] for name in ("batch_1", "batch_4")))


BARS: Final[Mapping[str, Bar]] = {
    "batch_to_floor_set": Bar("batches of 1,000, 4 in flight / SQL in sets", ">=", 0.65, ratio("batch_4", "floor_set")),
    "batch_to_floor": Bar("batches of 1,000, 4 in flight / SQL one by one", ">=", 3, ratio("batch_4", "floor")),
    "unary_cpu": Bar(
        "unary, 256 in flight: CPU of service and PostgreSQL / CPU of SQL one by one", "<=", 0.8, unary_cpu
    ),
    "unary_rate": Bar("unary, 256 in flight", ">=", 3000, figure("unary_256", "per_second"), "/s"),
    "hot_to_floor": Bar(
        "hot account, 256 in flight / SQL one by one, hot account", ">=", 2, ratio("hot_256", "floor_hot")
    ),
    "json_to_grpc": Bar(
        "JSON through the gateway / gRPC without it, 64 in flight, with tokens and limits",
        ">=",
        0.5,
        ratio("json_64", "unary_64"),
    ),
    "record": Bar(
        "batches with sealing, integrity check and one webhook / the same without",
        ">=",
        0.85,
        ratio("batch_record", "batch_held"),
    ),
    "balance_p95": Bar("balance read, p95", "<", 5, figure("balance", "p95_ms"), " ms"),
    "batch_memory": Bar("memory of a service process under batches", "<", 200, batch_memory, " MB"),
}


def bars(results: Results) -> dict[str, dict[str, Any]]:
    """Those of the run that has these results."""
    grown = {
        name.removeprefix(GROWN): Bar(
            f"{results[name]['says']} / empty", ">=", 0.8, ratio(name, name.removeprefix(GROWN))
        )
        for name in results
        if name.startswith(GROWN)
    }
    chosen = {f"{GROWN}{name}": bar for name, bar in grown.items()} if grown else BARS
    return {name: bar.judge(results) for name, bar in chosen.items()}


def ratios(results: Results) -> dict[str, dict[str, float]]:
    """By measurement: how many times the rate of each floor of the same run. The hot one has a floor of its own."""
    compared = {}
    for name, figures in results.items():
        floors = ("floor_hot",) if name == "hot_256" else FLOORS
        if "service" in figures["cpu_us"] and name != "balance":
            compared[name] = {floor: round(ratio(name, floor)(results), 3) for floor in floors if floor in results}
    return compared
