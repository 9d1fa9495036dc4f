"""Request ids that the lines of a file have by themselves, the same in every run.

An id is derived from what the transfer is and from how often the same stands above it in the file; neither the file's
name nor the number of the line counts. So lines can be added, moved and mended, and the file be renamed or written anew
by another program: what was sent before has the id that it had, and is not done twice.
"""

import hashlib
import json
from array import array
from bisect import bisect_left
from collections.abc import Iterable
from typing import Final

from google.protobuf.json_format import MessageToDict
from specie.transaction.v1 import TransferRequest

PREFIX: Final = "import-"
KEY_BYTES: Final = 16


def key_of(request: TransferRequest, series: str) -> bytes:
    """Of all that the transfer is but its request id; or, where it has one, of that."""
    if request.request_id:
        return _digest("id", request.request_id)
    # Field by field as JSON: protobuf's own bytes are not promised to be the same with the next version.
    content = json.dumps(MessageToDict(request), sort_keys=True, separators=(",", ":"))
    return _digest("transfer", series, content)


def derived(key: bytes, nth: int) -> str:
    """`nth`: 1 for the first time that the same stands in the file."""
    return PREFIX + (key if nth == 1 else _digest("nth", key.hex(), str(nth))).hex()


def following(request_id: str) -> str:
    """For the next attempt at a transfer that failed for good under this id."""
    return PREFIX + _digest("again", request_id).hex()


def _digest(*parts: str) -> bytes:
    return hashlib.sha256(json.dumps(parts).encode()).digest()[:KEY_BYTES]


class Repeats:
    """Which keys of a file come more than once, with 8 bytes for each line."""

    def __init__(self) -> None:
        # By their first byte, so that few of them are sorted at a time: as objects they take 5 times the room.
        self._shorts = [array("Q") for _ in range(256)]
        self._repeated = array("Q")
        self._times: dict[bytes, int] = {}

    def add(self, key: bytes) -> None:
        self._shorts[key[0]].append(_short(key))

    def close(self) -> None:
        """All have been added."""
        for shorts in self._shorts:
            self._repeated.extend(_in_pairs(sorted(shorts)))
        self._shorts.clear()

    def begin(self) -> None:
        """Counts from the first line on."""
        self._times = {}

    def nth(self, key: bytes) -> int:
        """How often it has come, this time included, since `begin`. Keys that only look like repeated ones are counted
        too, and come out right: the whole key is compared."""
        short = _short(key)
        at = bisect_left(self._repeated, short)
        if at == len(self._repeated) or self._repeated[at] != short:
            return 1
        times = self._times.get(key, 0) + 1
        self._times[key] = times
        return times


def _short(key: bytes) -> int:
    return int.from_bytes(key[:8], "big")


def _in_pairs(ordered: Iterable[int]) -> Iterable[int]:
    """Each that comes more than once, once."""
    before = told = -1
    for value in ordered:
        if value == before and value != told:
            told = value
            yield value
        before = value
