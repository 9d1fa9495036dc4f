"""Merkle trees: the known values of Certificate Transparency, and the RFC's own recursive definition."""

from collections.abc import Sequence
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit_chain.merkle import leaf_hash, path_of, root_from, root_of

# The vectors that implementations of RFC 6962 share.
RECORDS = [
    bytes.fromhex(text)
    for text in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
]
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
# Place, size, path.
PATHS = [
    (0, 1, []),
    (
        0,
        8,
        [
            "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
        ],
    ),
    (
        5,
        8,
        [
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ],
    ),
    (2, 3, ["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"]),
    (
        1,
        5,
        [
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        ],
    ),
]
SIZES = st.integers(1, 70)


def leaves(size: int) -> list[bytes]:
    return [leaf_hash(b"%d" % number) for number in range(size)]


def left_of(size: int) -> int:
    """The largest power of two below the size, by which RFC 6962 splits."""
    return 1 << (size - 1).bit_length() - 1


def root_by_definition(hashes: Sequence[bytes]) -> bytes:
    """RFC 6962, 2.1."""
    if len(hashes) == 1:
        return hashes[0]
    left = left_of(len(hashes))
    return sha256(b"\x01" + root_by_definition(hashes[:left]) + root_by_definition(hashes[left:])).digest()


def path_by_definition(hashes: Sequence[bytes], index: int) -> list[bytes]:
    """RFC 6962, 2.1.1."""
    if len(hashes) == 1:
        return []
    left = left_of(len(hashes))
    if index < left:
        return [*path_by_definition(hashes[:left], index), root_by_definition(hashes[left:])]
    return [*path_by_definition(hashes[left:], index - left), root_by_definition(hashes[:left])]


@pytest.mark.parametrize(("size", "root"), [*enumerate(ROOTS)])
def test_roots_are_those_that_everybody_knows(size: int, root: str) -> None:
    assert root_of([leaf_hash(record) for record in RECORDS[:size]]).hex() == root


@pytest.mark.parametrize(("index", "size", "path"), PATHS)
def test_paths_are_those_that_everybody_knows(index: int, size: int, path: list[str]) -> None:
    hashes = [leaf_hash(record) for record in RECORDS[:size]]
    assert [sibling.hex() for sibling in path_of(hashes, index)] == path
    assert root_from(hashes[index], index, size, [*map(bytes.fromhex, path)]).hex() == ROOTS[size]


@given(SIZES)
def test_every_root_is_that_of_the_definition(size: int) -> None:
    assert root_of(leaves(size)) == root_by_definition(leaves(size))


@given(SIZES, st.data())
def test_every_path_is_that_of_the_definition_and_leads_to_the_root(size: int, data: st.DataObject) -> None:
    hashes, index = leaves(size), data.draw(st.integers(0, size - 1))
    path = path_of(hashes, index)
    assert path == path_by_definition(hashes, index)
    assert root_from(hashes[index], index, size, path) == root_of(hashes)


@given(st.integers(2, 70), st.data())
def test_a_path_leads_to_the_root_from_its_own_place_only(size: int, data: st.DataObject) -> None:
    hashes = leaves(size)
    index, other = data.draw(st.lists(st.integers(0, size - 1), min_size=2, max_size=2, unique=True))
    path = path_of(hashes, index)
    try:
        found = root_from(hashes[index], other, size, path)
    except ValueError:
        return
    assert found != root_of(hashes)


@pytest.mark.parametrize(
    ("index", "size", "length", "problem"),
    [
        (-1, 4, 2, "outside"),
        (4, 4, 2, "outside"),
        (0, 0, 0, "outside"),
        (0, 4, 1, "too short"),
        (0, 4, 3, "too long"),
        (0, 1, 1, "too long"),
        (4, 5, 0, "too short"),
    ],
)
def test_what_is_no_path_of_such_a_tree_is_refused(index: int, size: int, length: int, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        root_from(leaf_hash(b""), index, size, leaves(length))


@pytest.mark.parametrize("index", [-1, 3])
def test_what_is_no_leaf_has_no_path(index: int) -> None:
    with pytest.raises(IndexError):
        path_of(leaves(3), index)


def test_a_node_cannot_pass_for_a_leaf() -> None:
    left, right = leaves(2)
    assert leaf_hash(left + right) != root_of([left, right])
