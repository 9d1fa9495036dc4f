"""A block's seal, which is its header and the signature of that: alone it is a checkpoint of the ledger."""

from typing import NamedTuple

from audit_chain.header import Header, MalformedHeader, parsed
from audit_chain.signing import PublicKeys


class Unvouched(Exception):  # noqa: N818 - what it is, in plain words
    """No key that is trusted has signed it. The message says why: `its ...`."""


class Seal(NamedTuple):
    """`header` is the text that was signed."""

    header: str
    signature: bytes

    def vouched(self, keys: PublicKeys) -> Header:
        """The header, if one of these keys has signed it. Raises Unvouched."""
        try:
            header = parsed(self.header)
        except MalformedHeader as error:
            raise Unvouched("its header is none") from error
        if header.key_id not in keys.ids:
            raise Unvouched(f"its key {header.key_id} is none of those that are trusted")
        if not keys.vouch(header.key_id, self.header, self.signature):
            raise Unvouched("its signature is not good")
        return header
