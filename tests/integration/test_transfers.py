"""Money moves: transfers, deposits and withdrawals through the real service, exactly once."""

from collections.abc import Awaitable, Callable

import pytest
from specie.transaction.v1 import (
    AccountKind,
    AccountState,
    GetTransactionRequest,
    Transaction,
    TransactionKind,
    TransactionState,
)
from specie.type.v1 import Limits

from tests.kit.calls import Client, Failed, connected, failed, key, outcome, usd, wallet_name
from tests.kit.ledger import Ledger, Rows
from tests.kit.wallets import asynchronous

INT64_MAX = 2**63 - 1
PROVIDER = AccountKind.ACCOUNT_KIND_PROVIDER
FROZEN, CLOSED = AccountState.ACCOUNT_STATE_FROZEN, AccountState.ACCOUNT_STATE_CLOSED


def added(before: Rows, after: Rows) -> Rows:
    return Rows(after.posted - before.posted, after.failed - before.failed, after.entries - before.entries)


@asynchronous
async def test_a_transfer_moves_the_money_and_tells_all_about_it(target: str, ledger: Ledger) -> None:
    async with connected(target) as client:
        alice, bob = await client.open(10_000), await client.open()
        before = ledger.rows()
        answer = await client.transfer(
            alice,
            bob,
            2_500,
            "tell-all",
            description='lunch {with} "quotes", \\ and \u00fc\n',
            external_reference="invoice 7",
            labels={"team": "a b", "empty": ""},
        )
        assert not answer.replayed
        told: Transaction = answer.transaction
        assert told.name.startswith("transactions/")
        assert told.kind == TransactionKind.TRANSACTION_KIND_TRANSFER
        assert told.state == TransactionState.TRANSACTION_STATE_POSTED
        assert (told.source, told.destination, told.amount) == (alice, bob, usd(2_500))
        assert told.description == 'lunch {with} "quotes", \\ and \u00fc\n'
        assert told.external_reference == "invoice 7"
        assert dict(told.labels) == {"team": "a b", "empty": ""}
        assert (told.principal, told.request_id) == ("local", "tell-all")
        assert told.trace_id
        assert told.create_time == told.post_time
        assert not told.HasField("error")

        assert (await client.balance(alice), await client.balance(bob)) == (7_500, 2_500)
        assert added(before, ledger.rows()) == Rows(posted=1, failed=0, entries=2)
        read = await client.transactions.GetTransaction(GetTransactionRequest(name=told.name))
        assert read.transaction == told


@asynchronous
async def test_the_same_request_is_answered_again_and_not_done_again(target: str, ledger: Ledger) -> None:
    async with connected(target) as client:
        alice, bob = await client.open(100), await client.open()
        request_id = key()
        first = await client.transfer(alice, bob, 60, request_id)
        before = ledger.rows()
        again = await client.transfer(alice, bob, 60, request_id)
        assert (first.replayed, again.replayed) == (False, True)
        assert again.transaction == first.transaction
        assert ledger.rows() == before
        assert await client.balance(alice) == 40


@asynchronous
async def test_another_request_with_the_same_key_is_refused_without_effect(target: str, ledger: Ledger) -> None:
    async with connected(target) as client:
        alice, bob, carol = await client.open(100), await client.open(), await client.open()
        request_id = key()
        first = await client.transfer(alice, bob, 60, request_id)
        before = ledger.rows()
        others: list[Awaitable[object]] = [
            client.transfer(alice, bob, 61, request_id),
            client.transfer(alice, carol, 60, request_id),
            client.transfer(bob, alice, 60, request_id),
            client.transfer(alice, bob, 60, request_id, currency="EUR"),
            client.transfer(alice, bob, 60, request_id, description="x"),
            client.transfer(alice, bob, 60, request_id, external_reference="x"),
            client.transfer(alice, bob, 60, request_id, labels={"a": "b"}),
            client.deposit(bob, 60, request_id=request_id),
            client.withdraw(alice, 60, request_id=request_id),
        ]
        for other in others:
            answer = await failed(other)
            assert (answer.code, answer.reason) == ("ALREADY_EXISTS", "REQUEST_ID_REUSED")
            assert answer.metadata == {"request_id": request_id, "transaction": first.transaction.name}
        assert ledger.rows() == before


