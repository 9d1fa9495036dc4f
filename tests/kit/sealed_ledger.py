"""A ledger whose transactions are sealed, and its auditor: for tests that tamper with it."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from uuid import UUID

from specie.transaction.v1 import Fee
from typer.testing import CliRunner, Result

from audit_chain.signing import Signer, new_private_pem
from specie_cli.main import app
from tests.kit.calls import connected, failed, posting
from tests.kit.ledger import Ledger
from tests.kit.postgres import Database
from tests.kit.service import back_office, transaction_service, wait_until
from tests.kit.tokens import token
from transaction_service.adapters.sealing import LOCK

BLOCKS = 4
TABLES = ("transaction", "entry", "block", "seal_key")


@dataclass(frozen=True)
class SealedLedger:
    """`key` is the file with its public key, `checkpoint` one with its last block."""

    ledger: Ledger
    target: str
    key: Path
    checkpoint: Path

    def audit(self, *arguments: object) -> Result:
        """`specie audit ...`, in this process: to start one for each takes longer than all that they do."""
        return CliRunner().invoke(app, ["audit", *map(str, arguments)], env=self.environment())

    def environment(self) -> dict[str, str]:
        """Of the auditor's commands."""
        return {"SPECIE_SERVER": self.target, "SPECIE_TOKEN": token("auditor", "audit.read"), "COLUMNS": "200"}

    def verdict(self, *arguments: object) -> str:
        """Of `specie audit verify`: what it has found; empty: all is as it was sealed."""
        result = self.audit("verify", "--public-key", self.key, *arguments)
        assert isinstance(result.exception, SystemExit | None), result.exception
        assert result.exit_code == (1 if result.stderr else 0), result.output
        assert bool(result.stderr) != bool(result.stdout)
        return result.stderr.strip()

    def ids(self, block: int) -> list[str]:
        """Of the transactions that it sealed, in its order."""
        ids = bytes(self.ledger.query("SELECT ids FROM transactions.block WHERE number = %s", block)[0][0])
        return [str(UUID(bytes=ids[i : i + 16])) for i in range(0, len(ids), 16)]

    def change(self, statement: str, *values: object) -> None:
        """As somebody who can do everything in the database."""
        with self.ledger.unguarded() as cursor:
            cursor.execute(statement, values)
            assert cursor.rowcount > 0, "nothing was changed"

    @contextmanager
    def restored(self) -> Iterator[None]:
        """At the end everything is again as it was sealed."""
        try:
            yield
        finally:
            with self.ledger.unguarded() as cursor:
                for table in TABLES:
                    cursor.execute(f"DELETE FROM {table}; INSERT INTO {table} SELECT * FROM kept.{table}")  # noqa: S608


@contextmanager
def sealed_ledger(database: Database, folder: Path) -> Iterator[SealedLedger]:
    """Some blocks of some transactions of many kinds. Nobody seals any more."""
    private, public, checkpoint = folder / "seal.key", folder / "seal.pub", folder / "checkpoint.json"
    private.write_bytes(new_private_pem())
    public.write_text(Signer.from_pem(private.read_bytes()).public_pem)
    ledger = Ledger(database)
    with transaction_service(database, folder) as service:
        with back_office(database, folder, SEAL_KEY_FILE=private, SEAL_SECONDS=0.05):
            for number in range(1, BLOCKS + 1):
                with ledger.session() as cursor:
                    # Meanwhile nobody seals, so that all of it comes into one block.
                    cursor.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK,))
                    asyncio.run(_move_money(service.targets[0]))
                wait_until(partial(_is_sealed, ledger, number), f"block {number} is sealed")
        with ledger.unguarded() as cursor:
            cursor.execute("CREATE SCHEMA kept")
            for table in TABLES:
                cursor.execute(f"CREATE TABLE kept.{table} AS TABLE {table}")
        found = SealedLedger(ledger, service.targets[0], public, checkpoint)
        assert not found.verdict("--save-checkpoint", checkpoint)
        yield found


def _is_sealed(ledger: Ledger, number: int) -> bool:
    sealed, latest = ledger.query("SELECT sum(length(ids)) / 16, max(number) FROM transactions.block")[0]
    assert latest in (number - 1 or None, number)
    return (sealed,) == ledger.query("SELECT count(*) FROM transactions.transaction")[0]


async def _move_money(target: str) -> None:
    """One commit after the other: what stands together in one has one place in the order of commits."""
    async with connected(target) as client:
        alice, bob = [await client.open(10_000) for _ in range(2)]
        await client.transfer(alice, bob, 100, description="rent", labels={"month": "11"})
        await client.transfer(alice, bob, 100, fee=Fee(basis_points=150))
        await failed(client.transfer(bob, alice, 99_999))
        await client.post([posting(alice, -7), posting(bob, 5), posting(alice, 2)])
        hold = await client.place_hold(alice, bob, 500)
        captured = await client.capture(hold.hold.name, 200)
        await client.reverse(captured.transaction.name)
        await client.deposit(bob, 5, external_reference="bank-1")
