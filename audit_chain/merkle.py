"""Merkle trees as of RFC 6962, section 2.1, with SHA-256."""

from collections.abc import Sequence
from hashlib import sha256
from typing import Final

HASH_BYTES: Final = 32
_LEAF: Final = b"\x00"
_NODE: Final = b"\x01"


def leaf_hash(record: bytes) -> bytes:
    """Of a leaf. Another first byte than a node's, so that neither can pass for the other."""
    return sha256(_LEAF + record).digest()


def _node(left: bytes, right: bytes) -> bytes:
    return sha256(_NODE + left + right).digest()


def root_of(leaves: Sequence[bytes]) -> bytes:
    """The root of the tree over these leaf hashes, in their order. Of none: the hash of nothing."""
    if not leaves:
        return sha256().digest()
    level = list(leaves)
    while len(level) > 1:
        level = _above(level)
    return level[0]


def path_of(leaves: Sequence[bytes], index: int) -> list[bytes]:
    """The siblings on the way from a leaf to the root (RFC 6962, 2.1.1). Raises IndexError for no leaf of the tree."""
    if not 0 <= index < len(leaves):
        raise IndexError(f"{index} is none of {len(leaves)} leaves")
    path, level = [], list(leaves)
    while len(level) > 1:
        sibling = index ^ 1
        if sibling < len(level):
            path.append(level[sibling])
        level, index = _above(level), index // 2
    return path


def root_from(leaf: bytes, index: int, size: int, path: Sequence[bytes]) -> bytes:
    """The root of a tree of this size in which this leaf stands at this index with this path (RFC 9162, 2.1.3.2).
    Raises ValueError for a path that is none of such a tree."""
    if not 0 <= index < size:
        raise ValueError(f"index {index} is outside of a tree of {size}")
    place, last, found = index, size - 1, leaf
    for sibling in path:
        if last == 0:
            raise ValueError("the path is too long")
        if place & 1 or place == last:
            found = _node(sibling, found)
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            found = _node(found, sibling)
        place, last = place >> 1, last >> 1
    if last:
        raise ValueError("the path is too short")
    return found


def _above(level: Sequence[bytes]) -> list[bytes]:
    """The level above; what has no sibling goes up as it is. The largest power of two below the size, by which the RFC
    splits, gives the same tree."""
    above = [_node(level[i], level[i + 1]) for i in range(0, len(level) - 1, 2)]
    if len(level) % 2:
        above.append(level[-1])
    return above
