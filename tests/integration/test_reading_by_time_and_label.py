"""Through the real service: what a wallet had at a time, its statement between times, lists by label, holds."""

from datetime import timedelta
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from specie.transaction.v1 import (
    Entry,
    GetBalanceRequest,
    GetHoldRequest,
    Hold,
    HoldState,
    ListEntriesRequest,
    ListHoldsRequest,
    ListTransactionsRequest,
)
from specie.type.v1 import Balance

from tests.kit.calls import Client, connected, failed, key, usd
from tests.kit.wallets import asynchronous


def shifted(time: Timestamp, nanos: int) -> Timestamp:
    moved = Timestamp()
    moved.FromNanoseconds(time.ToNanoseconds() + nanos)
    return moved


async def balance_at(client: Client, wallet: str, time: Timestamp) -> Balance:
    answer = await client.transactions.GetBalance(GetBalanceRequest(wallet=wallet, read_time=time))
    balance: Balance = answer.balance
    return balance


async def entries(client: Client, wallet: str, **wanted: Any) -> list[Entry]:  # noqa: ANN401 - any field
    """All pages."""
    request, found = ListEntriesRequest(wallet=wallet, **wanted), []
    while True:
        page = await client.transactions.ListEntries(request)
        found += page.entries
        request.page_token = page.next_page_token
        if not request.page_token:
            return found


@asynchronous
async def test_a_balance_at_a_time_is_what_was_posted_then_and_stays_so(target: str) -> None:
    async with connected(target) as client:
        alice = await client.open()
        times = [(await client.deposit(alice, amount)).transaction.post_time for amount in (1, 2, 4)]
        expected = [(0, 0), (1, 1), (3, 2), (7, 3)]
        for _ in range(2):
            for number, time in enumerate(times):
                for nanos, version in ((-1, number), (0, number + 1), (999, number + 1)):
                    balance = await balance_at(client, alice, shifted(time, nanos))
                    assert (balance.posted.minor_units, balance.version) == expected[version]
                    assert balance.posted.currency_code == "USD"
                    assert not balance.HasField("held")
                    assert not balance.HasField("available")
            await client.place_hold(alice, await client.open(), 1)
            await client.withdraw(alice, 2)


@asynchronous
async def test_a_balance_of_the_future_is_refused(target: str) -> None:
    async with connected(target) as client:
        alice = await client.open(1)
        now = Timestamp()
        now.GetCurrentTime()
        for time in (shifted(now, 60 * 10**9), Timestamp(seconds=253402300799)):
            error = await failed(balance_at(client, alice, time))
            assert (error.code, error.reason, error.fields) == (
                "INVALID_ARGUMENT",
                "INVALID_FIELD",
                {"read_time": "read_time.past"},
            )
        error = await failed(balance_at(client, alice, Timestamp(seconds=2**40)))
        assert error.fields == {"read_time": "timestamp"}
        error = await failed(balance_at(client, f"wallets/{key()}", now))
        assert (error.code, error.reason) == ("NOT_FOUND", "WALLET_NOT_FOUND")


@asynchronous
async def test_a_statement_between_two_times(target: str) -> None:
    async with connected(target) as client:
        alice = await client.open()
        times = [(await client.deposit(alice, amount)).transaction.post_time for amount in range(1, 6)]
        for page_size in (1, 2, 50):
            found = await entries(client, alice, start_time=times[1], end_time=times[3], page_size=page_size)
            assert [e.sequence for e in found] == [2, 3]
        assert [e.sequence for e in await entries(client, alice, start_time=shifted(times[1], 1))] == [3, 4, 5]
        assert [e.sequence for e in await entries(client, alice, end_time=shifted(times[1], 1))] == [1, 2]
        assert await entries(client, alice, end_time=times[0]) == []
        assert len(await entries(client, alice, end_time=Timestamp(seconds=253402300799, nanos=999_999_999))) == 5


@asynchronous
async def test_a_token_is_of_one_time_range_and_one_label(target: str) -> None:
    async with connected(target) as client:
        alice = await client.open()
        made = [await client.deposit(alice, 1, labels={"team": "blue"}) for _ in range(3)]
        start = made[0].transaction.post_time
        request = ListEntriesRequest(wallet=alice, start_time=start, page_size=1)
        token = (await client.transactions.ListEntries(request)).next_page_token
        others = [
            client.transactions.ListEntries(ListEntriesRequest(wallet=alice, page_token=token)),
            client.transactions.ListEntries(ListEntriesRequest(wallet=alice, end_time=start, page_token=token)),
        ]
        listing = ListTransactionsRequest(wallet=alice, label="team=blue", page_size=1)
        listed = (await client.transactions.ListTransactions(listing)).next_page_token
        others += [
            client.transactions.ListTransactions(ListTransactionsRequest(wallet=alice, label=label, page_token=listed))
            for label in ("", "team=red", "team=")
        ]
        for other in others:
            assert (await failed(other)).reason == "INVALID_PAGE_TOKEN"


