"""`specie report` and `specie statement` against a running stack: whole, adding up, or nothing at all."""

import csv
import io
import json
import os
import pty
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import pytest
from typer.testing import CliRunner, Result

from specie_cli.main import app
from tests.kit.stack import ROOT, SPECIE, Stack

EVIL = "=1+1, \x1b[2J[red]\r\nclosing"


@pytest.fixture(scope="module")
def wallet(stack: Stack) -> str:
    """With 100.00 USD that came and 25.00 that went, for a reason that nobody should let loose on a spreadsheet."""
    name = f"report-{uuid4().hex[:12]}"
    for new in (name, f"{name}-2"):
        run(stack, "wallet", "create", new, "--currency", "USD", "--owner", "ann")
    run(stack, "deposit", name, "--amount", "10000", "--currency", "USD")
    run(stack, "transfer", name, f"{name}-2", "--amount", "2500", "--currency", "USD", "--description", EVIL)
    return name


def environment(stack: Stack) -> dict[str, str]:
    return {"SPECIE_SERVER": stack.grpc, "SPECIE_TOKEN": stack.token}


def specie(*arguments: str, env: Mapping[str, str]) -> Result:
    """In this process: to start one for each takes longer than all that they do."""
    return CliRunner().invoke(app, arguments, env={"COLUMNS": "200"} | dict(env))


def run(stack: Stack, *arguments: str) -> str:
    result = specie(*arguments, env=environment(stack))
    assert (result.exit_code, result.stderr) == (0, "")
    return result.stdout_bytes.decode()


def refused(stack: Stack, *arguments: str, code: int = 1) -> str:
    result = specie(*arguments, env=environment(stack))
    assert (result.exit_code, result.stdout) == (code, "")
    assert isinstance(result.exception, SystemExit)
    # Usage errors come in a box, in lines as long as the terminal's.
    return " ".join(result.stderr.replace("│", " ").split())


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


def month() -> str:
    return f"{datetime.now(UTC):%Y-%m}"


def test_csv_adds_up_and_holds_no_formula(stack: Stack, wallet: str, tmp_path: Path) -> None:
    path = tmp_path / "report.csv"
    told = run(stack, "report", "--wallet", f"wallets/{wallet}", "--output", str(path))
    assert "2 entries" in told
    assert "closing 75.00 USD (7500)" in told
    opening, came, went, closing = rows(path.read_bytes().decode())
    assert (opening["balance"], came["amount"], went["amount"], closing["balance"]) == (
        "0.00",
        "100.00",
        "-25.00",
        "75.00",
    )
    assert went["description"] == f"'{EVIL}"
    assert [*tmp_path.iterdir()] == [path]


def test_json_lines_on_standard_output_are_the_same(stack: Stack, wallet: str) -> None:
    lines = [json.loads(line) for line in run(stack, "report", "--wallet", wallet, "--format", "jsonl").splitlines()]
    assert [line["record"] for line in lines] == ["opening", "entry", "entry", "closing"]
    assert [line["balance_minor_units"] for line in lines] == [0, 10000, 7500, 7500]
    assert lines[2]["description"] == EVIL


def test_a_range_and_one_without_entries(stack: Stack, wallet: str) -> None:
    whole = [json.loads(line) for line in run(stack, "report", "--wallet", wallet, "--format", "jsonl").splitlines()]
    second = whole[2]["time"]
    part = rows(run(stack, "report", "--wallet", wallet, "--from", second, "--to", whole[-1]["time"]))
    assert [(row["record"], row["balance"]) for row in part] == [
        ("opening", "100.00"),
        ("entry", "75.00"),
        ("closing", "75.00"),
    ]
    before = rows(run(stack, "report", "--wallet", wallet, "--from", "2020-01-01", "--to", "2020-02-01"))
    assert [(row["record"], row["balance"], row["time"][:10]) for row in before] == [
        ("opening", "0.00", "2020-01-01"),
        ("closing", "0.00", "2020-02-01"),
    ]


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (("--wallet", "nobody-has-this-name"), 1, "WALLET_NOT_FOUND"),
        (("--from", "2026-02-01", "--to", "2026-01-01"), 2, "must be after --from"),
        (("--to", "2999-01-01"), 1, "end_time: must not lie in the future"),
        (("--from", "2999-01-01"), 1, "start_time: must not lie in the future"),
        (("--from", "yesterday"), 2, "'yesterday' is not a date like 2026-11-01"),
        (("--to", ""), 2, "is not a date like 2026-11-01"),
        (("--time-zone", "Berlin"), 2, "there is no time zone 'Berlin'"),
        (("--format", "xlsx"), 2, "--format"),
    ],
)
def test_a_mistake_is_told_and_leaves_nothing(
    stack: Stack, wallet: str, tmp_path: Path, arguments: tuple[str, ...], code: int, told: str
) -> None:
    path = str(tmp_path / "report.csv")
    assert told in refused(stack, "report", "--wallet", wallet, "--output", path, *arguments, code=code)
    refused(stack, "report", "--wallet", wallet, *arguments, code=code)
    assert [*tmp_path.iterdir()] == []


