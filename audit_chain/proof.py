"""The proof that a transaction stands in the audit chain: a file that can be checked with the public key alone."""

from dataclasses import dataclass
from typing import Final

from audit_chain import document
from audit_chain.document import Unreadable
from audit_chain.header import Header
from audit_chain.merkle import HASH_BYTES, leaf_hash, root_from
from audit_chain.record import MalformedRecord, Record
from audit_chain.seal import Seal, Unvouched
from audit_chain.signing import PublicKeys

KIND: Final = "specie-proof"
VERSION: Final = 1
FIELDS: Final = ("record", "index", "path", "header", "signature")


class Unproven(Exception):  # noqa: N818 - what it is, in plain words
    """It proves nothing. The message says why."""


@dataclass(frozen=True)
class Proof:
    """`record` is the text whose bytes are the leaf at `index`, from 0, of its block's tree, and `path` what
    audit_chain.merkle.path_of gives for it."""

    record: str
    index: int
    path: tuple[bytes, ...]
    seal: Seal

    def written(self) -> str:
        """The file's text."""
        facts = {"record": self.record, "index": self.index, "path": [sibling.hex() for sibling in self.path]}
        return document.written(KIND, VERSION, facts | document.seal_facts(self.seal))

    def checked(self, keys: PublicKeys) -> tuple[Record, Header]:
        """The record that is proven and the header of its block. Raises Unproven."""
        try:
            header = self.seal.vouched(keys)
        except Unvouched as error:
            raise Unproven(f"nobody vouches for the block: {error}") from error
        return self.recorded(header), header

    def recorded(self, header: Header) -> Record:
        """The record that stands in the block with this header, which nobody has vouched for. Raises Unproven."""
        try:
            root = root_from(leaf_hash(self.record.encode()), self.index, header.transactions, self.path)
        except ValueError as error:
            raise Unproven(f"place and path are none of a block of {header.transactions}: {error}") from error
        if root != header.root:
            raise Unproven("the record is not the one that was sealed: with its place and path it gives another root")
        try:
            return Record(self.record)
        except MalformedRecord as error:
            raise Unproven(f"what was sealed is {error}") from error


def read(text: str) -> Proof:
    """What `Proof.written` wrote; nothing of it is checked yet. Raises document.Unreadable."""
    facts = document.read(text, KIND, VERSION, FIELDS)
    index, path = facts["index"], facts["path"]
    if type(index) is not int:
        raise Unreadable("index is no whole number")
    if not isinstance(path, list):
        raise Unreadable("path is no list")
    siblings = tuple(document.bytes_of(sibling, HASH_BYTES, "a hash of the path") for sibling in path)
    return Proof(document.text_of(facts, "record"), index, siblings, document.seal_of(facts))
