"""Compares the audit chain with the ledger's records, block by block, and names the first thing that is not as sealed.

It is told what there is, in its order, by whoever reads it; it keeps one block at a time.
"""

from collections.abc import Collection, Sequence
from typing import Final, NamedTuple

from audit_chain.header import BEGINNING, GENESIS, Header, hash_of
from audit_chain.merkle import leaf_hash, root_of
from audit_chain.record import MalformedRecord, Record
from audit_chain.seal import Seal, Unvouched
from audit_chain.signing import PublicKeys


class Tampered(Exception):  # noqa: N818 - what it is, in plain words
    """Something is not as it was sealed. `block` is the first block where it is so; `transaction`, if it is a row,
    its name, and empty otherwise. The message says what happened."""

    def __init__(self, block: int, text: str, transaction: str = "") -> None:
        super().__init__(text)
        self.block = block
        self.transaction = transaction


class Sealed(NamedTuple):
    """What a block has kept of one transaction: its name and the leaf of the Merkle tree."""

    transaction: str
    leaf: bytes


class ChainVerification:
    """Of a whole chain, from its first block on. Every call raises Tampered at the first thing that is wrong."""

    def __init__(self, keys: PublicKeys, checkpoints: Collection[Seal] = ()) -> None:
        """`checkpoints`: seals that must stand in the chain. Raises Unvouched for one that no key vouches for."""
        self._keys: Final = keys
        self._checkpoints: Final[dict[int, set[str]]] = {}
        for seal in checkpoints:
            # Of one number there are two where the ledger was rewritten between them: one of them tells.
            self._checkpoints.setdefault(seal.vouched(keys).number, set()).add(seal.header)
        self._open: _Block | None = None
        self.last: Seal | None = None
        """Of the last block that is as it was sealed, with all of its records."""
        self.header: Header | None = None
        """What stands in it."""
        self.transactions = 0
        """In all of those blocks."""

    @property
    def blocks(self) -> int:
        return 0 if self.header is None else self.header.number

    def begin(self, seal: Seal, sealed: Sequence[Sealed]) -> None:
        """The next block. The one before has all of its records."""
        self._close()
        header = self._vouched(seal)
        self._check_place(header)
        if len(sealed) != header.transactions:
            text = f"it sealed {header.transactions} transactions and keeps {len(sealed)}"
            raise _changed(header.number, text)
        if root_of([leaf for _, leaf in sealed]) != header.root:
            raise _changed(header.number, "its leaves do not give the root that was signed")
        self._open = _Block(header, seal, sealed)

    def add(self, record: str) -> None:
        """The next record in the range of the block that was begun last."""
        if self._open is None:
            raise Tampered(self.blocks + 1, "a record came before its block")
        self._open.add(record)

    def again(self) -> None:
        """The block that was begun last will come once more, from its beginning."""
        self._open = None

    def end(self) -> None:
        """There is no further block."""
        self._close()
        if self._checkpoints and (latest := max(self._checkpoints)) > self.blocks:
            ending = f"the ledger ends at block {self.blocks}" if self.blocks else "the ledger has no block"
            text = f"{ending}, but the checkpoint is block {latest}: its end was cut off"
            raise Tampered(self.blocks + 1, text)

    def _close(self) -> None:
        if self._open is None:
            return
        self._open.check()
        self.last, self.header = self._open.seal, self._open.header
        self.transactions += self.header.transactions
        self._open = None

    def _vouched(self, seal: Seal) -> Header:
        """What it says of itself counts for nothing before it is vouched for: until then it is just the next block."""
        try:
            return seal.vouched(self._keys)
        except Unvouched as error:
            raise _changed(self.blocks + 1, str(error)) from error

    def _check_place(self, header: Header) -> None:
        number = self.blocks + 1
        if header.number > number:
            before = f"block {header.number} comes after block {self.blocks}"
            beginning = f"the ledger begins with block {header.number}"
            raise Tampered(number, f"block {number} is missing: {before if self.blocks else beginning}")
        if header.number < number:
            raise Tampered(number, f"block {header.number} comes once more, where block {number} should be")
        previous = GENESIS if self.last is None else hash_of(self.last.header)
        after = BEGINNING if self.header is None else self.header.until
        if (header.previous, header.after) != (previous, after):
            text = f"block {number} does not follow what stands before it: the ledger was rewritten"
            raise Tampered(number, text)
        if self._checkpoints.get(number, set()) - {header.text()}:
            raise Tampered(number, f"block {number} is not the one of the checkpoint: the ledger was rewritten")


class _Block:
    """One block and the records that came of it. Records are compared as they come; from the first on that is not the
    one that was sealed in its place, it is kept which of those that were sealed still come."""

    def __init__(self, header: Header, seal: Seal, sealed: Sequence[Sealed]) -> None:
        self.header: Final = header
        self.seal: Final = seal
        self._sealed: Final = sealed
        self._good = 0
        self._stray = ""
        self._wanted: frozenset[str] = frozenset()
        self._came: set[str] = set()

    def add(self, text: str) -> None:
        if self._stray:
            if (name := self._read(text).name) in self._wanted:
                self._came.add(name)
        elif self._good < len(self._sealed) and leaf_hash(text.encode()) == self._sealed[self._good].leaf:
            self._check_inside(self._read(text), self._sealed[self._good].transaction)
            self._good += 1
        else:
            self._stray = self._read(text).name
            self._wanted = frozenset(name for name, _ in self._sealed[self._good :])

    def check(self) -> None:
        """Everything that is in its range now has come."""
        if self._stray or self._good < len(self._sealed):
            raise self._found()

    def _found(self) -> Tampered:
        """What happened at the first place where the records are not those that were sealed."""
        stray = self._stray
        if self._good == len(self._sealed):
            return self._tampered(stray, f"{stray} was inserted behind what was sealed")
        due = self._sealed[self._good].transaction
        if due == stray:
            return self._tampered(due, f"{due} was changed since it was sealed")
        is_there, is_known = due in self._came, stray in self._wanted
        if is_there and is_known:
            return self._tampered(stray, f"its rows were reordered: {self._place} stands {stray} instead of {due}")
        if is_there:
            return self._tampered(stray, f"{stray} was inserted before {due}")
        if stray and not is_known:
            return self._tampered(due, f"{due} was deleted, and {stray} was put in its place")
        text = f"{due} was deleted, or taken out by a change of its state or of its place in the order of commits"
        return self._tampered(due, text)

    def _check_inside(self, record: Record, transaction: str) -> None:
        """Of a record that is as it was sealed."""
        if record.name != transaction:
            text = f"its list of names was changed: {self._place} it names {transaction}, but sealed is {record.name}"
            raise self._tampered(record.name, text)
        if record.flaw:
            raise self._tampered(record.name, f"{record.name} was sealed as it is, and {record.flaw}")

    def _read(self, text: str) -> Record:
        try:
            return Record(text)
        except MalformedRecord as error:
            raise Tampered(self.header.number, f"block {self.header.number}: {self._place} is no record") from error

    @property
    def _place(self) -> str:
        return f"at place {self._good + 1}"

    def _tampered(self, transaction: str, text: str) -> Tampered:
        return Tampered(self.header.number, f"block {self.header.number}: {text}", transaction)


def _changed(number: int, text: str) -> Tampered:
    return Tampered(number, f"block {number} was changed: {text}")
