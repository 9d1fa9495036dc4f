"""One version, wherever it is told."""

import tomllib
from pathlib import Path

from service_kit.version import VERSION

PROJECT = Path(__file__).resolve().parents[2] / "pyproject.toml"


def test_the_version_that_the_service_tells_is_the_project_s() -> None:
    assert tomllib.loads(PROJECT.read_text())["project"]["version"] == VERSION
