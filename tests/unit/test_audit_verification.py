"""Whatever is not as it was sealed is found, and the first block and row of it are named."""

import math
from collections.abc import Callable, Sequence
from datetime import timedelta
from uuid import UUID

import pytest

from audit_chain.header import Mark
from audit_chain.merkle import leaf_hash
from audit_chain.seal import Seal, Unvouched
from audit_chain.verification import ChainVerification, Sealed, Tampered
from tests.kit.made_chain import KEYS, NOON, SIGNER, STRANGER, Block, chain, name, record, sealed


def verified(blocks: Sequence[Block], checkpoints: Sequence[Seal] = ()) -> ChainVerification:
    verification = ChainVerification(KEYS, checkpoints)
    for block in blocks:
        verification.begin(block.seal, block.sealed)
        for text in block.records:
            verification.add(text)
    verification.end()
    return verification


def found(blocks: Sequence[Block], checkpoints: Sequence[Seal] = ()) -> Tampered:
    with pytest.raises(Tampered) as caught:
        verified(blocks, checkpoints)
    return caught.value


def test_a_ledger_as_it_was_sealed_is_whole() -> None:
    blocks = chain()
    verification = verified(blocks, [block.seal for block in blocks])
    assert (verification.blocks, verification.transactions) == (3, 12)
    assert verification.last == blocks[-1].seal
    assert verification.header is not None
    assert verification.header.sealed == NOON + timedelta(seconds=3)


def test_a_ledger_without_a_block_is_whole() -> None:
    verification = verified([])
    assert (verification.blocks, verification.transactions, verification.last) == (0, 0, None)


def test_what_a_block_has_counts_only_when_all_of_it_was_compared() -> None:
    first, second, _ = chain()
    verification = ChainVerification(KEYS)
    verification.begin(first.seal, first.sealed)
    for text in first.records:
        verification.add(text)
    assert (verification.blocks, verification.transactions) == (0, 0)
    verification.begin(second.seal, second.sealed)
    assert (verification.blocks, verification.transactions) == (1, 3)


def test_after_a_break_a_block_comes_again_from_its_beginning() -> None:
    first, second = chain((3, 5))
    verification = ChainVerification(KEYS)
    for block, records in ((first, first.records), (second, second.records[:2]), (second, second.records)):
        verification.again()
        if block is second and verification.blocks == 0:
            verification.begin(first.seal, first.sealed)
            for text in first.records:
                verification.add(text)
        verification.begin(block.seal, block.sealed)
        for text in records:
            verification.add(text)
    verification.end()
    assert (verification.blocks, verification.transactions) == (2, 8)


# What happens to the rows of block 2, whose transactions are 201 to 205, and what is said of it.


def changed(rows: list[str]) -> None:
    rows[1] = record(202, amounts=(-6, 6))


def changed_twice(rows: list[str]) -> None:
    rows[3] = record(204, note="x")
    rows[1] = record(202, note="x")


def deleted(rows: list[str]) -> None:
    del rows[2]


def deleted_at_the_end(rows: list[str]) -> None:
    del rows[4]


def deleted_all(rows: list[str]) -> None:
    rows.clear()


def inserted(rows: list[str]) -> None:
    rows.insert(3, record(299))


def repeated(rows: list[str]) -> None:
    rows.insert(3, record(202))


def inserted_at_the_end(rows: list[str]) -> None:
    rows.append(record(299))


def flooded(rows: list[str]) -> None:
    rows[3:3] = [record(1000 + number) for number in range(12_000)]


def reordered(rows: list[str]) -> None:
    rows[1], rows[3] = rows[3], rows[1]


def reordered_and_changed(rows: list[str]) -> None:
    rows[1], rows[3] = record(204, note="moved"), record(202, note="moved")


def replaced(rows: list[str]) -> None:
    rows[2] = record(299)


def unreadable(rows: list[str]) -> None:
    rows[2] = "{}"


def boundless(rows: list[str]) -> None:
    rows[2] = '{"id": "x", "state": 1e999, "entries": []}'


