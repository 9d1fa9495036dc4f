"""Somebody who can do everything in the database changes what is sealed: `specie audit verify` finds and names it."""

import os
import subprocess
import tempfile
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest
from specie.transaction.v1 import AuditServiceStub, ReadBlocksRequest

from audit_chain.header import parsed
from audit_chain.merkle import leaf_hash, root_of
from tests.kit.calls import connected
from tests.kit.postgres import Database
from tests.kit.sealed_ledger import BLOCKS, SealedLedger, sealed_ledger
from tests.kit.stack import SPECIE
from tests.kit.tokens import Authorised
from tests.kit.wallets import asynchronous

BLOCK = 2
"""Which is tampered with."""
PLACE = 3
"""From 0: of a transfer with a fee."""


@pytest.fixture(scope="module")
def books(database: Database) -> Iterator[SealedLedger]:
    with tempfile.TemporaryDirectory() as folder, sealed_ledger(database, Path(folder)) as made:
        yield made


@pytest.fixture(autouse=True)
def _as_it_was(books: SealedLedger) -> Iterator[None]:
    with books.restored():
        yield


def row(books: SealedLedger, place: int = PLACE) -> str:
    return books.ids(BLOCK)[place]


def test_a_ledger_that_nobody_touched_is_whole(books: SealedLedger) -> None:
    result = books.audit("verify", "--public-key", books.key, "--checkpoint", books.checkpoint)
    assert (result.exit_code, result.stderr) == (0, "")
    assert "Every transaction and every block is as it was sealed." in result.stdout
    assert f"block {BLOCKS}, " in result.stdout


def test_a_verdict_that_nobody_reads_is_no_alarm(books: SealedLedger) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    command = [*SPECIE, "audit", "verify", "--public-key", str(books.key)]
    environment = os.environ | books.environment() | {"PYTHONUNBUFFERED": ""}
    with os.fdopen(writing, "w") as nobody:
        done = subprocess.run(command, stdout=nobody, stderr=subprocess.PIPE, env=environment, check=False)
    assert (done.returncode, done.stderr) == (2, b"")


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE transaction SET amount = amount + 1 WHERE id = %s",
        "UPDATE transaction SET description = description || '.' WHERE id = %s",
        """UPDATE transaction SET labels = '{"month": "12"}' WHERE id = %s""",
        "UPDATE transaction SET terms = jsonb_set(terms, '{fee,0}', '1') WHERE id = %s",
        "UPDATE transaction SET terms = NULL WHERE id = %s",
        "UPDATE transaction SET decide_time = decide_time + interval '1 microsecond' WHERE id = %s",
        "UPDATE transaction SET state = 2, failure_reason = 'INSUFFICIENT_FUNDS' WHERE id = %s",
        "UPDATE entry SET amount = amount * 2 WHERE transaction_id = %s",
        "UPDATE entry SET balance = balance + 1 WHERE transaction_id = %s AND amount < 0",
        "UPDATE entry SET post_time = post_time + interval '1 microsecond' WHERE transaction_id = %s",
        "UPDATE entry SET post_time = post_time - interval '1 year' WHERE transaction_id = %s",
        "DELETE FROM entry WHERE transaction_id = %s AND amount < 0",
        """INSERT INTO entry SELECT account_id, seq + 1000, transaction_id, amount, balance, post_time FROM entry
        WHERE transaction_id = %s AND amount < 0""",
    ],
)
def test_a_changed_row_is_named(books: SealedLedger, change: str) -> None:
    books.change(change, row(books))
    assert books.verdict() == f"error: block {BLOCK}: transactions/{row(books)} was changed since it was sealed"


NEW_VALUES = {
    "uuid": "gen_random_uuid()",
    "bigint": "coalesce({0}, 0) + 1000",
    "smallint": "mod({0}, 2) + 1",
    "text": "coalesce({0}, '') || 'x'",
    "jsonb": """'{{"x": ["y"]}}'""",
    "timestamp with time zone": "{0} + interval '1 microsecond'",
}
"""By type, another one than stands there."""


