"""What sealing needs of the ledger's database, and what readers of the audit chain are given."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import NamedTuple, Protocol

from audit_chain.header import Mark


class Tip(NamedTuple):
    """The end of the chain: the latest block's number and hash, and the place in the order of commits up to which
    everything that is decided is sealed."""

    number: int
    hash: bytes
    until: Mark


class Decided(NamedTuple):
    """The next transactions behind the tip, at least one: their ids, 16 bytes each, and the leaves of their records, 32
    bytes each, in the order of their commits. `time` is the database's."""

    ids: bytes
    leaves: bytes
    until: Mark
    time: datetime


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


class Key(NamedTuple):
    """A key that has signed. `public_key` is PEM."""

    key_id: str
    public_key: str
    create_time: datetime


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

    async def next(self, after: int, until: int) -> tuple[Block, Content] | None:
        """The first block behind this number, up to another. None: there is none."""

    async def records(self, after: Mark, until: Mark, limit: int) -> Sequence[tuple[Mark, str]]:
        """The records of what is decided in this range now, in the order of commits, at most so many."""

    async def proof(self, transaction_id: str) -> Proven | str | None:
        """None: there is no such transaction. Text: why it is not sealed."""

    async def keys(self) -> Sequence[Key]:
        """The oldest first."""
