"""A chain that breaks off is taken up behind the last whole block, and half of one counts for nothing."""

from collections.abc import Iterator, Sequence

import grpc
import pytest
from specie.transaction.v1 import Block as BlockMessage
from specie.transaction.v1 import ReadBlocksRequest, ReadBlocksResponse, SealedTransaction

from audit_chain.verification import ChainVerification, Tampered
from specie_cli.audits.reading import read
from specie_cli.breaks import PAUSES_SECONDS
from specie_cli.ending import Refused
from tests.kit.broken import Broken
from tests.kit.made_chain import KEYS, Block, chain, name

BREAK = Broken(grpc.StatusCode.UNAVAILABLE)
END = ReadBlocksResponse()
Answer = Sequence[ReadBlocksResponse | Exception]


def messages(block: Block, latest: int = 0) -> list[ReadBlocksResponse]:
    """As the service sends a block: what it has sealed, then its records, some at a time."""
    sealed = [SealedTransaction(transaction=kept.transaction, leaf=kept.leaf) for kept in block.sealed]
    message = BlockMessage(header=block.seal.header, signature=block.seal.signature)
    first = ReadBlocksResponse(block=message, sealed=sealed, latest_block=latest)
    return [first, ReadBlocksResponse(records=block.records[:2]), ReadBlocksResponse(records=block.records[2:])]


class Service:
    """Answers each call with the next of these: messages, and errors where the stream breaks off."""

    def __init__(self, *answers: Answer) -> None:
        self._answers = iter(answers)
        self.asked: list[int] = []
        self.pauses: list[float] = []
        self.watched: list[tuple[int, int]] = []

    def __call__(self, request: ReadBlocksRequest) -> Iterator[ReadBlocksResponse]:
        self.asked.append(request.after_block)
        for message in next(self._answers):
            if isinstance(message, Exception):
                raise message
            yield message

    def read(self) -> ChainVerification:
        verification = ChainVerification(KEYS)
        read(self, verification, lambda came, latest: self.watched.append((came, latest)), self.pauses.append)
        return verification


def test_a_chain_that_comes_whole_is_read_once() -> None:
    first, second, third = chain()
    service = Service([*messages(first, 3), *messages(second), *messages(third), END])
    verification = service.read()
    assert (verification.blocks, verification.transactions) == (3, 12)
    assert (service.asked, service.pauses) == ([0], [])
    assert sum(came for came, _ in service.watched) == 12
    assert max(latest for _, latest in service.watched) == 3


def test_a_ledger_without_a_block_ends_at_once() -> None:
    assert Service([END]).read().blocks == 0


def test_after_a_break_it_goes_on_behind_the_last_whole_block() -> None:
    first, second, third = chain()
    service = Service(
        [*messages(first), *messages(second)[:2], BREAK],
        [*messages(second), *messages(third), BREAK],
        [BREAK],
        [*messages(third), END],
    )
    assert service.read().transactions == 12
    assert service.asked == [0, 1, 2, 2]
    # A block came in between, so the pauses begin anew.
    assert service.pauses == [PAUSES_SECONDS[0], PAUSES_SECONDS[0], PAUSES_SECONDS[1]]


def test_what_cannot_begin_is_not_tried_again() -> None:
    service = Service([BREAK])
    with pytest.raises(Broken):
        service.read()
    assert service.asked == [0]


def test_it_gives_up_in_the_end() -> None:
    first = chain()[0]
    service = Service([*messages(first), BREAK], *[[BREAK]] * len(PAUSES_SECONDS))
    with pytest.raises(Broken):
        service.read()
    assert service.pauses == [*PAUSES_SECONDS]


def test_what_the_service_says_for_good_is_believed() -> None:
    with pytest.raises(Broken):
        Service([*messages(chain()[0]), Broken(grpc.StatusCode.PERMISSION_DENIED, rich=True)]).read()


def test_an_end_that_is_not_told_is_none() -> None:
    with pytest.raises(Refused, match="the service ended behind block 0 and did not say that it was the last"):
        Service(messages(chain()[0])).read()


def test_what_is_wrong_is_found_as_it_comes() -> None:
    first, second, third = chain()
    del second.records[0]
    with pytest.raises(Tampered, match=f"block 2: {name(201)} was deleted"):
        Service([*messages(first), *messages(second), *messages(third), END]).read()