@asynchronous
async def test_deposits_and_withdrawals_come_from_and_go_to_the_outside_world(target: str, ledger: Ledger) -> None:
    async with connected(target) as client:
        alice = await client.open(currency="SEK")
        came = await client.deposit(alice, 700, "SEK", external_reference="bank 1")
        went = await client.withdraw(alice, 200, "SEK")
        assert (came.transaction.source, came.transaction.destination) == ("system/cash-sek", alice)
        assert came.transaction.kind == TransactionKind.TRANSACTION_KIND_DEPOSIT
        assert (went.transaction.source, went.transaction.destination) == (alice, "system/cash-sek")
        assert went.transaction.kind == TransactionKind.TRANSACTION_KIND_WITHDRAWAL
        assert await client.balance(alice) == 500
        cash = ledger.query("SELECT balance, floor, version FROM transactions.account WHERE name = 'system/cash-sek'")
        assert cash == [(-500, None, 2)]


@asynchronous
async def test_a_provider_pays_in_and_is_paid_out_like_any_wallet(target: str) -> None:
    async with connected(target) as client:
        alice, bank = await client.open(), await client.open(1_000, kind=PROVIDER)
        came = await client.deposit(alice, 700, provider=bank, request_id="provider-in")
        went = await client.withdraw(alice, 100, provider=bank)
        assert (came.transaction.source, came.transaction.destination) == (bank, alice)
        assert (went.transaction.source, went.transaction.destination) == (alice, bank)
        assert (await client.balance(alice), await client.balance(bank)) == (600, 400)
        again = await client.deposit(alice, 700, provider=bank, request_id="provider-in")
        assert again.replayed
        assert again.transaction == came.transaction
        poor = await failed(client.deposit(alice, 401, provider=bank))
        assert (poor.reason, poor.metadata["wallet"]) == ("INSUFFICIENT_FUNDS", bank)


Send = Callable[[str], Awaitable[object]]
Attempt = Callable[[Client], Awaitable[Send]]
"""Prepares accounts; gives the call that must fail, to be sent under a request id."""


async def _overdraft(client: Client) -> Send:
    alice, bob = await client.open(99), await client.open()
    return lambda request_id: client.transfer(alice, bob, 100, request_id)


async def _overdraft_of_a_credit_line(client: Client) -> Send:
    alice, bob = await client.open(limits=Limits(credit_minor_units=50)), await client.open()
    await client.transfer(alice, bob, 50)
    return lambda request_id: client.transfer(alice, bob, 1, request_id)


async def _unknown_source(client: Client) -> Send:
    bob, nobody = await client.open(), wallet_name()
    return lambda request_id: client.transfer(nobody, bob, 1, request_id)


async def _unknown_destination(client: Client) -> Send:
    alice, nobody = await client.open(5), wallet_name()
    return lambda request_id: client.transfer(alice, nobody, 1, request_id)


async def _deposit_to_unknown(client: Client) -> Send:
    nobody = wallet_name()
    return lambda request_id: client.deposit(nobody, 1, request_id=request_id)


async def _withdrawal_from_unknown(client: Client) -> Send:
    nobody = wallet_name()
    return lambda request_id: client.withdraw(nobody, 1, request_id=request_id)


async def _deposit_from_unknown_provider(client: Client) -> Send:
    alice, nobody = await client.open(), wallet_name()
    return lambda request_id: client.deposit(alice, 1, request_id=request_id, provider=nobody)


async def _withdrawal_to_unknown_provider(client: Client) -> Send:
    alice, nobody = await client.open(5), wallet_name()
    return lambda request_id: client.withdraw(alice, 1, request_id=request_id, provider=nobody)


async def _deposit_from_a_user(client: Client) -> Send:
    alice, bob = await client.open(), await client.open(5)
    return lambda request_id: client.deposit(alice, 1, request_id=request_id, provider=bob)


async def _withdrawal_to_a_user(client: Client) -> Send:
    alice, bob = await client.open(5), await client.open()
    return lambda request_id: client.withdraw(alice, 1, request_id=request_id, provider=bob)


async def _other_currency_than_the_source(client: Client) -> Send:
    alice, bob = await client.open(5, "EUR"), await client.open()
    return lambda request_id: client.transfer(alice, bob, 1, request_id)


