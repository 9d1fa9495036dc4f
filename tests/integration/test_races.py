"""Many callers at one moment, over two worker processes of two lanes each: one effect, one answer, no deadlock."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from specie.transaction.v1 import AccountState

from tests.kit.auditor import audit
from tests.kit.calls import Client, Failed, connected, key, outcome
from tests.kit.crowd import at_once, both, reason
from tests.kit.ledger import Ledger, Rows
from tests.kit.postgres import Database
from tests.kit.service import ServiceProcess, transaction_service
from tests.kit.wallets import asynchronous


@pytest.fixture(scope="module")
def service(database: Database, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    """At the end it stops in order, the books are sound, and no two groups have ever waited for each other."""
    with transaction_service(database, tmp_path_factory.mktemp("races"), WORKERS=2, LANES=2) as running:
        yield running
        assert running.stop() == 0
        audit(database.owner_dsn, floors_never_changed=True)
        assert Ledger(database).deadlocks() == 0
        assert [event for event in running.events() if event.get("level") not in ("info", "warning")] == []


@pytest.fixture(scope="module")
def ledger(database: Database) -> Ledger:
    return Ledger(database)


async def new_key_and_wallets(client: Client, balance: int) -> tuple[str, str, str]:
    return key(), await client.open(balance), await client.open()


@asynchronous
async def test_the_same_request_raced_by_32_callers_has_one_effect_and_one_answer(
    service: ServiceProcess, ledger: Ledger
) -> None:
    async with both(service) as clients:
        for _ in range(5):
            request_id, alice, bob = await new_key_and_wallets(clients[0], 100)
            before = ledger.rows()

            def call(caller: int, request_id: str = request_id, alice: str = alice, bob: str = bob) -> Any:  # noqa: ANN401
                return clients[caller % 2].transfer(alice, bob, 10, request_id)

            answers: list[Any] = await at_once(32, call)
            assert {answer.transaction.SerializeToString() for answer in answers} == {
                answers[0].transaction.SerializeToString()
            }
            assert [answer.replayed for answer in answers].count(False) == 1
            after = ledger.rows()
            assert after == Rows(before.posted + 1, before.failed, before.entries + 2)
            assert await clients[1].balance(bob) == 10


@asynchronous
async def test_the_same_refused_request_raced_by_32_callers_is_stored_once(
    service: ServiceProcess, ledger: Ledger
) -> None:
    async with both(service) as clients:
        request_id, alice, bob = await new_key_and_wallets(clients[0], 9)
        before = ledger.rows()
        answers = await at_once(32, lambda caller: clients[caller % 2].transfer(alice, bob, 10, request_id))
        assert {reason(answer) for answer in answers} == {"INSUFFICIENT_FUNDS"}
        told = Counter(answer.metadata["replayed"] for answer in answers if isinstance(answer, Failed))
        assert told == {"false": 1, "true": 31}
        assert ledger.rows() == Rows(before.posted, before.failed + 1, before.entries)


@asynchronous
async def test_different_requests_raced_under_one_key_have_one_effect(service: ServiceProcess, ledger: Ledger) -> None:
    async with both(service) as clients:
        request_id, alice, bob = await new_key_and_wallets(clients[0], 100)
        before = ledger.rows()
        # Callers 0, 1 ask for 10, callers 2, 3 for 11, and so on: each amount at both workers.
        answers = await at_once(
            32, lambda caller: clients[caller % 2].transfer(alice, bob, 10 + caller // 2 % 2, request_id)
        )
        assert Counter(map(reason, answers)) == {"POSTED": 16, "REQUEST_ID_REUSED": 16}
        assert ledger.rows() == Rows(before.posted + 1, before.failed, before.entries + 2)
        winners: set[int] = {a.transaction.amount.minor_units for a in answers if not isinstance(a, Failed)}
        assert {await clients[0].balance(bob)} == winners


@asynchronous
async def test_opposite_transfers_of_64_workers_all_post(service: ServiceProcess) -> None:
    async with both(service) as clients:
        alice, bob = await clients[0].open(1_000), await clients[0].open(1_000)

        async def work(worker: int) -> list[Any]:
            source, destination = (alice, bob) if worker // 2 % 2 else (bob, alice)
            return [await clients[worker % 2].transfer(source, destination, 1) for _ in range(10)]

        answers = await at_once(64, work)
        assert [len(answer) for answer in answers if not isinstance(answer, Failed)] == [10] * 64
        assert (await clients[0].balance(alice), await clients[0].balance(bob)) == (1_000, 1_000)


@asynchronous
async def test_transfers_around_a_ring_of_wallets_all_post(service: ServiceProcess) -> None:
    """Groups of several accounts, in every order there is."""
    async with both(service) as clients:
        ring = [await clients[0].open(100) for _ in range(8)]

        async def work(worker: int) -> list[Any]:
            client, distance = clients[worker % 2], 1 + worker % 7
            sources = [(worker + step * 3) % 8 for step in range(8)]
            return [await client.transfer(ring[s], ring[(s + distance) % 8], 1) for s in sources]

        answers = await at_once(32, work)
        assert not [answer for answer in answers if isinstance(answer, Failed)]
        assert sum([await clients[0].balance(wallet) for wallet in ring]) == 800


@asynchronous
async def test_of_50_withdrawals_of_a_balance_for_10_exactly_10_post(service: ServiceProcess, ledger: Ledger) -> None:
    async with both(service) as clients:
        alice = await clients[0].open(109)
        answers = await at_once(50, lambda caller: clients[caller % 2].withdraw(alice, 10))
        assert Counter(map(reason, answers)) == {"POSTED": 10, "INSUFFICIENT_FUNDS": 40}
        assert await clients[0].balance(alice) == 9
        lowest = ledger.query(
            "SELECT min(entry.balance) FROM transactions.entry JOIN transactions.account ON account.id = account_id"
            " WHERE name = %s AND amount < 0",
            alice,
        )
        assert lowest == [(9,)]


@asynchronous
async def test_after_a_freeze_has_returned_no_debit_posts(service: ServiceProcess, ledger: Ledger) -> None:
    def debits(alice: str) -> int:
        counted: int = ledger.query(
            "SELECT count(*) FROM transactions.entry JOIN transactions.account ON account.id = account_id"
            " WHERE name = %s AND amount < 0",
            alice,
        )[0][0]
        return counted

    async with both(service) as clients:
        for _ in range(3):
            alice, bob = await clients[0].open(1_000_000), await clients[0].open()
            flowing = asyncio.Barrier(17)

            async def debit(caller: int, alice: str = alice, bob: str = bob, flowing: asyncio.Barrier = flowing) -> str:
                await clients[caller % 2].transfer(alice, bob, 1)
                await flowing.wait()
                while True:
                    answer = await outcome(clients[caller % 2].transfer(alice, bob, 1))
                    if isinstance(answer, Failed):
                        return answer.reason

            running = [asyncio.create_task(debit(caller)) for caller in range(16)]
            await flowing.wait()
            await clients[0].set_state(alice, AccountState.ACCOUNT_STATE_FROZEN)
            when_it_returned = debits(alice)
            assert set(await asyncio.gather(*running)) == {"SOURCE_FROZEN"}
            assert debits(alice) == when_it_returned >= 16
            assert await clients[1].balance(alice) == 1_000_000 - when_it_returned


@asynchronous
async def test_the_cash_account_of_a_currency_is_opened_once_by_whoever_is_first(
    service: ServiceProcess, ledger: Ledger
) -> None:
    async with both(service) as clients:
        for currency in ("CHF", "NOK", "DKK", "PLN"):
            alice, bob = await clients[0].open(currency=currency), await clients[1].open(currency=currency)
            wallets = (alice, bob)

            def call(caller: int, wallets: tuple[str, str] = wallets, currency: str = currency) -> Any:  # noqa: ANN401
                return clients[caller % 2].deposit(wallets[caller // 2 % 2], 1, currency)

            answers = await at_once(16, call)
            assert Counter(map(reason, answers)) == {"POSTED": 16}
            cash = ledger.query(
                "SELECT balance, version FROM transactions.account WHERE name = %s", f"system/cash-{currency.lower()}"
            )
            assert cash == [(-16, 16)]


def test_an_account_that_another_session_holds_delays_only_its_own_callers(
    database: Database, ledger: Ledger, tmp_path: Path
) -> None:
    async def story(service: ServiceProcess) -> None:
        async with connected(service.targets[0]) as client:
            alice, bob, carol = await client.open(10), await client.open(), await client.open(10)
            request_id = key()
            with ledger.locked(alice):
                stuck = asyncio.ensure_future(outcome(client.transfer(alice, bob, 1, request_id)))
                others = await asyncio.gather(*[client.transfer(carol, bob, 1) for _ in range(10)])
                assert len(others) == 10
                # While the account is still held.
                refused = await stuck
                assert isinstance(refused, Failed)
                assert (refused.code, refused.reason) == ("ABORTED", "CONTENTION")
            answer = await client.transfer(alice, bob, 1, request_id)
            assert not answer.replayed

    with transaction_service(database, tmp_path) as one_lane:
        asyncio.run(story(one_lane))
