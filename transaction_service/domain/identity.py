"""Ids that are derived, never drawn: BLAKE2b-128 written as a UUID.

The id of a transaction comes from who asks and the request id, so the primary key is the guarantee of exactly-once. The
id of an account comes from its name, so that rows can be locked in one order without looking names up.
"""

from collections.abc import Iterable
from functools import lru_cache
from hashlib import blake2b

DIGEST_BYTES = 16
ACCOUNT_IDS_CACHED = 65_536


def derived_id(*parts: str) -> str:
    """Each part goes in behind its length in bytes: ("ab", "c") and ("a", "bc") are different."""
    text = "".join([f"{len(part)}:{part}" for part in parts])
    # Of ASCII, the usual case, characters are bytes.
    encoded = text.encode() if text.isascii() else _unambiguous(parts)
    hexadecimal = blake2b(encoded, digest_size=DIGEST_BYTES).hexdigest()
    return f"{hexadecimal[:8]}-{hexadecimal[8:12]}-{hexadecimal[12:16]}-{hexadecimal[16:20]}-{hexadecimal[20:]}"


def _unambiguous(parts: Iterable[str]) -> bytes:
    return b"".join(b"%d:%b" % (len(encoded), encoded) for encoded in (part.encode() for part in parts))


@lru_cache(ACCOUNT_IDS_CACHED)
def account_id(name: str) -> str:
    """The id of the account of this name."""
    return derived_id(name)


def transaction_id(principal: str, request_id: str) -> str:
    """The id of the transaction that this principal asks for under this request id."""
    return derived_id(principal, request_id)


def label_id(key: str, value: str) -> str:
    """Under which the transactions with this label are listed. It is nobody's account: those have one part."""
    return derived_id("label", key, value)


def own_id(act: str, principal: str, about: str) -> str:
    """The id of a transaction that the service asks for by itself, so that no request id of a caller can be in its way:
    those have two parts."""
    return derived_id(act, principal, about)