@pytest.mark.parametrize(
    ("tamper", "row", "text"),
    [
        (changed, 202, f"block 2: {name(202)} was changed since it was sealed"),
        (changed_twice, 202, f"block 2: {name(202)} was changed since it was sealed"),
        (deleted, 203, f"block 2: {name(203)} was deleted, or taken out by "),
        (deleted_at_the_end, 205, f"block 2: {name(205)} was deleted, or taken out by "),
        (deleted_all, 201, f"block 2: {name(201)} was deleted, or taken out by "),
        (inserted, 299, f"block 2: {name(299)} was inserted before {name(204)}"),
        (repeated, 202, f"block 2: {name(202)} was inserted before {name(204)}"),
        (inserted_at_the_end, 299, f"block 2: {name(299)} was inserted behind what was sealed"),
        (flooded, 1000, f"block 2: {name(1000)} was inserted before {name(204)}"),
        (reordered, 204, f"block 2: its rows were reordered: at place 2 stands {name(204)} instead of {name(202)}"),
        (reordered_and_changed, 204, "block 2: its rows were reordered: at place 2 "),
        (replaced, 203, f"block 2: {name(203)} was deleted, and {name(299)} was put in its place"),
        (unreadable, None, "block 2: at place 3 is no record"),
        (boundless, None, "block 2: at place 3 is no record"),
    ],
)
def test_a_tampered_row_is_named(tamper: Callable[[list[str]], None], row: int | None, text: str) -> None:
    blocks = chain()
    tamper(blocks[1].records)
    tampered = found(blocks)
    assert tampered.block == 2
    assert str(tampered).startswith(text)
    assert tampered.transaction == ("" if row is None else name(row))


def test_the_first_bad_block_is_the_one_that_is_named() -> None:
    blocks = chain()
    for block in blocks[1:]:
        deleted(block.records)
    assert found(blocks).block == 2


def forged_root(blocks: list[Block]) -> None:
    """Somebody changed a row, and the leaves and the root with it, but has no key."""
    blocks[1] = sealed(2, [record(201, amounts=(-9, 9)), *blocks[1].records[1:]], blocks[0], STRANGER)
    blocks[1].seal = Seal(blocks[1].seal.header.replace(STRANGER.key_id, SIGNER.key_id), blocks[1].seal.signature)


def other_key(blocks: list[Block]) -> None:
    blocks[1] = sealed(2, blocks[1].records, blocks[0], STRANGER)


def no_header(blocks: list[Block]) -> None:
    blocks[1].seal = Seal("nonsense", blocks[1].seal.signature)


def other_leaves(blocks: list[Block]) -> None:
    blocks[1].sealed[0] = Sealed(name(201), leaf_hash(b"another"))


def fewer_leaves(blocks: list[Block]) -> None:
    del blocks[1].sealed[-1]
    del blocks[1].records[-1]


def other_names(blocks: list[Block]) -> None:
    blocks[1].sealed[3] = Sealed(name(777), blocks[1].sealed[3].leaf)


def missing(blocks: list[Block]) -> None:
    del blocks[1]


def missing_at_the_beginning(blocks: list[Block]) -> None:
    del blocks[0]


def twice(blocks: list[Block]) -> None:
    blocks[1] = blocks[0]


def from_another_chain(blocks: list[Block]) -> None:
    blocks[1] = chain(note="another")[1]


def with_a_gap(blocks: list[Block]) -> None:
    blocks[1] = sealed(2, blocks[1].records, blocks[0], after=Mark(150, str(UUID(int=0))))


def late_beginning(blocks: list[Block]) -> None:
    blocks[0] = sealed(1, blocks[0].records, None, after=Mark(50, str(UUID(int=0))))


