"""A bank run: hundreds of customers want their money at the same moment, and it is not all there."""

from collections import Counter
from typing import Any

from specie.transaction.v1 import EntryOrder, ListEntriesRequest, TransactionKind, TransactionState
from specie.type.v1 import Limits

from tests.kit.calls import Failed, usd
from tests.kit.crowd import at_once, reason, replayed
from tests.kit.postgres import Database
from tests.kit.scenario import story
from tests.kit.service import ServiceProcess
from tests.kit.wallets import asynchronous

CUSTOMERS = 300
RESERVE = 20_000
CREDIT = 5_000
"""The central bank's line: the floor is below 0."""
PROMISED = 3_000
"""Held for somebody else; nobody else gets it."""


def demand(customer: int) -> int:
    """In minor units. All together more than there is."""
    return 50 + customer * 37 % 200


def slip(customer: int) -> str:
    return f"withdrawal-slip-{customer}"


@asynchronous
async def test_who_is_told_yes_has_it_and_nobody_else_and_the_floor_holds(
    service: ServiceProcess, database: Database
) -> None:
    async with story(service, database) as town:
        bank = await town.wallet(RESERVE, limits=Limits(credit_minor_units=CREDIT))
        promised_to = await town.wallet()
        promise = await town.client().place_hold(bank, promised_to, PROMISED)
        there_is = RESERVE + CREDIT - PROMISED
        assert sum(map(demand, range(CUSTOMERS))) > there_is

        def withdraw(customer: int, counter: int) -> Any:  # noqa: ANN401 - a call
            client, paper = town.client(counter), slip(customer)
            return client.withdraw(bank, demand(customer), request_id=paper, external_reference=paper)

        answers = town.hear_all(await at_once(CUSTOMERS, lambda customer: withdraw(customer, customer)))
        assert set(map(reason, answers)) == {"POSTED", "INSUFFICIENT_FUNDS"}
        paid = [customer for customer, answer in enumerate(answers) if not isinstance(answer, Failed)]
        left = there_is - sum(map(demand, paid))
        assert left >= 0

        # Nobody was sent away whom the rest would have paid.
        sent_away = set(range(CUSTOMERS)).difference(paid)
        assert min(map(demand, sent_away)) > left

        # The record agrees with every single answer.
        attempts = await town.client().listed(wallet=bank, kind=TransactionKind.TRANSACTION_KIND_WITHDRAWAL)
        posted = TransactionState.TRANSACTION_STATE_POSTED
        assert Counter((a.external_reference, a.state == posted) for a in attempts) == Counter(
            (slip(customer), customer not in sent_away) for customer in range(CUSTOMERS)
        )

        # Not for a moment was the bank below its floor.
        request = ListEntriesRequest(wallet=bank, order=EntryOrder.ENTRY_ORDER_NEWEST_FIRST, page_size=1000)
        statement = (await town.client().transactions.ListEntries(request)).entries
        assert len(statement) == 1 + len(paid)
        assert min(entry.balance.minor_units for entry in statement) == statement[0].balance.minor_units
        assert statement[0].balance == usd(left + PROMISED - CREDIT)

        # At the other counter the same slip is told the same.
        again = town.hear_all(await at_once(CUSTOMERS, lambda customer: withdraw(customer, customer + 1)))
        assert all(map(replayed, again))
        assert list(map(reason, again)) == list(map(reason, answers))

        # What was promised is still there.
        await town.client().capture(promise.hold.name)
        assert await town.client().balance(promised_to) == PROMISED
        await town.ends_with(USD=RESERVE - sum(map(demand, paid)))
