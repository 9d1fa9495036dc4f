"""The posting core: decides one command after the other over locked accounts.

Each command is one list of guards in the order of precedence of `Reason`, then a line after which it must succeed.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import assert_never

from transaction_service.domain.account import INT64_MAX
from transaction_service.domain.book import Book, Savepoint
from transaction_service.domain.failure import Failure, InvariantViolation, Reason
from transaction_service.domain.guards import net_of, not_its_own, obstacle, use_limits
from transaction_service.domain.hold import TTL_DEFAULT, Hold, HoldState
from transaction_service.domain.movement import (
    Answer,
    Manner,
    Movement,
    Outcome,
    Refused,
    Transaction,
    TransactionKind,
    TransactionState,
    Work,
    accounts_of,
    postings_of,
)
from transaction_service.domain.reversal import reverse
from transaction_service.domain.terms import PLAIN

ENDED: dict[HoldState, Reason] = {
    HoldState.CAPTURED: Reason.HOLD_CAPTURED,
    HoldState.RELEASED: Reason.HOLD_RELEASED,
    HoldState.EXPIRED: Reason.HOLD_EXPIRED,
}


def decide_work(book: Book, work: Work) -> list[Answer]:
    """An answer for each of its movements."""
    match work.manner:
        case Manner.EACH:
            return [decide(book, movement, work.bound_to) for movement in work.movements]
        case Manner.ATOMIC:
            return _all_or_none(book, work.movements, work.bound_to)
        case Manner.DUE:
            return [_settle(book, movement) for movement in work.movements]
        case Manner.CANCEL:
            return [_cancel(book, movement, work.principal) for movement in work.movements]
        case _:
            assert_never(work.manner)


def decide(book: Book, movement: Movement, bound_to: str = "") -> Answer:
    """The answer to one command. Commands that the ledger's state refuses are recorded as FAILED. `bound_to`: the owner
    to whose wallets the caller is bound; empty: to nobody's."""
    if movement.source == movement.destination and movement.source:
        return Refused(Failure(Reason.SAME_WALLET, {"wallet": movement.source}))
    known = book.find(movement.id)
    if known is not None:
        return _again(known, movement)
    if movement.terms is not PLAIN and movement.terms.deferred:
        # Who is bound hears at once what is not his: an owner never changes, so nobody has to ask again.
        failure = not_its_own(book, movement, bound_to)
        return book.pend(movement) if failure is None else book.fail(movement, failure)
    return _effect(book, movement, bound_to)


def _settle(book: Book, movement: Movement) -> Answer:
    known = _pending(book, movement)
    return _effect(book, movement, "") if known is None else known


def _cancel(book: Book, movement: Movement, principal: str) -> Answer:
    known = _pending(book, movement)
    cancelled = Failure(Reason.TRANSFER_CANCELLED, {"cancelled_by": principal})
    return book.fail(movement, cancelled) if known is None else known


def _pending(book: Book, movement: Movement) -> Outcome | None:
    """The answer to what is decided already; None: it is PENDING."""
    known = book.find(movement.id)
    if known is None:
        raise InvariantViolation(f"{movement.id}: was pending, and is not there")
    return None if known.state is TransactionState.PENDING else Outcome(known, replayed=True)


def _again(known: Transaction, movement: Movement) -> Answer:
    """The same request gets the stored answer, another one under the same id is refused."""
    if known.movement.fingerprint == movement.fingerprint:
        return Outcome(known, replayed=True)
    reused = {"request_id": movement.request_id, "transaction": f"transactions/{movement.id}"}
    return Refused(Failure(Reason.REQUEST_ID_REUSED, reused))


def _effect(book: Book, movement: Movement, bound_to: str) -> Answer:
    match movement.kind:
        case TransactionKind.TRANSFER | TransactionKind.DEPOSIT | TransactionKind.WITHDRAWAL | TransactionKind.COMPOUND:
            return _move(book, movement, bound_to)
        case TransactionKind.REVERSAL:
            return reverse(book, movement, bound_to)
        case TransactionKind.HOLD:
            return _place(book, movement, bound_to)
        case TransactionKind.CAPTURE:
            return _capture(book, movement, bound_to)
        case TransactionKind.RELEASE | TransactionKind.EXPIRY:
            return _release(book, movement, bound_to)
        case _:
            assert_never(movement.kind)


def _move(book: Book, movement: Movement, bound_to: str) -> Outcome:
    postings = postings_of(movement)
    net = net_of(postings)
    failure = obstacle(book, movement, postings, net, bound_to)
    if failure is not None:
        return book.fail(movement, failure)
    # From here on the movement must succeed.
    use_limits(book, net)
    return book.post(movement, reversed(postings))


def _place(book: Book, movement: Movement, bound_to: str) -> Answer:
    expire_time = _expire_time(movement, book.now)
    if expire_time <= book.now:
        return Refused(Failure(Reason.EXPIRE_TIME_PASSED, {"expire_time": expire_time.isoformat()}))
    postings = postings_of(movement)
    net = net_of(postings)
    failure = obstacle(book, movement, postings, net, bound_to) or _too_much_held(book, movement)
    if failure is not None:
        return book.fail(movement, failure)
    # From here on the hold must be placed.
    use_limits(book, net)
    book.reserve(book.accounts[movement.source], movement.amount)
    hold = Hold(
        movement.hold,
        HoldState.OPEN,
        movement.source,
        movement.destination,
        movement.amount,
        0,
        0,
        movement.currency,
        expire_time,
        book.now,
        movement.description,
        movement.external_reference,
        movement.labels,
    )
    book.keep(hold)
    return book.record(movement)._replace(hold=hold)


