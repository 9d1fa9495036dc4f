"""The benchmark runs, whole: every measurement, for a moment. What it finds then means nothing."""

import json
import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from bench.bars import BARS
from tests.kit.stack import MEASURING, ROOT

A_MOMENT = ("--rounds", "1", "--seconds", "0.05")
SMALL = ("--accounts", "2000", "--entries", "6000")
ALONE = {"floor", "floor_set", "floor_hot", "floor_set_ledger"}
UNARY = {"unary_1", "unary_64", "unary_256"}
BATCH = {"batch_1", "batch_4"}
RECORD = {"batch_held", "batch_record"}


@pytest.mark.parametrize(
    ("arguments", "name", "measured", "judged"),
    [
        ((), "latest", ALONE | UNARY | BATCH | RECORD | {"hot_256", "json_64", "balance"}, set(BARS)),
        (
            ("--large", *SMALL),
            "large",
            {"floor", "floor_set"}
            | UNARY
            | BATCH
            | {f"grown_{load}" for load in UNARY | BATCH}
            | {"spread_unary_256", "spread_batch_4"},
            {f"grown_{load}" for load in UNARY | BATCH},
        ),
    ],
    ids=["bench", "bench-large"],
)
def test_it_measures_everything(
    arguments: tuple[str, ...], name: str, measured: set[str], judged: set[str], tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "bench", *arguments, *A_MOMENT, "--results", str(tmp_path)]
    unmeasured = {name: value for name, value in os.environ.items() if name != MEASURING}
    done = subprocess.run(command, cwd=ROOT, env=unmeasured, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / f"{name}.json").read_text())
    assert set(found["results"]) == measured
    assert all(row["per_second"] > 0 for row in found["results"].values())
    assert set(found["bars_met"]) == judged
    assert ET.parse(tmp_path / f"{name}.svg").getroot().tag.endswith("svg")  # noqa: S314 - our own
    for row in found["results"].values():
        assert row["says"] in done.stdout
