"""AccountService: what wallet_service sets on accounts, fenced by revisions."""

import asyncio
from typing import Any

from specie.transaction.v1 import (
    Account,
    AccountKind,
    AccountState,
    GetAccountsRequest,
    OpenAccountRequest,
    SetAccountLimitsRequest,
    SetAccountStateRequest,
)
from specie.type.v1 import Limits

from tests.kit.calls import Client, Failed, connected, failed, outcome, usd, wallet_name
from tests.kit.wallets import asynchronous

OPEN, FROZEN, CLOSED = (
    AccountState.ACCOUNT_STATE_OPEN,
    AccountState.ACCOUNT_STATE_FROZEN,
    AccountState.ACCOUNT_STATE_CLOSED,
)
USER, PROVIDER = AccountKind.ACCOUNT_KIND_USER, AccountKind.ACCOUNT_KIND_PROVIDER


def open_account(client: Client, name: str, **changed: Any) -> Any:  # noqa: ANN401 - any field
    values: dict[str, Any] = {"owner": "ann", "currency_code": "USD", "kind": USER, "revision": 3}
    return client.accounts.OpenAccount(OpenAccountRequest(account=Account(name=name, **(values | changed))))


async def read(client: Client, name: str) -> Account:
    (account,) = (await client.accounts.GetAccounts(GetAccountsRequest(names=[name]))).accounts
    found: Account = account
    return found


def set_state(client: Client, name: str, state: AccountState.ValueType, revision: int) -> Any:  # noqa: ANN401
    return client.accounts.SetAccountState(SetAccountStateRequest(name=name, state=state, revision=revision))


def set_limits(client: Client, name: str, revision: int, **limits: Any) -> Any:  # noqa: ANN401 - any limit
    request = SetAccountLimitsRequest(name=name, limits=Limits(**limits), revision=revision)
    return client.accounts.SetAccountLimits(request)


@asynchronous
async def test_opening_again_finds_the_account_as_it_is(target: str) -> None:
    async with connected(target) as client:
        alice = wallet_name()
        account = (await open_account(client, alice, limits=Limits(max_minor_units_per_day=9))).account
        assert (account.name, account.owner, account.state, account.revision) == (alice, "ann", OPEN, 3)
        assert (account.limits.max_minor_units_per_day, account.limits.time_zone) == (9, "UTC")
        assert (account.balance.posted, account.balance.version) == (usd(0), 0)
        await set_state(client, alice, FROZEN, 5)
        again = (await open_account(client, alice)).account
        assert (again.state, again.revision) == (FROZEN, 5)
        others: list[dict[str, Any]] = [{"owner": "bob"}, {"currency_code": "EUR"}, {"kind": PROVIDER}]
        for other in others:
            refused = await failed(open_account(client, alice, **other))
            assert (refused.code, refused.reason) == ("ALREADY_EXISTS", "ACCOUNT_ALREADY_EXISTS")
            assert refused.metadata == {"account": alice}
        assert await read(client, alice) == again


@asynchronous
async def test_an_account_opened_by_many_at_once_is_one(target: str) -> None:
    async with connected(target) as client:
        alice = wallet_name()
        opened = await asyncio.gather(*[open_account(client, alice) for _ in range(16)])
        assert len({answer.account.SerializeToString() for answer in opened}) == 1


@asynchronous
async def test_unknown_names_are_left_out(target: str) -> None:
    async with connected(target) as client:
        alice, bob = await client.open(1), await client.open(2)
        names = [alice, wallet_name(), bob, alice]
        found = (await client.accounts.GetAccounts(GetAccountsRequest(names=names))).accounts
        assert {a.name: a.balance.posted.minor_units for a in found} == {alice: 1, bob: 2}
        assert len(found) == 2
        assert not (await client.accounts.GetAccounts(GetAccountsRequest())).accounts