def _too_much_held(book: Book, movement: Movement) -> Failure | None:
    """A long credit line lets more be held than int64 can tell."""
    if book.accounts[movement.source].held + movement.amount > INT64_MAX:
        return Failure(Reason.BALANCE_OVERFLOW, {"wallet": movement.source})
    return None


def _expire_time(movement: Movement, now: datetime) -> datetime:
    terms = movement.terms
    if terms.expire_time is not None:
        return terms.expire_time
    return now + (TTL_DEFAULT if terms.ttl_microseconds is None else timedelta(microseconds=terms.ttl_microseconds))


def _capture(book: Book, movement: Movement, bound_to: str) -> Answer:
    hold = book.holds.get(movement.hold)
    if hold is None:
        return _no_hold(movement)
    amount = movement.amount or hold.remaining
    # What is recorded of an attempt to capture all: all that there is, or was.
    movement = movement._replace(amount=amount or hold.amount)
    failure = not_its_own(book, movement, bound_to) or _ended(hold, book.now)
    if failure is not None:
        return book.fail(movement, failure)
    if movement.currency == hold.currency and amount > hold.remaining:
        told = {"hold": f"holds/{hold.id}", "remaining": str(hold.remaining), "amount": str(amount)}
        return book.fail(movement, Failure(Reason.CAPTURE_ABOVE_HOLD, told))
    source = book.accounts[hold.source]
    postings = postings_of(movement)
    source.held -= min(amount, hold.remaining)  # what it reserves pays for it
    failure = obstacle(book, movement, postings, net_of(postings), bound_to, limited=False)
    source.held += min(amount, hold.remaining)
    if failure is not None:
        return book.fail(movement, failure)
    # From here on the capture must succeed.
    taken = hold.take(amount, final=movement.terms.final)
    book.reserve(source, taken.remaining - hold.remaining)
    book.keep(taken)
    return book.post(movement, reversed(postings))._replace(hold=taken)


def _release(book: Book, movement: Movement, bound_to: str) -> Answer:
    hold = book.holds.get(movement.hold)
    if hold is None:
        return _no_hold(movement)
    expiring = movement.kind is TransactionKind.EXPIRY
    movement = movement._replace(amount=hold.remaining or hold.amount)
    failure = not_its_own(book, movement, bound_to) or _ended(hold, None if expiring else book.now)
    if failure is not None:
        # That a hold ended before its expiry could be noticed is no attempt of anybody's.
        return Refused(failure) if expiring else book.fail(movement, failure)
    # From here on the release must succeed.
    freed = hold.free(HoldState.EXPIRED if expiring else HoldState.RELEASED)
    book.reserve(book.accounts[hold.source], -hold.remaining)
    book.keep(freed)
    return book.record(movement)._replace(hold=freed)


def _no_hold(movement: Movement) -> Refused:
    return Refused(Failure(Reason.HOLD_NOT_FOUND, {"hold": f"holds/{movement.hold}"}))


def _ended(hold: Hold, now: datetime | None) -> Failure | None:
    """Why nothing can be done with it any more. `now` None: whether its time is up does not matter."""
    name = f"holds/{hold.id}"
    if hold.state is HoldState.EXPIRED or (
        hold.state is HoldState.OPEN and now is not None and hold.expire_time <= now
    ):
        return Failure(Reason.HOLD_EXPIRED, {"hold": name, "expire_time": hold.expire_time.isoformat()})
    if hold.state is not HoldState.OPEN:
        return Failure(ENDED[hold.state], {"hold": name})
    return None


def _all_or_none(book: Book, movements: Sequence[Movement], bound_to: str) -> list[Answer]:
    savepoint = Savepoint(book, {name for movement in movements for name in accounts_of(movement)})
    answers: list[Answer] = []
    for index, movement in enumerate(movements):
        answer = decide(book, movement, bound_to)
        answers.append(answer)
        failure = answer.failure if isinstance(answer, Refused) else answer.transaction.failure
        if failure is not None:
            savepoint.restore()
            return _stopped(book, movements, index, failure, bound_to, trace=isinstance(answer, Outcome))
    return answers


def _stopped(
    book: Book, movements: Sequence[Movement], index: int, failure: Failure, bound_to: str, *, trace: bool
) -> list[Answer]:
    """Nothing of an atomic batch is posted, because of the item at `index`. `trace`: the ledger's state refused it, so
    every item is recorded as FAILED, and a retry gets the same answers. What is out of somebody else's wallet is not
    recorded as if it could have been posted: its owner would see it."""
    by = {"item": str(index), "stopped_by": f"transactions/{movements[index].id}", "reason": failure.reason.value}
    answers: list[Answer] = []
    for number, movement in enumerate(movements):
        mine = failure
        if number != index:
            mine = not_its_own(book, movement, bound_to) or Failure(Reason.BATCH_STOPPED, by)
        known = book.find(movement.id)
        if known is not None:
            answers.append(_again(known, movement))
        else:
            answers.append(book.fail(movement, mine) if trace else Refused(mine))
    return answers
