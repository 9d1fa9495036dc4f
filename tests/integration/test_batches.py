"""BatchTransfer: an outcome per item in order, one bad item never its neighbours' business; or all or none."""

import asyncio
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2
from specie.transaction.v1 import (
    BatchTransferRequest,
    BatchTransferResponse,
    BatchTransferResult,
    Fee,
    TransactionServiceStub,
    TransactionState,
    TransferMode,
    TransferRequest,
)

from tests.kit.calls import CALL_SECONDS, Failed, connected, failed, key, usd, wallet_name
from tests.kit.ledger import Ledger, Rows
from tests.kit.tokens import Authorised
from tests.kit.wallets import asynchronous
from transaction_service.rpc.batches import LABELS_MAX

POSTED, PENDING = TransactionState.TRANSACTION_STATE_POSTED, TransactionState.TRANSACTION_STATE_PENDING
ASYNC = TransferMode.TRANSFER_MODE_ASYNC
MANY = 5_000
MIB = 1024 * 1024


def item(source: str, destination: str, amount: int = 1, request_id: str = "", **more: Any) -> TransferRequest:  # noqa: ANN401
    currency = more.pop("currency", "USD")
    return TransferRequest(
        source=source, destination=destination, amount=usd(amount, currency), request_id=request_id or key(), **more
    )


def reason(result: BatchTransferResult) -> str:
    """POSTED, PENDING, or why not."""
    if result.WhichOneof("outcome") == "transaction":
        return TransactionState.Name(result.transaction.state).removeprefix("TRANSACTION_STATE_")
    return info(result.error).reason


def reasons(answer: BatchTransferResponse) -> list[str]:
    return [reason(result) for result in answer.results]


def info(status: status_pb2.Status) -> error_details_pb2.ErrorInfo:
    found = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(found)
    return found


def fields(status: status_pb2.Status) -> dict[str, str]:
    bad = error_details_pb2.BadRequest()
    assert status.details[1].Unpack(bad)
    return {violation.field: violation.reason for violation in bad.field_violations}


def added(before: Rows, after: Rows) -> Rows:
    return Rows(after.posted - before.posted, after.failed - before.failed, after.entries - before.entries)


@asynchronous
async def test_one_bad_item_is_nobody_else_s_business(target: str, ledger: Ledger) -> None:
    async with connected(target) as client:
        alice, bob, poor = await client.open(100), await client.open(), await client.open()
        nobody, reused = wallet_name(), key()
        await client.transfer(alice, bob, 1, reused)
        before = ledger.rows()
        items = {
            "POSTED": item(alice, bob, 10),
            "INSUFFICIENT_FUNDS": item(poor, bob, 1),
            "INVALID_FIELD": item("no name", bob, -1, request_id="x" * 129),
            "DESTINATION_NOT_FOUND": item(alice, nobody),
            "SAME_WALLET": item(alice, alice),
            "UNKNOWN_CURRENCY": item(alice, bob, currency="ZZZ"),
            "REQUEST_ID_REUSED": item(alice, bob, 2, reused),
        }
        answer = await client.batch([*items.values(), item(bob, alice, 3)])
        assert reasons(answer) == [*items, "POSTED"]
        assert added(before, ledger.rows()) == Rows(posted=2, failed=2, entries=4)
        assert (await client.balance(alice), await client.balance(bob)) == (92, 8)
        assert [result.transaction.request_id for result in answer.results if result.HasField("transaction")] == [
            items["POSTED"].request_id,
            answer.results[-1].transaction.request_id,
        ]
        assert fields(answer.results[2].error) == {
            "transfers[2].source": "string.pattern",
            "transfers[2].amount": "amount.positive",
            "transfers[2].request_id": "string.max_len",
        }


