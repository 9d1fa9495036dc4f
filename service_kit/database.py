"""Database calls beside the posting path: SQLAlchemy in a small, bounded pool of threads."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from time import monotonic
from typing import Any, Final, TypeVar

import structlog
from psycopg2 import errorcodes
from sqlalchemy import Connection, Engine, create_engine, text
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError

from service_kit.call import deadline_of_call
from service_kit.settings import ProcessSettings
from service_kit.status import RETRY_AFTER_SECONDS, Refusal, late

T = TypeVar("T")

log = structlog.stdlib.get_logger()

RETRYABLE: Final = frozenset({errorcodes.SERIALIZATION_FAILURE, errorcodes.DEADLOCK_DETECTED})
OUT_OF_SERVICE: Final = (
    errorcodes.READ_ONLY_SQL_TRANSACTION,
    errorcodes.CLASS_INSUFFICIENT_RESOURCES,
    errorcodes.CLASS_OPERATOR_INTERVENTION,
    errorcodes.CLASS_SYSTEM_ERROR,
)
"""Of a server that became a standby, lacks resources, is being shut down, or has trouble with its machine."""
ATTEMPTS_MAX: Final = 3
LOCK_TIMEOUT_MS: Final = 2000
"""A row that somebody holds for longer must not hold up the few threads that everybody shares. Above PostgreSQL's
deadlock_timeout (1 s), so that a deadlock is found to be one, and tried again."""
IDLE_TIMEOUT_MS: Final = 5000
"""A process that stops in the middle of a transaction, having locked rows, holds the others up for no longer."""


def is_out_of_service(state: str | None) -> bool:
    """Whether this SQLSTATE is about the server, not the statement. A statement's timeout shares a class with shutdowns
    and says nothing of the server."""
    return state is not None and state != errorcodes.QUERY_CANCELED and state.startswith(OUT_OF_SERVICE)


def keepalives(timeout_ms: int) -> dict[str, Any]:
    """Options of a connection: a database host that vanished without a word is noticed within seconds."""
    return {
        "keepalives_idle": 5,
        "keepalives_interval": 1,
        "keepalives_count": 3,
        "tcp_user_timeout": timeout_ms + 1000,
    }


def limits_ms(left_ms: float, *limits: int) -> tuple[int, ...]:
    """Each of these time limits, in milliseconds, or what is left where that is less; at least 1, for 0 is no limit to
    PostgreSQL."""
    return tuple(max(1, int(min(left_ms, limit))) for limit in limits)


class Database:
    """Runs functions over a connection, each in one transaction. Safe to call from the event loop."""

    def __init__(self, settings: ProcessSettings, application_name: str) -> None:
        timeout_ms = int(settings.statement_timeout_seconds * 1000)
        # At most half of the statement's own, or that always comes first and nobody is told of the lock.
        lock_timeout_ms = min(timeout_ms // 2, LOCK_TIMEOUT_MS)
        self._timeouts_ms = (timeout_ms, lock_timeout_ms)
        self.engine = create_engine(
            settings.sqlalchemy_url(),
            pool_size=settings.read_threads + 1,  # one for ping
            max_overflow=0,
            pool_pre_ping=True,
            connect_args={
                "application_name": application_name,
                "connect_timeout": 5,
                "target_session_attrs": "read-write",
                "options": f"-c statement_timeout={timeout_ms} -c lock_timeout={lock_timeout_ms}"
                # Python has no times after the year 9999, which it is earlier in the east.
                f" -c idle_in_transaction_session_timeout={min(timeout_ms, IDLE_TIMEOUT_MS)} -c timezone=UTC",
                **keepalives(timeout_ms),
            },
        )
        self._on_snapshot = self.engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        self._threads = ThreadPoolExecutor(settings.read_threads, thread_name_prefix="database")
        self._ping_thread = ThreadPoolExecutor(1, thread_name_prefix="database-ping")
        self._places = threading.BoundedSemaphore(settings.read_threads + settings.read_queue_length)

    async def run(self, work: Callable[[Connection], T]) -> T:
        """Runs `work` in a transaction that commits when it returns. A caller that goes away does not interrupt it; if
        it has not begun, it never does. PostgreSQL works on no statement for longer than the caller had left when the
        transaction began.

        Raises Refusal: OVERLOADED, CONTENTION, DEADLINE_EXCEEDED, UNAVAILABLE, and what `work` itself refuses.
        """
        return await self._submit(self.engine, work)

    async def run_on_snapshot(self, work: Callable[[Connection], T]) -> T:
        """As `run`, for work that only reads: all its statements see the same moment."""
        return await self._submit(self._on_snapshot, work)

    async def _submit(self, engine: Engine, work: Callable[[Connection], T]) -> T:
        if not self._places.acquire(blocking=False):
            raise Refusal(
                "OVERLOADED",
                "too many calls are waiting for the database; send this one again later",
                retry_after_seconds=RETRY_AFTER_SECONDS,
            )
        running = self._threads.submit(self._attempts, engine, work, deadline_of_call())
        # Not at the end of the work itself: what is given up while it waits never runs, and must free its place too.
        running.add_done_callback(lambda _: self._places.release())
        return await asyncio.wrap_future(running)

    def _attempts(self, engine: Engine, work: Callable[[Connection], T], deadline: float) -> T:
        """`deadline`: of the caller, in seconds of time.monotonic()."""
        for attempt in range(1, ATTEMPTS_MAX + 1):
            try:
                with engine.begin() as connection:
                    self._limit(connection, deadline)
                    return work(connection)
            except DBAPIError as error:
                state = getattr(error.orig, "pgcode", None)
                log.warning("database_error", sqlstate=state, attempt=attempt, error=type(error.orig).__name__)
                if is_out_of_service(state):
                    self.engine.dispose()  # after a failover the address may lead to another server
                if state not in RETRYABLE or attempt == ATTEMPTS_MAX:
                    raise _refusal(error, state) from error
        raise AssertionError("unreachable")  # pragma: no cover

    def _limit(self, connection: Connection, deadline: float) -> None:
        """A round trip only where the caller has less time than every statement has anyway. A commit is never
        interrupted: PostgreSQL ends the time limit of a statement before it begins to commit."""
        left = (deadline - monotonic()) * 1000
        if left >= self._timeouts_ms[0]:
            return
        if left <= 0:
            raise late()
        statement_ms, lock_ms = limits_ms(left, *self._timeouts_ms)
        limits = f"SET LOCAL statement_timeout = {statement_ms}; SET LOCAL lock_timeout = {lock_ms}"
        connection.exec_driver_sql(limits)

    async def ping(self) -> None:
        """Raises Refusal when the database does not answer, or takes no writes. It has a thread and a connection of its
        own: a process that was taken out because its threads are busy would leave its load to the others, and all would
        go one after the other."""
        look = partial(self._attempts, self.engine, _look, float("inf"))
        await asyncio.get_running_loop().run_in_executor(self._ping_thread, look)

    def close(self) -> None:
        """Waits for what is running, then closes the connections."""
        self._threads.shutdown(wait=True)
        self._ping_thread.shutdown(wait=True)
        self.engine.dispose()


def _look(connection: Connection) -> None:
    if connection.execute(text("SHOW transaction_read_only")).scalar_one() == "on":
        raise Refusal("UNAVAILABLE", "the database is read-only")


def _refusal(error: DBAPIError, state: str | None) -> Exception:
    if state in RETRYABLE or state == errorcodes.LOCK_NOT_AVAILABLE:
        return Refusal("CONTENTION", "too many calls wanted the same rows at once; send this one again")
    if state == errorcodes.QUERY_CANCELED:
        return Refusal("DEADLINE_EXCEEDED", "the database did not answer in time")
    gone = error.connection_invalidated or isinstance(error, (OperationalError, InterfaceError))
    if gone or is_out_of_service(state):
        return Refusal(
            "UNAVAILABLE",
            "the database cannot be reached; send this call again",
            retry_after_seconds=RETRY_AFTER_SECONDS,
        )
    return error
