"""ReportEntries through the real service: fixed when the stream begins, from wherever one left off."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

import grpc.aio
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from specie.transaction.v1 import (
    Entry,
    ListEntriesRequest,
    ReportClosing,
    ReportEntriesRequest,
    ReportEntriesResponse,
    ReportOpening,
    TransferRequest,
)

from tests.kit.calls import Client, Failed, connected, failed, key, usd
from tests.kit.postgres import Database, Server
from tests.kit.service import ServiceProcess, transaction_service, wait_until_async
from tests.kit.tampering import unguarded
from tests.kit.tokens import bearer, token
from tests.kit.wallets import asynchronous
from transaction_service.domain.identity import account_id
from transaction_service.reports import PAGE


@dataclass
class Report:
    """A whole one: it has an opening, entries and a closing, in this order, and adds up."""

    opening: ReportOpening
    entries: list[Entry]
    closing: ReportClosing

    @property
    def amounts(self) -> list[int]:
        return [entry.amount.minor_units for entry in self.entries]


def report_of(messages: list[Any], after: int = 0) -> Report:
    first, *middle, last = messages
    assert all(m.entries and not m.HasField("opening") and not m.HasField("closing") for m in middle)
    found = Report(first.opening, [entry for m in middle for entry in m.entries], last.closing)
    opening, closing = found.opening, found.closing
    begin = after or opening.sequence
    assert [entry.sequence for entry in found.entries] == [*range(begin + 1, closing.sequence + 1)]
    assert opening.entry_count == closing.entry_count == closing.sequence - opening.sequence
    if not after:
        assert opening.balance.minor_units + sum(found.amounts) == closing.balance.minor_units
    return found


async def report(client: Client, wallet: str, **wanted: Any) -> Report:  # noqa: ANN401 - any field
    stream = client.transactions.ReportEntries(ReportEntriesRequest(wallet=wallet, **wanted))
    return report_of([message async for message in stream], wanted.get("after_sequence", 0))


async def refusal(client: Client, wallet: str, **wanted: Any) -> Failed:  # noqa: ANN401 - any field
    return await failed(report(client, wallet, **wanted))


async def entries_of(client: Client, wallet: str) -> list[Entry]:
    answer = await client.transactions.ListEntries(ListEntriesRequest(wallet=wallet, page_size=1000))
    return list(answer.entries)


def payment(source: str, destination: str, **more: Any) -> TransferRequest:  # noqa: ANN401 - any field
    return TransferRequest(source=source, destination=destination, amount=usd(1), request_id=key(), **more)


def after(time: Timestamp, microseconds: int = 1) -> Timestamp:
    return Timestamp(seconds=time.seconds, nanos=time.nanos + 1000 * microseconds)


async def with_payments(client: Client, *amounts: int) -> tuple[str, list[Entry]]:
    """A wallet with 1000 and then these payments, each at a time of its own."""
    alice, bob = await client.open(1000), await client.open()
    for amount in amounts:
        await client.transfer(alice, bob, amount, description=f"number {amount}")
    return alice, await entries_of(client, alice)


@asynchronous
async def test_all_of_a_wallet_is_what_is_listed(target: str) -> None:
    async with connected(target) as client:
        alice, entries = await with_payments(client, 1, 2, 3)
        found = await report(client, alice)
        assert found.entries == entries
        assert (found.opening.balance.minor_units, found.closing.balance.minor_units) == (0, 994)
        assert {found.opening.balance.currency_code, found.closing.balance.currency_code} == {"USD"}


@asynchronous
async def test_a_range_has_its_start_and_not_its_end(target: str) -> None:
    async with connected(target) as client:
        alice, entries = await with_payments(client, 1, 2, 3)
        times = [entry.post_time for entry in entries]
        for start, end, amounts, opening in (
            (times[1], times[3], [-1, -2], 1000),
            (after(times[1]), after(times[3]), [-2, -3], 999),
            (times[1], after(times[1]), [-1], 1000),
            (None, times[0], [], 0),
            (after(times[1]), times[2], [], 999),
            (times[2], None, [-2, -3], 999),
        ):
            found = await report(client, alice, start_time=start, end_time=end)
            assert (found.amounts, found.opening.balance.minor_units) == (amounts, opening)
            assert end is None or found.opening.end_time == end


@asynchronous
async def test_a_wallet_without_entries(target: str) -> None:
    async with connected(target) as client:
        found = await report(client, await client.open())
        assert (found.entries, found.closing.balance.minor_units, found.closing.balance.currency_code) == ([], 0, "USD")


@asynchronous
async def test_what_is_posted_meanwhile_does_not_change_it_and_it_comes_again_as_it_was(target: str) -> None:
    async with connected(target) as client:
        alice, _ = await with_payments(client, 1)
        bob = await client.open()
        await client.batch([payment(alice, bob) for _ in range(2 * PAGE)])
        stream = client.transactions.ReportEntries(ReportEntriesRequest(wallet=alice))
        messages = [await stream.read()]
        await client.deposit(alice, 500)
        while (message := await stream.read()) is not grpc.aio.EOF:
            messages.append(message)
        found = report_of(messages)
        assert len(found.entries) == 2 + 2 * PAGE
        assert all(len(message.entries) <= PAGE for message in messages)
        assert await report(client, alice, end_time=found.opening.end_time) == found
        assert (await report(client, alice)).amounts == [*found.amounts, 500]


@asynchronous
async def test_every_entry_is_a_place_to_go_on_from(target: str) -> None:
    async with connected(target) as client:
        alice, entries = await with_payments(client, 1, 2, 3)
        start, end = entries[1].post_time, after(entries[3].post_time)
        whole = await report(client, alice, start_time=start, end_time=end)
        for entry in whole.entries:
            rest = await report(client, alice, start_time=start, end_time=end, after_sequence=entry.sequence)
            assert (rest.opening, rest.closing) == (whole.opening, whole.closing)
            assert rest.entries == [each for each in whole.entries if each.sequence > entry.sequence]
        beyond = await refusal(client, alice, start_time=start, end_time=end, after_sequence=5)
        assert (beyond.reason, beyond.fields) == ("INVALID_FIELD", {"after_sequence": "after_sequence.of_report"})
        before = await refusal(client, alice, start_time=after(entries[1].post_time), after_sequence=1)
        assert before.fields == {"after_sequence": "after_sequence.of_report"}


@asynchronous
async def test_ranges_that_cannot_be(target: str) -> None:
    future, past = Timestamp(seconds=4_000_000_000), Timestamp(seconds=1_000_000_000)
    async with connected(target) as client:
        alice = await client.open(1)
        for wanted, field, rule in (
            ({"start_time": future, "end_time": past}, "", "time_range"),
            ({"start_time": past, "end_time": past}, "", "time_range"),
            ({"end_time": future}, "end_time", "end_time.past"),
            ({"start_time": future}, "start_time", "start_time.past"),
            ({"start_time": Timestamp(seconds=10**12)}, "start_time", "timestamp"),
            ({"after_sequence": -1}, "after_sequence", "int64.gte"),
        ):
            error = await refusal(client, alice, **wanted)
            assert (error.code, error.fields) == ("INVALID_ARGUMENT", {field: rule}), wanted
        unknown = await refusal(client, "wallets/nobody-has-this-name")
        assert (unknown.code, unknown.reason) == ("NOT_FOUND", "WALLET_NOT_FOUND")


@asynchronous
async def test_an_owner_has_reports_of_his_own_wallets_only(target: str) -> None:
    async with connected(target) as house:
        alice = await house.open(7, owner="ann")
        async with connected(target, bearer(token("ann", "wallets.read"))) as ann:
            assert (await report(ann, alice)).amounts == [7]
        async with connected(target, bearer(token("ben", "wallets.read"))) as ben:
            assert (await refusal(ben, alice)).reason == "WALLET_NOT_FOUND"


@dataclass
class Long:
    """A service that gives one report at a time, and a wallet with more entries than gRPC keeps unread."""

    service: ServiceProcess
    database: Database
    wallet: str


LENGTH = 4001


@pytest.fixture(scope="module")
def long(postgres_server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Long]:
    folder = tmp_path_factory.mktemp("reports")
    with (
        postgres_server.fresh_database() as database,
        transaction_service(database, folder, REPORTS_MAX=1) as service,
    ):

        async def made() -> str:
            async with connected(service.targets[0]) as client:
                alice, bob = await client.open(100_000), await client.open()
                for _ in range(4):
                    await client.batch([payment(alice, bob, description="x" * 500) for _ in range(1000)])
                return alice

        yield Long(service, database, asyncio.run(made()))


@asynchronous
async def test_so_many_reports_and_no_more_and_one_that_is_left_makes_room(long: Long) -> None:
    async with connected(long.service.targets[0]) as client:
        first = client.transactions.ReportEntries(ReportEntriesRequest(wallet=long.wallet))
        assert (await first.read()).opening.entry_count == LENGTH
        error = await refusal(client, long.wallet)
        assert (error.code, error.reason) == ("RESOURCE_EXHAUSTED", "OVERLOADED")
        assert error.retry_seconds
        first.cancel()
        await wait_until_async(lambda: long.service.metrics()["specie_reports"] == 0, "the first is gone")
        assert len((await report(client, long.wallet)).entries) == LENGTH


@asynchronous
async def test_after_a_stop_it_goes_on_at_the_successor(long: Long) -> None:
    async with connected(long.service.targets[0]) as client:
        stream = client.transactions.ReportEntries(ReportEntriesRequest(wallet=long.wallet))
        messages = aiter(stream)
        opening, entries = (await anext(messages)).opening, [*(await anext(messages)).entries]
        long.service.terminate()
        assert (await failed(_rest(messages, entries))).reason == "UNAVAILABLE"
        assert await asyncio.to_thread(long.service.wait) == 0
        await asyncio.to_thread(long.service.start)
        last = entries[-1].sequence
        rest = await report(client, long.wallet, end_time=opening.end_time, after_sequence=last)
        assert rest.opening == opening
        assert [entry.sequence for entry in (*entries, *rest.entries)] == [*range(1, LENGTH + 1)]


async def _rest(messages: AsyncIterator[ReportEntriesResponse], entries: list[Entry]) -> None:
    async for message in messages:
        entries += message.entries


@asynchronous
async def test_a_missing_entry_ends_it_with_an_error(long: Long) -> None:
    async with connected(long.service.targets[0]) as client:
        alice, _ = await with_payments(client, 1, 2, 3)
        with unguarded(long.database.owner_dsn) as owner:
            owner.execute("DELETE FROM entry WHERE account_id = %s AND seq = 2", (account_id(alice),))
        assert (await refusal(client, alice)).reason == "INTERNAL"
