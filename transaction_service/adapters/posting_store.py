"""The posting port on PostgreSQL: one psycopg2 connection, two round trips a group, and one more for each kind of thing
that few groups need: repeated requests, holds, reversals, what was pending.
"""

from collections.abc import Collection, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any, Final

import psycopg2
import psycopg2.extensions
from psycopg2 import errorcodes

from service_kit.database import IDLE_TIMEOUT_MS, is_out_of_service, keepalives, limits_ms
from transaction_service.adapters import statements
from transaction_service.adapters.rows import to_account, to_hold, to_transaction
from transaction_service.adapters.writes import array, writes
from transaction_service.domain.account import Account
from transaction_service.domain.book import Book, Reversed
from transaction_service.domain.failure import InvariantViolation
from transaction_service.domain.identity import account_id
from transaction_service.ports import Conflict, Locked, LockTimeout, StoreUnavailable, Wanted

RACED: Final = (errorcodes.SERIALIZATION_FAILURE, errorcodes.DEADLOCK_DETECTED, errorcodes.UNIQUE_VIOLATION)
RACED_CONSTRAINTS: Final = (None, "transaction_pkey")
"""None: not about a constraint. That an entry or an account is there already is never a race, but a broken ledger."""
BROKEN: Final = (errorcodes.CHECK_VIOLATION, errorcodes.UNIQUE_VIOLATION)
HELD: Final = (errorcodes.LOCK_NOT_AVAILABLE, errorcodes.QUERY_CANCELED)
CONNECT_TIMEOUT_SECONDS: Final = 3
LOCK_TIMEOUT_MS: Final = 1000
"""How long a whole group waits for an account that another session holds."""
IMPATIENT_LOCK_TIMEOUT_MS: Final = 50
"""How long one command waits for it, once it stands alone."""


class PostgresPostingStore:
    """Fills transaction_service.ports.PostingStore. Connects when first used, and again after a lost connection."""

    def __init__(self, dsn: str, statement_timeout_seconds: float) -> None:
        self._dsn = dsn
        self._timeout_ms = int(statement_timeout_seconds * 1000)
        self._connection: psycopg2.extensions.connection | None = None

    def open_system_accounts(self, accounts: Sequence[Account]) -> None:
        for account in accounts:
            self._run(
                statements.OPEN_SYSTEM_ACCOUNT,
                (account.id, account.name, account.owner, account.currency, int(account.kind), int(account.state)),
            )

    def lock(self, wanted: Wanted, *, patient: bool, seconds_left: float = float("inf")) -> Locked:
        sql = self._begin_lock(seconds_left * 1000, LOCK_TIMEOUT_MS if patient else IMPATIENT_LOCK_TIMEOUT_MS)
        rows = self._run(sql, (array(map(account_id, wanted.accounts)), array(wanted.transactions)))
        try:
            return self._locked(rows, wanted)
        except BaseException:
            self.roll_back()
            raise

    def _begin_lock(self, left_ms: float, lock_timeout_ms: int) -> str:
        """Limits are sent only where they are below the session's own."""
        if left_ms >= self._timeout_ms and lock_timeout_ms == LOCK_TIMEOUT_MS:
            return statements.BEGIN_LOCK
        statement_ms, lock_ms = limits_ms(left_ms, self._timeout_ms, lock_timeout_ms)
        return statements.BEGIN_LOCK_LIMITED.format(statement_ms=statement_ms, lock_ms=lock_ms)

    def _locked(self, rows: list[Any], wanted: Wanted) -> Locked:
        now: datetime = rows.pop()[-1]
        accounts: dict[str, Account] = {}
        known: list[str] = []
        for row in rows:
            if row[1] is None:
                known.append(row[0])
            else:
                accounts[row[1]] = to_account(row)
        if wanted.pending:
            self._run(statements.EXECUTE_PENDING, (array(wanted.pending),))
        found = [to_transaction(row) for row in self._found(statements.EXECUTE_KNOWN, known)]
        holds = [to_hold(row) for row in self._found(statements.EXECUTE_HOLDS, wanted.holds)]
        gone_back = self._found(statements.EXECUTE_REVERSED, wanted.reversed)
        return Locked(
            accounts,
            {transaction.movement.id: transaction for transaction in found},
            now,
            {hold.id: hold for hold in holds},
            {id_: Reversed(*of_id) for id_, *of_id in gone_back},
        )

    def _found(self, sql: str, ids: Collection[str]) -> list[Any]:
        return self._run(sql, (array(ids),)) if ids else []

    def write(self, book: Book) -> None:
        written = [*writes(book), ("COMMIT", [])]
        self._run("; ".join(sql for sql, _ in written), [value for _, values in written for value in values])

    def held(self, names: Collection[str]) -> set[str]:
        ids = (array(map(account_id, names)),)
        there = {name for (name,) in self._run(statements.THERE, ids)}
        return there - {name for (name,) in self._run(statements.FREE, ids)}

    def roll_back(self) -> None:
        self._end()

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _run(self, sql: str, values: Sequence[Any]) -> list[Any]:
        """The rows of the last statement. After an error nothing is begun any more."""
        try:
            connection = self._connected()
            with connection.cursor() as cursor:
                cursor.execute(sql, values)
                return cursor.fetchall() if cursor.description else []
        except psycopg2.Error as error:
            raise self._after(error) from error
        except BaseException:  # a value that the driver cannot send
            self._end()
            raise

    def _connected(self) -> psycopg2.extensions.connection:
        if self._connection is None:
            connection = psycopg2.connect(
                self._dsn,
                connect_timeout=CONNECT_TIMEOUT_SECONDS,
                application_name="specie posting lane",
                options=f"-c statement_timeout={self._timeout_ms} -c lock_timeout={LOCK_TIMEOUT_MS}"
                f" -c idle_in_transaction_session_timeout={min(self._timeout_ms, IDLE_TIMEOUT_MS)}",
                target_session_attrs="read-write",
                **keepalives(self._timeout_ms),
            )
            connection.autocommit = True  # BEGIN and COMMIT stand in the statements, to save round trips
            with connection.cursor() as cursor:
                for sql in statements.PREPARED:
                    cursor.execute(sql)
            self._connection = connection
        return self._connection

    def _after(self, error: psycopg2.Error) -> Exception:
        """What the lane shall think of it."""
        state = error.pgcode
        if not self._end():
            return StoreUnavailable(str(error).strip() or type(error).__name__)
        if state in RACED and error.diag.constraint_name in RACED_CONSTRAINTS:
            return Conflict(str(error).strip())
        if state in HELD:
            return LockTimeout(str(error).strip())
        if state in BROKEN:
            return InvariantViolation(str(error).strip())
        if is_out_of_service(state):
            # After a failover the address may lead to another server: look anew next time.
            self.close()
            return StoreUnavailable(str(error).strip())
        self.close()  # whatever it is, it may lie in what this connection has prepared
        return error

    def _end(self) -> bool:
        """Rolls back what is begun. False: the connection was lost, and with it all that was begun."""
        connection = self._connection
        if connection is not None and not connection.closed:
            with suppress(psycopg2.Error), connection.cursor() as cursor:
                cursor.execute("ROLLBACK")
                return True
        self.close()
        return False