async def _other_currency_than_the_destination(client: Client) -> Send:
    alice, bob = await client.open(5), await client.open(currency="EUR")
    return lambda request_id: client.transfer(alice, bob, 1, request_id)


async def _other_currency_than_the_depositor(client: Client) -> Send:
    alice = await client.open(5)
    return lambda request_id: client.deposit(alice, 1, "EUR", request_id)


async def _frozen_source(client: Client) -> Send:
    alice, bob = await client.open(5), await client.open()
    await client.set_state(alice, FROZEN)
    return lambda request_id: client.transfer(alice, bob, 1, request_id)


async def _closed_source(client: Client) -> Send:
    alice, bob = await client.open(), await client.open()
    await client.set_state(alice, CLOSED)
    return lambda request_id: client.transfer(alice, bob, 1, request_id)


async def _closed_destination(client: Client) -> Send:
    alice, bob = await client.open(5), await client.open()
    await client.set_state(bob, CLOSED)
    return lambda request_id: client.transfer(alice, bob, 1, request_id)


async def _too_large_a_debit(client: Client) -> Send:
    alice, bob = await client.open(100, limits=Limits(max_minor_units_per_transaction=10)), await client.open()
    await client.transfer(alice, bob, 10)
    return lambda request_id: client.transfer(alice, bob, 11, request_id)


async def _too_much_in_a_day(client: Client) -> Send:
    alice, bob = await client.open(100, limits=Limits(max_minor_units_per_day=10)), await client.open()
    await client.transfer(alice, bob, 6)
    return lambda request_id: client.withdraw(alice, 5, request_id=request_id)


async def _too_often_in_an_hour(client: Client) -> Send:
    alice, bob = await client.open(100, limits=Limits(max_debits_per_hour=1)), await client.open()
    for _ in range(2):  # the hour may end between them
        await outcome(client.transfer(alice, bob, 1))
    return lambda request_id: client.transfer(alice, bob, 1, request_id)


async def _more_than_a_balance_can_be(client: Client) -> Send:
    rich, other = await client.open(currency="JPY"), await client.open(currency="JPY")
    bank = await client.open(currency="JPY", kind=PROVIDER, limits=Limits(credit_minor_units=INT64_MAX))
    await client.deposit(rich, INT64_MAX, "JPY", provider=bank)
    await client.deposit(other, 1, "JPY")
    return lambda request_id: client.transfer(other, rich, 1, request_id, currency="JPY")


FAILURES: list[tuple[Attempt, str, str, set[str]]] = [
    (_overdraft, "FAILED_PRECONDITION", "INSUFFICIENT_FUNDS", {"wallet", "available", "amount"}),
    (_overdraft_of_a_credit_line, "FAILED_PRECONDITION", "INSUFFICIENT_FUNDS", {"wallet", "available", "amount"}),
    (_unknown_source, "NOT_FOUND", "SOURCE_NOT_FOUND", {"wallet"}),
    (_unknown_destination, "NOT_FOUND", "DESTINATION_NOT_FOUND", {"wallet"}),
    (_deposit_to_unknown, "NOT_FOUND", "DESTINATION_NOT_FOUND", {"wallet"}),
    (_withdrawal_from_unknown, "NOT_FOUND", "SOURCE_NOT_FOUND", {"wallet"}),
    (_deposit_from_unknown_provider, "NOT_FOUND", "SOURCE_NOT_FOUND", {"wallet"}),
    (_withdrawal_to_unknown_provider, "NOT_FOUND", "DESTINATION_NOT_FOUND", {"wallet"}),
    (_deposit_from_a_user, "FAILED_PRECONDITION", "NOT_A_PROVIDER", {"wallet"}),
    (_withdrawal_to_a_user, "FAILED_PRECONDITION", "NOT_A_PROVIDER", {"wallet"}),
    (
        _other_currency_than_the_source,
        "FAILED_PRECONDITION",
        "CURRENCY_MISMATCH",
        {"wallet", "wallet_currency", "currency"},
    ),
    (
        _other_currency_than_the_destination,
        "FAILED_PRECONDITION",
        "CURRENCY_MISMATCH",
        {"wallet", "wallet_currency", "currency"},
    ),
    (
        _other_currency_than_the_depositor,
        "FAILED_PRECONDITION",
        "CURRENCY_MISMATCH",
        {"wallet", "wallet_currency", "currency"},
    ),
    (_frozen_source, "FAILED_PRECONDITION", "SOURCE_FROZEN", {"wallet"}),
    (_closed_source, "FAILED_PRECONDITION", "SOURCE_CLOSED", {"wallet"}),
    (_closed_destination, "FAILED_PRECONDITION", "DESTINATION_CLOSED", {"wallet"}),
    (_too_large_a_debit, "FAILED_PRECONDITION", "TRANSACTION_LIMIT_EXCEEDED", {"wallet", "limit", "amount"}),
    (
        _too_much_in_a_day,
        "FAILED_PRECONDITION",
        "DAILY_LIMIT_EXCEEDED",
        {"wallet", "limit", "used", "amount", "resets_at"},
    ),
    (
        _too_often_in_an_hour,
        "FAILED_PRECONDITION",
        "HOURLY_COUNT_EXCEEDED",
        {"wallet", "limit", "used", "resets_at"},
    ),
    (_more_than_a_balance_can_be, "FAILED_PRECONDITION", "BALANCE_OVERFLOW", {"wallet"}),
]


