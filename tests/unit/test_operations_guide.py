"""docs/operations.md names every metric and every log event that the code has, and no other."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("service_kit", "transaction_service", "wallet_service")
GUIDE = (ROOT / "docs" / "operations.md").read_text()


def in_code(pattern: str) -> set[str]:
    sources = [path.read_text() for package in PACKAGES for path in (ROOT / package).rglob("*.py")]
    return {name for source in sources for name in re.findall(pattern, source)}


def in_guide(section: str) -> set[str]:
    text = GUIDE.partition(f"## {section}\n")[2].partition("\n## ")[0]
    first_cells = re.findall(r"^\| (`.*?) \|", text, re.MULTILINE)
    return {name for cell in first_cells for name in re.findall(r"`([a-z_]+)", cell)}


def test_every_metric_is_explained() -> None:
    metrics = in_code(r'(?:Counter|Gauge|Histogram)\(\s*"(specie_\w+)"')
    assert {name.removesuffix("_total") for name in in_guide("Metrics")} == metrics


def test_every_log_event_is_explained() -> None:
    assert in_guide("Logs") == in_code(r'log\.\w+\(\s*"(\w+)"')