def test_a_file_is_replaced_only_when_that_is_wanted(stack: Stack, wallet: str, tmp_path: Path) -> None:
    path = tmp_path / "report.csv"
    path.write_text("dear")
    ask = ("report", "--wallet", wallet, "--output")
    assert "exists already" in refused(stack, *ask, str(path), code=2)
    assert "there is no directory" in refused(stack, *ask, str(tmp_path / "none" / "report.csv"), code=2)
    assert "WALLET_NOT_FOUND" in refused(stack, "report", "--wallet", "nobody", "--output", str(path), "--force")
    assert path.read_text() == "dear"
    run(stack, *ask, str(path), "--force")
    assert len(rows(path.read_bytes().decode())) == 4


def test_a_token_is_needed_and_somebody_elses_wallet_does_not_exist(stack: Stack, wallet: str) -> None:
    for token, reason in (("", "UNAUTHENTICATED"), (stack.mint("bob", "wallets.read"), "WALLET_NOT_FOUND")):
        result = specie("report", "--wallet", wallet, "--server", stack.grpc, env={"SPECIE_TOKEN": token})
        assert (result.exit_code, result.stdout) == (1, "")
        assert reason in result.stderr
    own = {"SPECIE_TOKEN": stack.mint("ann", "wallets.read"), "SPECIE_SERVER": stack.grpc}
    assert len(rows(specie("report", "--wallet", wallet, env=own).stdout)) == 4


def test_a_reader_that_goes_away_is_no_trouble(stack: Stack, wallet: str) -> None:
    command, shown = [*SPECIE, "report", "--wallet", wallet], os.environ | environment(stack)
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as output:
        result = subprocess.run(
            command, cwd=ROOT, env=shown, stdout=output, stderr=subprocess.PIPE, text=True, check=False
        )
    assert (result.returncode, result.stderr) == (1, "")


@pytest.mark.parametrize("to_a_file", [True, False])
def test_progress_is_shown_to_a_person_only_and_never_among_the_lines(
    stack: Stack, wallet: str, tmp_path: Path, to_a_file: bool
) -> None:
    ours, terminal = pty.openpty()
    command = [*SPECIE, "report", "--wallet", wallet]
    command += ["--output", str(tmp_path / "report.csv")] if to_a_file else []
    shown = os.environ | environment(stack) | {"TERM": "xterm", "COLUMNS": "80"}
    output = terminal if not to_a_file else subprocess.DEVNULL
    with subprocess.Popen(command, cwd=ROOT, env=shown, stderr=terminal, stdout=output) as process:
        os.close(terminal)
        seen = _all_of(ours)
    assert process.returncode == 0
    assert ("2/2" in seen) == to_a_file
    assert ("opening" in seen) != to_a_file


def _all_of(terminal: int) -> str:
    seen = b""
    try:
        while part := os.read(terminal, 65536):
            seen += part
    except OSError:  # the other end is closed
        pass
    finally:
        os.close(terminal)
    return seen.decode()


def test_the_statement_of_a_month(stack: Stack, wallet: str) -> None:
    output = run(stack, "statement", "--wallet", wallet, "--month", month(), "--time-zone", "Europe/Berlin")
    for expected in (f"wallets/{wallet}", "Europe/Berlin, until", "0.00 USD (0)", "75.00 USD (7500)", "-25.00 USD"):
        assert expected in output
    assert "\x1b" not in output
    assert "[red]" in output
    empty = run(stack, "statement", "--wallet", wallet, "--month", "2020-02")
    assert "2020-02, UTC " in empty
    assert "Nothing came and nothing went." in empty
    assert "is not a month like 2026-11" in refused(stack, "statement", "--wallet", wallet, "--month", "11", code=2)
    assert "must not lie in the future" in refused(stack, "statement", "--wallet", wallet, "--month", "2999-01")
    assert "WALLET_NOT_FOUND" in refused(stack, "statement", "--wallet", "nobody", "--month", month())


def test_over_json_it_is_one_event_after_the_other(stack: Stack, wallet: str) -> None:
    """The same stream, for who has no gRPC; errors are as everywhere."""
    answer = stack.call(
        "GET", f"/v1/wallets/{wallet}:report?startTime=2020-02-01T00:00:00Z&endTime=2020-01-01T00:00:00Z"
    )
    assert (answer.status, answer.body["details"][0]["reason"]) == (400, "INVALID_FIELD")
    answer = stack.call("GET", "/v1/wallets/nobody-has-this-name:report")
    assert (answer.status, answer.body["details"][0]["reason"]) == (404, "WALLET_NOT_FOUND")
