"""Payouts for tests: withdrawals that write them, the store, and a bank that says what it is told to say."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from pydantic import SecretStr

from service_kit.database import Database as Connections
from service_kit.status import Refusal
from tests.kit.builders import code, withdrawal
from tests.kit.ledgers import STATEMENT_TIMEOUT_SECONDS, Ledger, funded, postgres_ledger, session
from tests.kit.postgres import Database
from tests.kit.tokens import IDENTITY
from transaction_service.adapters.payouts import SqlPayouts, SqlPayoutStore
from transaction_service.domain.movement import Answer, Movement, Transaction
from transaction_service.domain.terms import PayoutDestination, Terms
from transaction_service.payouts.pauses import Patience
from transaction_service.payouts.payout import Payout
from transaction_service.payouts.ports import Ledger as LedgerPort
from transaction_service.payouts.ports import LedgerBusy, Payment, PaymentState, PayoutStore, ProviderUnavailable
from transaction_service.payouts.worker import PayoutWorker
from transaction_service.settings import TransactionSettings

LEASE_SECONDS = 60.0
PAID = Payment(PaymentState.PAID, "ref-1")
REFUSED = Payment(PaymentState.REFUSED, "ref-1", "the account is closed")
TAKEN = Payment(PaymentState.PENDING, "ref-1")

PATIENCE = Patience(attempts_max=3, first_pause_seconds=0.01, pause_seconds_max=0.01, timeout_seconds=20)
GONE = ProviderUnavailable("UNAVAILABLE", "UNAVAILABLE: connection refused\n\0by DE89 3704")

Said = Payment | Exception


class Paying:
    """The payouts of one database, and its ledger."""

    def __init__(self, database: Database, ledger: Ledger, connections: Connections) -> None:
        self._dsn = database.owner_dsn
        self._lane = threading.Lock()
        self.ledger = ledger
        self.store = SqlPayoutStore(connections)
        self.payouts = SqlPayouts(connections)

    async def wallets(self, *words: str) -> list[str]:
        """New ones, with 100 each."""
        return await asyncio.to_thread(funded, self.ledger, 100, *words)

    async def withdraw(self, wallet: str = "", amount: int = 10, **changed: Any) -> Movement:  # noqa: ANN401
        """As `withdrawn`, beside a running event loop."""
        return await asyncio.to_thread(self.withdrawn, wallet, amount, **changed)

    def withdrawn(self, wallet: str = "", amount: int = 10, **changed: Any) -> Movement:  # noqa: ANN401
        """A withdrawal with a payout (by `bank`), out of this wallet or a new one. `changed`: as of builders."""
        payout = PayoutDestination(changed.pop("paid_by", "bank"), "DE89 3704", "Ann")
        terms = changed.pop("terms", Terms())._replace(payout=payout)
        movement = withdrawal(wallet or funded(self.ledger, 100, "payer")[0], amount, terms=terms, **changed)
        assert [code(answer) for answer in self.ledger.post(movement)] == ["POSTED"]
        return movement

    async def now(self, movement: Movement) -> Payout:
        found = await self.payouts.payout(movement.id)
        assert found is not None
        return found

    async def claimed(self, movement: Movement) -> Payout:
        """As it is claimed; what else is due is left alone."""
        with session(self._dsn) as others:
            others.execute("SELECT FROM transactions.payout WHERE id <> %s FOR UPDATE", (movement.id,))
            [payout] = await self.store.claim(10, LEASE_SECONDS, {})
        assert payout.id == movement.id
        return payout

    def change(self, movement: Movement, assignments: str, *values: object) -> None:
        """By the owner, beside the service."""
        with session(self._dsn) as cursor:
            cursor.execute(f"UPDATE transactions.payout SET {assignments} WHERE id = %s", (*values, movement.id))  # noqa: S608 - a test's own
            cursor.connection.commit()

    def due(self, movement: Movement) -> None:
        """Whatever claim or pause is on it ends."""
        self.change(movement, "claimed_until = NULL, next_time = now()")

    def events(self, movement: Movement) -> list[str]:
        """Their types, the first one first. Of its wallet: who asks for a wallet's events gets those of its payouts."""
        query = "SELECT type FROM transactions.event WHERE subject = %s AND wallet = %s ORDER BY create_time"
        return [type_ for (type_,) in self.query(query, f"payouts/{movement.id}", movement.source)]

    def acts(self, movement: Movement) -> list[tuple[Any, ...]]:
        query = "SELECT number, act, before, after, principal, trace_id FROM transactions.act WHERE subject = %s"
        return self.query(query + " ORDER BY number", f"payouts/{movement.id}")

    def query(self, text: str, *values: object) -> list[tuple[Any, ...]]:
        with session(self._dsn) as cursor:
            cursor.execute(text, values)
            found: list[tuple[Any, ...]] = cursor.fetchall()
        return found

    # Fills transaction_service.payouts.ports.Ledger: one after the other, for the lane is one.

    async def find(self, transaction_id: str) -> Transaction | None:
        return await self.ledger.reader.transaction(transaction_id)

    async def post(self, movement: Movement) -> Answer:
        [answer] = await asyncio.to_thread(self._post, movement)
        return answer

    def _post(self, movement: Movement) -> list[Answer]:
        with self._lane:
            return self.ledger.post(movement)


