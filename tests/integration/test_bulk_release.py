"""ReleaseHolds: all open holds that match, the oldest first, a thousand at a time."""

import asyncio
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp
from specie.transaction.v1 import GetBalanceRequest, ListHoldsRequest, ReleaseHoldsRequest, TransactionKind

from tests.kit.calls import CALL_SECONDS, Client, connected, failed, key
from tests.kit.crowd import at_once
from tests.kit.ledger import Ledger
from tests.kit.wallets import asynchronous

CALL_MAX = 1_000


async def release(client: Client, **filters: Any) -> Any:  # noqa: ANN401 - the response
    return await client.transactions.ReleaseHolds(ReleaseHoldsRequest(**filters), timeout=CALL_SECONDS)


async def held(client: Client, wallet: str) -> int:
    answer = await client.transactions.GetBalance(GetBalanceRequest(wallet=wallet))
    minor_units: int = answer.balance.held.minor_units
    return minor_units


async def placed(client: Client, source: str, destination: str, **more: Any) -> str:  # noqa: ANN401
    name: str = (await client.place_hold(source, destination, 1, **more)).hold.name
    return name


@asynchronous
async def test_all_filters_that_are_given_must_match(target: str) -> None:
    async with connected(target) as client:
        alice, bob, carol = await client.open(100), await client.open(100), await client.open()
        trip = key()
        first = await placed(client, alice, carol)
        second = await placed(client, alice, carol, external_reference=trip)
        third = await placed(client, alice, bob, external_reference=trip)
        fourth = await placed(client, bob, carol, external_reference=trip)

        answer = await release(client, source=alice, destination=carol, external_reference=trip)
        assert (list(answer.released), answer.more) == ([second], False)
        assert list((await release(client, source=alice, destination=carol)).released) == [first]
        assert list((await release(client, external_reference=trip)).released) == [third, fourth]
        assert list((await release(client, source=alice)).released) == []
        assert (await held(client, alice), await held(client, bob)) == (0, 0)


@asynchronous
async def test_only_what_was_placed_before_a_time_is_released(target: str) -> None:
    async with connected(target) as client:
        alice, bob = await client.open(100), await client.open()
        first = await placed(client, alice, bob)
        later = (await client.place_hold(alice, bob, 1)).hold
        answer = await release(client, source=alice, place_time_before=later.create_time)
        assert list(answer.released) == [first]
        behind = Timestamp()
        behind.CopyFrom(later.create_time)
        behind.nanos += 1  # between the times that the ledger has
        assert list((await release(client, source=alice, place_time_before=behind)).released) == [later.name]


@asynchronous
async def test_what_has_ended_is_left_out_and_what_was_captured_stays(target: str) -> None:
    async with connected(target) as client:
        alice, bob = await client.open(100), await client.open()
        gone = await placed(client, alice, bob)
        await client.release(gone)
        part = (await client.place_hold(alice, bob, 10)).hold.name
        await client.capture(part, 4)
        assert list((await release(client, source=alice, description="the fair is off")).released) == [part]
        assert (await client.balance(bob), await held(client, alice)) == (4, 0)
        newest = (await client.listed(wallet=alice))[0]
        assert newest.kind == TransactionKind.TRANSACTION_KIND_RELEASE
        assert (newest.description, newest.request_id) == ("the fair is off", f"release {part}")


@asynchronous
async def test_a_thousand_are_released_at_a_time(target: str) -> None:
    async with connected(target) as client:
        alice, bob = await client.open(CALL_MAX + 1), await client.open()
        await asyncio.gather(*[placed(client, alice, bob) for _ in range(CALL_MAX + 1)])
        first = await release(client, source=alice)
        assert (len(first.released), first.more) == (CALL_MAX, True)
        assert await held(client, alice) == 1
        second = await release(client, source=alice)
        assert (len(second.released), second.more) == (1, False)
        assert await held(client, alice) == 0


@asynchronous
async def test_of_several_callers_one_releases_each(target: str) -> None:
    async with connected(target) as client:
        alice, bob = await client.open(100), await client.open()
        names = [await placed(client, alice, bob) for _ in range(20)]
        # Different words, so that they are different requests for the same holds.
        answers: list[Any] = await at_once(8, lambda caller: release(client, source=alice, description=str(caller)))
        assert sorted(name for answer in answers for name in answer.released) == sorted(names)
        assert not any(answer.more for answer in answers)
        listed = await client.transactions.ListHolds(ListHoldsRequest(wallet=alice))
        assert {hold.released.minor_units for hold in listed.holds} == {1}


@asynchronous
async def test_what_others_hold_is_told_when_nothing_could_be_released(target: str, ledger: Ledger) -> None:
    async with connected(target) as client:
        alice, bob, carol = await client.open(100), await client.open(100), await client.open()
        trip = key()
        mine = await placed(client, alice, carol, external_reference=trip)
        other = await placed(client, bob, carol, external_reference=trip)
        with ledger.locked(alice):
            answer = await release(client, external_reference=trip)
            assert (list(answer.released), answer.more) == ([other], True)
            assert (await failed(release(client, external_reference=trip))).reason == "CONTENTION"
        assert list((await release(client, external_reference=trip)).released) == [mine]


@asynchronous
async def test_a_filter_is_required(target: str) -> None:
    async with connected(target) as client:
        answer = await failed(release(client, description="all of them"))
        assert (answer.code, answer.reason) == ("INVALID_ARGUMENT", "INVALID_FIELD")
        assert set(answer.fields.values()) == {"filter.required"}


@asynchronous
async def test_no_request_id_of_a_caller_is_in_the_way_of_a_release(target: str) -> None:
    async with connected(target) as client:
        alice, bob = await client.open(100), await client.open()
        hold = await placed(client, alice, bob)
        await client.transfer(alice, bob, 1, f"release {hold}")
        assert list((await release(client, source=alice)).released) == [hold]
        assert await held(client, alice) == 0
