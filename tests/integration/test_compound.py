"""PostTransaction: any postings that sum to 0 in each currency, all of them or none."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from specie.transaction.v1 import (
    AccountState,
    GetTransactionRequest,
    ListEntriesRequest,
    Posting,
    PostTransactionRequest,
    TransactionKind,
)
from specie.type.v1 import Limits, Money

from tests.kit.calls import Client, connected, failed, key, posting, wallet_name
from tests.kit.ledger import Ledger, Rows
from tests.kit.wallets import asynchronous

FROZEN, CLOSED = AccountState.ACCOUNT_STATE_FROZEN, AccountState.ACCOUNT_STATE_CLOSED
MOST = 100


def added(before: Rows, after: Rows) -> Rows:
    return Rows(after.posted - before.posted, after.failed - before.failed, after.entries - before.entries)


@asynchronous
async def test_an_exchange_goes_through_two_wallets_of_the_house(target: str, ledger: Ledger) -> None:
    async with connected(target) as client:
        dollars, euros = await client.open(10_000), await client.open(currency="EUR")
        house_usd, house_eur = await client.open(), await client.open(50_000, "EUR")
        before = ledger.rows()
        asked = [
            posting(dollars, -1_000),
            posting(house_usd, 1_000),
            posting(house_eur, -920, "EUR"),
            posting(euros, 920, "EUR"),
        ]
        request_id = key()
        answer = await client.post(asked, request_id, description="exchange", labels={"rate": "0.92"})
        told = answer.transaction
        assert told.kind == TransactionKind.TRANSACTION_KIND_COMPOUND
        assert (told.source, told.destination, told.HasField("amount")) == ("", "", False)
        assert sorted(told.postings, key=str) == sorted(asked, key=str)
        assert added(before, ledger.rows()) == Rows(posted=1, failed=0, entries=4)
        wallets = [dollars, house_usd, house_eur, euros]
        assert [await client.balance(name) for name in wallets] == [9_000, 1_000, 49_080, 920]
        read = await client.transactions.GetTransaction(GetTransactionRequest(name=told.name))
        assert read.transaction == told
        entries = await client.transactions.ListEntries(ListEntriesRequest(wallet=euros))
        assert [(e.amount.minor_units, e.counterparty, e.description) for e in entries.entries] == [
            (920, "", "exchange")
        ]

        again = await client.post(asked, request_id, description="exchange", labels={"rate": "0.92"})
        assert (again.replayed, again.transaction) == (True, told)
        other = await failed(client.post(asked[:2], request_id, description="exchange", labels={"rate": "0.92"}))
        assert other.reason == "REQUEST_ID_REUSED"


@asynchronous
async def test_a_hundred_postings_are_one_transaction(target: str, ledger: Ledger) -> None:
    async with connected(target) as client:
        employer = await client.open(10_000)
        staff = [await client.open() for _ in range(MOST - 1)]
        before = ledger.rows()
        await client.post([posting(employer, -99 * 50), *(posting(name, 50) for name in staff)])
        assert added(before, ledger.rows()) == Rows(posted=1, failed=0, entries=100)
        assert {await client.balance(name) for name in staff} == {50}


@asynchronous
async def test_an_account_with_several_postings_is_judged_by_their_sum(target: str) -> None:
    async with connected(target) as client:
        alice, bob = await client.open(10), await client.open()
        await client.post([posting(alice, -100), posting(bob, 100), posting(bob, -95), posting(alice, 95)])
        assert (await client.balance(alice), await client.balance(bob)) == (5, 5)
        short = await failed(client.post([posting(alice, -100), posting(bob, 6), posting(alice, 94)]))
        assert (short.reason, short.metadata["available"], short.metadata["amount"]) == ("INSUFFICIENT_FUNDS", "5", "6")
        entries = await client.transactions.ListEntries(ListEntriesRequest(wallet=alice))
        # What comes in stands before what goes out: on the way no balance is below the floor.
        assert [entry.balance.minor_units for entry in entries.entries] == [10, 105, 5]


Prepare = Callable[[Client], Awaitable[list[Posting]]]
"""Accounts, and the postings that must fail."""


async def _a_payer_that_has_too_little(client: Client) -> list[Posting]:
    rich, poor, paid = await client.open(100), await client.open(9), await client.open()
    return [posting(rich, -10), posting(poor, -10), posting(paid, 20)]


async def _a_payer_that_nobody_knows(client: Client) -> list[Posting]:
    rich, paid = await client.open(100), await client.open()
    return [posting(rich, -10), posting(wallet_name(), -10), posting(paid, 20)]


async def _a_payee_that_nobody_knows(client: Client) -> list[Posting]:
    rich, paid = await client.open(100), await client.open()
    return [posting(paid, 10), posting(wallet_name(), 10), posting(rich, -20)]


async def _a_payer_that_is_frozen(client: Client) -> list[Posting]:
    rich, frozen, paid = await client.open(100), await client.open(100), await client.open()
    await client.set_state(frozen, FROZEN)
    return [posting(rich, -10), posting(paid, 20), posting(frozen, -10)]


async def _a_payee_that_is_closed(client: Client) -> list[Posting]:
    rich, closed, paid = await client.open(100), await client.open(), await client.open()
    await client.set_state(closed, CLOSED)
    return [posting(rich, -20), posting(paid, 10), posting(closed, 10)]


async def _a_payer_with_a_limit(client: Client) -> list[Posting]:
    limited = await client.open(100, limits=Limits(max_minor_units_per_transaction=19))
    one, two = await client.open(), await client.open()
    return [posting(limited, -10), posting(limited, -10), posting(one, 10), posting(two, 10)]


async def _a_payee_of_another_currency(client: Client) -> list[Posting]:
    rich, euros = await client.open(100), await client.open(currency="EUR")
    return [posting(rich, -10), posting(euros, 10)]


@pytest.mark.parametrize(
    ("prepare", "reason"),
    [
        (_a_payer_that_has_too_little, "INSUFFICIENT_FUNDS"),
        (_a_payer_that_nobody_knows, "SOURCE_NOT_FOUND"),
        (_a_payee_that_nobody_knows, "DESTINATION_NOT_FOUND"),
        (_a_payer_that_is_frozen, "SOURCE_FROZEN"),
        (_a_payee_that_is_closed, "DESTINATION_CLOSED"),
        (_a_payer_with_a_limit, "TRANSACTION_LIMIT_EXCEEDED"),
        (_a_payee_of_another_currency, "CURRENCY_MISMATCH"),
    ],
)
@asynchronous
async def test_one_posting_that_cannot_be_stops_all(target: str, ledger: Ledger, prepare: Prepare, reason: str) -> None:
    async with connected(target) as client:
        asked, request_id = await prepare(client), key()
        before = ledger.rows()
        refused = await failed(client.post(asked, request_id))
        assert refused.reason == reason
        assert added(before, ledger.rows()) == Rows(posted=0, failed=1, entries=0)
        again = await failed(client.post(asked, request_id))
        assert again.metadata == refused.metadata | {"replayed": "true"}
        name = refused.metadata["transaction"]
        stored = (await client.transactions.GetTransaction(GetTransactionRequest(name=name))).transaction
        assert sorted(stored.postings, key=str) == sorted(asked, key=str)


A, B = "wallets/a", "wallets/b"
PAIR = [posting(A, -1), posting(B, 1)]
RULE = "INVALID_FIELD"
# What is sent beside a good request, the reason, the fields with the rule that each breaks.
BAD: dict[str, tuple[dict[str, Any], str, dict[str, str]]] = {
    "no postings": ({"postings": []}, RULE, {"postings": "repeated.min_items"}),
    "one posting": ({"postings": PAIR[:1]}, RULE, {"postings": "repeated.min_items"}),
    "101 postings": (
        {"postings": [posting(A, -100), *[posting(B, 1)] * MOST]},
        RULE,
        {"postings": "repeated.max_items"},
    ),
    "a sum above 0": ({"postings": [posting(A, -1), posting(B, 2)]}, RULE, {"postings": "postings.balanced"}),
    "two currencies": ({"postings": [posting(A, -1), posting(B, 1, "EUR")]}, RULE, {"postings": "postings.balanced"}),
    "a posting of 0": ({"postings": [*PAIR, posting(A, 0)]}, RULE, {"postings[2].amount": "amount.not_zero"}),
    "no amount": ({"postings": [*PAIR, Posting(account=A)]}, RULE, {"postings[2].amount": "required"}),
    "no currency": (
        {"postings": [*PAIR, Posting(account=A, amount=Money(minor_units=1))]},
        RULE,
        {"postings[2].amount.currency_code": "string.pattern"},
    ),
    "the outside world": (
        {"postings": [posting("system/cash-usd", -1), posting(B, 1)]},
        RULE,
        {"postings[0].account": "string.pattern"},
    ),
    "what cannot go back": (
        {"postings": [posting(A, -(2**63)), posting(B, 2**63 - 1), posting(B, 1)]},
        RULE,
        {"postings[0].amount": "amount.range"},
    ),
    "no such currency": ({"postings": [posting(A, -1, "ZZZ"), posting(B, 1, "ZZZ")]}, "UNKNOWN_CURRENCY", {}),
    "no key": ({"request_id": ""}, RULE, {"request_id": "string.min_len"}),
    "a label without a key": ({"labels": {"": "x"}}, RULE, {'labels[""]': "string.pattern"}),
}


@pytest.mark.parametrize("name", BAD)
@asynchronous
async def test_what_the_request_alone_makes_impossible_is_not_stored(target: str, ledger: Ledger, name: str) -> None:
    changed, reason, fields = BAD[name]
    values: dict[str, Any] = {"postings": PAIR, "request_id": key()}
    async with connected(target) as client:
        before = ledger.rows()
        refused = await failed(client.transactions.PostTransaction(PostTransactionRequest(**(values | changed))))
        assert (refused.code, refused.reason, refused.fields) == ("INVALID_ARGUMENT", reason, fields)
        assert ledger.rows() == before