@pytest.mark.parametrize(
    ("tamper", "block", "text"),
    [
        (forged_root, 2, "block 2 was changed: its signature is not good"),
        (other_key, 2, f"block 2 was changed: its key {STRANGER.key_id} is none of those that are trusted"),
        (no_header, 2, "block 2 was changed: its header is none"),
        (other_leaves, 2, "block 2 was changed: its leaves do not give the root that was signed"),
        (fewer_leaves, 2, "block 2 was changed: it sealed 5 transactions and keeps 4"),
        (other_names, 2, f"block 2: its list of names was changed: at place 4 it names {name(777)}, but sealed is"),
        (missing, 2, "block 2 is missing: block 3 comes after block 1"),
        (missing_at_the_beginning, 1, "block 1 is missing: the ledger begins with block 2"),
        (twice, 2, "block 1 comes once more, where block 2 should be"),
        (from_another_chain, 2, "block 2 does not follow what stands before it: the ledger was rewritten"),
        (with_a_gap, 2, "block 2 does not follow what stands before it: the ledger was rewritten"),
        (late_beginning, 1, "block 1 does not follow what stands before it: the ledger was rewritten"),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_a_tampered_block_is_named(tamper: Callable[[list[Block]], None], block: int, text: str) -> None:
    blocks = chain()
    tamper(blocks)
    tampered = found(blocks)
    assert str(tampered).startswith(text)
    assert tampered.block == block


def test_a_tail_that_was_cut_off_is_found_by_a_checkpoint_alone() -> None:
    blocks = chain()
    checkpoint = blocks[-1].seal
    verified(blocks[:1])
    text = "the ledger ends at block 1, but the checkpoint is block 3: its end was cut off"
    assert str(found(blocks[:1], [checkpoint])) == text
    assert str(found(blocks[:1], [block.seal for block in blocks])) == text
    text = "the ledger has no block, but the checkpoint is block 3: its end was cut off"
    assert str(found([], [checkpoint])) == text


def test_a_ledger_that_was_rewritten_with_the_key_is_found_by_a_checkpoint_alone() -> None:
    checkpoint, another = chain()[1].seal, chain(note="rewritten")
    verified(another)
    tampered = found(another, [checkpoint])
    assert (str(tampered), tampered.block) == (
        "block 2 is not the one of the checkpoint: the ledger was rewritten",
        2,
    )


@pytest.mark.parametrize("newest_first", [False, True])
def test_of_two_checkpoints_of_one_block_the_one_from_before_it_was_rewritten_tells(newest_first: bool) -> None:
    before, now = chain(), chain(note="rewritten")
    checkpoints = sorted([before[1].seal, now[1].seal], key=now[1].seal.__eq__, reverse=newest_first)
    assert str(found(now, checkpoints)) == "block 2 is not the one of the checkpoint: the ledger was rewritten"


def test_a_checkpoint_that_nobody_vouches_for_is_refused() -> None:
    text, _ = chain()[0].seal
    with pytest.raises(Unvouched, match="its signature is not good"):
        ChainVerification(KEYS, [Seal(text, bytes(64))])


def test_records_without_a_block_are_no_ledger() -> None:
    for verification in (ChainVerification(KEYS), verified(chain())):
        with pytest.raises(Tampered, match="a record came before its block"):
            verification.add(record(1))


@pytest.mark.parametrize(
    ("bad", "text"),
    [
        (record(201, amounts=(-5, 6)), "its entries sum to 1 instead of 0"),
        (record(201, state=2), "it moved no money, but it has entries"),
        (record(201, state=3), "it moved no money, but it has entries"),
        (record(201, kind=6), "it moved no money, but it has entries"),
        (record(201, kind=8), "it moved no money, but it has entries"),
        (record(201, kind=9), "it moved no money, but it has entries"),
        (record(201, time="now"), "an entry has another time than it"),
        (record(201, amounts=(-6, 6)), "its entries are not of the amounts that it asks for"),
        (record(201, amounts=()), "its entries are not of the amounts that it asks for"),
        (record(201, terms={"fee": [1, "x", True]}), "its entries are not of the amounts that it asks for"),
        (record(201, terms={"postings": [["x", -4], ["y", 4]]}), "its entries are not of the amounts that it asks for"),
        (record(201, terms={"fee": ["one"]}), "nobody can read what it asks for"),
        (record(201, terms={"fee": [math.inf, "x", True]}), "nobody can read what it asks for"),
        (record(201, terms=7), "nobody can read what it asks for"),
    ],
)
def test_what_was_sealed_must_add_up(bad: str, text: str) -> None:
    """The seal says only that nothing was changed since."""
    first = chain((3,))[0]
    assert str(found([first, sealed(2, [bad], first)])) == f"block 2: {name(201)} was sealed as it is, and {text}"


def test_entries_are_those_that_were_asked_for() -> None:
    records = [
        record(101, state=2, amounts=()),
        record(102, kind=6, amounts=()),
        record(103, terms={"deferred": True}),
        record(104, terms={"fee": [1, "x", False]}, amounts=(-6, 5, 1)),
        record(105, terms={"fee": [1, "x", True]}, amounts=(-5, 4, 1)),
        record(106, kind=4, amount=0, terms={"postings": [["x", 2], ["y", -3], ["z", 1]]}, amounts=(1, 2, -3)),
    ]
    records += [record(110 + kind, kind=kind) for kind in (1, 2, 3, 5, 7)]
    records += [record(110 + kind, kind=kind, amounts=()) for kind in (8, 9)]
    assert verified([sealed(1, records, None)]).transactions == len(records)
