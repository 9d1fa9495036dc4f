"""What can go wrong, switched on by a JSON file that is read again whenever it changes.

Only `Faults.verdict` is about what the bank decides. All else happens between the bank and its caller, in `around`, and
must not matter: to a payment that is asked for often enough it makes no difference.
"""

import asyncio
import hashlib
import json
import os
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Final, TypeVar

from payout_simulator.bank import Verdict

T = TypeVar("T")

CRASHED: Final = 70
"""The exit code of a crash that was switched on."""
SETTLE_SECONDS: Final = 0.5
"""How long a payment stays PENDING."""
REFUSAL: Final = "the account is closed"
DELAY_MS_MAX: Final = 3_600_000


class Lost(Exception):  # noqa: N818 - what it is
    """The caller gets UNAVAILABLE, and does not know whether the bank has heard it."""


class WrongFaultsError(ValueError):
    """What is wrong with a faults file."""


@dataclass(frozen=True, slots=True)
class FaultSettings:
    """What a faults file says: how long a delay is, in milliseconds, and of everything else which share of the calls it
    happens to, from 0 to 1. What is not named is off."""

    delay_ms: float = 0
    delay_share: float = 1
    """Of the calls, when there is a delay."""
    unavailable: float = 0
    """UNAVAILABLE, and nothing was done."""
    lost_answer: float = 0
    """It was done, but the caller is told UNAVAILABLE, or nothing at all."""
    duplicate: float = 0
    """The bank gets the call twice at once."""
    crash: float = 0
    """The bank dies, before its commit or after it."""
    pending: float = 0
    """Of new payments: PENDING at first, settled a little later."""
    refuse: float = 0
    """Of new payments: refused for good. The key decides, so that it is the same ones whenever they come."""

    @classmethod
    def parse(cls, text: str) -> "FaultSettings":
        """Raises WrongFaultsError."""
        try:
            given = json.loads(text)
        except ValueError as error:
            raise WrongFaultsError(f"no JSON: {error}") from None
        if not isinstance(given, dict):
            raise WrongFaultsError("it must be a JSON object, such as {}")
        known = [field.name for field in fields(cls)]
        for name, value in given.items():
            if name not in known:
                raise WrongFaultsError(f"there is no fault {name!r}; there are {', '.join(known)}")
            most = DELAY_MS_MAX if name == "delay_ms" else 1
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= most:
                raise WrongFaultsError(f"{name} must be a number from 0 to {most}, not {json.dumps(value)}")
        return cls(**given)


class FaultsFile:
    """The faults as the file says now; a file that is wrong changes nothing."""

    def __init__(self, path: Path | None, complain: Callable[[str], None]) -> None:
        """None: no faults, for ever. Raises OSError or WrongFaultsError. `complain` is told once of each wrong file."""
        self._path = path
        self._complain = complain
        self._read_as = self._looks()
        self._settings = FaultSettings() if path is None else _read(path)

    def settings(self) -> FaultSettings:
        looks = self._looks()
        if self._path is not None and looks != self._read_as:
            self._read_as = looks
            try:
                self._settings = _read(self._path)
            except (OSError, WrongFaultsError) as error:
                self._complain(f"{error}; the faults stay as they were")
        return self._settings

    def _looks(self) -> tuple[int, ...]:
        """What changes when the file does; empty: it is not there."""
        if self._path is None:
            return ()
        try:
            found = self._path.stat()
        except OSError:
            return ()
        return found.st_mtime_ns, found.st_size, found.st_ino


class Faults:
    """`tell` hears of each fault that happens, and whom it happens to."""

    def __init__(self, file: FaultsFile, chance: random.Random, tell: Callable[[str, str], None]) -> None:
        self._file = file
        self._chance = chance
        self._tell = tell

    def verdict(self, key: str) -> Verdict:
        """On an order with this key, if it is a new one."""
        settings = self._file.settings()
        return Verdict(
            refusal=REFUSAL if _share_of(key) < settings.refuse else "",
            after_seconds=SETTLE_SECONDS if self._happens(settings.pending) else 0,
        )

    async def around(self, key: str, handle: Callable[[], Awaitable[T]]) -> T:
        """Handles a call about this key, in a bad network, by a bank that may die. Raises Lost."""
        settings = self._file.settings()
        if settings.delay_ms and self._happens(settings.delay_share):
            self._tell("delay", key)
            await asyncio.sleep(settings.delay_ms / 1000)
        if self._happens(settings.unavailable):
            self._tell("unavailable", key)
            raise Lost
        dies, late = self._happens(settings.crash), self._happens(0.5)
        if dies and not late:
            self._crash(key)
        if self._happens(settings.duplicate):
            self._tell("duplicate", key)
            answer, _ = await asyncio.gather(handle(), handle())
        else:
            answer = await handle()
        if dies:
            self._crash(key)
        if self._happens(settings.lost_answer):
            self._tell("lost_answer", key)
            if self._happens(0.5):
                await asyncio.Future()  # for ever: until the caller has had enough
            raise Lost
        return answer

    def _happens(self, share: float) -> bool:
        return self._chance.random() < share

    def _crash(self, key: str) -> None:
        self._tell("crash", key)
        os._exit(CRASHED)


def _read(path: Path) -> FaultSettings:
    """Raises OSError or WrongFaultsError, with the file's name in it."""
    try:
        return FaultSettings.parse(path.read_text())
    except ValueError as error:
        raise WrongFaultsError(f"{path}: {error}") from None


def _share_of(key: str) -> float:
    """Where the key stands among all keys: at least 0, below 1."""
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:6], "big") / 2**48
