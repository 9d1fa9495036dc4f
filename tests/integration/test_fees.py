"""Fees: one more posting of the same transaction, on top of the amount or out of it."""

import pytest
from specie.transaction.v1 import AccountState, Fee, FeeMode, GetTransactionRequest, Transaction
from specie.type.v1 import Limits

from tests.kit.calls import Client, connected, failed, key, posting, usd, wallet_name
from tests.kit.ledger import Ledger, Rows
from tests.kit.wallets import asynchronous

ON_TOP, INCLUDED = FeeMode.FEE_MODE_ON_TOP, FeeMode.FEE_MODE_INCLUDED


def added(before: Rows, after: Rows) -> Rows:
    return Rows(after.posted - before.posted, after.failed - before.failed, after.entries - before.entries)


async def balances(client: Client, *wallets: str) -> list[int]:
    return [await client.balance(name) for name in wallets]


@pytest.mark.parametrize(
    ("mode", "left"), [(FeeMode.FEE_MODE_UNSPECIFIED, [897, 100, 3]), (ON_TOP, [897, 100, 3]), (INCLUDED, [900, 97, 3])]
)
@pytest.mark.parametrize("price", [{"minor_units": 3}, {"basis_points": 250}])
@asynchronous
async def test_a_fee_is_part_of_the_transaction(
    target: str, ledger: Ledger, price: dict[str, int], mode: FeeMode.ValueType, left: list[int]
) -> None:
    """2.5 % of 100 would be 2: half to even. Of 101 it is 3."""
    amount = 101 if "basis_points" in price else 100
    left = [left[0] - (amount - 100), left[1] + (amount - 100), left[2]]
    async with connected(target) as client:
        alice, bob, house = await client.open(1_000), await client.open(), await client.open()
        before, request_id = ledger.rows(), key()
        fee = Fee(destination=house, mode=mode, **price)
        answer = await client.transfer(alice, bob, amount, request_id, fee=fee)
        told: Transaction = answer.transaction
        assert await balances(client, alice, bob, house) == left
        assert added(before, ledger.rows()) == Rows(posted=1, failed=0, entries=3)
        assert (told.amount, told.fee, told.fee_destination) == (usd(amount), usd(3), house)
        assert list(told.postings) == [posting(alice, left[0] - 1_000), posting(bob, left[1]), posting(house, 3)]
        read = await client.transactions.GetTransaction(GetTransactionRequest(name=told.name))
        assert read.transaction == told
        again = await client.transfer(alice, bob, amount, request_id, fee=fee)
        assert (again.replayed, again.transaction) == (True, told)
        dearer = Fee(destination=house, mode=mode, minor_units=4)
        assert (await failed(client.transfer(alice, bob, amount, request_id, fee=dearer))).reason == "REQUEST_ID_REUSED"


@asynchronous
async def test_a_fee_for_nobody_named_goes_to_the_system_s_account_of_the_currency(target: str, ledger: Ledger) -> None:
    async with connected(target) as client:
        alice, bob = await client.open(1_000, "HUF"), await client.open(currency="HUF")
        answer = await client.transfer(alice, bob, 100, currency="HUF", fee=Fee(basis_points=100))
        out = await client.withdraw(alice, 100, "HUF", fee=Fee(minor_units=2))
        assert answer.transaction.fee_destination == out.transaction.fee_destination == "system/fees-huf"
        assert await balances(client, alice, bob) == [797, 100]
        fees = ledger.query("SELECT balance, currency FROM transactions.account WHERE name = 'system/fees-huf'")
        assert fees == [(3, "HUF")]


@asynchronous
async def test_a_withdrawal_pays_its_fee(target: str) -> None:
    async with connected(target) as client:
        alice, house = await client.open(1_000), await client.open()
        top = await client.withdraw(alice, 100, fee=Fee(basis_points=500, destination=house))
        out = await client.withdraw(alice, 100, fee=Fee(basis_points=500, destination=house, mode=INCLUDED))
        assert await balances(client, alice, house) == [795, 10]
        assert [p.amount.minor_units for p in top.transaction.postings] == [-105, 100, 5]
        assert [p.amount.minor_units for p in out.transaction.postings] == [-100, 95, 5]


@asynchronous
async def test_a_fee_that_comes_to_nothing_is_not_posted(target: str, ledger: Ledger) -> None:
    async with connected(target) as client:
        alice, bob = await client.open(1_000), await client.open()
        before = ledger.rows()
        answer = await client.transfer(alice, bob, 100, fee=Fee(basis_points=50))
        assert not answer.transaction.HasField("fee")
        assert (answer.transaction.fee_destination, list(answer.transaction.postings)) == ("", [])
        assert added(before, ledger.rows()) == Rows(posted=1, failed=0, entries=2)