@pytest.mark.parametrize("method", ["ListEntries", "ListTransactions"])
def test_a_time_range_upside_down_is_refused(target: str, method: str) -> None:
    request = {"ListEntries": ListEntriesRequest, "ListTransactions": ListTransactionsRequest}[method]

    @asynchronous
    async def ask() -> None:
        async with connected(target) as client:
            alice = await client.open()
            time = Timestamp(seconds=1_700_000_000)
            for end in (time, shifted(time, -1)):
                error = await failed(
                    getattr(client.transactions, method)(request(wallet=alice, start_time=time, end_time=end))
                )
                assert (error.code, error.reason, error.fields) == (
                    "INVALID_ARGUMENT",
                    "INVALID_FIELD",
                    {"": "time_range"},
                )

    ask()


@asynchronous
async def test_transactions_are_found_by_label(target: str) -> None:
    async with connected(target) as client:
        alice, bob, value = await client.open(100), await client.open(), key()
        labels = {"order": value, "note": f"a={value}", "empty": ""}
        sent = (await client.transfer(alice, bob, 1, labels=labels)).transaction
        refused = await failed(client.transfer(alice, bob, 1000, labels={"order": value}))
        placed = (await client.place_hold(alice, bob, 5, labels={"order": value})).hold
        await client.transfer(alice, bob, 1, labels={"order": "another"})

        found = await client.listed(label=f"order={value}", page_size=1)
        assert [t.name for t in found] == [
            placed.name.replace("holds", "transactions"),
            refused.metadata["transaction"],
            sent.name,
        ]
        assert await client.listed(label=f"order={value}", wallet=bob) == found
        assert await client.listed(label=f"note=a={value}") == [sent]
        assert sent in await client.listed(label="empty=", wallet=alice)
        for label in ("order=", "order=" + value[1:], "note=a", "other=" + value):
            assert await client.listed(label=label, wallet=alice) == []


@pytest.mark.parametrize("label", ["team", "=blue", "Team=blue", "1team=blue", "team=" + "x" * 129, "t" * 64 + "=x"])
def test_a_label_that_none_can_have_is_refused(target: str, label: str) -> None:
    @asynchronous
    async def ask() -> None:
        async with connected(target) as client:
            error = await failed(client.transactions.ListTransactions(ListTransactionsRequest(label=label)))
            assert (error.reason, [*error.fields]) == ("INVALID_FIELD", ["label"])

    ask()


async def holds(client: Client, **wanted: Any) -> list[Hold]:  # noqa: ANN401 - any field
    """All pages."""
    request, found = ListHoldsRequest(**wanted), []
    while True:
        page = await client.transactions.ListHolds(request)
        found += page.holds
        request.page_token = page.next_page_token
        if not request.page_token:
            return found


@asynchronous
async def test_holds_are_read_by_wallet_and_state(target: str) -> None:
    async with connected(target) as client:
        alice, bob = await client.open(100), await client.open()
        placed = [(await client.place_hold(alice, bob, n, labels={"n": str(n)})).hold for n in (1, 2, 3)]
        captured = (await client.capture(placed[0].name)).hold
        released = (await client.release(placed[1].name)).hold
        newest = [placed[2], released, captured]
        for wallet in (alice, bob):
            for page_size in (1, 2, 0):
                assert await holds(client, wallet=wallet, page_size=page_size) == newest
        states = {HoldState.HOLD_STATE_OPEN: placed[2], HoldState.HOLD_STATE_CAPTURED: captured}
        for state, hold in states.items():
            assert await holds(client, wallet=alice, state=state) == [hold]
        assert await holds(client, wallet=alice, state=HoldState.HOLD_STATE_EXPIRED) == []
        assert (await client.transactions.GetHold(GetHoldRequest(name=released.name))).hold == released
        assert released.labels == {"n": "2"}
        assert (released.amount, released.captured, released.released) == (usd(2), usd(0), usd(2))
        lasts = released.expire_time.ToDatetime() - released.create_time.ToDatetime()
        assert lasts == timedelta(days=7)

        token = (await client.transactions.ListHolds(ListHoldsRequest(wallet=alice, page_size=1))).next_page_token
        other = ListHoldsRequest(wallet=alice, state=HoldState.HOLD_STATE_OPEN, page_token=token)
        assert (await failed(client.transactions.ListHolds(other))).reason == "INVALID_PAGE_TOKEN"
        missing = placed[0].name[:-12] + "0" * 12
        error = await failed(client.transactions.GetHold(GetHoldRequest(name=missing)))
        assert (error.code, error.reason, error.metadata) == ("NOT_FOUND", "HOLD_NOT_FOUND", {"hold": missing})