@contextmanager
def paying_out(database: Database) -> Iterator[Paying]:
    settings = TransactionSettings(
        database_dsn=SecretStr(database.transaction_dsn),
        statement_timeout_seconds=STATEMENT_TIMEOUT_SECONDS,
        **IDENTITY,
    )
    connections = Connections(settings, "test of payouts")
    try:
        with postgres_ledger(database) as ledger:
            yield Paying(database, ledger, connections)
    finally:
        connections.close()


class Bank:
    """Fills transaction_service.payouts.ports.Provider. It says one thing after the other, the last of them for ever,
    or what a function makes of the payout's id; `asked`: the calls, as `pay` or `get` and the id."""

    def __init__(self, *said: Said | None, made: Callable[[str], Said] | None = None) -> None:
        self._said = list(said)
        self._made = made
        self.asked: list[tuple[str, str]] = []

    async def pay(self, payout: Payout) -> Payment:
        answer = self._answer("pay", payout.id)
        assert answer is not None
        return answer

    async def get(self, payout_id: str) -> Payment | None:
        return self._answer("get", payout_id)

    async def close(self) -> None:
        """It has no connections."""

    def _answer(self, call: str, payout_id: str) -> Payment | None:
        self.asked.append((call, payout_id))
        if self._made is not None:
            said: Said | None = self._made(payout_id)
        else:
            said = self._said.pop(0) if len(self._said) > 1 else self._said[0]
        if isinstance(said, Exception):
            raise said
        return said


class BusyLedger:
    """Fills transaction_service.payouts.ports.Ledger. So often it posts, and nobody hears of it."""

    def __init__(self, paying: Paying, times: int) -> None:
        self._paying = paying
        self._left = times

    async def find(self, transaction_id: str) -> Transaction | None:
        return await self._paying.find(transaction_id)

    async def post(self, movement: Movement) -> Answer:
        answer = await self._paying.post(movement)
        if self._left:
            self._left -= 1
            raise LedgerBusy("LedgerUnavailable")
        return answer


class Forgetful:
    """A store that dies at one word: before it is written down."""

    def __init__(self, store: Any, word: str) -> None:  # noqa: ANN401 - a PayoutStore
        self._store = store
        self._word = word

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - its methods
        if name == self._word:
            return self._die
        return getattr(self._store, name)

    async def _die(self, *_: object) -> None:
        raise Refusal("UNAVAILABLE", "the database cannot be reached")


def worker(
    paying: Paying,
    bank: Bank,
    ledger: LedgerPort | None = None,
    store: PayoutStore | None = None,
    patience: Patience = PATIENCE,
    **others: Bank,
) -> PayoutWorker:
    return PayoutWorker(store or paying.store, {"bank": bank, **others}, ledger or paying, patience)


async def settled(paying: Paying, movement: Movement, bank: Bank, times: int = 1, **more: Any) -> Payout:  # noqa: ANN401
    """As it is after so many tries, each as soon as it may be."""
    for _ in range(times):
        paying.due(movement)
        await worker(paying, bank, **more).settle(await paying.claimed(movement))
    return await paying.now(movement)


async def balance(paying: Paying, name: str) -> int:
    [found] = await paying.ledger.accounts.get([name])
    return found.balance