@asynchronous
async def test_an_item_is_answered_as_the_call_alone_is(target: str) -> None:
    async with connected(target) as client:
        alice, poor = await client.open(100), await client.open()
        good, bad = item(alice, poor, 10, description="d", labels={"a": "b"}), item(poor, wallet_name())
        answer = await client.batch([good, bad])
        single = await client.transactions.Transfer(good)
        assert single.replayed
        assert single.transaction == answer.results[0].transaction
        error = await failed(client.transactions.Transfer(bad))
        told = answer.results[1].error
        assert (told.message, info(told).reason) == (error.message, error.reason)
        assert dict(info(told).metadata) | {"replayed": "true"} == error.metadata
        again = await client.batch([bad, good])
        assert [result.replayed for result in again.results] == [True, True]
        assert again.results[1].transaction == single.transaction
        assert info(again.results[0].error).metadata["replayed"] == "true"


@asynchronous
async def test_a_batch_sees_its_own_effects_in_order(target: str) -> None:
    async with connected(target) as client:
        a, b, c = await client.open(5), await client.open(), await client.open()
        answer = await client.batch([item(b, c, 5), item(a, b, 5), item(b, c, 5), item(b, c, 1)])
        assert reasons(answer) == ["INSUFFICIENT_FUNDS", "POSTED", "POSTED", "INSUFFICIENT_FUNDS"]
        assert [await client.balance(name) for name in (a, b, c)] == [0, 0, 5]


@pytest.mark.parametrize("mode", [TransferMode.TRANSFER_MODE_SYNC, ASYNC])
@asynchronous
async def test_the_same_key_twice_is_answered_as_two_calls_would_be(
    target: str, ledger: Ledger, mode: TransferMode.ValueType
) -> None:
    async with connected(target) as client:
        alice, bob = await client.open(100), await client.open()
        before, once, poor = ledger.rows(), key(), key()
        same = item(alice, bob, 10, once, mode=mode)
        answer = await client.batch(
            [same, same, item(alice, bob, 11, once, mode=mode), item(bob, alice, 99, poor), item(bob, alice, 99, poor)]
        )
        done = "PENDING" if mode == ASYNC else "POSTED"
        short = "INSUFFICIENT_FUNDS"
        assert reasons(answer) == [done, done, "REQUEST_ID_REUSED", short, short]
        assert [result.replayed for result in answer.results] == [False, True, False, False, True]
        assert answer.results[0].transaction == answer.results[1].transaction
        if mode != ASYNC:  # those are posted when a dispatcher likes
            assert added(before, ledger.rows()) == Rows(posted=1, failed=1, entries=2)


@asynchronous
async def test_fees_and_conditions_hold_for_items_too(target: str) -> None:
    async with connected(target) as client:
        alice, bob = await client.open(100), await client.open()
        answer = await client.batch(
            [
                item(alice, bob, 10, fee=Fee(minor_units=2)),
                item(alice, bob, 10, expected_version=1),
                item(alice, bob, 10, minimum_balance_after=79),
                item(alice, bob, 10, fee=Fee(minor_units=11)),
            ]
        )
        assert reasons(answer) == ["POSTED", "VERSION_MISMATCH", "BALANCE_BELOW_MINIMUM", "INVALID_FIELD"]
        assert answer.results[0].transaction.fee == usd(2)
        assert fields(answer.results[3].error) == {"transfers[3].fee.minor_units": "fee.amount"}
        assert await client.balance(alice) == 88


@asynchronous
async def test_all_or_none_posts_all(target: str, ledger: Ledger) -> None:
    async with connected(target) as client:
        alice, bob = await client.open(10), await client.open()
        before = ledger.rows()
        items = [item(alice, bob, 1) for _ in range(10)]
        answer = await client.batch(items, atomic=True)
        assert reasons(answer) == ["POSTED"] * 10
        assert len({result.transaction.post_time.ToJsonString() for result in answer.results}) == 1
        assert added(before, ledger.rows()) == Rows(posted=10, failed=0, entries=20)
        again = await client.batch(items, atomic=True)
        assert [result.replayed for result in again.results] == [True] * 10
        assert await client.balance(bob) == 10


