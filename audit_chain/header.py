"""What a block says of itself: the text that is hashed and signed."""

import re
from datetime import UTC, datetime
from hashlib import sha256
from typing import Final, NamedTuple

FIRST_LINE: Final = "specie-block 1"
GENESIS: Final = bytes(32)
"""What the first block has as the hash of the block before it."""
TRANSACTIONS_MAX: Final = 10_000
"""In one block."""

_HASH: Final = "[0-9a-f]{64}"
_MARK: Final = "([0-9]{1,19}) ([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})"
_TIME: Final = "[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}[.][0-9]{6}Z"
_TEXT: Final = re.compile(
    f"{FIRST_LINE}\nnumber ([1-9][0-9]{{0,18}})\ntransactions ([1-9][0-9]{{0,4}})\nroot ({_HASH})\n"
    f"previous ({_HASH})\nafter {_MARK}\nuntil {_MARK}\nsealed ({_TIME})\nkey ([0-9a-f]{{16}})\n"
)


class MalformedHeader(ValueError):  # noqa: N818 - what it is, in plain words
    """The text is no header."""


class Mark(NamedTuple):
    """A place in the order of commits: the id of a database transaction and of one of the transactions that it
    wrote."""

    commit: int
    id: str


BEGINNING: Final = Mark(0, "00000000-0000-0000-0000-000000000000")
"""Behind it is everything: where the first block begins."""


class Header(NamedTuple):
    """`after` and `until`: the block has sealed everything decided behind the one mark, up to the other."""

    number: int
    transactions: int
    root: bytes
    previous: bytes
    after: Mark
    until: Mark
    sealed: datetime
    key_id: str

    def text(self) -> str:
        """One line a fact, each with its line feed."""
        lines = (
            FIRST_LINE,
            f"number {self.number}",
            f"transactions {self.transactions}",
            f"root {self.root.hex()}",
            f"previous {self.previous.hex()}",
            f"after {self.after.commit} {self.after.id}",
            f"until {self.until.commit} {self.until.id}",
            f"sealed {self.sealed.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%f}Z",
            f"key {self.key_id}",
        )
        return "".join(f"{line}\n" for line in lines)


def hash_of(text: str) -> bytes:
    """What the next block names as the hash of the block before it."""
    return sha256(text.encode()).digest()


def parsed(text: str) -> Header:
    """Raises MalformedHeader for whatever `Header.text` would not have written."""
    found = _TEXT.fullmatch(text)
    if found is None:
        raise MalformedHeader("not a block header")
    number, transactions, root, previous, after, after_id, until, until_id, sealed, key_id = found.groups()
    try:
        time = datetime.strptime(sealed, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)
    except ValueError as error:
        raise MalformedHeader(f"not a time: {sealed}") from error
    header = Header(
        int(number),
        int(transactions),
        bytes.fromhex(root),
        bytes.fromhex(previous),
        Mark(int(after), after_id),
        Mark(int(until), until_id),
        time,
        key_id,
    )
    if header.text() != text:
        raise MalformedHeader("not in the one form that a header has")
    return header
