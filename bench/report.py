"""Tells what a run has found: on the screen, as JSON, and as the tables of docs/benchmarks.md.

`python -m bench.report` shows the runs in bench/results/ again; with --docs it writes their tables into the document.
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table

RESULTS: Final = Path(__file__).with_name("results")
DOCUMENT: Final = Path(__file__).resolve().parents[1] / "docs" / "benchmarks.md"
RUNS: Final = ("latest", "large")

Found = dict[str, Any]
"""A run, as its JSON has it."""
Rows = list[list[str]]
"""The first one is the heading. All cells but a row's first are numbers or alike."""

LATENCIES: Final = {"p50_ms": "p50 ms", "p95_ms": "p95 ms", "p99_ms": "p99 ms"}
PARTS: Final = {
    "service": "service",
    "postgresql": "PostgreSQL",
    "back_office": "back office",
    "envoy": "Envoy",
    "client": "client",
}
TIMES: Final = {"floor": "x one by one", "floor_set": "x sets", "floor_set_ledger": "x ledger's sets"}
WIDTH: Final = 120
"""Of a screen that does not tell its own."""


def speeds(found: Found) -> Rows:
    """Transfers or reads, the latencies of the calls, and how many times a floor's rate it is."""
    results, ratios = found["results"], found["ratios"]
    floors = [name for name in TIMES if name in results]
    rows = [["measured", "a second", *LATENCIES.values(), *(TIMES[name] for name in floors)]]
    for name, row in results.items():
        # One hot account is compared with the floor's hot account.
        times = {floor.removesuffix("_hot"): ratio for floor, ratio in ratios.get(name, {}).items()}
        rows += [
            [
                row["says"],
                number(row["per_second"], 0),
                *(number(row.get(latency), 1) for latency in LATENCIES),
                *(number(times.get(floor), 2) for floor in floors),
            ]
        ]
    return rows


def cpu(found: Found) -> Rows:
    """Of each process and of all."""
    rows = [["CPU microseconds each", *PARTS.values(), "together"]]
    for row in found["results"].values():
        used = row["cpu_us"]
        rows += [[row["says"], *(number(used.get(part), 0) for part in PARTS), number(sum(used.values()), 0)]]
    return rows


def verdicts(found: Found) -> Rows:
    """Which bars hold."""
    rows = [["asked", "bar", "measured", "holds"]]
    for bar in found["bars_met"].values():
        rows += [[bar["says"], bar["asked"], f"{bar['measured']:,.2f}", "yes" if bar["met"] else "NO"]]
    return rows


def tables(found: Found) -> list[Rows]:
    return [verdicts(found), speeds(found), cpu(found)]


def number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:,.{digits}f}"


def setting(found: Found) -> str:
    machine = found["machine"]
    memory = max(row["memory_mb"] for row in found["results"].values())
    return (
        f"{found['time']}, {machine['cores']} cores, Python {machine['python']}; load before the run:"
        f" {machine['load_before']:.1f}; {found['rounds']} rounds of {found['seconds']:g} s each."
        f" Memory of a service process, at most: {memory:,.0f} MB."
    )


def show(found: Found) -> None:
    screen = Console()
    if not screen.is_terminal:
        screen.width = WIDTH
    screen.print(setting(found), highlight=False)
    for rows in tables(found):
        table = Table()
        for column, heading in enumerate(rows[0]):
            table.add_column(heading, justify="right" if column else "left")
        for row in rows[1:]:
            table.add_row(*row, style="bold red" if row[-1] == "NO" else None)
        screen.print(table)


def write(found: Found, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found, indent=2) + "\n")


def runs() -> Iterator[tuple[str, Found]]:
    """Those that there are."""
    for name in RUNS:
        path = RESULTS / f"{name}.json"
        if path.exists():
            yield name, json.loads(path.read_text())


def documented(text: str) -> str:
    """The document with each run's tables between its markers."""
    for name, found in runs():
        begin, end = f"<!-- {name}: begin -->\n", f"<!-- {name}: end -->"
        before, _, rest = text.partition(begin)
        inside = "\n".join([setting(found), "", *map(markdown, tables(found))])
        text = before + begin + inside + rest[rest.index(end) :]
    return text


def markdown(rows: Sequence[Sequence[str]]) -> str:
    heading, *others = rows
    aligned = ["---", *["---:"] * (len(heading) - 1)]
    return "".join(f"| {' | '.join(row)} |\n" for row in (heading, aligned, *others))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--docs", action="store_true", help="write docs/benchmarks.md's tables")
    if parser.parse_args().docs:
        DOCUMENT.write_text(documented(DOCUMENT.read_text()))
        return
    for _, found in runs():
        show(found)


if __name__ == "__main__":
    main()
