"""A posting lane: one thread, one connection. It takes all that waits and posts it as one group, in one commit.

A group that meets other sessions' work is retried whole, then in halves of halves, so that one poisoned command cannot
take its neighbours down. Trying again is safe whatever happened to the first try: a command that came through is found
under its id and answered as stored.
"""

import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import partial
from time import monotonic, sleep
from typing import Final, NamedTuple

import structlog

from transaction_service.domain.account import SYSTEM_PREFIX, system_account
from transaction_service.domain.book import Amounts, Book, check_group
from transaction_service.domain.failure import InvariantViolation
from transaction_service.domain.identity import account_id
from transaction_service.domain.ledger import decide_work
from transaction_service.domain.movement import Answer, Manner, TransactionKind, Work, accounts_of
from transaction_service.domain.terms import PLAIN
from transaction_service.ports import Conflict, LockTimeout, PostingStore, StoreUnavailable, Wanted
from transaction_service.posting import metrics
from transaction_service.posting.queue import Contention, Expired, LedgerUnavailable, PostingQueue, Result, Ticket

log = structlog.stdlib.get_logger()

GROUP_ATTEMPTS: Final = 2
CROWD: Final = 8
GATHER_SECONDS: Final = 0.003
"""After a group of more than a crowd a lane pauses that long: many callers are about, and they get to send their next
commands, which then share one larger group. Under little load nothing waits. See docs/adr/0001."""

NEVER: Final = float("inf")

Deliver = Callable[[Sequence[tuple[Ticket, list[Result]]]], None]

Abandoned = Callable[[int], bool]
"""Whether nobody waits any more for the work at this position of a group."""


def _abandoned(tickets: Sequence[Ticket], position: int) -> bool:
    return tickets[position].abandoned()


def _nobody(position: int) -> bool:  # noqa: ARG001 - as Abandoned
    return False


class Piece(NamedTuple):
    """Work that cannot be cut: the position in the group of the work that it is of, and in that of its results."""

    position: int
    offset: int
    work: Work


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
        self._deadline = NEVER
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
            deadline = max((ticket.deadline for ticket in waiting), default=NEVER)
            results = self.post([ticket.work for ticket in waiting], partial(_abandoned, waiting), deadline)
            by_ticket = dict(zip(map(id, waiting), results, strict=True))
            self._deliver([(t, by_ticket.get(id(t)) or [Expired()] * len(t.work.movements)) for t in group])
            if CROWD < len(group) < self._group_max:
                sleep(GATHER_SECONDS)
        self._store.close()

    def post(
        self, works: Sequence[Work], abandoned: Abandoned = _nobody, deadline: float = NEVER
    ) -> list[list[Result]]:
        """For each work a result for each of its movements, in their order. Never raises. `abandoned` is asked only
        when the group must be taken apart, which takes time. `deadline`: until when the most patient of the callers
        waits, in seconds of time.monotonic(); the store works on no statement for longer."""
        if not works:
            return []
        self._deadline = deadline
        self._began = started = monotonic()
        try:
            results = self._whole(works, abandoned)
        except Exception:
            # A bug of ours. The lane must go on, and what the group has left behind ends with its connection.
            log.exception("lane_failed", group_size=_size(works))
            results = [[LedgerUnavailable() for _ in work.movements] for work in works]
            self._store.close()
        self._began = None
        metrics.GROUP_SECONDS.observe(monotonic() - started)
        metrics.GROUP_SIZE.observe(_size(works))
        return results

    def _whole(self, works: Sequence[Work], abandoned: Abandoned) -> list[list[Result]]:
        error: Exception = Contention()
        uncertain = False
        for _ in range(GROUP_ATTEMPTS):
            try:
                return [list(answers) for answers in self._attempt(works, patient=True)]
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
            log.error("ledger_unavailable", group_size=_size(works), error=str(error))
            return [[LedgerUnavailable() for _ in work.movements] for work in works]
        log.warning("group_split", group_size=_size(works), error=repr(error))
        contended, left_out = (LedgerUnavailable(), LedgerUnavailable()) if uncertain else (Contention(), Expired())
        results: list[list[Result]] = [[left_out for _ in work.movements] for work in works]
        for piece, found in self._apart(_pieces(works), abandoned, contended):
            results[piece.position][piece.offset : piece.offset + len(found)] = found
        return results

    def _apart(  # noqa: C901 - one loop over what can happen to a part reads best whole
        self, pieces: Sequence[Piece], abandoned: Abandoned, contended: Exception
    ) -> Iterator[tuple[Piece, Sequence[Result]]]:
        """Halves what fails, the first half first, until what fails stands alone.

        Impatient, so that an account that somebody else holds delays its own callers and not all: who names such an
        account is not tried again. `contended`: what those are told; when an earlier try may have an effect yet, nobody
        may be told that there is none. What nobody waits for any more is left out.
        """
        held: set[str] = set()
        waiting = [list(pieces)]
        while waiting:
            part = [piece for piece in waiting.pop() if not abandoned(piece.position)]
            if held:
                free = [held.isdisjoint(_accounts(piece.work)) for piece in part]
                yield from _all([piece for piece, is_free in zip(part, free, strict=True) if not is_free], contended)
                part = [piece for piece, is_free in zip(part, free, strict=True) if is_free]
            if not part:
                continue
            try:
                answers = self._attempt([piece.work for piece in part], patient=False)
            except LockTimeout:
                found = self._held(part)
                if found:
                    held |= found
                    waiting.append(part)
                    continue
                failed = contended  # it was held, and is no more
            except Conflict:
                failed = contended
            except StoreUnavailable:
                for rest in (part, *waiting):
                    yield from _all(rest, LedgerUnavailable())
                return
            except Exception as error:  # noqa: BLE001 - told where it stands alone
                failed = error
            else:
                yield from zip(part, answers, strict=True)
                continue
            if len(part) == 1:
                self._tell(part[0], failed)
                yield from _all(part, failed)
            else:
                middle = len(part) // 2
                waiting += [part[middle:], part[:middle]]

    def _tell(self, piece: Piece, failed: Exception) -> None:
        """Of a bug of ours, which concerns one caller."""
        transaction = piece.work.movements[0].id
        if isinstance(failed, InvariantViolation):
            metrics.INVARIANT_VIOLATIONS.inc()
            log.critical("invariant_violation", transaction=transaction, error=str(failed))
        elif not isinstance(failed, (Contention, LedgerUnavailable)):
            log.error("posting_failed", transaction=transaction, exc_info=failed)

    def _held(self, part: Sequence[Piece]) -> set[str]:
        """Which accounts another session holds now. Never raises: not to know it only costs time."""
        try:
            return self._store.held({name for piece in part for name in _accounts(piece.work)})
        except Exception:  # noqa: BLE001 - the commands themselves will meet it again, and tell it
            return set()

    def _attempt(self, works: Sequence[Work], *, patient: bool) -> list[list[Answer]]:
        wanted = _wanted(works)
        self._open_system_accounts(wanted.accounts)
        locked = self._store.lock(wanted, patient=patient, seconds_left=self._deadline - monotonic())
        try:
            book = Book(locked.accounts, locked.known, locked.now, locked.holds, locked.reversed)
            before = {name: Amounts(account.balance, account.held) for name, account in locked.accounts.items()}
            holds = dict(locked.holds)
            answers = [decide_work(book, work) for work in works]
            check_group(book, before, holds)
        except BaseException:
            self._store.roll_back()
            raise
        if book.decided:
            self._store.write(book)
        else:
            self._store.roll_back()
        return answers

    def _open_system_accounts(self, names: Collection[str]) -> None:
        """On first use, before the group's locks: no lock is ever taken out of order."""
        new = sorted(n for n in names if n.startswith(SYSTEM_PREFIX) and n not in self._opened)
        if new:
            self._store.open_system_accounts([system_account(name, account_id(name)) for name in new])
            self._opened.update(new)


