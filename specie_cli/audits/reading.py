"""The audit chain as it comes from the service, taken up again where it breaks off, and compared as it comes."""

import time
from collections.abc import Callable, Iterable

import grpc
from specie.transaction.v1 import ReadBlocksRequest, ReadBlocksResponse

from audit_chain.seal import Seal
from audit_chain.verification import ChainVerification, Sealed
from specie_cli.breaks import PAUSES_SECONDS, may_pass
from specie_cli.ending import Refused

Call = Callable[[ReadBlocksRequest], Iterable[ReadBlocksResponse]]
Watch = Callable[[int, int], None]
"""Is told how many records came just now, and how many blocks there are."""


def read(
    call: Call, verification: ChainVerification, watch: Watch, pause: Callable[[float], None] = time.sleep
) -> None:
    """To the last block.

    Raises Tampered, Refused when the service ends in the middle, and grpc.RpcError when it cannot begin, or cannot go
    on for half a minute.
    """
    failures, began = 0, False
    while True:
        done = verification.blocks
        try:
            for message in call(ReadBlocksRequest(after_block=done)):
                began = True
                if not message.HasField("block") and not message.records:
                    verification.end()
                    return
                _take(message, verification, watch)
            raise Refused(f"the service ended behind block {verification.blocks} and did not say that it was the last")
        except grpc.RpcError as error:
            if verification.blocks > done:
                failures = 0
            if not began or failures == len(PAUSES_SECONDS) or not may_pass(error):
                raise
            pause(PAUSES_SECONDS[failures])
            failures += 1
            verification.again()


def _take(message: ReadBlocksResponse, verification: ChainVerification, watch: Watch) -> None:
    if message.HasField("block"):
        block = message.block
        sealed = [Sealed(kept.transaction, kept.leaf) for kept in message.sealed]
        verification.begin(Seal(block.header, block.signature), sealed)
    for record in message.records:
        verification.add(record)
    watch(len(message.records), message.latest_block)
