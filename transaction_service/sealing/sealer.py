"""Puts what is committed into blocks, each of which names the one before and is signed.

It reads behind those who post and takes no lock that they want. Any number of processes may do this at once: the
database lets one of them make the next block, and the others find it made.
"""

import asyncio
from time import monotonic
from typing import Final

import structlog

from audit_chain.header import TRANSACTIONS_MAX, Header, hash_of
from audit_chain.merkle import root_of
from audit_chain.signing import Signer
from service_kit.status import Refusal
from service_kit.tasks import to_its_end
from transaction_service.sealing import metrics
from transaction_service.sealing.ports import Block, Decided, Round, Sealing, Tip

log = structlog.stdlib.get_logger()

PAUSE_SECONDS_MAX: Final = 5.0
"""Between rounds that fail, each pause is twice as long as the one before, up to this."""
FINISH_SECONDS: Final = 5.0
"""How long a stop waits for the block that is being made."""


class Sealer:
    """Of the event loop's thread only."""

    def __init__(self, store: Sealing, signer: Signer, every_seconds: float) -> None:
        """`every_seconds`: how long something waits at the most, as long as all is well. A block that would be full
        before is made sooner."""
        self._store = store
        self._signer = signer
        self._every_seconds = every_seconds
        self._halvings = 0

    async def run(self) -> None:
        """For ever. No failure ends it: the next round tries again. When it is cancelled it lets its round end."""
        began, pause = monotonic(), self._every_seconds
        while True:
            try:
                # What a round that is cut off has done nobody would count.
                done = await to_its_end(self.round(), FINISH_SECONDS)
            except Refusal as refusal:
                log.warning("seal_failed", reason=refusal.reason)
                if refusal.reason == "DEADLINE_EXCEEDED":
                    self._halvings = min(self._halvings + 1, TRANSACTIONS_MAX.bit_length())
            except Exception:
                # A bug must not end what everybody relies on.
                log.exception("seal_failed")
            else:
                before, began = began, monotonic()
                pause = self._every_seconds
                is_full = done.transactions >= self._transactions_max
                self._halvings = max(0, self._halvings - 1)
                if not is_full:
                    await asyncio.sleep(until_full(done.transactions, began - before, pause))
                continue
            pause = min(2 * pause, PAUSE_SECONDS_MAX)
            await asyncio.sleep(pause)

    async def round(self) -> Round:
        """One block, if something waits."""
        done = await self._store.seal(self._transactions_max, self._block_of, self._signer.public_pem)
        metrics.LAG_SECONDS.set(done.lag_seconds)
        if done.block is not None:
            metrics.SEALED.inc(done.transactions)
            metrics.BLOCKS.inc()
            log.info("sealed", block=done.block.number, transactions=done.transactions)
        return done

    @property
    def _transactions_max(self) -> int:
        """What took too long for one statement, of transactions with very long texts, is tried in smaller blocks."""
        return max(1, TRANSACTIONS_MAX >> self._halvings)

    def _block_of(self, tip: Tip, decided: Decided) -> Block:
        leaves = decided.content.leaf_hashes()
        number = tip.number + 1
        header = Header(
            number=number,
            transactions=len(leaves),
            root=root_of(leaves),
            previous=tip.hash,
            after=tip.until,
            until=decided.until,
            sealed=decided.time,
            key_id=self._signer.key_id,
        )
        text = header.text()
        signature = self._signer.sign(text)
        return Block(number, decided.until, text, hash_of(text), signature, self._signer.key_id, decided.time)


def until_full(transactions: int, seconds: float, pause: float) -> float:
    """How long to wait for the next block: until it is full, if as many come as have come in these seconds."""
    return min(pause, seconds * TRANSACTIONS_MAX / transactions) if transactions else pause
