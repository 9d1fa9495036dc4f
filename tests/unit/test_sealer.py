"""The sealer's loop: it goes on whatever happens, waits until it is worth it, and lets a block be finished."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from itertools import count
from types import SimpleNamespace

import pytest
from prometheus_client import REGISTRY

from audit_chain.header import BEGINNING, GENESIS, TRANSACTIONS_MAX, Mark, hash_of, parsed
from audit_chain.merkle import leaf_hash, root_of
from audit_chain.signing import PublicKeys, Signer, new_private_pem
from service_kit.status import Refusal
from tests.kit.service import wait_until_async
from transaction_service.sealing.ports import Block, Content, Decided, Round, Tip
from transaction_service.sealing.sealer import PAUSE_SECONDS_MAX, Sealer, until_full

SIGNER = Signer.from_pem(new_private_pem())
LEAVES = [leaf_hash(b"%d" % number) for number in range(3)]
DECIDED = Decided(
    Content(bytes(48), b"".join(LEAVES)),
    Mark(7, "00000000-0000-0000-0000-000000000000"),
    datetime(2026, 3, 4, tzinfo=UTC),
)
TIP = Tip(4, bytes(range(32)), Mark(6, "ffffffff-ffff-ffff-ffff-ffffffffffff"))


class Store:
    """Seals what a test puts there: a number of transactions, or an error; then nothing."""

    def __init__(self, *script: int | Exception) -> None:
        self.script = list(script)
        self.blocks: list[Block] = []
        self.rounds = 0
        self.asked: list[int] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def seal(self, transactions_max: int, block_of: Callable[[Tip, Decided], Block], public_key: str) -> Round:
        self.asked.append(transactions_max)
        assert public_key == SIGNER.public_pem
        self.rounds += 1
        await self.gate.wait()
        step = self.script.pop(0) if self.script else 0
        if isinstance(step, Exception):
            raise step
        if not step:
            return Round(None, 0, 2.5)
        self.blocks.append(block_of(TIP, DECIDED))
        return Round(self.blocks[-1], step, 0)


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Between the sealer's rounds, which last no time here."""
    found: list[float] = []

    async def sleep(seconds: float) -> None:
        found.append(seconds)
        await asyncio.sleep(0)

    monkeypatch.setattr("transaction_service.sealing.sealer.asyncio", SimpleNamespace(sleep=sleep))
    return found


def value(name: str) -> float:
    return REGISTRY.get_sample_value(name) or 0


async def running(store: Store, until: Callable[[], object], every_seconds: float = 0.001) -> None:
    task = asyncio.create_task(Sealer(store, SIGNER, every_seconds).run())
    await wait_until_async(until, "the sealer came so far")
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


def test_a_block_says_what_it_seals_and_what_was_before() -> None:
    store = Store(3)
    asyncio.run(Sealer(store, SIGNER, 1).round())
    [block] = store.blocks
    header = parsed(block.header)
    assert header == (
        5,
        3,
        root_of(LEAVES),
        TIP.hash,
        TIP.until,
        DECIDED.until,
        DECIDED.time,
        SIGNER.key_id,
    )
    assert block.number == 5
    assert (block.until, block.seal_time, block.key_id) == (DECIDED.until, DECIDED.time, SIGNER.key_id)
    assert block.hash == hash_of(block.header)
    assert PublicKeys.from_pem(SIGNER.public_pem).vouch(SIGNER.key_id, block.header, block.signature)
    assert TIP.hash != GENESIS
    assert TIP.until != BEGINNING


def test_it_counts_what_it_has_sealed_and_tells_how_old_the_rest_is() -> None:
    before = value("specie_sealed_transactions_total"), value("specie_blocks_total")
    sealer = Sealer(Store(3), SIGNER, 1)

    async def two_rounds() -> None:
        await sealer.round()
        assert value("specie_seal_lag_seconds") == 0
        await sealer.round()
        assert value("specie_seal_lag_seconds") == 2.5

    asyncio.run(two_rounds())
    assert (value("specie_sealed_transactions_total"), value("specie_blocks_total")) == (before[0] + 3, before[1] + 1)


@pytest.mark.parametrize("error", [Refusal("UNAVAILABLE", "no database"), RuntimeError("a bug"), OSError("a disk")])
def test_no_failure_ends_it(error: Exception) -> None:
    async def main() -> None:
        store = Store(error, error, 3)
        await running(store, lambda: store.blocks)
        assert store.asked[:3] == [TRANSACTIONS_MAX] * 3, "only what takes too long is tried in smaller blocks"

    asyncio.run(main())


def test_what_takes_too_long_is_tried_in_smaller_blocks() -> None:
    async def main() -> None:
        slow = Refusal("DEADLINE_EXCEEDED", "the statement took too long")
        store = Store(slow, slow, TRANSACTIONS_MAX // 4, TRANSACTIONS_MAX // 2, TRANSACTIONS_MAX, 3, *[slow] * 20)
        await running(store, lambda: 1 in store.asked, every_seconds=0.0001)
        assert store.asked[:6] == [TRANSACTIONS_MAX // n for n in (1, 2, 4, 2, 1, 1)]

    asyncio.run(main())


def test_full_blocks_follow_each_other_without_a_pause(pauses: list[float]) -> None:
    async def main() -> None:
        store = Store(*[TRANSACTIONS_MAX] * 5)
        await running(store, lambda: pauses, every_seconds=3600)
        assert pauses[0] == 3600
        assert store.asked[:6] == [TRANSACTIONS_MAX] * 6

    asyncio.run(main())


def test_each_failure_doubles_the_pause_and_the_first_success_ends_that(pauses: list[float]) -> None:
    async def main() -> None:
        error = RuntimeError("a bug")
        await running(Store(error, error, error), lambda: len(pauses) > 4, every_seconds=1)
        assert pauses[:5] == [2, 4, PAUSE_SECONDS_MAX, 1, 1]

    asyncio.run(main())


def test_it_waits_as_long_as_it_took_for_the_last_to_come(pauses: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        monkeypatch.setattr("transaction_service.sealing.sealer.monotonic", count(100, 0.25).__next__)
        await running(Store(TRANSACTIONS_MAX // 2), lambda: pauses, every_seconds=3600)
        assert pauses[0] == pytest.approx(0.5)

    asyncio.run(main())


def test_a_stop_lets_the_block_be_finished() -> None:
    async def main() -> None:
        store = Store(3)
        store.gate.clear()
        task = asyncio.create_task(Sealer(store, SIGNER, 1).run())
        await wait_until_async(lambda: store.rounds, "a round has begun")
        task.cancel()
        await asyncio.sleep(0)
        assert not task.done()
        store.gate.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert len(store.blocks) == 1

    asyncio.run(main())


@pytest.mark.parametrize(
    ("transactions", "seconds", "expected"),
    [(0, 1, 1), (1, 1, 1), (TRANSACTIONS_MAX // 2, 1, 1), (TRANSACTIONS_MAX // 2, 0.1, 0.2), (9000, 0.9, 1)],
)
def test_it_waits_for_a_full_block_but_no_longer_than_it_may(
    transactions: int, seconds: float, expected: float
) -> None:
    assert until_full(transactions, seconds, pause=1) == pytest.approx(expected)
