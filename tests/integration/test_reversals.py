"""ReverseTransaction: what was moved goes back, whole or in parts that are never more than the original."""

from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from specie.transaction.v1 import (
    AccountState,
    Fee,
    FeeMode,
    GetTransactionRequest,
    TransactionKind,
    TransferMode,
)
from specie.type.v1 import Limits

from tests.kit.auditor import audit
from tests.kit.calls import Client, connected, failed, key, posting, usd
from tests.kit.crowd import at_once, both, reason
from tests.kit.ledger import Ledger, Rows
from tests.kit.postgres import Database
from tests.kit.service import ServiceProcess, transaction_service
from tests.kit.wallets import asynchronous

FROZEN, CLOSED = AccountState.ACCOUNT_STATE_FROZEN, AccountState.ACCOUNT_STATE_CLOSED
ASYNC = TransferMode.TRANSFER_MODE_ASYNC
IN_2100 = Timestamp(seconds=4_102_444_800)


def added(before: Rows, after: Rows) -> Rows:
    return Rows(after.posted - before.posted, after.failed - before.failed, after.entries - before.entries)


async def balances(client: Client, *wallets: str) -> list[int]:
    return [await client.balance(name) for name in wallets]


@asynchronous
async def test_all_of_a_transfer_goes_back(target: str, ledger: Ledger) -> None:
    async with connected(target) as client:
        alice, bob = await client.open(100), await client.open()
        original = (await client.transfer(alice, bob, 60)).transaction
        before, request_id = ledger.rows(), key()
        answer = await client.reverse(original.name, request_id, description="mistake", labels={"case": "7"})
        told = answer.transaction
        assert told.kind == TransactionKind.TRANSACTION_KIND_REVERSAL
        assert (told.source, told.destination, told.amount, told.reverses) == (bob, alice, usd(60), original.name)
        assert (told.description, dict(told.labels), list(told.postings)) == ("mistake", {"case": "7"}, [])
        assert await balances(client, alice, bob) == [100, 0]
        assert added(before, ledger.rows()) == Rows(posted=1, failed=0, entries=2)
        read = await client.transactions.GetTransaction(GetTransactionRequest(name=told.name))
        assert read.transaction == told

        again = await client.reverse(original.name, request_id, description="mistake", labels={"case": "7"})
        assert (again.replayed, again.transaction) == (True, told)
        part = await failed(client.reverse(original.name, request_id, amount=usd(60), description="mistake"))
        assert part.reason == "REQUEST_ID_REUSED"
        more = await failed(client.reverse(original.name))
        assert (more.reason, more.metadata["reverses"]) == ("ALREADY_REVERSED", original.name)
        unchanged = await client.transactions.GetTransaction(GetTransactionRequest(name=original.name))
        assert unchanged.transaction == original


@asynchronous
async def test_parts_go_back_until_nothing_is_left(target: str) -> None:
    async with connected(target) as client:
        alice, bob = await client.open(100), await client.open()
        original = (await client.transfer(alice, bob, 60)).transaction.name
        assert (await client.reverse(original, amount=usd(25))).transaction.amount == usd(25)
        above = await failed(client.reverse(original, amount=usd(36)))
        assert (above.reason, above.metadata["remaining"], above.metadata["amount"]) == (
            "REVERSAL_ABOVE_ORIGINAL",
            "35",
            "36",
        )
        await client.reverse(original, amount=usd(30))
        # Without an amount: what is left.
        assert (await client.reverse(original)).transaction.amount == usd(5)
        assert await balances(client, alice, bob) == [100, 0]
        assert (await failed(client.reverse(original, amount=usd(1)))).reason == "ALREADY_REVERSED"


