"""Mode ASYNC as its callers see it: stored at once, told as it is, taken back in time, and no more than may wait."""

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from specie.transaction.v1 import (
    AccountState,
    BatchTransferResult,
    CancelTransactionRequest,
    Fee,
    GetTransactionRequest,
    Transaction,
    TransactionState,
    TransferMode,
    TransferRequest,
)

from tests.kit.calls import Client, Failed, connected, failed, key, outcome, usd, wallet_name
from tests.kit.crowd import at_once, eventually, reason
from tests.kit.ledger import Ledger, Rows
from tests.kit.postgres import Database
from tests.kit.service import transaction_service
from tests.kit.wallets import asynchronous

ASYNC = TransferMode.TRANSFER_MODE_ASYNC
POSTED, PENDING = TransactionState.TRANSACTION_STATE_POSTED, TransactionState.TRANSACTION_STATE_PENDING
FAILED = TransactionState.TRANSACTION_STATE_FAILED
IN_2100 = Timestamp(seconds=4_102_444_800)
LONG_AGO = Timestamp(seconds=1)


async def transaction(client: Client, name: str) -> Transaction:
    answer = await client.transactions.GetTransaction(GetTransactionRequest(name=name))
    found: Transaction = answer.transaction
    return found


async def decided(client: Client, name: str) -> Transaction:
    async def is_decided() -> bool:
        return (await transaction(client, name)).state != PENDING

    await eventually(is_decided, f"{name} is decided")
    return await transaction(client, name)


async def scheduled(client: Client, source: str, destination: str, amount: int = 10, **more: Any) -> Transaction:  # noqa: ANN401
    """Due when nobody who tests lives any more."""
    answer = await client.transfer(source, destination, amount, mode=ASYNC, execute_time=IN_2100, **more)
    told: Transaction = answer.transaction
    return told


@asynchronous
async def test_a_scheduled_transfer_is_stored_and_moves_nothing(target: str, ledger: Ledger) -> None:
    async with connected(target) as client:
        alice, bob, request_id = await client.open(100), await client.open(), key()
        before = ledger.rows()
        fee = Fee(minor_units=1)
        told = await scheduled(client, alice, bob, request_id=request_id, description="rent", fee=fee)
        assert (told.state, told.execute_time, told.amount) == (PENDING, IN_2100, usd(10))
        assert not told.HasField("post_time")
        assert not told.HasField("decide_time")
        assert told.HasField("create_time")
        assert [p.amount.minor_units for p in told.postings] == [-11, 10, 1]
        assert await transaction(client, told.name) == told
        again = await client.transfer(
            alice, bob, 10, request_id, mode=ASYNC, execute_time=IN_2100, description="rent", fee=fee
        )
        assert (again.replayed, again.transaction) == (True, told)
        for other in ({}, {"mode": ASYNC}, {"mode": ASYNC, "execute_time": LONG_AGO}):
            reused = await failed(client.transfer(alice, bob, 10, request_id, description="rent", fee=fee, **other))
            assert reused.reason == "REQUEST_ID_REUSED"
        assert ledger.rows() == before
        assert await client.balance(alice) == 100


@pytest.mark.parametrize("more", [{}, {"execute_time": LONG_AGO}])
@asynchronous
async def test_what_is_due_is_posted_and_a_replay_tells_so(target: str, more: dict[str, Any]) -> None:
    async with connected(target) as client:
        alice, bob, request_id = await client.open(100), await client.open(), key()
        answer = await client.transfer(alice, bob, 10, request_id, mode=ASYNC, **more)
        assert not answer.replayed
        told = await decided(client, answer.transaction.name)
        assert told.state == POSTED
        again = await client.transfer(alice, bob, 10, request_id, mode=ASYNC, **more)
        assert (again.replayed, again.transaction) == (True, told)
        assert (await client.balance(alice), await client.balance(bob)) == (90, 10)


@asynchronous
async def test_what_fails_when_it_is_due_is_the_error_of_a_replay(target: str) -> None:
    async with connected(target) as client:
        alice, bob, request_id = await client.open(5), await client.open(), key()
        answer = await client.transfer(alice, bob, 10, request_id, mode=ASYNC)
        told = await decided(client, answer.transaction.name)
        assert told.state == FAILED
        refused = await failed(client.transfer(alice, bob, 10, request_id, mode=ASYNC))
        assert (refused.reason, refused.message) == ("INSUFFICIENT_FUNDS", told.error.message)
        assert refused.metadata.items() >= {"replayed": "true", "transaction": told.name}.items()


@asynchronous
async def test_what_the_ledger_would_refuse_is_found_out_when_it_is_due(target: str) -> None:
    async with connected(target) as client:
        alice, closed = await client.open(5), await client.open()
        await client.set_state(closed, AccountState.ACCOUNT_STATE_CLOSED)
        told = [await scheduled(client, alice, name, 1) for name in (wallet_name(), closed)]
        assert [one.state for one in told] == [PENDING, PENDING]
        same = await failed(client.transfer(alice, alice, 1, mode=ASYNC, execute_time=IN_2100))
        assert (same.code, same.reason) == ("INVALID_ARGUMENT", "SAME_WALLET")


@asynchronous
async def test_a_pending_transfer_is_taken_back(target: str, ledger: Ledger) -> None:
    async with connected(target) as client:
        alice, bob, request_id = await client.open(100), await client.open(), key()
        told = await scheduled(client, alice, bob, request_id=request_id)
        before = ledger.rows()
        cancelled = (await client.cancel(told.name)).transaction
        assert cancelled.state == FAILED
        assert cancelled.error.message == "the transfer was cancelled by local before it was due"
        assert cancelled.create_time == told.create_time
        assert cancelled.HasField("decide_time")
        assert not cancelled.HasField("post_time")
        assert (await client.cancel(told.name)).transaction == cancelled
        assert await transaction(client, told.name) == cancelled
        refused = await failed(client.transfer(alice, bob, 10, request_id, mode=ASYNC, execute_time=IN_2100))
        assert (refused.code, refused.reason) == ("FAILED_PRECONDITION", "TRANSFER_CANCELLED")
        assert refused.metadata == {"cancelled_by": "local", "transaction": told.name, "replayed": "true"}
        assert ledger.rows() == Rows(before.posted, before.failed + 1, before.entries)


