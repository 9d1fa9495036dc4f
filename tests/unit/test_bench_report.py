"""How the benchmark tells what it found: tables, the document, the picture."""

import json
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from bench import report
from bench.bars import bars, ratios
from bench.picture import draw

SVG = "{http://www.w3.org/2000/svg}"


def row(says: str, per_second: float, latency_ms: float | None = None, **cpu_us: float) -> dict[str, Any]:
    latencies = {} if latency_ms is None else dict.fromkeys(("p50_ms", "p95_ms", "p99_ms"), latency_ms)
    return {"says": says, "per_second": per_second, "memory_mb": 120.0, "cpu_us": cpu_us, **latencies}


@pytest.fixture
def found() -> dict[str, Any]:
    results = {
        "floor": row("SQL, one by one", 4000, postgresql=300, client=100),
        "floor_set": row("SQL, sets", 20_000, 50, postgresql=30, client=10),
        "floor_hot": row("SQL, hot", 1500, postgresql=600, client=100),
        "unary_64": row("gRPC, 64", 2800, 30, service=270, postgresql=50, client=100),
        "unary_256": row("gRPC <256> & more", 3000, 80, service=270, postgresql=50, client=100),
        "batch_1": row("batches, 1", 9000, 100, service=30, postgresql=30, client=10),
        "batch_4": row("batches, 4", 13_000, 300, service=30, postgresql=30, client=10),
        "batch_held": row("batches, held", 13_000, 300, service=30, postgresql=30, client=10),
        "batch_record": row("batches, recorded", 12_000, 320, service=30, postgresql=40, back_office=9, client=10),
        "hot_256": row("gRPC, hot", 3000, 80, service=270, postgresql=50, client=100),
        "json_64": row("JSON", 2500, 25, service=270, postgresql=50, client=100, envoy=140),
        "balance": row("balance", 500, 4, service=400, postgresql=100, client=200),
    }
    return {
        "time": "2026-11-21T05:43:05+00:00",
        "machine": {"python": "3.11.7", "cores": 2, "load_before": 0.25},
        "rounds": 3,
        "seconds": 3.0,
        "results": results,
        "ratios": ratios(results),
        "bars_met": bars(results),
    }


def test_the_tables_have_a_row_for_each_measurement_and_each_bar(found: dict[str, Any]) -> None:
    verdicts, speeds, cpu = report.tables(found)
    assert [cells[0] for cells in speeds[1:]] == [cells[0] for cells in cpu[1:]]
    assert len(speeds) == len(found["results"]) + 1
    assert len(verdicts) == len(found["bars_met"]) + 1
    for table in (verdicts, speeds, cpu):
        assert {len(cells) for cells in table} == {len(table[0])}


def test_a_row_tells_how_many_times_a_floor_it_is(found: dict[str, Any]) -> None:
    rows = {cells[0]: cells for cells in report.speeds(found)}
    assert rows["measured"][-2:] == ["x one by one", "x sets"]
    assert rows["batches, 4"] == ["batches, 4", "13,000", "300.0", "300.0", "300.0", "3.25", "0.65"]
    assert rows["gRPC, hot"][-2:] == ["2.00", ""]  # against the hot floor
    assert rows["SQL, one by one"] == ["SQL, one by one", "4,000", "", "", "", "", ""]


def test_cpu_is_told_for_each_process_and_for_all(found: dict[str, Any]) -> None:
    rows = {cells[0]: cells for cells in report.cpu(found)}
    assert rows["JSON"] == ["JSON", "270", "50", "", "140", "100", "560"]
    assert rows["SQL, one by one"] == ["SQL, one by one", "", "300", "", "", "100", "400"]


def test_the_document_has_the_tables_of_the_runs() -> None:
    text = report.DOCUMENT.read_text()
    assert report.documented(text) == text, "run `python -m bench.report --docs`"


def test_only_what_is_between_the_markers_is_written(found: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "runs", lambda: [("latest", found)])
    before = "# Title\n<!-- latest: begin -->\nbefore\n<!-- latest: end -->\nafter\n"
    after = report.documented(before)
    assert after.startswith("# Title\n<!-- latest: begin -->\n2026-11-21T05:43:05+00:00, 2 cores")
    assert after.endswith("|\n<!-- latest: end -->\nafter\n")
    assert "\nbefore\n" not in after
    assert report.documented(after) == after


def test_the_picture_is_well_formed_and_names_every_measurement(found: dict[str, Any]) -> None:
    root = ET.fromstring(draw(json.loads(json.dumps(found))))  # noqa: S314 - our own
    assert root.tag == f"{SVG}svg"
    words = [element.text for element in root.iter(f"{SVG}text")]
    for name, measured in found["results"].items():
        assert words.count(measured["says"]) == (0 if name == "balance" else 2)
    assert "13,000" in words


def test_the_pictures_shapes_lie_within_it(found: dict[str, Any]) -> None:
    root = ET.fromstring(draw(found))  # noqa: S314 - our own
    _, _, width, height = map(float, root.attrib["viewBox"].split())
    for box in root.iter(f"{SVG}rect"):
        assert 0 <= float(box.attrib["x"]) <= float(box.attrib["x"]) + float(box.attrib["width"]) <= width
        assert 0 <= float(box.attrib["y"]) <= float(box.attrib["y"]) + float(box.attrib["height"]) <= height
