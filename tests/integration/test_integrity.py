"""CheckIntegrity and GetHealth with a back office that checks the books, and without one."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc.aio
import pytest
from specie.transaction.v1 import (
    AuditServiceStub,
    CheckIntegrityRequest,
    CheckIntegrityResponse,
    GetHealthRequest,
    GetHealthResponse,
    HealthServiceStub,
    IntegrityState,
)

from tests.kit.calls import Client, connected, outcome
from tests.kit.postgres import Database, Server
from tests.kit.service import ServiceProcess, back_office, transaction_service, wait_until_async
from tests.kit.tampering import unguarded
from tests.kit.tokens import Authorised, bearer, token
from tests.kit.wallets import asynchronous
from transaction_service.domain.identity import account_id

UNSPECIFIED, SOUND, BROKEN = (
    IntegrityState.INTEGRITY_STATE_UNSPECIFIED,
    IntegrityState.INTEGRITY_STATE_SOUND,
    IntegrityState.INTEGRITY_STATE_BROKEN,
)
AUDITOR = bearer(token("auditor", "audit.read"))
"""Who owns none of the wallets."""
OFTEN = {"INTEGRITY_SECONDS": 0.05, "INTEGRITY_LAP_SECONDS": 0.05}


@pytest.fixture
def fresh(postgres_server: Server) -> Iterator[Database]:
    with postgres_server.fresh_database() as database:
        yield database


@pytest.fixture
def service(fresh: Database, tmp_path: Path) -> Iterator[ServiceProcess]:
    with transaction_service(fresh, tmp_path) as running:
        yield running


async def check(client: Client, wallet: str = "") -> Any:  # noqa: ANN401 - the answer, or how it failed
    stub: Any = Authorised(AuditServiceStub(client.channel), AUDITOR)
    return await outcome(stub.CheckIntegrity(CheckIntegrityRequest(wallet=wallet), timeout=30))


async def checked(client: Client, wallet: str = "") -> CheckIntegrityResponse:
    answer = await check(client, wallet)
    assert isinstance(answer, CheckIntegrityResponse), answer
    return answer


async def health(service: ServiceProcess) -> GetHealthResponse:
    """Without a token."""
    async with grpc.aio.insecure_channel(service.targets[0]) as channel:
        answer: GetHealthResponse = await HealthServiceStub(channel).GetHealth(GetHealthRequest())
    return answer


def found(answer: CheckIntegrityResponse) -> set[tuple[str, str]]:
    return {(finding.check, finding.subject) for finding in answer.findings}


@asynchronous
async def test_where_no_back_office_has_ever_run_nothing_was_checked_and_that_is_told(service: ServiceProcess) -> None:
    async with connected(service.targets[0]) as client:
        await client.open(1000)
        answer = await checked(client)
    assert (answer.state, dict(answer.ledger_integrity_sum)) == (UNSPECIFIED, {"USD": 0})
    assert [answer.HasField(name) for name in ("sum_time", "check_time", "lap_time", "lap_duration")] == [
        True,
        False,
        False,
        False,
    ]
    assert (answer.checked_entry_count, [*answer.findings]) == (0, [])
    told = await health(service)
    assert (told.integrity, told.HasField("check_time")) == (UNSPECIFIED, False)


@asynchronous
async def test_a_back_office_finds_a_sound_ledger_sound(
    service: ServiceProcess, fresh: Database, tmp_path: Path
) -> None:
    async with connected(service.targets[0]) as client:
        alice = await client.open(1000)
        with back_office(fresh, tmp_path, **OFTEN) as office:
            await wait_until_async(lambda: office.events("integrity_lap"), "a lap ends")
            answer = await checked(client, alice)
            assert office.metrics()["specie_integrity_broken"] == 0
            assert office.metrics()["specie_integrity_checked_entries_total"] == 2
            assert office.stop() == 0
        told = await health(service)
    assert (answer.state, answer.checked_entry_count, [*answer.findings]) == (SOUND, 2, [])
    assert answer.HasField("check_time")
    assert answer.HasField("lap_time")
    assert answer.lap_duration.ToTimedelta() > timedelta()
    assert [event for event in office.events() if event.get("level") != "info"] == []
    assert told.ledger_integrity_sum == {"USD": 0}


@asynchronous
async def test_damage_is_told_in_the_log_in_metrics_and_to_who_asks_until_it_is_mended(
    service: ServiceProcess, fresh: Database, tmp_path: Path
) -> None:
    async with connected(service.targets[0]) as client:
        alice, bob = await client.open(1000), await client.open(1000)
        with back_office(fresh, tmp_path, **OFTEN) as office:
            await wait_until_async(lambda: office.events("integrity_lap"), "a lap ends")
            with unguarded(fresh.owner_dsn) as cursor:
                values = [(1, account_id(alice)), (-1, account_id(bob))]
                cursor.executemany("UPDATE account SET balance = balance + %s WHERE id = %s", values)
            await wait_until_async(lambda: len(office.events("integrity_broken")) == 2, "both are found")
            assert office.metrics()["specie_integrity_broken"] == 2
            broken = await checked(client)
            with unguarded(fresh.owner_dsn) as cursor:
                cursor.execute(
                    "UPDATE account SET balance = 1000 WHERE id = ANY(%s::uuid[])", ([v for _, v in values],)
                )
            await wait_until_async(lambda: office.metrics()["specie_integrity_broken"] == 0, "it is mended")
            mended = await checked(client)
            assert len(office.events("integrity_broken")) == 2
    assert (broken.state, dict(broken.ledger_integrity_sum)) == (BROKEN, {"USD": 0})
    assert found(broken) == {("BALANCE_IS_SUM", alice), ("BALANCE_IS_SUM", bob)}
    assert {finding.detail for finding in broken.findings} == {
        "its balance is 1001, its last entry has left 1000",
        "its balance is 999, its last entry has left 1000",
    }
    assert all(finding.find_time.seconds for finding in broken.findings)
    assert (mended.state, [*mended.findings]) == (SOUND, [])
    assert {event["level"] for event in office.events("integrity_broken")} == {"error"}


@asynchronous
async def test_a_wallet_that_is_named_is_checked_at_once(service: ServiceProcess, fresh: Database) -> None:
    async with connected(service.targets[0]) as client:
        alice, bob = await client.open(1000), await client.open(1000)
        with unguarded(fresh.owner_dsn) as cursor:
            cursor.execute("UPDATE entry SET amount = 999 WHERE account_id = %s", (account_id(alice),))
        others = await checked(client, bob)
        answer = await checked(client, alice)
        nobody = await check(client, "wallets/nobody")
    assert (others.state, found(others)) == (UNSPECIFIED, set())
    assert (answer.state, found(answer)) == (BROKEN, {("BALANCE_IS_SUM", alice)})
    assert (nobody.code, nobody.reason) == ("NOT_FOUND", "WALLET_NOT_FOUND")


@asynchronous
async def test_sums_that_are_not_0_are_a_broken_ledger_also_before_anybody_has_checked(
    service: ServiceProcess, fresh: Database
) -> None:
    async with connected(service.targets[0]) as client:
        alice = await client.open(1000)
        with unguarded(fresh.owner_dsn) as cursor:
            cursor.execute("UPDATE account SET balance = balance + 1 WHERE id = %s", (account_id(alice),))
        answer, told = await checked(client), await health(service)
    assert (answer.state, dict(answer.ledger_integrity_sum)) == (BROKEN, {"USD": 1})
    assert (told.integrity, dict(told.ledger_integrity_sum)) == (BROKEN, {"USD": 1})


@asynchronous
async def test_several_back_offices_check_one_ledger(service: ServiceProcess, fresh: Database, tmp_path: Path) -> None:
    async with connected(service.targets[0]) as client:
        alice, bob = await client.open(1000), await client.open(1000)
        with back_office(fresh, tmp_path, **OFTEN) as one, back_office(fresh, tmp_path, **OFTEN) as other:
            for _ in range(20):
                await client.transfer(alice, bob, 1)

            def counted() -> float:
                return sum(office.metrics()["specie_integrity_checked_entries_total"] for office in (one, other))

            await wait_until_async(lambda: counted() == 44, "each entry was checked once")
            laps = len(one.events("integrity_lap")) + len(other.events("integrity_lap"))
            await wait_until_async(
                lambda: len(one.events("integrity_lap")) + len(other.events("integrity_lap")) > laps + 1, "laps go on"
            )
            assert (await checked(client)).checked_entry_count == 44
    assert one.events("integrity_broken") == other.events("integrity_broken") == []
