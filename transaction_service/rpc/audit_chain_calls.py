"""AuditService's calls about the audit chain: blocks, proofs, keys, and the chain as a stream beside its records."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any, Final

from specie.transaction.v1 import Block as BlockMessage
from specie.transaction.v1 import (
    GetCheckpointRequest,
    GetCheckpointResponse,
    GetInclusionProofRequest,
    GetInclusionProofResponse,
    InclusionProof,
    ListSealKeysRequest,
    ListSealKeysResponse,
    ReadBlocksRequest,
    ReadBlocksResponse,
    SealedTransaction,
    SealKey,
)

from audit_chain.header import Header, MalformedHeader, hash_of, parsed
from audit_chain.merkle import path_of
from service_kit.status import Refusal
from transaction_service.domain.failure import Failure, Reason
from transaction_service.reports import Reports
from transaction_service.rpc.convert import timestamp, transaction_name
from transaction_service.rpc.errors import to_refusal
from transaction_service.rpc.reporting import place_of
from transaction_service.sealing.ports import Block, Blocks, Content, Key, Unsealed

RECORDS_PAGE: Final = 500
"""Read at once. The largest have some 40 kB."""
MESSAGE_CHARACTERS_MAX: Final = 256 * 1024
"""After so many a message with records is sent."""
SEALED_AT_ONCE: Final = 500
"""Between so many others get their turn: a block has up to 10,000."""


class AuditChainCalls:
    """Needs what it names."""

    _blocks: Blocks
    _reports: Reports

    async def GetCheckpoint(self, request: GetCheckpointRequest, context: Any) -> GetCheckpointResponse:
        number = request.block
        block = await (self._blocks.block(number) if number else self._blocks.latest())
        if block is None:
            text = f"there is no block {number} yet" if number else "there is no block yet"
            raise Refusal("NOT_SEALED", text)
        return GetCheckpointResponse(block=_message(block))

    async def GetInclusionProof(self, request: GetInclusionProofRequest, context: Any) -> GetInclusionProofResponse:
        name = request.transaction
        proven = await self._blocks.proof(name.removeprefix("transactions/"))
        if proven is None:
            raise to_refusal(Failure(Reason.TRANSACTION_NOT_FOUND, {"transaction": name}))
        if isinstance(proven, Unsealed):
            raise Refusal("NOT_SEALED", f"{name} is not sealed: {proven.value}", {"transaction": name})
        # Ten thousand hashes: some milliseconds, in which others get their turn.
        path = await asyncio.to_thread(path_of, proven.content.leaf_hashes(), proven.place)
        block = _message(proven.block)
        proof = InclusionProof(record=proven.record, index=proven.place, path=path, block=block)
        return GetInclusionProofResponse(proof=proof)

    async def ListSealKeys(self, request: ListSealKeysRequest, context: Any) -> ListSealKeysResponse:
        return ListSealKeysResponse(keys=[_key(key) for key in await self._blocks.keys()])

    async def ReadBlocks(self, request: ReadBlocksRequest, context: Any) -> AsyncGenerator[ReadBlocksResponse, None]:
        """Only as far as the chain goes when it begins: else whoever reads while much is sealed would not see the
        end."""
        with place_of(self._reports):
            block = await self._blocks.latest()
            latest = 0 if block is None else block.number
            after, told = request.after_block, latest
            while (found := await self._following(after, latest)) is not None:
                block, content = found
                yield await _opening(block, content, told)
                after, told = block.number, 0
                header = _header(block)
                if header is not None:
                    async for message in self._records_of(header):
                        yield message
            yield ReadBlocksResponse(latest_block=told)

    async def _following(self, after: int, latest: int) -> tuple[Block, Content] | None:
        return await self._reports.in_turn(lambda: self._blocks.following(after, latest))

    async def _records_of(self, header: Header) -> AsyncGenerator[ReadBlocksResponse, None]:
        """Of everything that is decided in the block's range now, and be it more than was sealed."""
        mark = header.after
        while True:
            after = mark
            page = await self._reports.in_turn(
                lambda: self._blocks.records(after, header.until, RECORDS_PAGE)  # noqa: B023 - called at once
            )
            message, characters = ReadBlocksResponse(), 0
            for mark, record in page:  # noqa: B007 - the last one is where the next page begins
                message.records.append(record)
                characters += len(record)
                if characters >= MESSAGE_CHARACTERS_MAX:
                    yield message
                    message, characters = ReadBlocksResponse(), 0
            if message.records:
                yield message
            if len(page) < RECORDS_PAGE:
                return


def _header(block: Block) -> Header | None:
    """None: somebody has changed it, as whoever reads it will find out. It has no range then."""
    try:
        return parsed(block.header)
    except MalformedHeader:
        return None


async def _opening(block: Block, content: Content, latest: int) -> ReadBlocksResponse:
    message = ReadBlocksResponse(block=_message(block), latest_block=latest)
    leaves = content.leaf_hashes()
    for index, (id_, leaf) in enumerate(zip(content.transaction_ids(), leaves, strict=False)):
        if index % SEALED_AT_ONCE == 0:
            await asyncio.sleep(0)
        message.sealed.append(SealedTransaction(transaction=transaction_name(id_), leaf=leaf))
    return message


def _message(block: Block) -> BlockMessage:
    """What stands in the header is told as the header says it; the columns beside it tell only where there is none."""
    message = BlockMessage(
        number=block.number,
        hash=hash_of(block.header),
        header=block.header,
        signature=block.signature,
        key_id=block.key_id,
        seal_time=timestamp(block.seal_time),
    )
    header = _header(block)
    if header is not None:
        message.number = header.number
        message.transaction_count = header.transactions
        message.root = header.root
        message.previous_hash = header.previous
        message.key_id = header.key_id
        message.seal_time.FromDatetime(header.sealed)
    return message


def _key(key: Key) -> SealKey:
    return SealKey(key_id=key.key_id, public_key=key.public_key, create_time=timestamp(key.create_time))