@asynchronous
async def test_all_or_none_posts_none_and_names_who_stopped_it(target: str, ledger: Ledger) -> None:
    async with connected(target) as client:
        alice, bob = await client.open(10), await client.open()
        before = ledger.rows()
        items = [item(alice, bob, 4) for _ in range(4)]
        stopped = await failed(client.batch(items, atomic=True))
        assert (stopped.code, stopped.reason) == ("FAILED_PRECONDITION", "INSUFFICIENT_FUNDS")
        assert stopped.metadata | {"transaction": ""} == {
            "wallet": alice,
            "available": "2",
            "amount": "4",
            "item": "2",
            "transaction": "",
            "replayed": "false",
        }
        assert added(before, ledger.rows()) == Rows(posted=0, failed=4, entries=0)
        assert (await client.balance(alice), await client.balance(bob)) == (10, 0)

        await client.deposit(alice, 100)
        again = await failed(client.batch(items, atomic=True))
        assert again.metadata == stopped.metadata | {"replayed": "true"}
        one_by_one = await client.batch(items)
        assert reasons(one_by_one) == ["BATCH_STOPPED", "BATCH_STOPPED", "INSUFFICIENT_FUNDS", "BATCH_STOPPED"]
        told = info(one_by_one.results[0].error).metadata
        assert (told["item"], told["reason"], told["stopped_by"]) == (
            "2",
            "INSUFFICIENT_FUNDS",
            stopped.metadata["transaction"],
        )
        assert await client.balance(bob) == 0


@asynchronous
async def test_all_or_none_with_the_same_key_twice(target: str, ledger: Ledger) -> None:
    async with connected(target) as client:
        alice, bob, once = await client.open(10), await client.open(), key()
        before = ledger.rows()
        reused = [item(alice, bob, 1, once), item(alice, bob, 2, once), item(alice, bob, 3)]
        refused = await failed(client.batch(reused, atomic=True))
        assert (refused.reason, refused.metadata["item"]) == ("REQUEST_ID_REUSED", "1")
        assert ledger.rows() == before
        same = item(alice, bob, 1, once)
        answer = await client.batch([same, same], atomic=True)
        assert [result.replayed for result in answer.results] == [False, True]
        assert await client.balance(bob) == 1


@asynchronous
async def test_what_the_request_alone_makes_impossible_stops_all_or_none_before_it_starts(
    target: str, ledger: Ledger
) -> None:
    async with connected(target) as client:
        alice, bob = await client.open(10), await client.open()
        good = item(alice, bob, 1)
        before = ledger.rows()
        bad: list[tuple[TransferRequest, str, dict[str, str]]] = [
            (item(alice, bob, 0), "INVALID_FIELD", {"transfers[1].amount": "amount.positive"}),
            (item(alice, bob, 1, mode=ASYNC), "INVALID_FIELD", {"transfers[1].mode": "mode.atomic"}),
            (
                item(alice, bob, 1, fee=Fee(minor_units=2)),
                "INVALID_FIELD",
                {"transfers[1].fee.minor_units": "fee.amount"},
            ),
            (item(alice, bob, 1, currency="ZZZ"), "UNKNOWN_CURRENCY", {}),
            (item(alice, alice, 1), "SAME_WALLET", {}),
        ]
        for wrong, why, where in bad:
            error = await failed(client.batch([good, wrong, good], atomic=True))
            assert (error.code, error.reason, error.fields) == ("INVALID_ARGUMENT", why, where)
            assert error.metadata["item"] == "1"
        assert ledger.rows() == before


@asynchronous
async def test_a_batch_has_from_1_to_5000_items(target: str, ledger: Ledger) -> None:
    async with connected(target) as client:
        before = ledger.rows()
        for count, rule in [(0, "repeated.min_items"), (MANY + 1, "repeated.max_items")]:
            error = await failed(client.batch([TransferRequest()] * count))
            assert error == Failed("INVALID_ARGUMENT", "INVALID_FIELD", "", {}, {"transfers": rule})
        assert ledger.rows() == before


