"""The posting port on PostgreSQL: one psycopg2 connection, two round trips a group.

The arrays go over as array literals: the server parses them much faster than a list of constants.
"""

import json
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any, Final

import psycopg2
import psycopg2.extensions
from psycopg2 import errorcodes

from service_kit.database import is_out_of_service, keepalives
from transaction_service.adapters import statements
from transaction_service.adapters.rows import to_account, to_transaction
from transaction_service.domain.account import Account
from transaction_service.domain.failure import InvariantViolation
from transaction_service.domain.identity import account_id
from transaction_service.domain.ledger import Book
from transaction_service.domain.movement import Entry, Transaction
from transaction_service.ports import Conflict, Locked, LockTimeout, StoreUnavailable

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

    def lock(self, names: Collection[str], ids: Collection[str], *, patient: bool) -> Locked:
        sql = statements.BEGIN_LOCK
        if not patient:
            sql = statements.BEGIN_LOCK_IMPATIENT.format(milliseconds=IMPATIENT_LOCK_TIMEOUT_MS)
        rows = self._run(sql, (_plain(map(account_id, names)), _plain(ids)))
        try:
            return self._locked(rows)
        except BaseException:
            self.roll_back()
            raise

    def _locked(self, rows: list[Any]) -> Locked:
        now: datetime = rows.pop()[-1]
        accounts: dict[str, Account] = {}
        known: list[str] = []
        for row in rows:
            if row[1] is None:
                known.append(row[0])
            else:
                accounts[row[1]] = to_account(row)
        transactions = self._known(known) if known else {}
        return Locked(accounts, transactions, now)

    def write(self, book: Book) -> None:
        now = book.now
        sql, values = [statements.WRITE_TRANSACTIONS], _transactions(book.decided.values(), now)
        if book.entries:
            changed = list(book.changed.values())
            sql += [statements.WRITE_ENTRIES, statements.WRITE_ACCOUNTS]
            values += _entries(book.entries, now)
            values += [
                _plain([a.id for a in changed]),
                _numbers([a.balance for a in changed]),
                _numbers([a.version for a in changed]),
                now,
            ]
            limited = [a for a in changed if a.limits.bind_debits]
            if limited:
                sql.append(statements.WRITE_USAGE)
                values += _usages(limited)
        sql.append("COMMIT")
        self._run("; ".join(sql), values)

    def roll_back(self) -> None:
        self._end()

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _known(self, ids: Sequence[str]) -> dict[str, Transaction]:
        return {row[0]: to_transaction(row) for row in self._run(statements.EXECUTE_KNOWN, (_plain(ids),))}

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
                f" -c idle_in_transaction_session_timeout={self._timeout_ms}",
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


def _transactions(decided: Iterable[Transaction], now: datetime) -> list[Any]:
    rows = sorted(decided, key=_id)
    movements = [row.movement for row in rows]
    failures = [row.failure for row in rows]
    return [
        _plain([m.id for m in movements]),
        _numbers([m.kind for m in movements]),
        _numbers([row.state for row in rows]),
        _texts([m.source for m in movements]),
        _texts([m.destination for m in movements]),
        _numbers([m.amount for m in movements]),
        _texts([m.currency for m in movements]),
        _texts([m.description for m in movements]),
        _texts([m.external_reference for m in movements]),
        _texts([json.dumps(dict(m.labels), ensure_ascii=False) if m.labels else "{}" for m in movements]),
        _texts([m.principal for m in movements]),
        _texts([m.request_id for m in movements]),
        _texts([m.trace_id for m in movements]),
        _plain([m.fingerprint for m in movements]),
        _plain(["NULL" if f is None else f.reason.value for f in failures]),
        _texts([None if f is None else json.dumps(f.metadata, ensure_ascii=False) for f in failures]),
        now,
    ]


def _id(transaction: Transaction) -> str:
    return transaction.movement.id


def _entries(entries: Sequence[Entry], now: datetime) -> list[Any]:
    return [
        _plain([e.account_id for e in entries]),
        _numbers([e.seq for e in entries]),
        _plain([e.transaction_id for e in entries]),
        _numbers([e.amount for e in entries]),
        _numbers([e.balance for e in entries]),
        now,
    ]


def _usages(accounts: Sequence[Account]) -> list[Any]:
    usages = [a.usage for a in accounts]
    return [
        _plain([a.id for a in accounts]),
        _numbers([u.day for u in usages]),
        _numbers([u.day_amount for u in usages]),
        _numbers([u.hour for u in usages]),
        _numbers([u.hour_count for u in usages]),
    ]


def _plain(words: Iterable[str]) -> str:
    """Of words that need no quotes: ids, names of reasons, NULL."""
    return "{" + ",".join(words) + "}"


def _numbers(numbers: Iterable[int]) -> str:
    return "{" + ",".join([str(int(number)) for number in numbers]) + "}"


def _texts(texts: Iterable[str | None]) -> str:
    """Of any text: quoted, with backslashes and quotes escaped (PostgreSQL manual, 8.15.2)."""
    return "{" + ",".join(["NULL" if text is None else _quoted(text) for text in texts]) + "}"


def _quoted(text: str) -> str:
    if '"' in text or "\\" in text:
        text = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'