@asynchronous
async def test_who_cannot_pay_the_fee_pays_nothing(target: str, ledger: Ledger) -> None:
    async with connected(target) as client:
        alice, bob, house = await client.open(100), await client.open(), await client.open()
        before = ledger.rows()
        fee = Fee(minor_units=1, destination=house)
        short = await failed(client.transfer(alice, bob, 100, fee=fee))
        assert (short.reason, short.metadata["available"], short.metadata["amount"]) == (
            "INSUFFICIENT_FUNDS",
            "100",
            "101",
        )
        assert added(before, ledger.rows()) == Rows(posted=0, failed=1, entries=0)
        await client.transfer(alice, bob, 99, fee=fee)
        assert await balances(client, alice, bob, house) == [0, 99, 1]


@asynchronous
async def test_a_fee_counts_against_the_payer_s_limits(target: str) -> None:
    async with connected(target) as client:
        alice, bob = await client.open(1_000, limits=Limits(max_minor_units_per_day=100)), await client.open()
        over = await failed(client.transfer(alice, bob, 100, fee=Fee(minor_units=1)))
        assert (over.reason, over.metadata["amount"]) == ("DAILY_LIMIT_EXCEEDED", "101")
        await client.transfer(alice, bob, 100, fee=Fee(minor_units=1, mode=INCLUDED))


@asynchronous
async def test_who_is_paid_the_fee_must_be_able_to_take_it(target: str) -> None:
    async with connected(target) as client:
        alice, bob, closed = await client.open(1_000), await client.open(), await client.open()
        await client.set_state(closed, AccountState.ACCOUNT_STATE_CLOSED)
        euros = await client.open(currency="EUR")
        reasons = {wallet_name(): "DESTINATION_NOT_FOUND", closed: "DESTINATION_CLOSED", euros: "CURRENCY_MISMATCH"}
        for house, reason in reasons.items():
            refused = await failed(client.transfer(alice, bob, 10, fee=Fee(minor_units=1, destination=house)))
            assert (refused.reason, refused.metadata["wallet"]) == (reason, house)
        assert await balances(client, alice, bob) == [1_000, 0]


@asynchronous
async def test_the_payee_may_be_paid_the_fee_too(target: str) -> None:
    async with connected(target) as client:
        alice, bob = await client.open(1_000), await client.open()
        await client.transfer(alice, bob, 100, fee=Fee(minor_units=1, destination=bob))
        assert await balances(client, alice, bob) == [899, 101]


BAD: dict[str, tuple[Fee, dict[str, str]]] = {
    "no price": (Fee(), {"fee.price": "required"}),
    "nothing": (Fee(minor_units=0), {"fee.minor_units": "int64.gte"}),
    "below nothing": (Fee(minor_units=-1), {"fee.minor_units": "int64.gte"}),
    "no basis points": (Fee(basis_points=0), {"fee.basis_points": "int32.gte_lte"}),
    "more than all": (Fee(basis_points=10_001), {"fee.basis_points": "int32.gte_lte"}),
    "above the amount": (Fee(minor_units=101), {"fee.minor_units": "fee.amount"}),
    "all of it": (Fee(minor_units=100, mode=INCLUDED), {"fee.minor_units": "fee.amount"}),
    "all of it in basis points": (Fee(basis_points=10_000, mode=INCLUDED), {"fee.basis_points": "fee.amount"}),
    "the payer's own": (Fee(minor_units=1, destination="wallets/a"), {"fee.destination": "fee.destination"}),
    "no wallet": (Fee(minor_units=1, destination="system/fees-usd"), {"fee.destination": "string.pattern"}),
}


@pytest.mark.parametrize("name", BAD)
@asynchronous
async def test_a_fee_that_cannot_be_is_not_stored(target: str, ledger: Ledger, name: str) -> None:
    fee, fields = BAD[name]
    async with connected(target) as client:
        before = ledger.rows()
        for call in (
            client.transfer("wallets/a", "wallets/b", 100, fee=fee),
            client.withdraw("wallets/a", 100, fee=fee),
        ):
            refused = await failed(call)
            assert (refused.code, refused.reason, refused.fields) == ("INVALID_ARGUMENT", "INVALID_FIELD", fields)
        assert ledger.rows() == before