@asynchronous
async def test_many_batches_at_once_over_the_same_wallets(target: str) -> None:
    async with connected(target) as client:
        wallets = [await client.open(1_000) for _ in range(5)]
        batches = [
            [item(wallets[(n + i) % 5], wallets[(n + 2 * i + 1) % 5], 1) for i in range(200) if i % 5 != 4]
            for n in range(10)
        ]
        answers = await asyncio.gather(*(client.batch(items) for items in batches))
        assert {reason(result) for answer in answers for result in answer.results} == {"POSTED"}
        again = await asyncio.gather(*(client.batch(items) for items in batches))
        assert all(result.replayed for answer in again for result in answer.results)
        assert sum([await client.balance(name) for name in wallets]) == 5_000


@asynchronous
async def test_who_names_an_account_that_is_held_waits_and_nobody_else(target: str, ledger: Ledger) -> None:
    async with connected(target) as client:
        alice, bob, carol = await client.open(10), await client.open(), await client.open(10)
        items = [item(carol, bob), item(alice, bob), item(carol, bob), item(bob, alice)]
        with ledger.locked(alice):
            answer = await client.batch(items)
            together = [item(carol, bob), item(alice, bob)]
            refused = await failed(client.batch(together, atomic=True))
        assert reasons(answer) == ["POSTED", "CONTENTION", "POSTED", "CONTENTION"]
        assert (refused.code, refused.reason, refused.metadata) == ("ABORTED", "CONTENTION", {})
        again = await client.batch(items)
        assert reasons(again) == ["POSTED"] * 4
        assert [result.replayed for result in again.results] == [True, False, True, False]
        assert reasons(await client.batch(together, atomic=True)) == ["POSTED"] * 2
        assert [await client.balance(name) for name in (alice, bob, carol)] == [9, 4, 7]


@asynchronous
async def test_a_batch_with_very_many_labels_is_posted_in_pieces_and_in_order_unless_it_is_all_or_none(
    target: str,
) -> None:
    labels = {f"k{number}": "" for number in range(64)}
    fit = LABELS_MAX // len(labels)
    async with connected(target) as client:
        alice, bob = await client.open(fit + 1), await client.open()
        items = [item(alice, bob, labels=labels) for _ in range(fit)]
        items += [item(bob, alice, fit, labels=labels), item(alice, bob, labels=labels), item(alice, bob, fit)]
        refused = await failed(client.batch(items, atomic=True))
        assert (refused.code, refused.fields) == ("INVALID_ARGUMENT", {"transfers": "transfers.labels"})
        assert await client.balance(bob) == 0
        answer = await client.batch(items)
        assert reasons(answer) == ["POSTED"] * len(items)
        assert len({result.transaction.post_time.ToJsonString() for result in answer.results}) == 2
        assert await client.balance(bob) == fit + 1


@asynchronous
async def test_the_longest_texts_fit(target: str) -> None:
    options = (("grpc.max_receive_message_length", 64 * MIB),)
    async with connected(target) as client, grpc.aio.insecure_channel(target, options=options) as patient:
        alice, bob = [await client.open(MANY, name=f"wallets/{key()}{'x' * 31}") for _ in range(2)]
        long, reference = "\U0001f4b0" * 500, "\U0001f4b0" * 128
        items = [
            item(alice, bob, 1, f"{n:04}" + "\U0001f4b0" * 124, description=long, external_reference=reference)
            for n in range(MANY)
        ]
        request = BatchTransferRequest(transfers=items)
        assert 14 * MIB < request.ByteSize() < 16 * MIB
        answer = await Authorised(TransactionServiceStub(patient)).BatchTransfer(request, timeout=2 * CALL_SECONDS)
        assert set(reasons(answer)) == {"POSTED"}
        assert await client.balance(bob) == 2 * MANY
