"""Payroll: 5,000 employees are paid in one call."""

import asyncio
from collections import Counter
from contextlib import suppress

import grpc.aio
from specie.transaction.v1 import TransactionState, TransferRequest

from tests.kit.calls import failed, usd, wallet_name, why
from tests.kit.crowd import eventually
from tests.kit.postgres import Database
from tests.kit.scenario import Scenario, story
from tests.kit.service import ServiceProcess
from tests.kit.wallets import asynchronous

EMPLOYEES = 5_000
POSTED, FAILED = TransactionState.TRANSACTION_STATE_POSTED, TransactionState.TRANSACTION_STATE_FAILED


def salary(employee: int) -> int:
    """In minor units."""
    return 2_000_00 + employee


TOTAL = sum(map(salary, range(EMPLOYEES)))


def payroll(month: str, company: str, employees: list[str]) -> list[TransferRequest]:
    return [
        TransferRequest(
            source=company,
            destination=employee,
            amount=usd(salary(number)),
            request_id=f"{month}-{number}",
            labels={"payroll": month},
        )
        for number, employee in enumerate(employees)
    ]


async def has(firm: Scenario, wallet: str, minor_units: int) -> bool:
    return await firm.client().balance(wallet) == minor_units


@asynchronous
async def test_everybody_is_paid_once_though_the_answer_was_lost(service: ServiceProcess, database: Database) -> None:
    async with story(service, database) as firm:
        company, employees = await firm.wallet(2 * TOTAL), await firm.wallets(EMPLOYEES)
        transfers = payroll("2026-05", company, employees)

        # The bookkeeper sees the money leave, and then the line is cut.
        sent = firm.client().batch(transfers)
        await eventually(lambda: has(firm, company, TOTAL), "the salaries have left")
        sent.cancel()
        with suppress(asyncio.CancelledError, grpc.aio.AioRpcError):
            await sent

        answer = firm.hear(await firm.client(1).batch(transfers))
        assert [result.replayed for result in answer.results] == [True] * EMPLOYEES
        paid = [result.transaction for result in answer.results]
        assert [(t.destination, t.amount.minor_units, t.state) for t in paid] == [
            (employee, salary(number), POSTED) for number, employee in enumerate(employees)
        ]
        assert await firm.balances(employees) == [usd(salary(number)) for number in range(EMPLOYEES)]
        await firm.ends_with(USD=2 * TOTAL)


@asynchronous
async def test_one_bad_employee_stops_an_atomic_payroll_and_nobody_is_paid(
    service: ServiceProcess, database: Database
) -> None:
    async with story(service, database) as firm:
        company, employees = await firm.wallet(TOTAL), await firm.wallets(EMPLOYEES)
        employees[2_500] = unknown = wallet_name()
        stopped = firm.hear(await failed(firm.client().batch(payroll("2026-06", company, employees), atomic=True)))
        assert (stopped.code, stopped.reason) == ("NOT_FOUND", "DESTINATION_NOT_FOUND")
        assert (stopped.metadata["item"], stopped.metadata["wallet"]) == ("2500", unknown)
        assert await firm.client().balance(company) == TOTAL

        # Who was to be paid, and why not, is on record.
        attempts = await firm.client(1).listed(label="payroll=2026-06", page_size=1000)
        assert {attempt.state for attempt in attempts} == {FAILED}
        assert Counter(map(why, attempts)) == {"DESTINATION_NOT_FOUND": 1, "BATCH_STOPPED": EMPLOYEES - 1}

        # Without that one the next payroll pays all others.
        del employees[2_500]
        answer = firm.hear(await firm.client().batch(payroll("2026-06-corrected", company, employees), atomic=True))
        assert len(answer.results) == EMPLOYEES - 1
        assert {result.transaction.state for result in answer.results} == {POSTED}
        assert await firm.balances(employees) == [usd(salary(number)) for number in range(EMPLOYEES - 1)]
        await firm.ends_with(USD=TOTAL)
