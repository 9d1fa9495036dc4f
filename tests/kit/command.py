"""The `specie` command against a running stack, in the test's own process: to start one for each takes longer than all
that they do."""

from collections.abc import Mapping

from typer.testing import CliRunner, Result

from specie_cli.main import app
from tests.kit.stack import Stack


def specie(stack: Stack, *arguments: object, code: int = 0, env: Mapping[str, str] | None = None) -> Result:
    """With the usual token, in a terminal that is wide enough for everything."""
    usual = {"SPECIE_SERVER": stack.grpc, "SPECIE_TOKEN": stack.token, "COLUMNS": "250"}
    result = CliRunner().invoke(app, [*map(str, arguments)], env=usual | dict(env or {}))
    assert isinstance(result.exception, SystemExit | None), result.exception
    assert result.exit_code == code, result.output
    return result


def in_one_line(told: str) -> str:
    """Usage errors come in a box, in lines as long as the terminal's."""
    return " ".join(told.replace("│", " ").split())
