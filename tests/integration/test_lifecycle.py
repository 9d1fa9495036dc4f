"""Calls that are cut off, a queue that is full, and a service that is told to stop: whole or not at all, and no answer
withheld."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from grpc_reflection.v1alpha import reflection_pb2_grpc
from grpc_reflection.v1alpha.reflection_pb2 import ServerReflectionRequest

from tests.kit.auditor import audit
from tests.kit.calls import Client, Failed, connected, failed, key, outcome
from tests.kit.crowd import wait_for
from tests.kit.ledger import Ledger, Rows, unreachable
from tests.kit.postgres import Database, Server
from tests.kit.service import ServiceProcess, health, transaction_service, wait_until_async
from tests.kit.wallets import asynchronous

TRANSACTIONS = "specie.transaction.v1.TransactionService"
ACCOUNTS = "specie.transaction.v1.AccountService"


@pytest.fixture(scope="module")
def service(database: Database, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    """Two commands fit into its queue. What follows runs on one lane, which a test can hold still."""
    with transaction_service(database, tmp_path_factory.mktemp("lifecycle"), QUEUE_LENGTH=2) as running:
        yield running
        audit(database.owner_dsn, floors_never_changed=True)


@pytest.fixture(scope="module")
def ledger(database: Database) -> Ledger:
    return Ledger(database)


async def cancelled(call: Any) -> None:  # noqa: ANN401 - a call
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call


@asynchronous
async def test_a_call_cancelled_before_its_turn_has_no_effect(service: ServiceProcess, ledger: Ledger) -> None:
    async with connected(service.targets[0]) as client:
        alice, bob = await client.open(100), await client.open()
        before, request_id = ledger.rows(), key()
        with ledger.lanes_halted():
            taken = client.transfer(alice, bob, 1)
            await wait_for(service, commands=0, calls=1)
            waiting = client.transfer(alice, bob, 20, request_id)
            await wait_for(service, commands=1, calls=2)
            await cancelled(waiting)
            await wait_for(service, commands=1, calls=1)
        await taken
        assert ledger.rows() == Rows(before.posted + 1, before.failed, before.entries + 2)
        again = await client.transfer(alice, bob, 20, request_id)
        assert not again.replayed
        assert await client.balance(bob) == 21


@asynchronous
async def test_a_call_cancelled_while_it_is_posted_is_posted(service: ServiceProcess, ledger: Ledger) -> None:
    async with connected(service.targets[0]) as client:
        alice, bob = await client.open(100), await client.open()
        before, request_id = ledger.rows(), key()
        with ledger.lanes_halted():
            taken = client.transfer(alice, bob, 20, request_id)
            await wait_for(service, commands=0, calls=1)
            await cancelled(taken)
            await wait_for(service, commands=0, calls=0)
        again = await client.transfer(alice, bob, 20, request_id)
        assert again.replayed
        assert ledger.rows() == Rows(before.posted + 1, before.failed, before.entries + 2)
        assert await client.balance(bob) == 20


@asynchronous
async def test_a_call_whose_time_is_up_is_told_so_and_the_same_key_tells_the_rest(
    service: ServiceProcess, ledger: Ledger
) -> None:
    async with connected(service.targets[0]) as client:
        alice, bob = await client.open(100), await client.open()
        keys = {"taken": key(), "waiting": key()}
        with ledger.lanes_halted():
            taken = client.transfer(alice, bob, 20, keys["taken"], timeout=2)
            await wait_for(service, commands=0, calls=1)
            waiting = client.transfer(alice, bob, 3, keys["waiting"], timeout=1)
            for call in (waiting, taken):
                assert (await failed(call)).code == "DEADLINE_EXCEEDED"
            await wait_for(service, commands=1, calls=0)
        assert (await client.transfer(alice, bob, 20, keys["taken"])).replayed
        assert not (await client.transfer(alice, bob, 3, keys["waiting"])).replayed
        assert await client.balance(bob) == 23


@asynchronous
async def test_calls_cancelled_at_any_moment_happened_whole_or_not_at_all(database: Database, tmp_path: Path) -> None:
    ledger = Ledger(database)
    with transaction_service(database, tmp_path) as service:
        async with connected(service.targets[0]) as client:
            alice, bob = await client.open(10_000), await client.open()
            keys = [key() for _ in range(150)]
            for number, request_id in enumerate(keys):
                call = client.transfer(alice, bob, 7, request_id, timeout=number % 5 * 0.002 + 0.0005)
                for _ in range(number % 23):
                    await asyncio.sleep(0)
                if number % 2:
                    call.cancel()
                with suppress(asyncio.CancelledError, grpc.aio.AioRpcError):
                    await call
            replayed = Counter([(await client.transfer(alice, bob, 7, k)).replayed for k in keys])
            assert replayed.total() == len(keys)
            assert await client.balance(bob) == 7 * len(keys)
            entries = ledger.query(
                "SELECT count(*) FROM transactions.entry JOIN transactions.transaction t ON t.id = transaction_id"
                " WHERE t.source = %s AND t.state = 1",
                alice,
            )
            assert entries == [(2 * len(keys),)]
        # A caller that went away is no error of the service.
        assert [event for event in service.events() if event.get("level") not in ("info", "warning")] == []


@asynchronous
async def test_a_full_queue_refuses_at_once_and_takes_again_when_there_is_room(
    service: ServiceProcess, ledger: Ledger
) -> None:
    async with connected(service.targets[0]) as client:
        alice, bob = await client.open(100), await client.open()
        refused_before = service.metrics()["specie_posting_queue_refusals_total"]
        with ledger.lanes_halted():
            taken = client.transfer(alice, bob, 1)
            await wait_for(service, commands=0, calls=1)
            calls = [asyncio.ensure_future(outcome(client.transfer(alice, bob, 1))) for _ in range(20)]
            # They come back while nothing at all is posted.
            await wait_until_async(lambda: sum(call.done() for call in calls) == 18, "18 are refused")
            for answer in [call.result() for call in calls if call.done()]:
                assert isinstance(answer, Failed)
                assert (answer.code, answer.reason) == ("RESOURCE_EXHAUSTED", "OVERLOADED")
                assert answer.retry_seconds is not None
                assert answer.retry_seconds > 0
        answers = [await call for call in calls]
        assert sum(not isinstance(answer, Failed) for answer in answers) == 2
        await taken
        assert service.metrics()["specie_posting_queue_refusals_total"] - refused_before == 18
        assert await client.balance(bob) == 3
        await client.transfer(alice, bob, 1)


@asynchronous
async def test_a_stop_says_so_first_and_answers_all_that_was_accepted(database: Database, tmp_path: Path) -> None:
    ledger = Ledger(database)
    with transaction_service(database, tmp_path, SHUTDOWN_NOTICE_SECONDS=1) as service:
        target = service.targets[0]
        async with connected(target) as client:
            alice, bob = await client.open(100), await client.open()
            with ledger.lanes_halted():
                accepted = [asyncio.ensure_future(client.transfer(alice, bob, 1)) for _ in range(10)]
                await wait_until_async(lambda: service.metrics()["specie_calls_running"] == 10, "all are accepted")
                service.terminate()
                await wait_until_async(lambda: health(target) == "NOT_SERVING", "it says so")
                assert (health(target, TRANSACTIONS), health(target, ACCOUNTS)) == ("NOT_SERVING", "NOT_SERVING")
                assert health(target, "liveness") == "SERVING"
                # A balancer may not have seen it yet.
                accepted.append(asyncio.ensure_future(client.transfer(alice, bob, 1)))
                await wait_until_async(lambda: service.metrics()["specie_calls_running"] == 11, "it is accepted too")
                assert not any(call.done() for call in accepted)
            assert len(await asyncio.gather(*accepted)) == 11
        assert await asyncio.to_thread(service.wait) == 0
        assert [event["event"] for event in service.events() if event["event"] in ("stopping", "stopped")] == [
            "stopping",
            "stopped",
        ]
        assert not service.events("not json")


@asynchronous
async def test_a_stop_under_load_leaves_nothing_that_was_not_told(database: Database, tmp_path: Path) -> None:
    ledger = Ledger(database)
    with transaction_service(database, tmp_path) as service:
        flowing = asyncio.Barrier(17)
        async with connected(service.targets[0]) as setup:
            alice, bob = await setup.open(1_000_000), await setup.open()
        before = ledger.rows()

        async def caller() -> tuple[int, Failed]:
            posted = 0
            async with connected(service.targets[0]) as client:
                while True:
                    answer = await outcome(client.transfer(alice, bob, 1))
                    if isinstance(answer, Failed):
                        return posted, answer
                    posted += 1
                    if posted == 5:
                        await flowing.wait()

        callers = [asyncio.create_task(caller()) for _ in range(16)]
        await flowing.wait()
        service.terminate()
        ended = await asyncio.gather(*callers)
        # What came too late was never begun. grpc cancels it, or refuses the connection.
        assert {answer.code for _, answer in ended} <= {"UNAVAILABLE", "CANCELLED"}
        assert {answer.reason for _, answer in ended} == {""}
        assert await asyncio.to_thread(service.wait) == 0
        assert ledger.rows().posted - before.posted == sum(posted for posted, _ in ended)


@asynchronous
async def test_readiness_falls_without_the_database_and_comes_back_with_it(
    database: Database, postgres_server: Server, service: ServiceProcess
) -> None:
    target = service.targets[0]
    name = database.transaction_dsn.rpartition("/")[2]
    async with connected(target) as client:
        alice, bob = await client.open(100), await client.open()
        request_id = key()
        with unreachable(database, postgres_server):
            await wait_until_async(lambda: health(target) == "NOT_SERVING", "it is not ready")
            assert health(target, TRANSACTIONS) == "NOT_SERVING"
            assert health(target, "liveness") == "SERVING"
            for call in (client.transfer(alice, bob, 1, request_id), client.balance(alice)):
                answer = await failed(call)
                assert (answer.code, answer.reason) == ("UNAVAILABLE", "UNAVAILABLE")
                assert answer.retry_seconds is not None
                assert name not in answer.message
        await wait_until_async(lambda: health(target) == "SERVING", "it is ready again")
        assert not (await client.transfer(alice, bob, 1, request_id)).replayed


@asynchronous
async def test_liveness_and_readiness_and_the_services_have_names(service: ServiceProcess) -> None:
    target = service.targets[0]
    assert {health(target, name) for name in ("", "liveness", TRANSACTIONS, ACCOUNTS)} == {"SERVING"}
    assert health(target, "nobody") == "NOT_FOUND"


def _reflection(client: Client) -> Any:  # noqa: ANN401 - the stub's types know only blocking channels
    make_stub: Any = reflection_pb2_grpc.ServerReflectionStub
    return make_stub(client.channel).ServerReflectionInfo(timeout=30)


async def _services(client: Client) -> set[str]:
    call = _reflection(client)
    await call.write(ServerReflectionRequest(list_services=""))
    answer = await call.read()
    call.cancel()
    return {service.name for service in answer.list_services_response.service}


@asynchronous
async def test_reflection_only_by_setting(service: ServiceProcess, database: Database, tmp_path: Path) -> None:
    async with connected(service.targets[0]) as client:
        # Nothing is sent: a request that meets the end of its call fails in another way, now and then.
        assert await _reflection(client).code() is grpc.StatusCode.UNIMPLEMENTED
    with transaction_service(database, tmp_path, REFLECTION="true") as open_one:
        async with connected(open_one.targets[0]) as client:
            assert {TRANSACTIONS, ACCOUNTS, "grpc.health.v1.Health"} <= await _services(client)


@asynchronous
async def test_metrics_tell_calls_refusals_and_groups(service: ServiceProcess) -> None:
    def calls(code: str) -> float:
        return service.metrics().get(f'specie_calls_total{{code="{code}",method="/{TRANSACTIONS}/Transfer"}}', 0)

    async with connected(service.targets[0]) as client:
        alice, bob = await client.open(1), await client.open()
        before = calls("OK"), calls("FAILED_PRECONDITION"), calls("INVALID_ARGUMENT")
        groups = service.metrics()["specie_posting_group_size_count"]
        await client.transfer(alice, bob, 1)
        await failed(client.transfer(alice, bob, 1))
        await failed(client.transfer(alice, bob, 0))
        after = calls("OK"), calls("FAILED_PRECONDITION"), calls("INVALID_ARGUMENT")
        assert [new - old for new, old in zip(after, before, strict=True)] == [1, 1, 1]
        assert service.metrics()["specie_posting_group_size_count"] == groups + 2


def test_a_port_that_is_taken_ends_the_start(service: ServiceProcess, database: Database, tmp_path: Path) -> None:
    log = tmp_path / "second.log"
    second = ServiceProcess("transaction_service", "SPECIE_TRANSACTION_", database, log, PORT=service.ports[0])
    try:
        second.launch()
        assert second.wait() == 1
        assert str(service.ports[0]) in second.events("failed")[0]["error"]
    finally:
        second.end()
