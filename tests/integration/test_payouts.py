"""Withdraw with a payout, and PayoutService: through the running services, with the simulator as the bank."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from specie.transaction.v1 import (
    AccountState,
    Fee,
    FeeMode,
    GetPayoutRequest,
    GetTransactionRequest,
    ListPayoutsRequest,
    Payout,
    PayoutDestination,
    PayoutServiceStub,
    PayoutState,
    RetryPayoutRequest,
    TransactionState,
)

from tests.kit.auditor import audit
from tests.kit.calls import Client, connected, failed, key, usd
from tests.kit.ledger import Ledger
from tests.kit.postgres import Database, Server
from tests.kit.service import ServiceProcess, back_office, transaction_service, wait_until
from tests.kit.simulator import IBAN, SimulatorProcess, simulator
from tests.kit.tokens import USUAL, USUAL_SUBJECT, Authorised, bearer, token
from tests.kit.wallets import asynchronous

CLOSED = AccountState.ACCOUNT_STATE_CLOSED
PENDING, PAID = PayoutState.PAYOUT_STATE_PENDING, PayoutState.PAYOUT_STATE_PAID
REFUSED, REVERSED = PayoutState.PAYOUT_STATE_REFUSED, PayoutState.PAYOUT_STATE_REVERSED
DEAD = PayoutState.PAYOUT_STATE_DEAD
BOUND = "wallets.read wallets.write transfers.write deposits.write"
NO_SUCH = "payouts/00000000-0000-0000-0000-000000000000"


def to(account: str = IBAN, provider: str = "bank", beneficiary: str = "Ann") -> PayoutDestination:
    return PayoutDestination(provider=provider, account=account, beneficiary=beneficiary)


def payouts_of(client: Client, header: tuple[str, str] = USUAL) -> Any:  # noqa: ANN401 - a stub
    return Authorised(PayoutServiceStub(client.channel), header)


async def get(client: Client, name: str) -> Payout:
    payout: Payout = (await payouts_of(client).GetPayout(GetPayoutRequest(name=name))).payout
    return payout


# Nobody pays out here.


@asynchronous
async def test_a_withdrawal_is_answered_with_its_payout(target: str) -> None:
    async with connected(target) as client:
        alice = await client.open(100)
        fee = Fee(minor_units=3, mode=FeeMode.FEE_MODE_INCLUDED)
        answer = await client.withdraw(alice, 20, payout=to(), description="wages", fee=fee)
        told = answer.transaction
        assert told.payout == f"payouts/{told.name.removeprefix('transactions/')}"
        assert (await client.balance(alice)) == 80
        payout = await get(client, told.payout)
        assert (payout.name, payout.transaction, payout.wallet) == (told.payout, told.name, alice)
        assert (payout.destination, payout.amount, payout.state) == (to(), usd(17), PENDING)
        assert payout.create_time == payout.update_time == payout.next_attempt_time == told.post_time
        assert (payout.attempt_count, payout.provider_reference, payout.last_error, payout.reversal) == (0, "", "", "")
        read = await client.transactions.GetTransaction(GetTransactionRequest(name=told.name))
        assert read.transaction == told


@asynchronous
async def test_a_withdrawal_that_fails_pays_nothing_out(target: str) -> None:
    async with connected(target) as client:
        alice = await client.open(10)
        error = await failed(client.withdraw(alice, 20, payout=to()))
        assert error.reason == "INSUFFICIENT_FUNDS"
        name = error.metadata["transaction"]
        read = (await client.transactions.GetTransaction(GetTransactionRequest(name=name))).transaction
        assert (read.state, read.payout) == (TransactionState.TRANSACTION_STATE_FAILED, "")
        missing = await failed(get(client, name.replace("transactions/", "payouts/")))
        assert (missing.code, missing.reason) == ("NOT_FOUND", "PAYOUT_NOT_FOUND")


@asynchronous
async def test_the_destination_is_part_of_the_request(target: str) -> None:
    async with connected(target) as client:
        alice, request_id = await client.open(100), key()
        first = await client.withdraw(alice, 20, request_id=request_id, payout=to())
        again = await client.withdraw(alice, 20, request_id=request_id, payout=to())
        assert (again.replayed, again.transaction) == (True, first.transaction)
        for other in (to("DE00"), to(beneficiary="Ben"), None):
            error = await failed(client.withdraw(alice, 20, request_id=request_id, payout=other))
            assert error.reason == "REQUEST_ID_REUSED"
        assert await client.balance(alice) == 80


@asynchronous
async def test_a_provider_that_nobody_knows_is_refused_and_leaves_no_trace(target: str, ledger: Ledger) -> None:
    async with connected(target) as client:
        alice = await client.open(100)
        before = ledger.rows()
        error = await failed(client.withdraw(alice, 20, payout=to(provider="other")))
        assert (error.code, error.reason) == ("INVALID_ARGUMENT", "UNKNOWN_PAYOUT_PROVIDER")
        assert error.metadata == {"provider": "other"}
        assert ledger.rows() == before


@pytest.mark.parametrize(
    ("payout", "field"),
    [
        (PayoutDestination(account=IBAN), "payout.provider"),
        (PayoutDestination(provider="Bank", account=IBAN), "payout.provider"),
        (PayoutDestination(provider="bank"), "payout.account"),
        (PayoutDestination(provider="bank", account="x" * 129), "payout.account"),
        (PayoutDestination(provider="bank", account="DE\n89"), "payout.account"),
        (PayoutDestination(provider="bank", account=IBAN, beneficiary="\0"), "payout.beneficiary"),
    ],
)
@asynchronous
async def test_a_destination_that_cannot_be_one_is_refused(target: str, payout: PayoutDestination, field: str) -> None:
    async with connected(target) as client:
        error = await failed(client.withdraw("wallets/any", 20, payout=payout))
        assert (error.reason, field in error.fields) == ("INVALID_FIELD", True)


@asynchronous
async def test_nobody_else_gives_it_back(target: str) -> None:
    async with connected(target) as client:
        alice = await client.open(100)
        out = (await client.withdraw(alice, 20, payout=to())).transaction
        for amount in (None, usd(5)):
            error = await failed(client.reverse(out.name, amount=amount))
            assert (error.code, error.reason) == ("FAILED_PRECONDITION", "NOT_REVERSIBLE")
            assert error.metadata["payout"] == out.payout
            stored = GetTransactionRequest(name=error.metadata["transaction"])
            attempt = (await client.transactions.GetTransaction(stored)).transaction
            assert (attempt.state, attempt.reverses) == (TransactionState.TRANSACTION_STATE_FAILED, out.name)
        assert await client.balance(alice) == 80


@asynchronous
async def test_an_account_with_payouts_under_way_is_not_closed(target: str) -> None:
    async with connected(target) as client:
        alice = await client.open(20)
        await client.withdraw(alice, 20, payout=to())
        error = await failed(client.set_state(alice, CLOSED))
        assert (error.code, error.reason) == ("FAILED_PRECONDITION", "PAYOUTS_UNDER_WAY")
        assert error.metadata == {"wallet": alice, "payouts": "1"}


@asynchronous
async def test_payouts_are_listed_by_wallet_and_state_in_pages(target: str) -> None:
    async with connected(target) as client:
        alice, stub = await client.open(100), payouts_of(client)
        made = [(await client.withdraw(alice, 1, payout=to())).transaction.payout for _ in range(5)]
        found, request = [], ListPayoutsRequest(wallet=alice, state=PENDING, page_size=2)
        while True:
            page = await stub.ListPayouts(request)
            assert len(page.payouts) <= 2
            found += [payout.name for payout in page.payouts]
            if not page.next_page_token:
                break
            request.page_token = page.next_page_token
        assert found == made[::-1]
        assert not (await stub.ListPayouts(ListPayoutsRequest(wallet=alice, state=DEAD))).payouts
        newest = (await stub.ListPayouts(ListPayoutsRequest(page_size=1))).payouts
        assert len(newest) == 1
        request.state = DEAD
        assert (await failed(stub.ListPayouts(request))).reason == "INVALID_PAGE_TOKEN"
        request.state, request.wallet = PENDING, await client.open()
        assert (await failed(stub.ListPayouts(request))).reason == "INVALID_PAGE_TOKEN"


@asynchronous
async def test_payouts_out_of_somebody_elses_wallet_are_not_there(target: str) -> None:
    async with connected(target, bearer(token("payee-ann", BOUND))) as ann, connected(target) as house:
        alice = await house.open(100, owner="payee-ann")
        name = (await ann.withdraw(alice, 5, payout=to())).transaction.payout
        hers, his = (payouts_of(ann, bearer(token(who, BOUND))) for who in ("payee-ann", "payee-ben"))
        mine = (await hers.GetPayout(GetPayoutRequest(name=name))).payout
        assert (mine.name, mine.wallet) == (name, alice)
        assert list((await hers.ListPayouts(ListPayoutsRequest(wallet=alice))).payouts) == [mine]
        foreign, missing = [await failed(his.GetPayout(GetPayoutRequest(name=n))) for n in (name, NO_SUCH)]
        assert (foreign, foreign.reason) == (missing, "PAYOUT_NOT_FOUND")
        assert foreign.message.replace(name, NO_SUCH) == missing.message
        assert (await failed(his.ListPayouts(ListPayoutsRequest(wallet=alice)))).reason == "WALLET_NOT_FOUND"
        assert (await failed(his.ListPayouts(ListPayoutsRequest(state=PENDING)))).reason == "PERMISSION_DENIED"
        assert (await failed(hers.RetryPayout(RetryPayoutRequest(name=name)))).reason == "PERMISSION_DENIED"


@asynchronous
async def test_to_retry_what_is_not_dead_changes_nothing(target: str) -> None:
    async with connected(target) as client:
        stub, name = (
            payouts_of(client),
            (await client.withdraw(await client.open(9), 9, payout=to())).transaction.payout,
        )
        before = await get(client, name)
        assert (await stub.RetryPayout(RetryPayoutRequest(name=name))).payout == before
        assert (await failed(stub.RetryPayout(RetryPayoutRequest(name=NO_SUCH)))).reason == "PAYOUT_NOT_FOUND"


# With a bank.


@pytest.fixture(scope="module")
def paying_database(postgres_server: Server) -> Iterator[Database]:
    with postgres_server.fresh_database() as fresh:
        yield fresh
        audit(fresh.owner_dsn)


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimulatorProcess]:
    with simulator(tmp_path_factory.mktemp("bank")) as running:
        yield running


@pytest.fixture(scope="module")
def service(
    paying_database: Database, bank: SimulatorProcess, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServiceProcess]:
    providers = f"bank={bank.target},gone=127.0.0.1:9"
    with transaction_service(paying_database, tmp_path_factory.mktemp("t"), PAYOUT_PROVIDERS=providers) as running:
        yield running


@pytest.fixture(scope="module")
def office(
    paying_database: Database, bank: SimulatorProcess, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServiceProcess]:
    """It has not been told of `gone`, and gives up soon."""
    settings = {
        "PAYOUT_PROVIDERS": f"bank={bank.target}",
        "PAYOUT_ATTEMPTS_MAX": 2,
        "PAYOUT_FIRST_PAUSE_SECONDS": 0.05,
        "PAYOUT_PAUSE_SECONDS_MAX": 0.1,
    }
    with back_office(paying_database, tmp_path_factory.mktemp("b"), **settings) as running:
        yield running
        assert running.stop() == 0


@pytest.fixture
def rows(paying_database: Database) -> Ledger:
    return Ledger(paying_database)


async def ended(client: Client, rows: Ledger, name: str, *states: int) -> Payout:
    """When it is in one of these."""
    query = "SELECT state = ANY(%s) FROM transactions.payout WHERE id = %s"
    asked = partial(rows.query, query, list(states), name.removeprefix("payouts/"))
    wait_until(lambda: asked() == [(True,)], f"{name} is in state {states}")
    return await get(client, name)


@asynchronous
async def test_what_is_asked_for_is_paid(
    service: ServiceProcess, office: ServiceProcess, bank: SimulatorProcess, rows: Ledger
) -> None:
    async with connected(service.targets[0]) as client:
        alice = await client.open(100)
        out = (await client.withdraw(alice, 20, payout=to(), description="wages")).transaction
        payout = await ended(client, rows, out.payout, PAID)
        assert (payout.attempt_count, payout.last_error, payout.HasField("next_attempt_time")) == (1, "", False)
        assert payout.provider_reference
        booked = bank.book()[out.payout.removeprefix("payouts/")]
        assert (booked.minor_units, booked.currency, booked.account) == (20, "USD", IBAN)
        assert (booked.beneficiary, booked.reference, booked.state) == ("Ann", "wages", "PAID")
        [told] = [event for event in office.events("payout_paid") if event["payout"] == out.payout]
        assert told["provider"] == "bank"
        assert IBAN not in office.log_text()
        assert office.metrics()['specie_payout_calls_total{outcome="paid",provider="bank"}'] >= 1
        await client.withdraw(alice, 80)
        await client.set_state(alice, CLOSED)


@asynchronous
async def test_what_is_refused_comes_back_with_its_fee(
    service: ServiceProcess, office: ServiceProcess, bank: SimulatorProcess, rows: Ledger
) -> None:
    async with connected(service.targets[0]) as client:
        alice = await client.open(100, owner="payee-ann")
        bank.switch(refuse=1)
        out = (await client.withdraw(alice, 20, payout=to(), fee=Fee(minor_units=3))).transaction
        payout = await ended(client, rows, out.payout, REVERSED)
        bank.switch()
        assert await client.balance(alice) == 100
        assert payout.last_error == "the account is closed"
        hers = payouts_of(client, bearer(token("payee-ann", BOUND)))
        assert (await hers.GetPayout(GetPayoutRequest(name=out.payout))).payout == payout
        back = (await client.transactions.GetTransaction(GetTransactionRequest(name=payout.reversal))).transaction
        assert (back.reverses, back.principal, back.destination) == (out.name, "system/payouts", alice)
        assert [event["event"] for event in office.events() if event.get("payout") == out.payout] == [
            "payout_refused",
            "payout_reversed",
        ]


@asynchronous
async def test_what_was_given_up_is_paid_once_an_operator_retries_it(
    service: ServiceProcess, office: ServiceProcess, bank: SimulatorProcess, rows: Ledger
) -> None:
    async with connected(service.targets[0]) as client:
        alice = await client.open(100)
        bank.switch(unavailable=1)
        out = (await client.withdraw(alice, 20, payout=to())).transaction
        dead = await ended(client, rows, out.payout, DEAD)
        assert (dead.attempt_count, "UNAVAILABLE" in dead.last_error) == (2, True)
        assert [event["level"] for event in office.events("payout_dead")] == ["error"]
        wait_until(lambda: office.metrics()['specie_payouts{state="dead"}'] == 1, "the metric tells it")
        listed = (await payouts_of(client).ListPayouts(ListPayoutsRequest(state=DEAD))).payouts
        assert list(listed) == [dead]
        bank.switch()
        retried = (await payouts_of(client).RetryPayout(RetryPayoutRequest(name=out.payout))).payout
        assert (retried.state, retried.attempt_count) == (PENDING, 0)
        assert (await ended(client, rows, out.payout, PAID)).attempt_count == 1
        acts = rows.query("SELECT act, after, principal FROM transactions.act WHERE subject = %s", out.payout)
        assert acts == [("RETRY", {"state": "PENDING"}, USUAL_SUBJECT)]
        types = rows.query("SELECT type FROM transactions.event WHERE subject = %s ORDER BY create_time", out.payout)
        assert types == [("payout.dead",), ("payout.paid",)]


@asynchronous
async def test_a_provider_that_the_back_office_has_not_ends_dead(
    service: ServiceProcess, office: ServiceProcess, rows: Ledger
) -> None:
    async with connected(service.targets[0]) as client:
        alice = await client.open(20, owner="payee-ann")
        out = (await client.withdraw(alice, 20, payout=to(provider="gone"))).transaction
        dead = await ended(client, rows, out.payout, DEAD)
        assert dead.last_error == "no payout provider gone is set up"
        hers = payouts_of(client, bearer(token("payee-ann", BOUND)))
        told = (await hers.GetPayout(GetPayoutRequest(name=out.payout))).payout
        [listed] = (await hers.ListPayouts(ListPayoutsRequest(wallet=alice))).payouts
        assert (told.state, told.last_error, listed.last_error) == (DEAD, "", ""), "that is for operators"
        assert office.process is not None
        assert office.process.poll() is None


@asynchronous
async def test_a_request_is_answered_as_it_was_when_its_provider_has_gone(
    service: ServiceProcess, office: ServiceProcess, paying_database: Database, tmp_path: Path, rows: Ledger
) -> None:
    assert office.ports
    async with connected(service.targets[0]) as client:
        alice, request_id = await client.open(20), key()
        out = (await client.withdraw(alice, 20, request_id=request_id, payout=to())).transaction
        await ended(client, rows, out.payout, PAID)
    with transaction_service(paying_database, tmp_path) as without:
        async with connected(without.targets[0]) as client:
            again = await client.withdraw(alice, 20, request_id=request_id, payout=to())
            assert (again.replayed, again.transaction) == (True, out)
            error = await failed(client.withdraw(alice, 20, payout=to()))
            assert error.reason == "UNKNOWN_PAYOUT_PROVIDER"