@asynchronous
async def test_what_is_decided_cannot_be_taken_back(target: str, ledger: Ledger) -> None:
    async with connected(target) as client:
        alice, bob = await client.open(5), await client.open()
        posted = (await client.transfer(alice, bob, 5)).transaction.name
        short = (await failed(client.transfer(alice, bob, 5))).metadata["transaction"]
        before = ledger.rows()
        for name, state in [(posted, "POSTED"), (short, "FAILED")]:
            refused = await failed(client.cancel(name))
            assert (refused.code, refused.reason) == ("FAILED_PRECONDITION", "NOT_PENDING")
            assert refused.metadata == {"transaction": name, "state": state}
        unknown = f"transactions/{'0' * 8}-0000-0000-0000-{'0' * 12}"
        assert (await failed(client.cancel(unknown))).reason == "TRANSACTION_NOT_FOUND"
        request = CancelTransactionRequest(name="transactions/x")
        assert (await failed(client.transactions.CancelTransaction(request))).fields == {"name": "string.pattern"}
        assert ledger.rows() == before


@asynchronous
async def test_many_who_take_the_same_one_back_are_answered_alike(target: str, ledger: Ledger) -> None:
    async with connected(target) as client:
        told = await scheduled(client, await client.open(100), await client.open())
        before = ledger.rows()
        answers: list[Any] = await at_once(16, lambda _: client.cancel(told.name))
        assert len({answer.transaction.SerializeToString(deterministic=True) for answer in answers}) == 1
        assert ledger.rows() == Rows(before.posted, before.failed + 1, before.entries)


@asynchronous
async def test_taking_back_and_posting_at_once_leaves_one_of_the_two(target: str) -> None:
    async with connected(target) as client:
        alice, bob = await client.open(1_000), await client.open()

        async def race(_: int) -> str:
            name = (await client.transfer(alice, bob, 1, mode=ASYNC)).transaction.name
            cancelled = await outcome(client.cancel(name))
            state = (await decided(client, name)).state
            if isinstance(cancelled, Failed):
                assert (cancelled.reason, state) == ("NOT_PENDING", POSTED)
                return "posted"
            assert state == FAILED
            return "cancelled"

        became = Counter(await asyncio.gather(*map(race, range(50))))
        assert await client.balance(bob) == became["posted"]
        assert became.total() == 50


@asynchronous
async def test_a_time_to_come_needs_mode_async(target: str, ledger: Ledger) -> None:
    async with connected(target) as client:
        before = ledger.rows()
        no_mode: Any = 7
        beyond = Timestamp(seconds=253_402_300_800)
        bad: list[tuple[dict[str, Any], dict[str, str]]] = [
            ({"execute_time": IN_2100}, {"": "execute_time.async"}),
            ({"execute_time": IN_2100, "mode": TransferMode.TRANSFER_MODE_SYNC}, {"": "execute_time.async"}),
            ({"execute_time": beyond, "mode": ASYNC}, {"execute_time": "timestamp"}),
            ({"mode": no_mode}, {"mode": "enum.defined_only"}),
        ]
        for asked, fields in bad:
            refused = await failed(client.transfer("wallets/a", "wallets/b", 1, **asked))
            assert (refused.code, refused.fields) == ("INVALID_ARGUMENT", fields)
        assert ledger.rows() == before


def test_no_more_are_taken_than_may_wait(database: Database, tmp_path: Path) -> None:
    async def story(target: str) -> None:
        async with connected(target) as client:
            alice, bob = await client.open(100), await client.open()

            async def ask(_: int) -> Transaction:
                return await scheduled(client, alice, bob, 1)

            answers = await at_once(10, ask)
            assert Counter(map(reason, answers)) == {"POSTED": 5, "TOO_MANY_PENDING": 5}
            refused = next(answer for answer in answers if isinstance(answer, Failed))
            assert (refused.code, refused.metadata, refused.retry_seconds) == (
                "RESOURCE_EXHAUSTED",
                {"max_pending": "5"},
                1.0,
            )
            batch = await client.batch(
                [
                    TransferRequest(
                        source=alice, destination=bob, amount=usd(1), request_id=key(), mode=mode, execute_time=time
                    )
                    for mode, time in [(ASYNC, IN_2100), (TransferMode.TRANSFER_MODE_SYNC, None)]
                ]
            )
            assert [result.WhichOneof("outcome") for result in batch.results] == ["error", "transaction"]

            taken = [answer for answer in answers if isinstance(answer, Transaction)]
            again: dict[str, Any] = {"request_id": taken[0].request_id, "mode": ASYNC, "execute_time": IN_2100}
            replayed = await client.transfer(alice, bob, 1, **again)
            assert (replayed.replayed, replayed.transaction) == (True, taken[0])
            batch = await client.batch([TransferRequest(source=alice, destination=bob, amount=usd(1), **again)])
            assert batch.results[0] == BatchTransferResult(transaction=taken[0], replayed=True)

            await client.cancel(taken[0].name)

            async def has_room() -> bool:
                return not isinstance(await outcome(ask(0)), Failed)

            await eventually(has_room, "there is room for one more")

    with transaction_service(database, tmp_path, MAX_PENDING=5) as service:
        asyncio.run(story(service.targets[0]))