@pytest.mark.parametrize(
    ("mode", "part", "left"),
    [
        (FeeMode.FEE_MODE_ON_TOP, 0, [100, 0, 0]),
        (FeeMode.FEE_MODE_INCLUDED, 0, [100, 0, 0]),
        (FeeMode.FEE_MODE_ON_TOP, 20, [67, 30, 3]),
        (FeeMode.FEE_MODE_INCLUDED, 20, [70, 27, 3]),
        # What the payee got, all of it, as a part.
        (FeeMode.FEE_MODE_ON_TOP, 50, [97, 0, 3]),
        (FeeMode.FEE_MODE_INCLUDED, 47, [97, 0, 3]),
    ],
)
@asynchronous
async def test_the_fee_goes_back_with_the_whole(
    target: str, mode: FeeMode.ValueType, part: int, left: list[int]
) -> None:
    async with connected(target) as client:
        alice, bob, house = await client.open(100), await client.open(), await client.open()
        fee = Fee(minor_units=3, destination=house, mode=mode)
        original = (await client.transfer(alice, bob, 50, fee=fee)).transaction.name
        answer = await client.reverse(original, amount=usd(part) if part else None)
        assert await balances(client, alice, bob, house) == left
        assert len(answer.transaction.postings) == (0 if part else 3)


@asynchronous
async def test_the_fee_goes_back_with_all_that_is_left(target: str) -> None:
    async with connected(target) as client:
        alice, bob, house = await client.open(100), await client.open(), await client.open()
        fee = Fee(minor_units=3, destination=house)
        original = (await client.transfer(alice, bob, 50, fee=fee)).transaction.name
        await client.reverse(original, amount=usd(20))
        rest = await client.reverse(original)
        assert await balances(client, alice, bob, house) == [100, 0, 0]
        assert [p.amount.minor_units for p in rest.transaction.postings] == [-30, -3, 33]


@asynchronous
async def test_deposits_withdrawals_and_captures_go_back(target: str) -> None:
    async with connected(target) as client:
        alice, bob = await client.open(50), await client.open()
        came = (await client.deposit(alice, 100)).transaction
        back = (await client.reverse(came.name, amount=usd(40))).transaction
        assert (back.source, back.destination) == (alice, "system/cash-usd")
        went = (await client.withdraw(alice, 60)).transaction
        await client.reverse(went.name)
        assert await client.balance(alice) == 110
        hold = (await client.place_hold(alice, bob, 30)).hold.name
        captured = (await client.capture(hold, 20)).transaction
        await client.reverse(captured.name)
        assert await balances(client, alice, bob) == [110, 0]


@asynchronous
async def test_a_compound_transaction_goes_back_only_as_a_whole(target: str) -> None:
    async with connected(target) as client:
        alice, bob = await client.open(100), await client.open()
        euros, house = await client.open(currency="EUR"), await client.open(100, "EUR")
        asked = [posting(alice, -50), posting(bob, 50), posting(house, -40, "EUR"), posting(euros, 40, "EUR")]
        original = (await client.post(asked)).transaction.name
        part = await failed(client.reverse(original, amount=usd(10)))
        assert (part.code, part.reason) == ("FAILED_PRECONDITION", "NOT_DIVISIBLE")
        request_id = key()
        told = (await client.reverse(original, request_id)).transaction
        assert (told.source, told.destination, told.HasField("amount")) == ("", "", False)
        assert {p.account: p.amount.minor_units for p in told.postings} == {alice: 50, bob: -50, house: 40, euros: -40}
        assert await balances(client, alice, bob, house, euros) == [100, 0, 100, 0]
        assert (await failed(client.reverse(original))).reason == "ALREADY_REVERSED"
        again = await client.reverse(original, request_id)
        assert (again.replayed, again.transaction) == (True, told)
        assert (await failed(client.reverse(told.name))).reason == "NOT_REVERSIBLE"


Original = Callable[[Client], Awaitable[str]]
"""The name of what cannot be reversed."""


async def _a_reversal(client: Client) -> str:
    transfer = await client.transfer(await client.open(10), await client.open(), 10)
    name: str = (await client.reverse(transfer.transaction.name)).transaction.name
    return name


async def _a_failed_transfer(client: Client) -> str:
    return (await failed(client.transfer(await client.open(), await client.open(), 10))).metadata["transaction"]


