"""A story on a running service: its callers, their wallets, what they were told, and whether all of it is true."""

from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Final

import psycopg2
from specie.transaction.v1 import GetAccountsRequest, TransactionState
from specie.type.v1 import Money

from tests.kit.auditor import audit
from tests.kit.calls import CALL_SECONDS, Client, Failed, connected, read_status, wallet_name
from tests.kit.ledger import Ledger
from tests.kit.postgres import Database
from tests.kit.service import ServiceProcess, transaction_service
from transaction_service.domain.identity import account_id

POSTED, PENDING = "POSTED", "PENDING"
NAMES_A_CALL = 1000
"""As many as GetAccounts takes."""
COPIES: Final = """
INSERT INTO transactions.account
SELECT (jsonb_populate_record(first, jsonb_build_object('id', copy.id, 'name', copy.name))).*
FROM transactions.account AS first, unnest(%s::uuid[], %s) AS copy(id, name) WHERE first.name = %s"""


class Scenario:
    """`clients`: one of each worker."""

    def __init__(self, clients: Sequence[Client], owner_dsn: str) -> None:
        self._clients = clients
        self._owner_dsn = owner_dsn
        self._wallets: list[str] = []
        self.told: dict[str, str] = {}
        """By name of a transaction: POSTED, PENDING, or the reason of its failure."""

    def client(self, caller: int = 0) -> Client:
        """Callers with numbers in a row are at different workers."""
        return self._clients[caller % len(self._clients)]

    async def wallet(self, balance: int = 0, currency: str = "USD", *, caller: int = 0, **more: Any) -> str:  # noqa: ANN401
        """As Client.open."""
        name = await self.client(caller).open(balance, currency, **more)
        self._wallets.append(name)
        return name

    async def wallets(self, count: int) -> list[str]:
        """Thousands of empty ones: the service opens the first, the others are copies of its row."""
        first, copies = await self.wallet(), [wallet_name() for _ in range(count - 1)]
        connection = psycopg2.connect(self._owner_dsn)
        try:
            with connection, connection.cursor() as cursor:
                cursor.execute(COPIES, (list(map(account_id, copies)), copies, first))
        finally:
            connection.close()
        self._wallets += copies
        return [first, *copies]

    def hear(self, answer: Any) -> Any:  # noqa: ANN401 - any answer
        """Keeps for the end what a caller was told. The answer itself."""
        for name, said in _said(answer):
            assert self.told.get(name, PENDING) in (PENDING, said), f"two answers about {name}"
            self.told[name] = said
        return answer

    def hear_all(self, answers: Iterable[Any]) -> list[Any]:
        return [self.hear(answer) for answer in answers]

    async def balances(self, wallets: Sequence[str]) -> list[Money]:
        """What they have by the service's own word, in their order."""
        found: dict[str, Money] = {}
        for start in range(0, len(wallets), NAMES_A_CALL):
            request = GetAccountsRequest(names=wallets[start : start + NAMES_A_CALL])
            answer = await self.client(start).accounts.GetAccounts(request, timeout=CALL_SECONDS)
            found |= {account.name: account.balance.posted for account in answer.accounts}
        return [found[wallet] for wallet in wallets]

    async def ends_with(self, **minor_units: int) -> None:
        """Money is conserved: the wallets have together what came in and has not left, so much of each currency; the
        auditor finds sound books, and everything in them that callers were told."""
        sums: Counter[str] = Counter()
        for money in await self.balances(self._wallets):
            sums[money.currency_code] += money.minor_units
        assert sums == minor_units
        audit(self._owner_dsn, self.told, floors_never_changed=True)


def _said(answer: Any) -> Iterator[tuple[str, str]]:  # noqa: ANN401 - any answer
    if isinstance(answer, Failed):
        # Only what is stored tells whether it is a replay.
        if "replayed" in answer.metadata:
            yield answer.metadata["transaction"], answer.reason
    elif hasattr(answer, "results"):
        for result in answer.results:
            yield from _said(read_status(result.error) if result.HasField("error") else result)
    elif hasattr(answer, "transaction"):
        waits = answer.transaction.state == TransactionState.TRANSACTION_STATE_PENDING
        yield answer.transaction.name, PENDING if waits else POSTED
    else:
        # A hold has the uuid of the transaction that placed it.
        yield answer.hold.name.replace("holds/", "transactions/"), POSTED


@asynccontextmanager
async def story(service: ServiceProcess, database: Database) -> AsyncIterator[Scenario]:
    async with AsyncExitStack() as connections:
        clients = [await connections.enter_async_context(connected(target)) for target in service.targets]
        yield Scenario(clients, database.owner_dsn)


@contextmanager
def sound_service(database: Database, folder: Path, **settings: object) -> Iterator[ServiceProcess]:
    """Two workers. At the end they stop in order, have had no error of their own, and no two groups have waited for
    each other."""
    with transaction_service(database, folder, **({"WORKERS": 2} | settings)) as running:
        yield running
        assert running.stop() == 0
        assert [event for event in running.events() if event.get("level") not in ("info", "warning")] == []
        assert Ledger(database).deadlocks() == 0
