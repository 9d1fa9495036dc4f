"""How a command ends: its exit code, and what people are told on standard error.

0 is done, and 2 what the command line itself is refused with. Where a command means something else by one of them, its
guide says so.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import typer
from rich.console import Console

from audit_chain.proof import Unproven
from audit_chain.verification import Tampered
from specie_cli import show

EXIT_REFUSED: Final = 1
EXIT_UNREACHABLE: Final = 3
EXIT_INTERRUPTED: Final = 130
"""As shells have it: 128 and the number of SIGINT."""


class Refused(Exception):  # noqa: N818 - what happened
    """The command cannot go on. The message says why."""


def messages() -> Console:
    """For people, on standard error."""
    return Console(stderr=True, highlight=False, markup=False, soft_wrap=True)


def tell_error(text: str) -> None:
    messages().print(show.plain(f"error: {text}"), style="red")


@contextmanager
def told(refused: int = EXIT_REFUSED) -> Iterator[None]:
    """What goes wrong ends the command with a message. `refused`: the exit code where it cannot go on, which is another
    thing than that what it looked at is not right."""
    try:
        yield
    except (BrokenPipeError, SystemExit):
        # Nobody reads on. Rich, where it prints, ends the program with 1 then, which here means that all is not well.
        raise typer.Exit(refused) from None
    except (Refused, Tampered, Unproven, OSError) as error:
        tell_error(str(error))
        raise typer.Exit(EXIT_REFUSED if isinstance(error, (Tampered, Unproven)) else refused) from None
    except typer.Exit as exited:
        # Of a call that was refused, which has told why.
        raise typer.Exit(refused if exited.exit_code == EXIT_REFUSED else exited.exit_code) from None
    except KeyboardInterrupt:
        tell_error("interrupted")
        raise typer.Exit(EXIT_INTERRUPTED) from None
