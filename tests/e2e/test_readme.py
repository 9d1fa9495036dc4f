"""What README.md shows is true: its commands are run in their order against a stack, and its answers are compared."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.kit.readme import BEGIN, END, README, blocks, settings_table
from tests.kit.shown import assert_contains, run
from tests.kit.stack import Stack, running_stack


@pytest.fixture(scope="module")
def fresh_stack() -> Iterator[Stack]:
    """One of its own: the README begins with nothing."""
    with running_stack() as stack:
        yield stack


def test_every_command_works_and_every_answer_is_as_shown(fresh_stack: Stack, tmp_path: Path) -> None:
    output, compared = "", 0
    for block in blocks():
        if block.language in ("bash", "python"):
            output = run(block, fresh_stack, tmp_path)
        elif block.language == "json":
            assert_contains(json.loads(output.splitlines()[-1]), json.loads(block.text))
            compared += 1
    assert compared == 7


def test_python_and_the_command_line_moved_what_they_say(fresh_stack: Stack) -> None:
    # 10000 in; 2500 to bob; 500 back; 700 to bob; 100 to bob, for 2, and both back; 600 captured.
    assert available(fresh_stack, "alice") == "6700"
    assert available(fresh_stack, "bob") == "3300"


def test_the_settings_table_is_what_the_code_has() -> None:
    shown = README.read_text().partition(BEGIN)[2].partition(END)[0]
    assert shown == settings_table(), "run `python -m tests.kit.readme`"


def available(stack: Stack, wallet: str) -> str:
    balance: dict[str, Any] = stack.call("GET", f"/v1/wallets/{wallet}/balance").body["balance"]
    return str(balance["available"]["minorUnits"])
