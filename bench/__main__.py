"""`python -m bench [--large] [--rounds N] [--seconds N]`: measures, prints a table, writes JSON and a picture."""

import argparse
import os
import platform
from datetime import UTC, datetime
from pathlib import Path

import psutil
from rich.console import Console

from bench import grown, picture, report, whole
from bench.bars import bars, ratios

ROUNDS = 3
SECONDS = 3.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--large", action="store_true", help="on a grown ledger, beside an empty one")
    parser.add_argument("--accounts", type=int, default=1_000_000, help="how large, with --large")
    parser.add_argument("--entries", type=int, default=5_000_000, help="as --accounts")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="how often each measurement takes its turn")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="about how long a turn takes")
    parser.add_argument("--results", type=Path, default=report.RESULTS, help="where JSON and the picture go")
    options = parser.parse_args()
    progress = Console(stderr=True)
    load = os.getloadavg()[0]
    if options.large:
        name, results = (
            "large",
            grown.measure(options.accounts, options.entries, options.rounds, options.seconds, progress),
        )
    else:
        name, results = "latest", whole.measure(options.rounds, options.seconds, progress)
    found = {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {"python": platform.python_version(), "cores": psutil.cpu_count(), "load_before": round(load, 2)},
        "rounds": options.rounds,
        "seconds": options.seconds,
        "results": results,
        "ratios": ratios(results),
        "bars_met": bars(results),
    }
    report.write(found, options.results / f"{name}.json")
    picture.write(found, options.results / f"{name}.svg")
    report.show(found)


if __name__ == "__main__":
    main()
