"""What was posted and what was not: statements, lists, balances, page by page."""

from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp
from specie.transaction.v1 import (
    EntryOrder,
    GetBalanceRequest,
    ListEntriesRequest,
    ListTransactionsRequest,
    TransactionKind,
    TransactionState,
)

from tests.kit.calls import Client, connected, failed, key, usd
from tests.kit.wallets import asynchronous

OLDEST, NEWEST = EntryOrder.ENTRY_ORDER_OLDEST_FIRST, EntryOrder.ENTRY_ORDER_NEWEST_FIRST
POSTED, FAILED = TransactionState.TRANSACTION_STATE_POSTED, TransactionState.TRANSACTION_STATE_FAILED


async def pages(client: Client, request: Any) -> list[list[Any]]:  # noqa: ANN401 - a request that lists
    """All pages, with the request's own size."""
    method = type(request).__name__.removesuffix("Request")
    found = []
    while True:
        answer = await getattr(client.transactions, method)(request)
        found.append(list(answer.entries if method == "ListEntries" else answer.transactions))
        if not answer.next_page_token:
            return found
        request.page_token = answer.next_page_token


async def transactions(client: Client, **filters: Any) -> list[Any]:  # noqa: ANN401 - any field
    found = await pages(client, ListTransactionsRequest(**filters))
    return [transaction for page in found for transaction in page]


@asynchronous
async def test_a_statement_tells_every_movement_with_its_running_balance(target: str) -> None:
    async with connected(target) as client:
        alice, bob = await client.open(), await client.open()
        await client.deposit(alice, 100, description="salary")
        sent = await client.transfer(alice, bob, 30)
        await failed(client.transfer(alice, bob, 71))
        await client.withdraw(alice, 70)
        (entries,) = await pages(client, ListEntriesRequest(wallet=alice))
        told = [(e.wallet, e.sequence, e.counterparty, e.amount.minor_units, e.balance) for e in entries]
        assert told == [
            (alice, 1, "system/cash-usd", 100, usd(100)),
            (alice, 2, bob, -30, usd(70)),
            (alice, 3, "system/cash-usd", -70, usd(0)),
        ]
        assert [e.kind for e in entries] == [
            TransactionKind.TRANSACTION_KIND_DEPOSIT,
            TransactionKind.TRANSACTION_KIND_TRANSFER,
            TransactionKind.TRANSACTION_KIND_WITHDRAWAL,
        ]
        assert (entries[0].description, entries[1].transaction) == ("salary", sent.transaction.name)
        times = [e.post_time.ToDatetime() for e in entries]
        assert times == sorted(times)
        balance = (await client.transactions.GetBalance(GetBalanceRequest(wallet=alice))).balance
        assert (balance.posted, balance.held, balance.available, balance.version) == (usd(0), usd(0), usd(0), 3)


@asynchronous
async def test_the_pages_of_a_statement_are_the_statement_in_both_orders(target: str) -> None:
    async with connected(target) as client:
        alice = await client.open()
        for amount in range(1, 8):
            await client.deposit(alice, amount)
        for order, expected in ((OLDEST, range(1, 8)), (NEWEST, range(7, 0, -1))):
            (whole,) = await pages(client, ListEntriesRequest(wallet=alice, order=order))
            assert [e.sequence for e in whole] == list(expected)
            for size, sizes in ((3, [3, 3, 1]), (7, [7]), (1, [1] * 7), (2_000_000, [7])):
                found = await pages(client, ListEntriesRequest(wallet=alice, order=order, page_size=size))
                assert [len(page) for page in found] == sizes
                assert [e for page in found for e in page] == whole


@asynchronous
async def test_what_comes_while_one_reads_on_is_neither_lost_nor_told_twice(target: str) -> None:
    async with connected(target) as client:
        alice = await client.open()
        for amount in range(1, 5):
            await client.deposit(alice, amount)
        newest = ListEntriesRequest(wallet=alice, order=NEWEST, page_size=2)
        first = await client.transactions.ListEntries(newest)
        await client.deposit(alice, 5)
        newest.page_token = first.next_page_token
        second = await client.transactions.ListEntries(newest)
        assert [e.sequence for e in [*first.entries, *second.entries]] == [4, 3, 2, 1]


