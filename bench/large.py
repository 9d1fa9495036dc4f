"""Makes a large ledger, quickly: by COPY, as the tables' owner, and as sound as if the service had posted all of it.

Every account is funded from `system/cash-usd`, then random pairs move money. All that a group of a thousand decides has
one time and one commit, as in the service; the times spread over the last thirty days. One attempt in a hundred has
FAILED; one transaction in ten has an external reference and a label.

    from bench.large import load
    load(owner_dsn, accounts=100_000, entries=1_000_000)
"""

import io
import random
from array import array
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

import psycopg2
from psycopg2.extensions import connection as Connection  # noqa: N812 - a class with a function's name

from bench.wallets import wallet
from transaction_service.domain.account import cash
from transaction_service.domain.identity import derived_id, label_id, transaction_id

FUNDS: Final = 1_000_000
"""Minor units that each account is given at first."""
AMOUNT_MAX: Final = 100
TOO_MUCH: Final = 1000 * FUNDS
GROUP: Final = 1000
FAILED_PER_GROUP: Final = 10
ENTRIES_MIN: Final = 2
MARKED: Final = 10
"""Every so many-th transaction has a reference and a label."""
SPAN: Final = timedelta(days=30)
PRINCIPAL: Final = "bench"
CURRENCY: Final = "USD"
DEPOSIT, TRANSFER = 2, 1
POSTED, FAILED = 1, 2
USER, SYSTEM = 1, 3
OPEN: Final = 1
NULL: Final = r"\N"

COPY_TRANSACTIONS: Final = """
COPY transactions.transaction (id, kind, state, source, destination, amount, currency, description, external_reference,
    labels, principal, request_id, trace_id, fingerprint, failure_reason, failure_metadata, create_time, decide_time)
FROM STDIN"""
COPY_ENTRIES: Final = """
COPY transactions.entry (account_id, seq, transaction_id, amount, balance, post_time) FROM STDIN"""
COPY_LISTING: Final = "COPY transactions.listing (key, decide_time, transaction_id) FROM STDIN"
COPY_ACCOUNTS: Final = """
COPY transactions.account (id, name, owner, currency, kind, state, balance, held, floor, version, revision,
    limit_per_transaction, limit_per_day, limit_debits_per_hour, time_zone, used_day, used_day_amount, used_hour,
    used_hour_count, last_post_time) FROM STDIN"""