async def _a_pending_transfer(client: Client) -> str:
    alice, bob = await client.open(10), await client.open()
    name: str = (await client.transfer(alice, bob, 10, mode=ASYNC, execute_time=IN_2100)).transaction.name
    return name


async def _a_hold(client: Client) -> str:
    hold: str = (await client.place_hold(await client.open(10), await client.open(), 10)).hold.name
    return hold.replace("holds/", "transactions/")


async def _what_was_spent(client: Client) -> str:
    bob = await client.open()
    original = await client.transfer(await client.open(10), bob, 10)
    await client.withdraw(bob, 1)
    name: str = original.transaction.name
    return name


async def _what_a_frozen_wallet_got(client: Client) -> str:
    bob = await client.open()
    original = await client.transfer(await client.open(10), bob, 10)
    await client.set_state(bob, FROZEN)
    name: str = original.transaction.name
    return name


async def _what_a_closed_wallet_paid(client: Client) -> str:
    alice = await client.open(10)
    original = await client.transfer(alice, await client.open(), 10)
    await client.set_state(alice, CLOSED)
    name: str = original.transaction.name
    return name


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (_a_reversal, "NOT_REVERSIBLE"),
        (_a_hold, "NOT_REVERSIBLE"),
        (_a_failed_transfer, "TRANSACTION_NOT_POSTED"),
        (_a_pending_transfer, "TRANSACTION_NOT_POSTED"),
        (_what_was_spent, "INSUFFICIENT_FUNDS"),
        (_what_a_frozen_wallet_got, "SOURCE_FROZEN"),
        (_what_a_closed_wallet_paid, "DESTINATION_CLOSED"),
    ],
)
@asynchronous
async def test_what_cannot_go_back_is_stored_as_a_failure(
    target: str, ledger: Ledger, make: Original, why: str
) -> None:
    async with connected(target) as client:
        original, request_id = await make(client), key()
        before = ledger.rows()
        refused = await failed(client.reverse(original, request_id))
        assert (refused.code, refused.reason) == ("FAILED_PRECONDITION", why)
        assert added(before, ledger.rows()) == Rows(posted=0, failed=1, entries=0)
        again = await failed(client.reverse(original, request_id))
        assert (again.reason, again.metadata) == (why, refused.metadata | {"replayed": "true"})


@asynchronous
async def test_what_was_pending_stays_refused_and_is_reversed_under_another_key(target: str) -> None:
    async with connected(target) as client:
        alice, bob, request_id = await client.open(10), await client.open(), key()
        answer = await client.transfer(alice, bob, 5, mode=ASYNC, execute_time=IN_2100, fee=Fee(minor_units=1))
        pending = answer.transaction.name
        refused = await failed(client.reverse(pending, request_id))
        assert (refused.reason, refused.metadata["state"]) == ("TRANSACTION_NOT_POSTED", "PENDING")
        await client.cancel(pending)
        assert (await failed(client.reverse(pending, request_id))).metadata == refused.metadata | {"replayed": "true"}
        assert (await failed(client.reverse(pending))).metadata["state"] == "FAILED"


@asynchronous
async def test_limits_do_not_bind_what_is_given_back(target: str) -> None:
    async with connected(target) as client:
        alice, bob = await client.open(100), await client.open(limits=Limits(max_minor_units_per_transaction=1))
        await client.reverse((await client.transfer(alice, bob, 100)).transaction.name)
        assert await balances(client, alice, bob) == [100, 0]


