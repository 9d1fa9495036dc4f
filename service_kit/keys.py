"""The issuer's public keys: a JSON Web Key Set (RFC 7517) in a file or at a URL, read again while the service runs."""

import asyncio
import json
import urllib.request
from collections.abc import Mapping, Sequence
from http.client import HTTPException
from pathlib import Path
from time import monotonic
from typing import Any, Final, NamedTuple

import jwt
import structlog

log = structlog.stdlib.get_logger()

FILE_SECONDS: Final = 5.0
URL_SECONDS: Final = 300.0
"""How often they are read again."""
UNKNOWN_KEY_SECONDS: Final = 5.0
"""So often, at the most, because of a token with a key that is not among them."""
FETCH_TIMEOUT_SECONDS: Final = 5.0
BYTES_MAX: Final = 1024 * 1024
ALGORITHMS: Final[Mapping[tuple[str, str], str]] = {("EC", "P-256"): "ES256", ("OKP", "Ed25519"): "EdDSA"}
"""By type and curve. The algorithm is the key's, never what a token says of itself."""


class Key(NamedTuple):
    """A public key, its id and the one algorithm that it is used with."""

    id: str
    algorithm: str
    key: Any


class KeysUnreadable(Exception):  # noqa: N818 - what happened, in plain words
    """There is no key set at this place now, or none in it that can be used."""


class Keys:
    """Of the event loop's thread only. `generation` grows when keys have come or gone."""

    def __init__(self, place: str) -> None:
        """`place`: a file, or a URL that begins with http:// or https://."""
        self.generation = 0
        self._place = place
        self._is_url = place.startswith(("http://", "https://"))
        self._every_seconds = URL_SECONDS if self._is_url else FILE_SECONDS
        self._text = ""
        self._keys: Sequence[Key] = ()
        self._read_at = float("-inf")
        self._reading = asyncio.Lock()
        self._asked: asyncio.Task[None] | None = None
        """Reads them because of a token."""

    async def check(self) -> None:
        """Raises KeysUnreadable when they never were read. A process that cannot let anybody in is not ready; one that
        has read them once stays so, or an issuer that is down would take all processes out."""
        if not self._text:
            raise KeysUnreadable(f"no keys could be read from {self._place} yet")

    async def begin(self) -> None:
        """Reads them once. Raises KeysUnreadable for a file; a URL may answer later."""
        await (self._try_to_read() if self._is_url else self.read())

    async def watch(self) -> None:
        """Reads them again for ever. While that fails, those that were read last stay."""
        while True:
            await asyncio.sleep(self._every_seconds if self._keys else UNKNOWN_KEY_SECONDS)
            await self._try_to_read()

    async def find(self, key_id: str | None, algorithm: str) -> Sequence[Key]:
        """The keys that a token with this header may be signed with; without an id: all of the algorithm.

        Raises KeysUnreadable when there are none at all.
        """
        if algorithm not in ALGORITHMS.values():
            return ()
        found = self._matching(key_id, algorithm)
        if not found:
            # One reading for all who wait, and whoever of them goes away does not end it.
            if self._asked is None or self._asked.done():
                self._asked = asyncio.create_task(self._try_to_read(UNKNOWN_KEY_SECONDS))
            await asyncio.shield(self._asked)
            found = self._matching(key_id, algorithm)
        await self.check()
        return found

    def _matching(self, key_id: str | None, algorithm: str) -> list[Key]:
        return [key for key in self._keys if key.algorithm == algorithm and key_id in (None, key.id)]

    async def read(self, unless_within_seconds: float = 0) -> None:
        """Not if they were read so short a time ago. Raises KeysUnreadable; then the keys are those of before."""
        async with self._reading:
            if monotonic() - self._read_at < unless_within_seconds:
                return
            self._read_at = monotonic()
            try:
                text = await asyncio.to_thread(self._fetch)
            except (OSError, ValueError, HTTPException) as error:
                raise KeysUnreadable(f"{self._place}: {error}") from error
            if text != self._text:
                self._keys = usable(text, self._place)
                self._text = text
                self.generation += 1
                log.info("keys_read", place=self._place, keys=[key.id for key in self._keys])

    async def _try_to_read(self, unless_within_seconds: float = 0) -> None:
        try:
            await self.read(unless_within_seconds)
        except KeysUnreadable as error:
            log.warning("keys_not_read", place=self._place, error=str(error))

    def _fetch(self) -> str:
        if not self._is_url:
            return Path(self._place).read_text()
        with urllib.request.urlopen(self._place, timeout=FETCH_TIMEOUT_SECONDS) as answer:  # noqa: S310 - http(s) only
            content: bytes = answer.read(BYTES_MAX)
        return content.decode()


def usable(text: str, place: str) -> list[Key]:
    """The keys for ES256 and EdDSA in a key set; of an empty one none: its issuer has withdrawn them all. Raises
    KeysUnreadable, also for a set with a secret in it: whoever verifies with that could sign as well."""
    try:
        listed = json.loads(text)["keys"]
        entries = [entry for entry in listed if isinstance(entry, dict)]
    except (ValueError, TypeError, KeyError, RecursionError):
        raise KeysUnreadable(f'{place}: not a JSON Web Key Set, {{"keys": [...]}}') from None
    if any(entry.get("kty") == "oct" or "d" in entry for entry in entries):
        raise KeysUnreadable(f"{place}: has a symmetric or a private key; only public keys belong there")
    found = []
    for entry in entries:
        algorithm = ALGORITHMS.get((str(entry.get("kty")), str(entry.get("crv"))))
        if algorithm is None or entry.get("use", "sig") != "sig" or entry.get("alg", algorithm) != algorithm:
            continue
        try:
            found.append(Key(str(entry.get("kid", "")), algorithm, jwt.PyJWK(entry, algorithm).key))
        except jwt.PyJWTError as error:
            raise KeysUnreadable(f"{place}: the key {entry.get('kid')} is broken: {error}") from error
    if listed != [] and not found:
        raise KeysUnreadable(f"{place}: has no key for ES256 (EC, P-256) or EdDSA (OKP, Ed25519)")
    return found
