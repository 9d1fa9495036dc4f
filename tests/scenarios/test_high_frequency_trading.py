"""High-frequency trading: 50 trades at once of dollars against euros, and callers who do not wait for the answer."""

import asyncio
import random
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from specie.transaction.v1 import Posting, TransactionKind

from tests.kit.calls import failed, key, outcome, posting
from tests.kit.crowd import at_once, reason, replayed, wait_for
from tests.kit.ledger import Ledger
from tests.kit.postgres import Database
from tests.kit.scenario import Scenario, story
from tests.kit.service import ServiceProcess, wait_until_async
from tests.kit.wallets import asynchronous

TRADES = 50
TRADERS = 8
BALANCE = 4_000
"""Of each currency; so little that some trades may find no cover."""
HURRY_SECONDS = 0.2


@dataclass(frozen=True)
class Trader:
    dollars: str
    euros: str


@dataclass(frozen=True)
class Trade:
    """The buyer gets euros from the seller for dollars, or neither gets anything."""

    request_id: str
    buyer: Trader
    seller: Trader
    euros: int
    dollars: int

    @property
    def postings(self) -> list[Posting]:
        return [
            posting(self.buyer.dollars, -self.dollars),
            posting(self.seller.dollars, self.dollars),
            posting(self.seller.euros, -self.euros, "EUR"),
            posting(self.buyer.euros, self.euros, "EUR"),
        ]


class Market:
    """Fifty trades that are drawn beforehand."""

    def __init__(self, scenario: Scenario) -> None:
        self._scenario = scenario
        self._session = key()

    async def open(self) -> None:
        """Every worker lets some of the traders in."""
        wallet = self._scenario.wallet
        self._traders = [
            Trader(await wallet(BALANCE, caller=n), await wallet(BALANCE, "EUR", caller=n)) for n in range(TRADERS)
        ]
        draw = random.Random(TRADES)  # noqa: S311 - a choice, not a secret
        self._trades = []
        for _ in range(TRADES):
            buyer, seller = draw.sample(self._traders, 2)
            euros = draw.randint(1, 1_000)
            self._trades.append(Trade(key(), buyer, seller, euros, euros * 11 // 10))

    def send(self, number: int, worker: int, **more: Any) -> Any:  # noqa: ANN401 - a call
        """The same trade is the same request, whenever and wherever it is sent."""
        trade, labels = self._trades[number], {"session": self._session}
        return self._scenario.client(worker).post(trade.postings, trade.request_id, labels=labels, **more)

    async def made(self) -> Counter[int]:
        """The numbers of the trades that the ledger knows, each as often as it does."""
        kind, numbers = TransactionKind.TRANSACTION_KIND_COMPOUND, [trade.request_id for trade in self._trades]
        found = await self._scenario.client().listed(kind=kind, label=f"session={self._session}")
        return Counter(numbers.index(transaction.request_id) for transaction in found)

    async def closes_with(self, answers: list[Any]) -> None:
        """Every trade was made once, or refused once for want of cover; every trader has what was traded."""
        assert set(map(reason, answers)) <= {"POSTED", "INSUFFICIENT_FUNDS"}
        assert await self.made() == Counter(range(TRADES))
        should_have = Counter({wallet: BALANCE for t in self._traders for wallet in (t.dollars, t.euros)})
        for trade, answer in zip(self._trades, answers, strict=True):
            if reason(answer) == "POSTED":
                should_have.update({p.account: p.amount.minor_units for p in trade.postings})
        assert {wallet: await self._scenario.client().balance(wallet) for wallet in should_have} == should_have
        await self._scenario.ends_with(USD=TRADERS * BALANCE, EUR=TRADERS * BALANCE)


@asynchronous
async def test_trades_whose_callers_leave_at_any_moment_are_made_once_or_not_at_all(
    service: ServiceProcess, database: Database
) -> None:
    async with story(service, database) as scenario:
        market, answered = Market(scenario), asyncio.Semaphore(0)
        await market.open()

        async def trade(number: int) -> Any:  # noqa: ANN401 - an answer, or None without one
            match number % 5:
                case 3:  # waits for no more than a few milliseconds
                    return await market.send(number, number, timeout=number / 10_000)
                case 4:  # leaves as soon as somebody else is answered
                    call = market.send(number, number)
                    await answered.acquire()
                    call.cancel()
                    with suppress(asyncio.CancelledError):
                        return await call
                    return None
                case _:
                    answer = await outcome(market.send(number, number))
                    answered.release()
                    return answer

        answers = await at_once(TRADES, trade)
        scenario.hear_all(answer for answer in answers if answer is not None)
        again = scenario.hear_all(await at_once(TRADES, lambda number: market.send(number, number + 1)))
        for number, (first, second) in enumerate(zip(answers, again, strict=True)):
            if number % 5 < 3:
                assert replayed(second)
                assert reason(second) == reason(first)
        await market.closes_with(again)


@asynchronous
async def test_when_the_market_stands_still_all_callers_leave_and_learn_later_what_became_of_their_trades(
    service: ServiceProcess, database: Database, ledger: Ledger
) -> None:
    async with story(service, database) as scenario:
        market = Market(scenario)
        await market.open()
        under_way, waiting, hurried = range(2), range(2, 26), range(26, TRADES)
        with ledger.lanes_halted():
            calls = [market.send(number, number) for number in under_way]
            for worker in range(2):
                await wait_for(service, commands=0, calls=1, worker=worker)
            calls += [market.send(number, number) for number in waiting]
            for worker in range(2):
                await wait_for(service, commands=12, calls=13, worker=worker)
            hurrying = [market.send(number, number, timeout=HURRY_SECONDS) for number in hurried]
            assert {(await failed(call)).code for call in hurrying} == {"DEADLINE_EXCEEDED"}
            for call in calls:
                call.cancel()
            await wait_until_async(lambda: calls_running(service) == [0, 0], "every caller has left")

        # What was under way was made for good; what nobody waited for any more was not begun.
        again = [await outcome(market.send(number, number)) for number in under_way]
        assert all(map(replayed, again))
        assert await market.made() == Counter(under_way)

        again += [await outcome(market.send(number, number)) for number in (*waiting, *hurried)]
        assert not any(map(replayed, again[2:]))
        await market.closes_with(scenario.hear_all(again))


def calls_running(service: ServiceProcess) -> list[float]:
    """At each worker."""
    return [service.metrics(worker)["specie_calls_running"] for worker in range(service.workers)]
