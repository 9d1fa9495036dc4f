"""The audit chain of a test's database: a sealer that is asked for one block at a time, and what it has made."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from pydantic import SecretStr

from audit_chain.header import Header, parsed
from audit_chain.merkle import leaf_hash
from audit_chain.signing import Signer, new_private_pem
from service_kit.database import Database as Connections
from tests.kit.postgres import Database
from transaction_service.adapters.blocks import SqlBlocks
from transaction_service.adapters.sealing import SqlSealing
from transaction_service.back_office.settings import BackOfficeSettings
from transaction_service.sealing.ports import Block, Content, Round
from transaction_service.sealing.sealer import Sealer

PAGE = 100


@dataclass(frozen=True)
class SealedBlock:
    """A block as it is stored, with what it says of itself."""

    block: Block
    content: Content
    header: Header

    @property
    def ids(self) -> list[str]:
        return [*self.content.transaction_ids()]


@dataclass(frozen=True)
class Chain:
    """With a sealer of its own."""

    sealer: Sealer
    blocks: SqlBlocks
    signer: Signer

    def seal(self) -> Round:
        """One round."""
        return asyncio.run(self.sealer.round())

    def seal_all(self) -> None:
        """Until nothing waits."""
        while self.seal().block is not None:
            pass

    def all(self, after: int = 0) -> list[SealedBlock]:
        """The blocks behind one."""
        found: list[SealedBlock] = []
        while (following := asyncio.run(self.blocks.following(after, 2**62))) is not None:
            block, content = following
            found.append(SealedBlock(block, content, parsed(block.header)))
            after = block.number
        return found

    def latest(self) -> int:
        """The number of the latest block; 0: there is none."""
        block = asyncio.run(self.blocks.latest())
        return 0 if block is None else block.number

    def records(self, sealed: SealedBlock) -> list[str]:
        """Of what is in the block's range now."""
        found: list[str] = []
        mark = sealed.header.after
        while page := asyncio.run(self.blocks.records(mark, sealed.header.until, PAGE)):
            found += [record for _, record in page]
            mark = page[-1][0]
        return found

    def is_as_sealed(self, sealed: SealedBlock) -> bool:
        """Whether the records that are in its range now are those that it has sealed."""
        return [leaf_hash(record.encode()) for record in self.records(sealed)] == sealed.content.leaf_hashes()


@contextmanager
def chain_of(database: Database, signer: Signer | None = None) -> Iterator[Chain]:
    """`signer`: with a key of chance, if there is none."""
    settings = BackOfficeSettings(database_dsn=SecretStr(database.transaction_dsn), read_threads=2)
    connections = Connections(settings, "test")
    signer = signer or Signer.from_pem(new_private_pem())
    try:
        yield Chain(Sealer(SqlSealing(connections), signer, 1), SqlBlocks(connections), signer)
    finally:
        connections.close()
