"""A posting lane: one thread, one connection. It takes all that waits and posts it as one group, in one commit.

A group that meets other sessions' work is retried whole, then one by one, so that one poisoned command cannot take its
neighbours down. Trying again is safe whatever happened to the first try: a command that came through is found under its
id and answered as stored.
"""

import threading
from collections.abc import Callable, Sequence
from time import monotonic, sleep
from typing import Final

import structlog

from transaction_service.domain.account import SYSTEM_PREFIX, system_account
from transaction_service.domain.failure import InvariantViolation
from transaction_service.domain.identity import account_id
from transaction_service.domain.ledger import Book, check_group, decide
from transaction_service.domain.movement import Answer, Movement
from transaction_service.ports import Conflict, LockTimeout, PostingStore, StoreUnavailable
from transaction_service.posting import metrics
from transaction_service.posting.queue import Contention, Expired, LedgerUnavailable, PostingQueue, Ticket

log = structlog.stdlib.get_logger()

GROUP_ATTEMPTS: Final = 2
CROWD: Final = 8
GATHER_SECONDS: Final = 0.003
"""After a group of more than a crowd a lane pauses that long: many callers are about, and they get to send their next
commands, which then share one larger group. Under little load nothing waits. See docs/adr/0001."""

Result = Answer | Exception
Deliver = Callable[[Sequence[tuple[Ticket, Result]]], None]


class PostingLane:
    """Posts groups until the queue is closed and empty."""

    def __init__(self, queue: PostingQueue, store: PostingStore, group_max: int, deliver: Deliver) -> None:
        """`deliver` is called on the lane's thread, once a group."""
        self._queue = queue
        self._store = store
        self._group_max = group_max
        self._deliver = deliver
        self._opened: set[str] = set()
        self._began: float | None = None
        self._thread = threading.Thread(target=self._run, name="posting-lane", daemon=True)

    def start(self) -> None:
        self._thread.start()

    @property
    def running(self) -> bool:
        """False before the start, after the end of the queue, and when a bug has ended the thread."""
        return self._thread.is_alive()

    @property
    def busy_seconds(self) -> float:
        """For how long it has been at its group; 0 when it has none."""
        began = self._began
        return 0.0 if began is None else monotonic() - began

    def join(self, timeout_seconds: float) -> None:
        """Returns when everything that was taken is answered, or when the time is up. Close the queue first."""
        self._thread.join(timeout_seconds)

    def _run(self) -> None:
        while group := self._queue.take(self._group_max):
            waiting = [ticket for ticket in group if not ticket.abandoned()]
            results = dict(zip(map(id, waiting), self.post([t.movement for t in waiting]), strict=True))
            self._deliver([(ticket, results.get(id(ticket), Expired())) for ticket in group])
            if CROWD < len(group) < self._group_max:
                sleep(GATHER_SECONDS)
        self._store.close()

    def post(self, movements: Sequence[Movement]) -> list[Result]:
        """One result for each, in their order. Never raises."""
        if not movements:
            return []
        self._began = started = monotonic()
        try:
            results = self._whole(movements)
        except Exception:
            # A bug of ours. The lane must go on, and what the group has left behind ends with its connection.
            log.exception("lane_failed", group_size=len(movements))
            results = [LedgerUnavailable() for _ in movements]
            self._store.close()
        self._began = None
        metrics.GROUP_SECONDS.observe(monotonic() - started)
        metrics.GROUP_SIZE.observe(len(movements))
        return results

    def _whole(self, movements: Sequence[Movement]) -> list[Result]:
        error: Exception = Contention()
        uncertain = False
        for _ in range(GROUP_ATTEMPTS):
            try:
                return list(self._attempt(movements, patient=True))
            except Conflict as conflict:
                metrics.GROUP_RETRIES.labels("conflict").inc()
                error = conflict
            except StoreUnavailable as unavailable:
                metrics.GROUP_RETRIES.labels("unavailable").inc()
                error = unavailable
                uncertain = True  # a commit whose answer was lost may still be on its way
            except Exception as unknown:  # noqa: BLE001 - told and counted where it stands alone
                metrics.GROUP_RETRIES.labels("failed").inc()
                error = unknown
                break
        if isinstance(error, StoreUnavailable):
            log.error("ledger_unavailable", group_size=len(movements), error=str(error))
            return [LedgerUnavailable() for _ in movements]
        log.warning("group_split", group_size=len(movements), error=repr(error))
        held: set[str] = set()
        return [self._alone(movement, held, uncertain=uncertain) for movement in movements]

    def _alone(self, movement: Movement, held: set[str], *, uncertain: bool) -> Result:
        """Impatient, so that an account that somebody else holds delays its own callers and not all.

        `held`: accounts found to be held, which no later command of the group waits for again. `uncertain`: an earlier
        try may have an effect yet, so nobody may be told that there is none.
        """
        names = {movement.source, movement.destination}
        contended = LedgerUnavailable() if uncertain else Contention()
        if names & held:
            return contended
        try:
            return self._attempt([movement], patient=False)[0]
        except Conflict:
            return contended
        except LockTimeout:
            held.update(filter(self._is_held, names))
            return contended
        except StoreUnavailable:
            return LedgerUnavailable()
        except InvariantViolation as violation:
            metrics.INVARIANT_VIOLATIONS.inc()
            log.critical("invariant_violation", transaction=movement.id, error=str(violation))
            return violation
        except Exception as error:
            log.exception("posting_failed", transaction=movement.id)
            return error

    def _is_held(self, name: str) -> bool:
        """Whether another session holds this account now. Never raises: not to know it only costs time."""
        try:
            self._store.lock([name], [], patient=False)
        except LockTimeout:
            return True
        except Exception:  # noqa: BLE001 - the command itself will meet it again, and tell it
            return False
        self._store.roll_back()
        return False

    def _attempt(self, movements: Sequence[Movement], *, patient: bool) -> list[Answer]:
        names = {m.source for m in movements} | {m.destination for m in movements}
        self._open_system_accounts(names)
        locked = self._store.lock(names, {m.id for m in movements}, patient=patient)
        try:
            book = Book(locked.accounts, locked.known, locked.now)
            before = {account.id: account.balance for account in locked.accounts.values()}
            answers = [decide(book, movement) for movement in movements]
            check_group(book, before)
        except BaseException:
            self._store.roll_back()
            raise
        if book.decided:
            self._store.write(book)
        else:
            self._store.roll_back()
        return answers

    def _open_system_accounts(self, names: set[str]) -> None:
        """On first use, before the group's locks: no lock is ever taken out of order."""
        new = sorted(n for n in names - self._opened if n.startswith(SYSTEM_PREFIX))
        if new:
            self._store.open_system_accounts([system_account(name, account_id(name)) for name in new])
            self._opened.update(new)
