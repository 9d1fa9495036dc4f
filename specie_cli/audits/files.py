"""Files of an auditor: public keys, proofs, checkpoints; and how a command that cannot go on says so."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from audit_chain import checkpoint
from audit_chain.document import Unreadable
from audit_chain.proof import Unproven
from audit_chain.seal import Seal, Unvouched
from audit_chain.signing import KeyUnreadable, PublicKeys
from audit_chain.verification import Tampered
from specie_cli import show
from specie_cli.gateway import EXIT_REFUSED
from specie_cli.reports.output import told_of

EXIT_NOT_CHECKED = 2
"""Where what is asked is whether something is right, and it could not be found out."""
EXIT_INTERRUPTED = 130
BYTES_MAX = 4 * 1024 * 1024
"""Of a file. What is longer is none of ours."""
SEAL_KEYS = "seal.pub"

DataDir = Annotated[Path, typer.Option(help=f"The directory of the stack whose {SEAL_KEYS} is the public key")]
PublicKey = Annotated[
    Path | None,
    typer.Option("--public-key", help="The keys that are trusted, in PEM, one after the other. Default: the stack's"),
]


class Refused(Exception):  # noqa: N818 - what happened
    """The command cannot go on. The message says why."""


def messages() -> Console:
    """For people, on standard error."""
    return Console(stderr=True, highlight=False, markup=False, soft_wrap=True)


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
        messages().print(show.plain(f"error: {error}"), style="red")
        raise typer.Exit(EXIT_REFUSED if isinstance(error, (Tampered, Unproven)) else refused) from None
    except typer.Exit as exited:
        # Of a call that was refused, which has told why.
        raise typer.Exit(refused if exited.exit_code == EXIT_REFUSED else exited.exit_code) from None
    except KeyboardInterrupt:
        messages().print("error: interrupted", style="red")
        raise typer.Exit(EXIT_INTERRUPTED) from None


def trusted_keys(path: Path | None, data_dir: Path) -> PublicKeys:
    """Of this file, or of the local stack. Raises Refused."""
    file = path or data_dir / SEAL_KEYS
    if path is None and not file.exists():
        raise Refused(f"there is no {file}; --public-key names the file with the keys that you trust")
    try:
        return PublicKeys.from_pem(text_of(file))
    except KeyUnreadable as error:
        raise Refused(f"{file}: {error}") from error


def checkpoint_of(path: Path, keys: PublicKeys) -> Seal:
    """Vouched for by one of these keys. Raises Refused."""
    try:
        seal = checkpoint.read(text_of(path))
        seal.vouched(keys)
    except Unreadable as error:
        raise Refused(f"{path}: {error}") from error
    except Unvouched as error:
        raise Refused(f"{path}: nobody vouches for this checkpoint: {error}") from error
    return seal


def text_of(path: Path) -> str:
    """Raises Refused."""
    try:
        with path.open("rb") as file:
            content = file.read(BYTES_MAX + 1)
    except OSError as error:
        raise Refused(f"{path} cannot be read: {error.strerror}") from error
    if len(content) > BYTES_MAX:
        raise Refused(f"{path} is too long to be what it should be")
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise Refused(f"{path} is no text in UTF-8") from None


def replace(path: Path, text: str) -> None:
    """The file appears complete or not at all. It is nobody's secret. Raises OSError."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.part")
    with told_of(path):
        try:
            with draft.open("x", encoding="utf-8", newline="") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(path)
        except BaseException:
            draft.unlink(missing_ok=True)
            raise