@pytest.mark.parametrize(("table", "of"), [("transaction", "id"), ("entry", "transaction_id")])
def test_every_column_counts(books: SealedLedger, table: str, of: str) -> None:
    columns = books.ledger.query(
        "SELECT column_name, data_type FROM information_schema.columns"
        " WHERE table_schema = 'transactions' AND table_name = %s",
        table,
    )
    assert len(columns) > 5
    with books.ledger.unguarded() as cursor:
        cursor.execute(f"ALTER TABLE {table} DROP CONSTRAINT IF EXISTS transaction_failed_has_reason")
    for column, type_ in columns:
        with books.restored():
            value = NEW_VALUES[type_].format(column)
            books.change(f"UPDATE {table} SET {column} = {value} WHERE {of} = %s", row(books))  # noqa: S608
            assert f"block {BLOCK}: " in books.verdict(), column


def test_a_deleted_row_is_named(books: SealedLedger) -> None:
    gone = row(books)
    books.change("DELETE FROM transaction WHERE id = %s", gone)
    assert books.verdict().startswith(f"error: block {BLOCK}: transactions/{gone} was deleted")
    books.change("DELETE FROM entry WHERE transaction_id = %s", gone)
    assert books.verdict().startswith(f"error: block {BLOCK}: transactions/{gone} was deleted")


def test_a_row_that_is_hidden_is_named(books: SealedLedger) -> None:
    books.change("UPDATE transaction SET state = 3 WHERE id = %s", row(books))
    assert books.verdict() == (
        f"error: block {BLOCK}: transactions/{row(books)} was deleted, or taken out by a change of its state or of its"
        " place in the order of commits"
    )


def test_reordered_rows_are_named(books: SealedLedger) -> None:
    first, second = row(books), row(books, PLACE + 2)
    both = (first, second)
    swap = "UPDATE transaction SET xid = (SELECT sum(xid) FROM transaction WHERE id IN %s) - xid WHERE id IN %s"
    books.change(swap, both, both)
    assert books.verdict() == (
        f"error: block {BLOCK}: its rows were reordered: at place {PLACE + 1} stands transactions/{second} instead of"
        f" transactions/{first}"
    )


def test_rows_that_swapped_their_names_are_named(books: SealedLedger) -> None:
    first, second = row(books), row(books, PLACE + 2)
    with books.ledger.unguarded() as cursor:
        for old, new in ((first, None), (second, first), (None, second)):
            usual = "00000000-0000-0000-0000-000000000001"
            cursor.execute("UPDATE transaction SET id = %s WHERE id = %s", (new or usual, old or usual))
    assert (
        f"block {BLOCK}: its rows were reordered: at place {PLACE + 1} stands transactions/{second}" in books.verdict()
    )


def test_a_row_in_another_block_is_named(books: SealedLedger) -> None:
    """The first block that is not as it was is the one where it came to."""
    moved = row(books)
    to = "UPDATE transaction SET xid = (SELECT xid FROM transaction WHERE id = %s) WHERE id = %s"
    books.change(to, books.ids(1)[1], moved)
    verdict = books.verdict()
    assert verdict.startswith("error: block 1: ")
    assert f"transactions/{moved} was inserted" in verdict


def test_an_inserted_row_is_named(books: SealedLedger) -> None:
    new = "ffffffff-ffff-4fff-bfff-ffffffffffff"
    books.change(
        """INSERT INTO transaction SELECT (jsonb_populate_record(t, jsonb_build_object('id', %s))).*
        FROM transaction AS t WHERE id = %s""",
        new,
        row(books),
    )
    following = row(books, PLACE + 1)
    assert books.verdict() == f"error: block {BLOCK}: transactions/{new} was inserted before transactions/{following}"


def test_a_cut_tail_is_found_by_a_checkpoint(books: SealedLedger) -> None:
    with books.ledger.unguarded() as cursor:
        cursor.execute("DELETE FROM transaction WHERE xid > (SELECT until_xid FROM block WHERE number = %s)", (BLOCK,))
        cursor.execute("DELETE FROM entry WHERE transaction_id NOT IN (SELECT id FROM transaction)")
        cursor.execute("DELETE FROM block WHERE number > %s", (BLOCK,))
    assert books.verdict() == ""
    cut = f"error: the ledger ends at block {BLOCK}, but the checkpoint is block {BLOCKS}: its end was cut off"
    assert books.verdict("--checkpoint", books.checkpoint) == cut
    kept = books.checkpoint.read_text()
    assert books.verdict("--save-checkpoint", books.checkpoint) == cut
    assert books.checkpoint.read_text() == kept


