"""The audit chain through the real service: checkpoints, proofs, keys, and all of it as a stream."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC
from typing import Any
from uuid import uuid4

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from specie.transaction.v1 import (
    AuditServiceStub,
    Block,
    GetCheckpointRequest,
    GetInclusionProofRequest,
    InclusionProof,
    ListSealKeysRequest,
    ReadBlocksRequest,
    ReadBlocksResponse,
    SealedTransaction,
    TransferMode,
    TransferRequest,
)

from audit_chain.header import hash_of, parsed
from audit_chain.merkle import leaf_hash, root_from, root_of
from audit_chain.signing import PublicKeys
from tests.kit.calls import CALL_SECONDS, Client, Failed, connected, failed, key, usd
from tests.kit.postgres import Database, Server
from tests.kit.sealing import Chain, chain_of
from tests.kit.service import ServiceProcess, transaction_service, wait_until_async
from tests.kit.tampering import unguarded
from tests.kit.tokens import Authorised, bearer, token
from tests.kit.wallets import asynchronous
from transaction_service.adapters.tables import transaction
from transaction_service.rpc.audit_chain_calls import MESSAGE_CHARACTERS_MAX, RECORDS_PAGE

AUDITOR = bearer(token("auditor", "audit.read"))
ASYNC = TransferMode.TRANSFER_MODE_ASYNC
TOMORROW_SECONDS = 86_400


@pytest.fixture(scope="module")
def service(database: Database, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    with transaction_service(database, tmp_path_factory.mktemp("audit"), REPORTS_MAX=1) as running:
        yield running


@dataclass(frozen=True)
class House:
    """Somebody who pays, somebody who audits, and a sealer that seals when it is told to."""

    client: Client
    audit: Any
    chain: Chain

    async def seal(self) -> None:
        while (await self.chain.sealer.round()).block is not None:
            pass

    async def checkpoint(self, block: int = 0) -> Block:
        answer = await self.audit.GetCheckpoint(GetCheckpointRequest(block=block), timeout=CALL_SECONDS)
        found: Block = answer.block
        return found

    async def proof(self, transaction: str) -> InclusionProof:
        request = GetInclusionProofRequest(transaction=transaction)
        answer = await self.audit.GetInclusionProof(request, timeout=CALL_SECONDS)
        found: InclusionProof = answer.proof
        return found

    async def read(self, after: int = 0) -> list[ReadBlocksResponse]:
        call = self.audit.ReadBlocks(ReadBlocksRequest(after_block=after), timeout=CALL_SECONDS)
        return [message async for message in call]

    async def block_of(self, transaction: str) -> Block:
        """Seals, and reads the block that has it."""
        await self.seal()
        return (await self.proof(transaction)).block


@asynccontextmanager
async def house(service: ServiceProcess, database: Database) -> AsyncIterator[House]:
    with chain_of(database) as chain:
        async with connected(service.targets[0]) as client:
            yield House(client, Authorised(AuditServiceStub(client.channel), AUDITOR), chain)


def check(proof: InclusionProof, public_key: str) -> None:
    """With nothing but the key."""
    header = parsed(proof.block.header)
    assert PublicKeys.from_pem(public_key).vouch(header.key_id, proof.block.header, proof.block.signature)
    root = root_from(leaf_hash(proof.record.encode()), proof.index, header.transactions, proof.path)
    assert root == header.root == proof.block.root


@asynchronous
async def test_a_chain_without_blocks_says_so(
    postgres_server: Server, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with (
        postgres_server.fresh_database() as empty,
        transaction_service(empty, tmp_path_factory.mktemp("empty")) as service,
    ):
        async with house(service, empty) as at:
            for number in (0, 1):
                refused = await failed(at.checkpoint(number))
                assert (refused.code, refused.reason) == ("FAILED_PRECONDITION", "NOT_SEALED")
            assert await at.read() == await at.read(after=5) == [ReadBlocksResponse()]
            assert not (await at.audit.ListSealKeys(ListSealKeysRequest(), timeout=CALL_SECONDS)).keys


@asynchronous
async def test_a_checkpoint_says_what_its_header_says(service: ServiceProcess, database: Database) -> None:
    async with house(service, database) as at:
        await at.client.open(100)
        await at.seal()
        latest = await at.checkpoint()
        assert await at.checkpoint(latest.number) == latest
        header = parsed(latest.header)
        assert (latest.number, latest.transaction_count) == (header.number, header.transactions)
        assert (latest.root, latest.previous_hash, latest.hash) == (
            header.root,
            header.previous,
            hash_of(latest.header),
        )
        assert latest.key_id == header.key_id
        assert latest.seal_time.ToDatetime(UTC) == header.sealed
        with unguarded(database.owner_dsn) as cursor:
            cursor.execute(
                "UPDATE block SET hash = sha256(hash), key_id = 'x', seal_time = 'infinity' WHERE number = %s",
                (latest.number,),
            )
        assert await at.checkpoint(latest.number) == latest
        with unguarded(database.owner_dsn) as cursor:
            cursor.execute("UPDATE block SET header = 'nothing' WHERE number = %s", (latest.number,))
        bare = await at.checkpoint(latest.number)
        assert (bare.number, bare.header, bare.transaction_count) == (latest.number, "nothing", 0)
        opening, end = await at.read(after=latest.number - 1)
        assert (opening.block, end) == (bare, ReadBlocksResponse()), "what has no header has no records"
        with unguarded(database.owner_dsn) as cursor:
            cursor.execute("UPDATE block SET header = %s WHERE number = %s", (latest.header, latest.number))
        beyond = await failed(at.checkpoint(latest.number + 1))
        assert (beyond.code, beyond.reason) == ("FAILED_PRECONDITION", "NOT_SEALED")


@asynchronous
async def test_a_proof_can_be_checked_with_the_key_alone(service: ServiceProcess, database: Database) -> None:
    async with house(service, database) as at:
        alice, bob = await at.client.open(100), await at.client.open()
        made = [(await at.client.transfer(alice, bob, 1)).transaction.name for _ in range(5)]
        made.append((await failed(at.client.transfer(alice, bob, 1000))).metadata["transaction"])
        await at.seal()
        for name in made:
            proof = await at.proof(name)
            check(proof, at.chain.signer.public_pem)
            assert f'"id":"{name.removeprefix("transactions/")}"' in proof.record


@asynchronous
async def test_what_is_not_sealed_cannot_be_proven(service: ServiceProcess, database: Database) -> None:
    async with house(service, database) as at:
        alice, bob = await at.client.open(100), await at.client.open()
        pending = (await at.client.transfer(alice, bob, 1, mode=ASYNC, execute_time=tomorrow())).transaction.name
        await at.seal()
        fresh = (await at.client.transfer(alice, bob, 1)).transaction.name
        for name, word in ((pending, "PENDING"), (fresh, "within the last seconds")):
            refused = await failed(at.proof(name))
            assert (refused.code, refused.reason) == ("FAILED_PRECONDITION", "NOT_SEALED")
            assert refused.metadata == {"transaction": name}
            assert word in refused.message
        unknown = await failed(at.proof(f"transactions/{uuid4()}"))
        assert (unknown.code, unknown.reason) == ("NOT_FOUND", "TRANSACTION_NOT_FOUND")


def tomorrow() -> Timestamp:
    time = Timestamp()
    time.GetCurrentTime()
    time.seconds += TOMORROW_SECONDS
    return time


@asynchronous
async def test_a_row_that_was_put_among_what_is_sealed_has_no_proof_and_is_seen(
    service: ServiceProcess, database: Database
) -> None:
    """Its place in the order of commits is forged: it lies before the end of the chain, and no block has it."""
    async with house(service, database) as at:
        alice, bob = await at.client.open(100), await at.client.open()
        first = (await at.client.transfer(alice, bob, 1)).transaction.name
        await at.client.transfer(alice, bob, 1)
        block = await at.block_of(first)
        forged = str(uuid4())
        copied = {column.name: column.name for column in transaction.c} | {
            "id": "%(forged)s::uuid",
            "fingerprint": "id",
        }
        with unguarded(database.owner_dsn) as cursor:
            cursor.execute(
                f"INSERT INTO transaction ({', '.join(copied)}) SELECT {', '.join(copied.values())}"  # noqa: S608 - our own names
                " FROM transaction WHERE id = %(id)s",
                {"forged": forged, "id": first.removeprefix("transactions/")},
            )
        try:
            refused = await failed(at.proof(f"transactions/{forged}"))
            assert refused.reason == "NOT_SEALED"
            assert "behind the ledger's back" in refused.message
            opening, *rest = await at.read(after=block.number - 1)
            records = [record for message in rest for record in message.records]
            assert len(records) == len(opening.sealed) + 1
        finally:
            with unguarded(database.owner_dsn) as cursor:
                cursor.execute("DELETE FROM transaction WHERE id = %s", (forged,))


@asynchronous
async def test_the_chain_comes_with_the_records_as_they_are_now(service: ServiceProcess, database: Database) -> None:
    async with house(service, database) as at:
        alice, bob = await at.client.open(10_000), await at.client.open()
        await at.seal()
        before = (await at.checkpoint()).number
        for _ in range(3):
            await at.client.transfer(alice, bob, 1)
            await at.seal()
        first, *others = await at.read()
        latest = (await at.checkpoint()).number
        assert first.latest_block == latest == before + 3
        for number in (1, before + 1):
            assert (await at.checkpoint(number)).number == number
        assert others[-1] == ReadBlocksResponse()
        messages = [first, *others[:-1]]
        assert [m.block.number for m in messages if m.HasField("block")] == [*range(1, latest + 1)]
        check_stream(messages)
        after = await at.read(after=before + 1)
        assert [m.block.number for m in after if m.HasField("block")] == [before + 2, before + 3]
        assert after[0].latest_block == latest
        assert await at.read(after=latest) == [ReadBlocksResponse(latest_block=latest)]
        assert await at.read(after=2**62) == [ReadBlocksResponse(latest_block=latest)]


def check_stream(messages: list[ReadBlocksResponse]) -> None:
    """Every block is followed by the records of exactly what it has sealed."""
    wanted: list[SealedTransaction] = []
    for message in messages:
        if message.HasField("block"):
            assert not wanted
            wanted = [*message.sealed]
            assert root_of([one.leaf for one in wanted]) == message.block.root
        else:
            assert message.records
        for record in message.records:
            one, *wanted = wanted
            assert leaf_hash(record.encode()) == one.leaf
            assert f'"id":"{one.transaction.removeprefix("transactions/")}"' in record
    assert not wanted


@asynchronous
async def test_a_large_block_comes_in_messages_of_a_bounded_size(service: ServiceProcess, database: Database) -> None:
    async with house(service, database) as at:
        alice, bob = await at.client.open(10_000), await at.client.open()
        await at.seal()
        # Full pages, so that an empty one comes last, of which there must be no message: it would say that all came.
        for _ in range(2):
            batch = [
                TransferRequest(source=alice, destination=bob, amount=usd(1), request_id=key(), description="€" * 500)
                for _ in range(RECORDS_PAGE)
            ]
            answer = await at.client.batch(batch)
        block = await at.block_of(answer.results[0].transaction.name)
        assert block.transaction_count == 2 * RECORDS_PAGE
        messages = await at.read(after=block.number - 1)
        check_stream(messages[:-1])
        of_records = [message for message in messages if message.records]
        assert len(of_records) > 2
        longest = max(len(record) for message in of_records for record in message.records)
        for message in of_records:
            assert sum(map(len, message.records)) <= MESSAGE_CHARACTERS_MAX + longest


@asynchronous
async def test_no_more_read_at_once_than_may(service: ServiceProcess, database: Database) -> None:
    async with house(service, database) as at:
        await at.client.open(100)
        await at.seal()
        reading = at.audit.ReadBlocks(ReadBlocksRequest(), timeout=CALL_SECONDS)
        assert (await reading.read()).block.number == 1
        assert await failed(at.read()) == Failed("RESOURCE_EXHAUSTED", "OVERLOADED", "", {})
        reading.cancel()
        await wait_until_async(lambda: service.metrics()["specie_reports"] == 0, "the first has ended")
        assert await at.read()


@asynchronous
async def test_every_key_that_has_signed_is_listed(service: ServiceProcess, database: Database) -> None:
    async with house(service, database) as first, house(service, database) as second:
        for at in (first, second):
            await at.client.open(100)
            await at.seal()
        listed = (await first.audit.ListSealKeys(ListSealKeysRequest(), timeout=CALL_SECONDS)).keys
        assert [found.key_id for found in listed[-2:]] == [at.chain.signer.key_id for at in (first, second)]
        assert [found.public_key for found in listed[-2:]] == [at.chain.signer.public_pem for at in (first, second)]
        keys = PublicKeys.from_pem("".join(found.public_key for found in listed))
        for message in await first.read():
            if message.HasField("block"):
                assert keys.vouch(message.block.key_id, message.block.header, message.block.signature)
