"""What is asked about payouts stays a walk along an index, however many have ended."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator

import pytest

from tests.kit.ledgers import session
from tests.kit.payouts import Paying, paying_out
from tests.kit.plans import Plan, caught, explain
from tests.kit.postgres import Database
from transaction_service.domain.account import AccountState, set_state
from transaction_service.payouts.payout import PayoutState

ROWS_MAX = 2_000
PAGE = 50
# 30,000 payouts by one provider, out of 30 wallets: most were paid, 3,000 are overdue, and some hundred went wrong.
LOAD = """
INSERT INTO transactions.payout (id, state, wallet, provider, account, beneficiary, reference, amount, currency,
    attempts, failures, taken, next_time, provider_reference, last_error, reversal_attempts, deaths, create_time,
    update_time)
SELECT gen_random_uuid(), state, 'wallets/w' || n %% 30, 'bank', 'DE89', '', '', 1, 'USD', 0, 0, false,
    CASE WHEN state IN (1, 3) THEN now() - (40000 - n) * interval '1 second' END, '', '', 0, 0,
    now() - n * interval '1 second', now()
FROM (
    SELECT n, CASE WHEN n %% 10 = 0 THEN 1 WHEN n %% 300 = 1 THEN 5 WHEN n %% 300 = 2 THEN 3 ELSE 2 END AS state
    FROM generate_series(1, 30000) AS n) AS numbered
"""
# One by a provider of whom the statistics know nothing yet, due after all the others.
NEW_PROVIDER = LOAD.replace("'bank'", "'cards'").replace("generate_series(1, 30000)", "generate_series(30010, 30010)")


@pytest.fixture(scope="module")
def paying(database: Database) -> Iterator[Paying]:
    with session(database.owner_dsn) as cursor:
        cursor.execute(LOAD.replace("%%", "%"))
        cursor.execute("ANALYZE transactions.payout")
        cursor.execute(NEW_PROVIDER.replace("%%", "%"))
        cursor.connection.commit()
    with paying_out(database) as paying:
        yield paying


async def close(paying: Paying) -> None:
    movement = await paying.withdraw(amount=100)
    await paying.ledger.accounts.change(movement.source, lambda a: set_state(a, AccountState.CLOSED, 2))


async def walk(paying: Paying, wallet: str, state: PayoutState | None) -> None:
    _, after = await paying.payouts.payouts(wallet, state, None, PAGE)
    if after is not None:
        await paying.payouts.payouts(wallet, state, after, PAGE)


ASKED: dict[str, Callable[[Paying], Awaitable[object]]] = {
    "claim": lambda paying: paying.store.claim(16, 10, {"bank": 3}),
    "backlog": lambda paying: paying.store.backlog(1_000),
    "close": close,
    "all": lambda paying: walk(paying, "", None),
    "dead": lambda paying: walk(paying, "", PayoutState.DEAD),
    "of a wallet": lambda paying: walk(paying, "wallets/w7", None),
    "dead of a wallet": lambda paying: walk(paying, "wallets/w7", PayoutState.DEAD),
    "of nobody": lambda paying: walk(paying, "wallets/nobody", None),
}


@pytest.mark.parametrize("asked", ASKED)
def test_every_statement_is_a_walk_along_an_index(paying: Paying, database: Database, asked: str) -> None:
    with caught() as statements:
        asyncio.run(ASKED[asked](paying))  # type: ignore[arg-type] # it is a coroutine
    about = [statement for statement in statements if "transactions.payout" in statement]
    assert about
    plans: list[Plan] = [explain(database.transaction_dsn, statement) for statement in about]
    assert all("Seq Scan" not in plan.nodes for plan in plans), plans
    assert all(plan.rows <= ROWS_MAX for plan in plans), plans
