"""Files of an auditor: public keys, proofs, checkpoints."""

from pathlib import Path
from typing import Annotated

import typer

from audit_chain import checkpoint
from audit_chain.document import Unreadable
from audit_chain.seal import Seal, Unvouched
from audit_chain.signing import KeyUnreadable, PublicKeys
from specie_cli.ending import Refused
from specie_cli.reports.output import EVERYBODYS, written

BYTES_MAX = 4 * 1024 * 1024
"""Of a file. What is longer is none of ours."""
SEAL_KEYS = "seal.pub"

DataDir = Annotated[Path, typer.Option(help=f"The directory of the stack whose {SEAL_KEYS} is the public key")]
PublicKey = Annotated[
    Path | None,
    typer.Option("--public-key", help="The keys that are trusted, in PEM, one after the other. Default: the stack's"),
]


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
    with written(path, EVERYBODYS) as file:
        file.write(text)