@asynchronous
async def test_a_late_call_undoes_nothing(target: str) -> None:
    async with connected(target) as client:
        alice = await client.open(name=wallet_name())
        await set_state(client, alice, FROZEN, 5)
        for late in (set_state(client, alice, OPEN, 4), set_limits(client, alice, 4, max_debits_per_hour=1)):
            refused = await failed(late)
            assert refused == Failed("ABORTED", "STALE_REVISION", "", {})
            assert refused.metadata == {"account": alice, "revision": "5"}
        before = await read(client, alice)
        assert (before.state, before.limits.max_debits_per_hour) == (FROZEN, 0)
        # The same call again, as a retry sends it, changes nothing and is no error.
        await set_state(client, alice, FROZEN, 5)
        assert await read(client, alice) == before
        await set_state(client, alice, OPEN, 6)
        assert (await read(client, alice)).state == OPEN


@asynchronous
async def test_only_an_empty_account_closes_and_it_closes_for_ever(target: str) -> None:
    async with connected(target) as client:
        alice = await client.open(5)
        refused = await failed(set_state(client, alice, CLOSED, 2))
        assert refused == Failed("FAILED_PRECONDITION", "WALLET_NOT_EMPTY", "", {})
        assert refused.metadata == {"wallet": alice, "posted": "5", "held": "0"}
        await client.withdraw(alice, 5)
        assert (await set_state(client, alice, CLOSED, 2)).account.state == CLOSED
        for late in (set_state(client, alice, OPEN, 3), set_limits(client, alice, 3, max_debits_per_hour=1)):
            refused = await failed(late)
            assert refused == Failed("FAILED_PRECONDITION", "WALLET_STATE", "", {})
            assert refused.metadata == {"wallet": alice, "state": "CLOSED"}
        assert (await set_state(client, alice, CLOSED, 3)).account.state == CLOSED


@asynchronous
async def test_limits_bind_from_the_next_debit_on_and_can_be_taken_off(target: str) -> None:
    async with connected(target) as client:
        alice, bob = await client.open(100), await client.open()
        await set_limits(client, alice, 2, max_minor_units_per_transaction=10)
        assert (await failed(client.transfer(alice, bob, 11))).reason == "TRANSACTION_LIMIT_EXCEEDED"
        await client.deposit(alice, 1_000)
        await set_limits(client, alice, 3)
        await client.transfer(alice, bob, 11)


@asynchronous
async def test_a_day_limit_set_in_the_morning_counts_what_was_spent_under_another_limit(target: str) -> None:
    async with connected(target) as client:
        alice, bob = await client.open(100), await client.open()
        await set_limits(client, alice, 2, max_minor_units_per_day=50)
        await client.transfer(alice, bob, 30)
        await set_limits(client, alice, 3, max_minor_units_per_day=40)
        refused = await failed(client.transfer(alice, bob, 11))
        assert (refused.reason, refused.metadata["used"]) == ("DAILY_LIMIT_EXCEEDED", "30")
        await client.transfer(alice, bob, 10)


@asynchronous
async def test_a_credit_line_is_a_floor_below_0_and_cannot_be_taken_from_who_uses_it(target: str) -> None:
    async with connected(target) as client:
        alice, bob = await client.open(limits=Limits(credit_minor_units=50)), await client.open()
        await client.transfer(alice, bob, 50)
        assert (await read(client, alice)).balance.available == usd(-50)
        refused = await failed(set_limits(client, alice, 2, credit_minor_units=49))
        assert refused == Failed("FAILED_PRECONDITION", "FLOOR_ABOVE_BALANCE", "", {})
        assert refused.metadata == {"wallet": alice, "available": "-50", "credit": "49"}
        poor = await failed(client.transfer(alice, bob, 1))
        assert (poor.reason, poor.metadata["available"]) == ("INSUFFICIENT_FUNDS", "0")


@asynchronous
async def test_limits_hold_when_many_debit_at_once(target: str) -> None:
    async with connected(target) as client:
        alice = await client.open(1_000, limits=Limits(max_minor_units_per_day=70, max_debits_per_hour=1_000))
        bob = await client.open()
        barrier = asyncio.Barrier(30)

        async def debit() -> str:
            await barrier.wait()
            answer = await outcome(client.transfer(alice, bob, 10))
            return answer.reason if isinstance(answer, Failed) else "POSTED"

        answers = await asyncio.gather(*[debit() for _ in range(30)])
        assert sorted(answers) == ["DAILY_LIMIT_EXCEEDED"] * 23 + ["POSTED"] * 7
        assert await client.balance(bob) == 70
