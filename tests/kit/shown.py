"""What a document shows: its commands, run as a person would, and its answers, compared with those that came."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.kit.readme import Block
from tests.kit.stack import ROOT, Stack


def run(block: Block, stack: Stack, folder: Path = ROOT) -> str:
    """As a person would in this folder, only with this stack's port and directory."""
    specie = f"{sys.executable} -m specie_cli.main"
    text = block.text.replace("localhost:8080", stack.grpc).replace(".venv/bin/python", sys.executable)
    for name in ("token", "audit verify"):
        text = text.replace(f".venv/bin/specie {name}", f"{specie} {name} --data-dir {stack.data_dir}")
    text = text.replace(".specie/", f"{stack.data_dir}/")
    text = text.replace(".venv/bin/specie", specie)
    command = ["bash", "-euo", "pipefail", "-c", text] if block.language == "bash" else [sys.executable, "-c", text]
    environment = os.environ | {"SPECIE_SERVER": stack.grpc, "SPECIE_TOKEN": stack.mint("operator", "admin")}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (block.text, done.stdout, done.stderr)
    # curl puts no newline behind a body, so the answers of a block of several stand behind each other.
    return done.stdout.replace("}{", "}\n{")


def assert_contains(answer: Any, shown: Any) -> None:  # noqa: ANN401 - JSON
    """Documents shorten answers: all that is shown must be there."""
    if isinstance(shown, dict):
        for key, value in shown.items():
            assert key in answer
            assert_contains(answer[key], value)
    elif isinstance(shown, list):
        for real, expected in zip(answer, shown, strict=False):
            assert_contains(real, expected)
    else:
        assert answer == shown