def _wanted(works: Sequence[Work]) -> Wanted:
    """Cancelled and newly deferred movements touch no account, but of who is bound its owner is looked at."""
    accounts: set[str] = set()
    transactions: set[str] = set()
    holds: set[str] = set()
    gone_back: set[str] = set()
    pending: set[str] = set()
    for work in works:
        for movement in work.movements:
            transactions.add(movement.id)
            if movement.terms is PLAIN:
                accounts.add(movement.source)
                accounts.add(movement.destination)
            elif work.manner is Manner.DUE or (
                work.manner is not Manner.CANCEL and (work.bound_to or not movement.terms.deferred)
            ):
                accounts |= accounts_of(movement)
            if movement.hold and movement.kind is not TransactionKind.HOLD:
                holds.add(movement.hold)
            if movement.reverses:
                gone_back.add(movement.reverses)
        if work.manner in (Manner.DUE, Manner.CANCEL):
            pending.update(movement.id for movement in work.movements)
    accounts.discard("")
    return Wanted(accounts, transactions | gone_back, holds, gone_back, pending)


def _accounts(work: Work) -> Collection[str]:
    """Which it must lock."""
    return _wanted([work]).accounts


def _size(works: Sequence[Work]) -> int:
    return sum(len(work.movements) for work in works)


def _pieces(works: Sequence[Work]) -> list[Piece]:
    pieces: list[Piece] = []
    for index, work in enumerate(works):
        if work.manner is Manner.ATOMIC:
            pieces.append(Piece(index, 0, work))
        else:
            alone = enumerate(work.movements)
            pieces += [Piece(index, offset, work._replace(movements=[one])) for offset, one in alone]
    return pieces


def _all(pieces: Sequence[Piece], failed: Exception) -> Iterator[tuple[Piece, list[Result]]]:
    return ((piece, [failed] * len(piece.work.movements)) for piece in pieces)