@pytest.mark.parametrize(("attempt", "code", "reason", "words"), FAILURES, ids=[a.__name__ for a, *_ in FAILURES])
@asynchronous
async def test_what_the_ledger_refuses_is_stored_once_as_failed_and_answered_again(
    target: str, ledger: Ledger, attempt: Attempt, code: str, reason: str, words: set[str]
) -> None:
    async with connected(target) as client:
        call, request_id = await attempt(client), key()
        before = ledger.rows()
        first = await failed(call(request_id))
        assert (first.code, first.reason, first.fields) == (code, reason, {})
        assert set(first.metadata) == words | {"transaction", "replayed"}
        for word in words:
            assert first.metadata[word] in first.message
        assert first.metadata["replayed"] == "false"
        assert added(before, ledger.rows()) == Rows(posted=0, failed=1, entries=0)

        again = await failed(call(request_id))
        assert again == Failed(code, reason, first.message, first.metadata)
        assert again.message == first.message
        assert again.metadata == first.metadata | {"replayed": "true"}
        assert added(before, ledger.rows()) == Rows(posted=0, failed=1, entries=0)

        name = first.metadata["transaction"]
        stored = (await client.transactions.GetTransaction(GetTransactionRequest(name=name))).transaction
        assert stored.state == TransactionState.TRANSACTION_STATE_FAILED
        assert not stored.HasField("post_time")
        assert stored.error.message == first.message


@asynchronous
async def test_a_failure_stays_one_when_the_money_comes(target: str) -> None:
    async with connected(target) as client:
        alice, bob, request_id = await client.open(), await client.open(), key()
        poor = await failed(client.transfer(alice, bob, 10, request_id))
        await client.deposit(alice, 10)
        assert await failed(client.transfer(alice, bob, 10, request_id)) == poor
        assert await client.balance(alice) == 10
        await client.transfer(alice, bob, 10)
        assert await client.balance(alice) == 0


@asynchronous
async def test_a_frozen_wallet_is_still_paid(target: str) -> None:
    async with connected(target) as client:
        alice = await client.open()
        await client.set_state(alice, FROZEN)
        await client.deposit(alice, 5)
        assert await client.balance(alice) == 5


@asynchronous
async def test_the_outside_world_has_an_end_too(target: str, ledger: Ledger) -> None:
    async with connected(target) as client:
        rich, other = await client.open(currency="KWD"), await client.open(currency="KWD")
        await client.deposit(rich, INT64_MAX, "KWD")
        await client.deposit(other, 1, "KWD")
        last = await failed(client.deposit(other, 1, "KWD"))
        assert (last.reason, last.metadata["wallet"]) == ("BALANCE_OVERFLOW", "system/cash-kwd")
        cash = ledger.query("SELECT balance FROM transactions.account WHERE name = 'system/cash-kwd'")
        assert cash == [(-(2**63),)]


@asynchronous
async def test_a_day_of_debits_beyond_what_int64_counts_posts(target: str) -> None:
    half = 2**62
    async with connected(target) as client:
        alice = await client.open(currency="CLP", limits=Limits(max_minor_units_per_transaction=half))
        for _ in range(3):
            await client.deposit(alice, half, "CLP")
            await client.withdraw(alice, half, "CLP")
        assert await client.balance(alice) == 0
