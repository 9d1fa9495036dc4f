"""What sealing needs of the ledger's database, and what readers of the audit chain are given."""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from enum import Enum
from typing import Final, NamedTuple, Protocol

from audit_chain.header import Mark
from audit_chain.merkle import HASH_BYTES

ID_BYTES: Final = 16


class Tip(NamedTuple):
    """The end of the chain: the latest block's number and hash, and the place in the order of commits up to which
    everything that is decided is sealed."""

    number: int
    hash: bytes
    until: Mark


class Block(NamedTuple):
    """`header` is the text that `hash` and `signature` are of. `until` stands in it, too."""

    number: int
    until: Mark
    header: str
    hash: bytes
    signature: bytes
    key_id: str
    seal_time: datetime


class Content(NamedTuple):
    """What a block has sealed, in its order: the ids of its transactions, 16 bytes each, and the leaves of their
    records, 32 bytes each."""

    ids: bytes
    leaves: bytes

    def leaf_hashes(self) -> list[bytes]:
        return [self.leaves[i : i + HASH_BYTES] for i in range(0, len(self.leaves), HASH_BYTES)]

    def transaction_ids(self) -> Iterator[str]:
        """As UUIDs are written."""
        for i in range(0, len(self.ids), ID_BYTES):
            digits = self.ids[i : i + ID_BYTES].hex()
            yield f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"

    def place_of(self, id_: bytes) -> int | None:
        """Where a transaction stands, from 0. None: it is not in the block."""
        for i in range(0, len(self.ids), ID_BYTES):
            if self.ids[i : i + ID_BYTES] == id_:
                return i // ID_BYTES
        return None


class Key(NamedTuple):
    """A key that has signed. `public_key` is PEM."""

    key_id: str
    public_key: str
    create_time: datetime


class Decided(NamedTuple):
    """The next transactions behind the tip, at least one. `time` is the database's."""

    content: Content
    until: Mark
    time: datetime


class Round(NamedTuple):
    """`transactions`: how many were sealed now, as `block`; None: nothing was, because nothing waits or because another
    process seals. `lag_seconds`: the age of the oldest decided transaction that is not sealed; 0: there is none."""

    block: Block | None
    transactions: int
    lag_seconds: float


class Sealing(Protocol):
    """The chain's end."""

    async def seal(self, transactions_max: int, block_of: Callable[[Tip, Decided], Block], public_key: str) -> Round:
        """Stores the block that `block_of` makes of what waits, at most so many transactions; in one commit, and in one
        process at a time. `block_of` is called in another thread. Raises Refusal."""


class Unsealed(Enum):
    """Why there is no proof."""

    PENDING = "it is PENDING: only what is decided is sealed"
    WAITS = "it was decided within the last seconds, or nothing is being sealed; ask again soon"
    STRAY = "it is in the range of a block that has not sealed it: it was written behind the ledger's back"


class Proven(NamedTuple):
    """A sealed transaction: its block, what that has sealed, its place there from 0, and its record as its rows are
    now."""

    block: Block
    content: Content
    place: int
    record: str


class Blocks(Protocol):
    """The chain and the records, to be read. Every call raises Refusal."""

    async def latest(self) -> Block | None:
        """None: there is no block yet."""

    async def block(self, number: int) -> Block | None:
        """By its number."""

    async def following(self, after: int, until: int) -> tuple[Block, Content] | None:
        """The first block behind this number, up to another. None: there is none."""

    async def records(self, after: Mark, until: Mark, limit: int) -> Sequence[tuple[Mark, str]]:
        """The records of what is decided in this range now, in the order of commits, at most so many."""

    async def proof(self, transaction_id: str) -> Proven | Unsealed | None:
        """None: there is no such transaction."""

    async def keys(self) -> Sequence[Key]:
        """The oldest first."""