@asynchronous
async def test_what_the_request_alone_makes_impossible_is_not_stored(target: str, ledger: Ledger) -> None:
    async with connected(target) as client:
        alice, bob = await client.open(10), await client.open()
        original = (await client.transfer(alice, bob, 10)).transaction.name
        unknown = f"transactions/{'0' * 8}-0000-0000-0000-{'0' * 12}"
        before = ledger.rows()
        calls: list[tuple[Any, tuple[str, str, dict[str, str]]]] = [
            (client.reverse(unknown), ("NOT_FOUND", "TRANSACTION_NOT_FOUND", {})),
            (client.reverse("holds/x"), ("INVALID_ARGUMENT", "INVALID_FIELD", {"name": "string.pattern"})),
            (
                client.reverse(original, amount=usd(0)),
                ("INVALID_ARGUMENT", "INVALID_FIELD", {"amount": "amount.positive"}),
            ),
            (client.reverse(original, amount=usd(1, "ZZZ")), ("INVALID_ARGUMENT", "UNKNOWN_CURRENCY", {})),
        ]
        for call, expected in calls:
            refused = await failed(call)
            assert (refused.code, refused.reason, refused.fields) == expected
        assert ledger.rows() == before
        other = await failed(client.reverse(original, amount=usd(1, "EUR")))
        assert (other.code, other.reason) == ("FAILED_PRECONDITION", "CURRENCY_MISMATCH")


@pytest.fixture(scope="module")
def two_workers(database: Database, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    """At the end it stops in order, and the books are sound."""
    with transaction_service(database, tmp_path_factory.mktemp("reversals"), WORKERS=2, LANES=2) as running:
        yield running
        assert running.stop() == 0
        audit(database.owner_dsn)


@asynchronous
async def test_of_concurrent_reversals_of_the_whole_one_wins(two_workers: ServiceProcess) -> None:
    async with both(two_workers) as clients:
        for _ in range(20):
            alice, bob = await clients[0].open(10), await clients[0].open(1_000)
            fee = Fee(minor_units=1)
            original = (await clients[0].transfer(alice, bob, 9, fee=fee)).transaction.name

            def give_back(caller: int, name: str = original) -> Any:  # noqa: ANN401 - the call
                return clients[caller % 2].reverse(name)

            answers = await at_once(4, give_back)
            assert Counter(map(reason, answers)) == {"POSTED": 1, "ALREADY_REVERSED": 3}
            assert await balances(clients[0], alice, bob) == [10, 1_000]


@asynchronous
async def test_concurrent_parts_are_never_more_than_the_original(two_workers: ServiceProcess) -> None:
    async with both(two_workers) as clients:
        alice, bob = await clients[0].open(100), await clients[0].open(1_000)
        original = (await clients[0].transfer(alice, bob, 100)).transaction.name

        async def give_back(caller: int) -> Any:  # noqa: ANN401 - the answer
            return await clients[caller % 2].reverse(original, amount=usd(7))

        answers = await at_once(40, give_back)
        assert Counter(map(reason, answers)) == {"POSTED": 14, "REVERSAL_ABOVE_ORIGINAL": 26}
        assert (await clients[0].reverse(original)).transaction.amount == usd(2)
        assert await balances(clients[0], alice, bob) == [100, 1_000]


@asynchronous
async def test_reversals_beside_traffic_over_the_same_wallets(two_workers: ServiceProcess) -> None:
    """Wholes, parts and replays of many originals at once, while their payee pays others."""
    async with both(two_workers) as clients:
        alice, bob, carol = await clients[0].open(400), await clients[0].open(), await clients[0].open()
        originals = [(await clients[0].transfer(alice, bob, 20)).transaction.name for _ in range(20)]

        async def work(caller: int) -> Any:  # noqa: ANN401 - the answer
            client, name = clients[caller % 2], originals[caller % 20]
            match caller // 20:
                case 0:
                    return await client.reverse(name, f"whole {name}")
                case 1:
                    return await client.reverse(name, f"part {name}", amount=usd(5))
                case 2:
                    return await client.reverse(name, f"whole {name}")
                case _:
                    return await client.transfer(bob, carol, 3)

        answers = await at_once(80, work)
        known = {"POSTED", "ALREADY_REVERSED", "REVERSAL_ABOVE_ORIGINAL", "INSUFFICIENT_FUNDS"}
        assert set(map(reason, answers)) <= known
        left = await balances(clients[0], alice, bob, carol)
        assert sum(left) == 400
        assert min(left) >= 0