def load(
    dsn: str,
    accounts: int = 1_000_000,
    entries: int = 5_000_000,
    *,
    seed: int = 1,
    told: Callable[[float], None] = lambda _: None,
) -> None:
    """Into empty tables of the owner with this DSN, with ANALYZE at the end. Accounts are `bench.wallets.wallet(0)` and
    on, and `system/cash-usd` besides; `entries`, at least two for each of them, are those of both. `told` hears which
    share is done, up to 1.

    Raises ValueError for too few entries, psycopg2.Error where there is such a ledger already.
    """
    if accounts < ENTRIES_MIN or entries < ENTRIES_MIN * accounts:
        raise ValueError(f"{entries} entries are too few for {accounts} accounts")
    connection = psycopg2.connect(dsn)
    try:
        ledger = _Ledger(accounts, seed)
        transactions = entries // 2
        groups = -(-transactions // GROUP)
        end = datetime.now(UTC) - timedelta(minutes=1)
        for group in range(groups):
            with connection:  # a commit of its own
                last = min((group + 1) * GROUP, transactions)
                ledger.post(connection, range(group * GROUP, last), end - SPAN * ((groups - 1 - group) / groups))
            told((group + 1) / groups)
        with connection:
            ledger.open_accounts(connection)
        connection.autocommit = True
        with connection.cursor() as cursor:
            # Else the first who reads a row pays for having it marked as committed.
            cursor.execute("VACUUM (ANALYZE) transactions.account, transactions.transaction, transactions.entry")
            cursor.execute("VACUUM (ANALYZE) transactions.listing")
    finally:
        connection.close()


class _Ledger:
    """Accounts by number; the last one is the outside world."""

    def __init__(self, accounts: int, seed: int) -> None:
        self._random = random.Random(seed)  # noqa: S311 - load, not a secret
        self._cash = accounts
        self._names = [*map(wallet, range(accounts)), cash(CURRENCY)]
        self._ids = [derived_id(name) for name in self._names]
        self._balances = array("q", bytes(8 * (accounts + 1)))
        self._versions = array("q", bytes(8 * (accounts + 1)))
        self._times = [NULL] * (accounts + 1)

    def post(self, connection: Connection, numbers: range, now: datetime) -> None:
        """The transactions of these numbers: the first ones fund the accounts."""
        time = now.isoformat()
        transactions, entries, listing = io.StringIO(), io.StringIO(), io.StringIO()
        for number in numbers:
            funding = number < self._cash
            kind = DEPOSIT if funding else TRANSFER
            source, destination = (self._cash, number) if funding else self._pair()
            amount = FUNDS if funding else self._random.randint(1, AMOUNT_MAX)
            id_, line = self._transaction(str(number), kind, POSTED, source, destination, amount, time)
            transactions.write(line)
            for account, change in ((source, -amount), (destination, amount)):
                self._balances[account] += change
                self._versions[account] += 1
                self._times[account] = time
                entries.write(
                    f"{self._ids[account]}\t{self._versions[account]}\t{id_}\t{change}\t{self._balances[account]}\t{time}\n"
                )
            if number % MARKED == 0:
                listing.write(f"{label_id('order', str(number))}\t{time}\t{id_}\n")
        for number in numbers[:: GROUP // FAILED_PER_GROUP]:
            source, destination = self._pair()
            id_, line = self._transaction(f"too much {number}", TRANSFER, FAILED, source, destination, TOO_MUCH, time)
            transactions.write(line)
            for account in (source, destination):
                listing.write(f"{self._ids[account]}\t{time}\t{id_}\n")
        _copy(connection, COPY_TRANSACTIONS, transactions)
        _copy(connection, COPY_ENTRIES, entries)
        _copy(connection, COPY_LISTING, listing)

    def _transaction(
        self, request_id: str, kind: int, state: int, source: int, destination: int, amount: int, time: str
    ) -> tuple[str, str]:
        """Its id and its row."""
        id_ = transaction_id(PRINCIPAL, request_id)
        marked = request_id.isdecimal() and int(request_id) % MARKED == 0
        reference, labels = (f"order-{request_id}", f'{{"order": "{request_id}"}}') if marked else ("", "{}")
        reason, metadata = NULL, NULL
        if state == FAILED:
            reason = "INSUFFICIENT_FUNDS"
            metadata = (
                f'{{"wallet": "{self._names[source]}", "available": "{self._balances[source]}", "amount": "{amount}"}}'
            )
        return id_, (
            f"{id_}\t{kind}\t{state}\t{self._names[source]}\t{self._names[destination]}\t{amount}\t{CURRENCY}\t\t{reference}\t"
            f"{labels}\t{PRINCIPAL}\t{request_id}\t\t{id_}\t{reason}\t{metadata}\t{time}\t{time}\n"
        )

    def _pair(self) -> tuple[int, int]:
        """Of two different accounts."""
        first = int(self._random.random() * self._cash)
        return first, (first + 1 + int(self._random.random() * (self._cash - 1))) % self._cash

    def open_accounts(self, connection: Connection) -> None:
        """As the entries have left them."""
        rows = io.StringIO()
        for number, name in enumerate(self._names):
            outside = number == self._cash
            owner, kind, floor = ("system", SYSTEM, NULL) if outside else ("bench", USER, "0")
            rows.write(
                f"{self._ids[number]}\t{name}\t{owner}\t{CURRENCY}\t{kind}\t{OPEN}\t{self._balances[number]}\t0\t{floor}\t"
                f"{self._versions[number]}\t{0 if outside else 1}\t0\t0\t0\tUTC\t0\t0\t0\t0\t{self._times[number]}\n"
            )
        _copy(connection, COPY_ACCOUNTS, rows)


def _copy(connection: Connection, statement: str, rows: io.StringIO) -> None:
    rows.seek(0)
    with connection.cursor() as cursor:
        cursor.copy_expert(statement, rows)
