"""Transfers on condition: only at a version of the source, only if enough is left."""

from collections import Counter
from typing import Any

import pytest
from specie.transaction.v1 import Fee, TransferRequest
from specie.type.v1 import Limits

from tests.kit.calls import connected, failed, key, usd
from tests.kit.crowd import at_once, reason
from tests.kit.ledger import Ledger
from tests.kit.wallets import asynchronous

INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1


@asynchronous
async def test_a_transfer_at_the_expected_version_posts(target: str) -> None:
    async with connected(target) as client:
        alice, bob = await client.open(10), await client.open()
        await client.transfer(alice, bob, 1, expected_version=1)
        request_id = key()
        refused = await failed(client.transfer(alice, bob, 1, request_id, expected_version=1))
        assert (refused.code, refused.reason) == ("FAILED_PRECONDITION", "VERSION_MISMATCH")
        told = {"wallet": alice, "version": "2", "expected_version": "1"}
        assert refused.metadata.items() >= told.items()
        again = await failed(client.transfer(alice, bob, 1, request_id, expected_version=1))
        assert again.metadata == refused.metadata | {"replayed": "true"}
        other = await failed(client.transfer(alice, bob, 1, request_id, expected_version=2))
        assert other.reason == "REQUEST_ID_REUSED"
        await client.transfer(alice, bob, 1, expected_version=2)
        assert await client.balance(alice) == 8


@asynchronous
async def test_a_wallet_that_never_had_anything_is_at_version_0(target: str) -> None:
    async with connected(target) as client:
        alice, bob = await client.open(limits=Limits(credit_minor_units=5)), await client.open()
        await client.transfer(alice, bob, 1, expected_version=0)
        assert (await failed(client.transfer(alice, bob, 1, expected_version=0))).reason == "VERSION_MISMATCH"


@asynchronous
async def test_of_many_who_saw_the_same_version_one_posts(target: str) -> None:
    async with connected(target) as client:
        alice, bob = await client.open(1_000), await client.open()
        for version in range(1, 6):

            def spend(_: int, version: int = version) -> Any:  # noqa: ANN401 - the call
                return client.transfer(alice, bob, 10, expected_version=version)

            answers = await at_once(16, spend)
            assert Counter(map(reason, answers)) == {"POSTED": 1, "VERSION_MISMATCH": 15}
        assert await client.balance(alice) == 950


@pytest.mark.parametrize(("amount", "minimum", "left"), [(70, 30, 30), (71, 30, 100), (100, 0, 0), (1, 100, 100)])
@asynchronous
async def test_a_transfer_that_leaves_less_than_the_minimum_fails(
    target: str, amount: int, minimum: int, left: int
) -> None:
    async with connected(target) as client:
        alice, bob = await client.open(100), await client.open()
        call = client.transfer(alice, bob, amount, minimum_balance_after=minimum)
        if left == 100:
            refused = await failed(call)
            assert (refused.code, refused.reason) == ("FAILED_PRECONDITION", "BALANCE_BELOW_MINIMUM")
            told = {"wallet": alice, "available": str(100 - amount), "minimum": str(minimum)}
            assert refused.metadata.items() >= told.items()
        else:
            await call
        assert await client.balance(alice) == left


@asynchronous
async def test_the_minimum_is_of_what_is_available_with_the_fee_paid(target: str) -> None:
    async with connected(target) as client:
        alice, bob = await client.open(100), await client.open()
        await client.place_hold(alice, bob, 20)
        fee = Fee(minor_units=1)
        refused = await failed(client.transfer(alice, bob, 50, minimum_balance_after=30, fee=fee))
        assert (refused.reason, refused.metadata["available"]) == ("BALANCE_BELOW_MINIMUM", "29")
        await client.transfer(alice, bob, 49, minimum_balance_after=30, fee=fee)
        assert await client.balance(alice) == 50


@asynchronous
async def test_a_minimum_below_0_never_lowers_the_floor(target: str) -> None:
    async with connected(target) as client:
        alice, bob = await client.open(limits=Limits(credit_minor_units=50)), await client.open()
        assert (await failed(client.transfer(alice, bob, 51, minimum_balance_after=INT64_MIN))).reason == (
            "INSUFFICIENT_FUNDS"
        )
        assert (await failed(client.transfer(alice, bob, 41, minimum_balance_after=-40))).reason == (
            "BALANCE_BELOW_MINIMUM"
        )
        await client.transfer(alice, bob, 40, minimum_balance_after=-40)
        assert (await failed(client.transfer(alice, bob, 1, minimum_balance_after=INT64_MAX))).reason == (
            "BALANCE_BELOW_MINIMUM"
        )


@asynchronous
async def test_a_version_below_0_is_refused_and_not_stored(target: str, ledger: Ledger) -> None:
    async with connected(target) as client:
        before = ledger.rows()
        request = TransferRequest(
            source="wallets/a", destination="wallets/b", amount=usd(1), request_id=key(), expected_version=-1
        )
        refused = await failed(client.transactions.Transfer(request))
        assert (refused.code, refused.fields) == ("INVALID_ARGUMENT", {"expected_version": "int64.gte"})
        assert ledger.rows() == before