def test_a_missing_block_is_named(books: SealedLedger) -> None:
    books.change("DELETE FROM block WHERE number = %s", BLOCK)
    assert books.verdict() == f"error: block {BLOCK} is missing: block {BLOCK + 1} comes after block {BLOCK - 1}"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            "UPDATE block SET header = replace(header, 'sealed 2', 'sealed 1') WHERE number = %s",
            "its signature is not good",
        ),
        ("UPDATE block SET header = 'nothing' WHERE number = %s", "its header is none"),
        ("UPDATE block SET signature = sha512('') WHERE number = %s", "its signature is not good"),
        (
            "UPDATE block SET leaves = set_byte(leaves, 40, 255 - get_byte(leaves, 40)) WHERE number = %s",
            "its leaves do",
        ),
        ("UPDATE block SET ids = substr(ids, 17), leaves = substr(leaves, 33) WHERE number = %s", "it sealed "),
    ],
)
def test_a_changed_block_is_named(books: SealedLedger, change: str, told: str) -> None:
    books.change(change, BLOCK)
    assert books.verdict().startswith(f"error: block {BLOCK} was changed: {told}")


def test_changed_names_in_a_block_are_named(books: SealedLedger) -> None:
    books.change("UPDATE block SET ids = set_byte(ids, 0, 255 - get_byte(ids, 0)) WHERE number = %s", BLOCK)
    assert books.verdict().startswith(f"error: block {BLOCK}: its list of names was changed: at place 1 it names ")


def test_columns_that_say_where_a_block_ends_deceive_nobody(books: SealedLedger) -> None:
    books.change("UPDATE block SET until_xid = until_xid - 3 WHERE number = %s", BLOCK)
    books.change("UPDATE transaction SET amount = amount + 1 WHERE id = %s", books.ids(BLOCK)[-1])
    assert books.verdict().endswith(
        f"block {BLOCK}: transactions/{books.ids(BLOCK)[-1]} was changed since it was sealed"
    )


def test_a_block_that_was_forged_without_the_key_is_named(books: SealedLedger) -> None:
    """Somebody changes a row and makes leaves, root and hash anew, and the next block's, but cannot sign."""
    books.change("UPDATE transaction SET amount = amount + 1 WHERE id = %s", row(books))
    leaves = [leaf_hash(text.encode()) for text in records(books, BLOCK)]
    ((text,),) = books.ledger.query("SELECT header FROM transactions.block WHERE number = %s", BLOCK)
    text = parsed(text)._replace(root=root_of(leaves)).text()
    digest = sha256(text.encode()).digest()
    books.change(
        "UPDATE block SET header = %s, leaves = %s, hash = %s WHERE number = %s", text, b"".join(leaves), digest, BLOCK
    )
    assert books.verdict() == f"error: block {BLOCK} was changed: its signature is not good"


def test_a_changed_row_has_no_proof(books: SealedLedger, tmp_path: Path) -> None:
    name, file = f"transactions/{row(books)}", tmp_path / "proof.json"
    prove: tuple[object, ...] = ("prove", name, "--output", file)
    assert books.audit(*prove).exit_code == 0
    assert books.audit("check", file, "--public-key", books.key, "--transaction", name).exit_code == 0
    file.unlink()
    books.change("UPDATE entry SET balance = balance + 1 WHERE transaction_id = %s", row(books))
    result = books.audit(*prove)
    assert (result.exit_code, result.stdout) == (1, "")
    assert (
        f"block {BLOCK} has no proof of {name} as it is now: the record is not the one that was sealed" in result.stderr
    )
    assert not file.exists()


def records(books: SealedLedger, block: int) -> list[str]:
    """As the service reads them now."""
    found: list[str] = []

    @asynchronous
    async def read() -> None:
        async with connected(books.target) as client:
            stub = Authorised(AuditServiceStub(client.channel))
            async for message in stub.ReadBlocks(ReadBlocksRequest(after_block=block - 1)):
                if message.HasField("block") and message.block.number > block:
                    break
                found.extend(message.records)

    read()
    return found


def test_a_key_that_is_none_does_nothing_to_the_terminal(books: SealedLedger) -> None:
    books.change("UPDATE seal_key SET public_key = %s", "none\x1b[2J")
    assert books.audit("key").stdout == "none\N{REPLACEMENT CHARACTER}[2J\n"