@asynchronous
async def test_the_transactions_of_a_wallet_are_the_posted_and_the_failed_ones_newest_first(target: str) -> None:
    async with connected(target) as client:
        alice, bob = await client.open(), await client.open()
        made = []
        for step in range(4):
            made.append((await client.deposit(alice, 10)).transaction.name)
            made.append((await client.transfer(alice, bob, 1)).transaction.name)
            made.append((await failed(client.transfer(alice, bob, 1_000))).metadata["transaction"])
            if step % 2:
                made.append((await failed(client.transfer(bob, alice, 1_000))).metadata["transaction"])
        whole = await transactions(client, wallet=alice)
        assert [t.name for t in whole] == made[::-1]
        for size in (1, 2, 3, 5, 14):
            found = await pages(client, ListTransactionsRequest(wallet=alice, page_size=size))
            assert {len(page) for page in found[:-1]} <= {size}
            assert [t for page in found for t in page] == whole

        assert {t.state for t in await transactions(client, wallet=alice, state=POSTED)} == {POSTED}
        refused = await transactions(client, wallet=alice, state=FAILED, page_size=2)
        assert [t.name for t in refused] == [t.name for t in whole if t.state == FAILED]
        assert {t.error.message.startswith((alice, bob)) for t in refused} == {True}
        deposits = TransactionKind.TRANSACTION_KIND_DEPOSIT
        assert [t.kind for t in await transactions(client, wallet=alice, kind=deposits, page_size=1)] == [deposits] * 4


@asynchronous
async def test_attempts_to_pay_a_wallet_that_does_not_exist_are_listed(target: str) -> None:
    async with connected(target) as client:
        alice, nobody = await client.open(5), f"wallets/{key()}"
        answer = await failed(client.transfer(alice, nobody, 1))
        (found,) = await transactions(client, wallet=nobody)
        assert found.name == answer.metadata["transaction"]


@asynchronous
async def test_transactions_are_found_by_reference_and_by_time(target: str) -> None:
    async with connected(target) as client:
        alice, reference = await client.open(), f"bank {key()}"
        made = [await client.deposit(alice, amount, external_reference=reference) for amount in (1, 2, 3)]
        names = [answer.transaction.name for answer in made][::-1]
        assert [t.name for t in await transactions(client, external_reference=reference, page_size=2)] == names
        assert [t.name for t in await transactions(client, external_reference=reference, wallet=alice)] == names
        assert not await transactions(client, external_reference=reference + "x")

        times: list[Timestamp] = [answer.transaction.create_time for answer in made]
        between = await transactions(client, wallet=alice, start_time=times[1], end_time=times[2], page_size=1)
        assert [t.amount.minor_units for t in between] == [2]
        since = await transactions(client, external_reference=reference, start_time=times[1])
        assert [t.amount.minor_units for t in since] == [3, 2]
        first = ListTransactionsRequest(start_time=times[0], page_size=1)
        assert len((await client.transactions.ListTransactions(first)).transactions) == 1


@asynchronous
async def test_a_token_of_another_query_is_refused(target: str) -> None:
    async with connected(target) as client:
        alice, bob = await client.open(), await client.open()
        for amount in (1, 2):
            await client.deposit(alice, amount)
            await client.deposit(bob, amount)
        entries = ListEntriesRequest(wallet=alice, page_size=1)
        lines = (await client.transactions.ListEntries(entries)).next_page_token
        listing = ListTransactionsRequest(wallet=alice, page_size=1)
        listed = (await client.transactions.ListTransactions(listing)).next_page_token
        others = [
            client.transactions.ListEntries(ListEntriesRequest(wallet=bob, page_token=lines)),
            client.transactions.ListEntries(ListEntriesRequest(wallet=alice, order=NEWEST, page_token=lines)),
            client.transactions.ListEntries(ListEntriesRequest(wallet=alice, page_token=listed)),
            client.transactions.ListTransactions(ListTransactionsRequest(wallet=alice, page_token=lines)),
            client.transactions.ListTransactions(ListTransactionsRequest(page_token=listed)),
            client.transactions.ListTransactions(ListTransactionsRequest(wallet=bob, page_token=listed)),
            client.transactions.ListTransactions(
                ListTransactionsRequest(wallet=alice, state=POSTED, page_token=listed)
            ),
            client.transactions.ListEntries(ListEntriesRequest(wallet=alice, page_token=lines[:-1])),
        ]
        for other in others:
            answer = await failed(other)
            assert (answer.code, answer.reason) == ("INVALID_ARGUMENT", "INVALID_PAGE_TOKEN")
        # The size is no filter (AIP-158).
        for size in (1, 2, 1000):
            again = ListEntriesRequest(wallet=alice, page_token=lines, page_size=size)
            assert (await client.transactions.ListEntries(again)).entries


@asynchronous
async def test_a_page_of_large_transactions_is_cut_to_what_clients_take(target: str) -> None:
    labels = {f"label{n}": "\N{WAVING HAND SIGN}" * 128 for n in range(64)}  # 33 kB, and 100 of them in a page
    async with connected(target) as client:
        alice = await client.open()
        for _ in range(70):
            await client.deposit(alice, 1, labels=labels)
        found = await pages(client, ListTransactionsRequest(wallet=alice, page_size=1000))
    assert sum(map(len, found)) == 70
    assert len(found) > 1
