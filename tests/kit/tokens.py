"""Who calls, in tests: one issuer for all services that tests start by themselves. A stack has an issuer of its own."""

import atexit
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from service_kit.keys import Keys, usable
from service_kit.tokens import Tokens
from specie_cli.stack.issuer import AUDIENCE, ISSUER, Issuer

EVERYTHING = "admin service"
USUAL_SUBJECT = "local"
TTL_SECONDS = 3600
LIFETIME_SECONDS_MAX = 86_400

FOLDER = Path(tempfile.mkdtemp(prefix="specie-issuer-"))
atexit.register(shutil.rmtree, FOLDER, ignore_errors=True)
LOCAL = Issuer(FOLDER)
LOCAL.make()
SERVICE_TOKEN_FILE = FOLDER / "wallet.token"
SERVICE_TOKEN_FILE.write_text(LOCAL.mint("wallet-service", "service", LIFETIME_SECONDS_MAX))
SETTINGS = {"AUTH_ISSUER": ISSUER, "AUTH_AUDIENCE": AUDIENCE, "AUTH_JWKS": str(LOCAL.key_set)}
"""Of a service that believes this issuer, without the prefix of their names."""
IDENTITY: dict[str, Any] = {name.lower(): value for name, value in SETTINGS.items()}
"""The same for a service in the test's own process."""
WALLET_IDENTITY: dict[str, Any] = IDENTITY | {"service_token_file": SERVICE_TOKEN_FILE}


def token(subject: str = USUAL_SUBJECT, scope: str = EVERYTHING, **claims: object) -> str:
    """`claims` replace the usual ones."""
    return LOCAL.mint(subject, scope, TTL_SECONDS, **claims)


def bearer(token_: str) -> tuple[str, str]:
    """The header, as metadata."""
    return ("authorization", f"Bearer {token_}")


USUAL_TOKEN = token()
USUAL = bearer(USUAL_TOKEN)


class Authorised:
    """A stub whose calls have a token, unless they bring one."""

    def __init__(self, stub: object, header: tuple[str, str] = USUAL) -> None:
        self._stub = stub
        self._header = header

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method: Callable[..., Any] = getattr(self._stub, name)

        def call(request: object, *, metadata: Sequence[tuple[str, str]] = (), **options: Any) -> Any:  # noqa: ANN401
            has_one = any(key == "authorization" for key, _ in metadata)
            sent = tuple(metadata) if has_one else (*metadata, self._header)
            return method(request, metadata=sent, **options)

        return call


class KnownKeys(Keys):
    """Those of the local issuer, which are there without reading."""

    def __init__(self) -> None:
        super().__init__(str(LOCAL.key_set))
        self._text = LOCAL.key_set.read_text()
        self._keys = usable(self._text, str(LOCAL.key_set))


def verifier() -> Tokens:
    """As a service makes it."""
    return Tokens(KnownKeys(), ISSUER, AUDIENCE, LIFETIME_SECONDS_MAX)
