"""Generated passwords, each in a file that only the owner of the stack can read."""

import os
import secrets
from pathlib import Path

PASSWORD_BYTES = 24  # 192 bits: nobody guesses it, and it stays one short word


def password(folder: Path, name: str) -> str:
    """The password of this name; made up on first use. It is written whole or not at all."""
    path = folder / name
    if not path.exists():
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = folder / f".{name}.{os.getpid()}"
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(secrets.token_urlsafe(PASSWORD_BYTES))
            file.flush()
            os.fsync(file.fileno())
        draft.rename(path)
    return path.read_text().strip()
