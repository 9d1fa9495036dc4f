"""The secrets that webhooks are signed with: made here, shown once, kept encrypted."""

from base64 import b64encode
from pathlib import Path
from secrets import token_bytes
from typing import Final

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

PREFIX: Final = "whsec_"
"""As Standard Webhooks writes secrets."""
SECRET_BYTES: Final = 32
"""Standard Webhooks: 24 to 64."""


class KeysUnusable(OSError):  # noqa: N818 - what happened, in plain words
    """The file has no keys that secrets could be kept with. It ends a process that starts, with its message."""


class SecretUnreadable(Exception):  # noqa: N818 - what happened, in plain words
    """It was encrypted with a key that is not in the file any more, or was changed."""


class Secrets:
    """Encrypts with the first key of the file (Fernet: AES-128-CBC with HMAC-SHA256), decrypts with all of them."""

    def __init__(self, keys: MultiFernet) -> None:
        self._keys = keys

    @classmethod
    def from_file(cls, path: str) -> "Secrets":
        """One key a line; empty lines do not count. Raises KeysUnusable, which tells nothing of the keys."""
        try:
            lines = Path(path).read_text("ascii").split()
        except OSError as error:
            raise KeysUnusable(f"the keys of webhooks cannot be read: {path}: {error.strerror}") from error
        except UnicodeDecodeError:
            raise _unusable(path, "it is no text of ASCII characters") from None
        if not lines:
            raise _unusable(path, "there is none in it")
        keys = []
        for number, line in enumerate(lines, 1):
            try:
                keys.append(Fernet(line))
            except ValueError:
                raise _unusable(path, f"key {number} is not 32 bytes in URL-safe base64") from None
        return cls(MultiFernet(keys))

    def new(self) -> str:
        """`whsec_` and 32 random bytes in base64."""
        return PREFIX + b64encode(token_bytes(SECRET_BYTES)).decode()

    def sealed(self, secret: str) -> str:
        """As it is kept."""
        return self._keys.encrypt(secret.encode()).decode()

    def opened(self, token: str) -> str:
        """What `sealed` was given, by any process with one of its keys. Raises SecretUnreadable."""
        try:
            return self._keys.decrypt(token.encode()).decode()
        except InvalidToken:
            raise SecretUnreadable("none of the keys in the file of webhooks' keys opens this secret") from None


def _unusable(path: str, problem: str) -> KeysUnusable:
    return KeysUnusable(
        f"the keys of webhooks cannot be used: {path}: {problem}; each is made by Fernet.generate_key()"
    )
