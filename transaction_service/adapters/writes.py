"""What a decided book becomes in SQL: statements of statements.py with their values.

The arrays go over as array literals: the server parses them much faster than a list of constants.
"""

import json
from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any

from transaction_service.adapters import statements
from transaction_service.domain.account import Account
from transaction_service.domain.book import Book
from transaction_service.domain.hold import Hold
from transaction_service.domain.identity import account_id, label_id
from transaction_service.domain.movement import (
    Entry,
    Movement,
    Transaction,
    TransactionState,
    accounts_of,
    postings_of,
    received,
)
from transaction_service.domain.terms import PLAIN, written

Write = tuple[str, list[Any]]
"""A statement and its values."""


def writes(book: Book) -> Iterator[Write]:
    """In an order in which each may stand after the one before."""
    now = book.now
    settled = [t for t in book.decided.values() if t.movement.id in book.known] if book.known else []
    new = (
        book.decided.values() if not settled else [t for t in book.decided.values() if t.movement.id not in book.known]
    )
    if new:
        yield from _new(new, now)
    if settled:
        yield from _settle(settled, now)
    listed = [(key, t.movement.id) for t in book.decided.values() for key in _keys(t)]
    if listed:
        yield statements.WRITE_LISTING, [array(k for k, _ in listed), array(i for _, i in listed), now]
    if book.entries:
        # Along the primary key: on a grown table PostgreSQL takes a fourteenth less for a transfer.
        yield statements.WRITE_ENTRIES, _entries(sorted(book.entries), now)
    if book.changed:
        yield from _accounts(list(book.changed.values()), now, held=bool(book.changed_holds))
    yield from _holds(book)


def _new(new: Collection[Transaction], now: datetime) -> Iterator[Write]:
    statement, values = _transactions(new, now)
    yield statement, values
    if statement is statements.WRITE_USUAL_TRANSACTIONS:
        return
    pended = [t for t in new if t.state is TransactionState.PENDING]
    if pended:
        yield statements.WRITE_PENDING, _pending(pended, now)
    paid_out = [t for t in new if t.movement.terms.payout is not None and t.state is TransactionState.POSTED]
    if paid_out:
        yield statements.WRITE_PAYOUTS, _payouts([t.movement for t in paid_out], now)


def _settle(settled: Sequence[Transaction], now: datetime) -> Iterator[Write]:
    """What was PENDING until now."""
    rows = sorted(settled, key=_id)
    ids = array(row.movement.id for row in rows)
    yield statements.WRITE_SETTLED, [ids, _numbers(row.state for row in rows), *_failures(rows), now]
    yield statements.WRITE_UNPENDING, [ids]
    listed = [(key, t.create_time, t.movement.id) for t in rows for key in _keys_of_pending(t)]
    keys, times, transactions = zip(*listed, strict=True)
    yield statements.WRITE_UNLISTING, [array(keys), _times(times), array(transactions)]


def _keys(transaction: Transaction) -> Iterable[str]:
    """Under what it is listed: its labels, and the accounts that it names without an entry."""
    movement = transaction.movement
    if not transaction.has_entries:
        return _keys_of_pending(transaction)
    if not movement.labels and not movement.terms.postings:
        return ()
    # Where only the fee is left to go back, the others are named and have no part in it.
    idle = accounts_of(movement) - {posting.account for posting in postings_of(movement)}
    return [*map(account_id, idle), *(label_id(*label) for label in movement.labels.items())]


def _keys_of_pending(transaction: Transaction) -> list[str]:
    movement = transaction.movement
    return [
        *(account_id(name) for name in accounts_of(movement)),
        *(label_id(*label) for label in movement.labels.items()),
    ]


def _transactions(new: Iterable[Transaction], now: datetime) -> Write:
    """One statement for all of them: in two, two groups that race for the same keys could wait for each other."""
    rows = sorted(new, key=_id)
    movements = [row.movement for row in rows]
    usual = [
        array([m.id for m in movements]),
        _numbers([m.kind for m in movements]),
        _texts([m.source for m in movements]),
        _texts([m.destination for m in movements]),
        _numbers([m.amount for m in movements]),
        _texts([m.currency for m in movements]),
        _texts([m.description for m in movements]),
        _texts([m.external_reference for m in movements]),
        _texts([m.principal for m in movements]),
        _texts([m.request_id for m in movements]),
        _texts([m.trace_id for m in movements]),
        array([m.fingerprint for m in movements]),
        now,
    ]
    if all(map(_is_usual, rows)):
        return statements.WRITE_USUAL_TRANSACTIONS, usual
    return statements.WRITE_TRANSACTIONS, [
        *usual,
        _numbers([row.state for row in rows]),
        _texts([_json(m.labels) if m.labels else "{}" for m in movements]),
        *_failures(rows),
        _texts([None if m.terms is PLAIN else _json(written(m.terms)) for m in movements]),
        array([m.hold or "NULL" for m in movements]),
        array([m.reverses or "NULL" for m in movements]),
    ]


def _is_usual(transaction: Transaction) -> bool:
    """Whether it says nothing but what every transaction says, and is POSTED."""
    movement = transaction.movement
    return (
        transaction.state is TransactionState.POSTED
        and movement.terms is PLAIN
        and not (movement.labels or movement.hold or movement.reverses)
    )


def _failures(rows: Sequence[Transaction]) -> list[Any]:
    failures = [row.failure for row in rows]
    return [
        array(["NULL" if f is None else f.reason.value for f in failures]),
        _texts([None if f is None else _json(f.metadata) for f in failures]),
    ]


def _id(transaction: Transaction) -> str:
    return transaction.movement.id


def _pending(pended: Sequence[Transaction], now: datetime) -> list[Any]:
    """A time that has passed is now: nobody gets before others by an old one."""
    due = [max(now, t.movement.terms.execute_time or now) for t in pended]
    return [array(t.movement.id for t in pended), _times(due)]


def _payouts(withdrawals: Sequence[Movement], now: datetime) -> list[Any]:
    """What the destination got is paid out of it."""
    destinations = [w.terms.payout for w in withdrawals if w.terms.payout is not None]
    return [
        array(w.id for w in withdrawals),
        _texts(w.source for w in withdrawals),
        _texts(d.provider for d in destinations),
        _texts(d.account for d in destinations),
        _texts(d.beneficiary for d in destinations),
        _texts(w.description for w in withdrawals),
        _numbers(received(w) for w in withdrawals),
        _texts(w.currency for w in withdrawals),
        now,
    ]


def _entries(entries: Sequence[Entry], now: datetime) -> list[Any]:
    return [
        array([e.account_id for e in entries]),
        _numbers([e.seq for e in entries]),
        array([e.transaction_id for e in entries]),
        _numbers([e.amount for e in entries]),
        _numbers([e.balance for e in entries]),
        now,
    ]


def _accounts(changed: Sequence[Account], now: datetime, *, held: bool) -> Iterator[Write]:
    values = [
        array([a.id for a in changed]),
        _numbers([a.balance for a in changed]),
        _numbers([a.version for a in changed]),
        now,
    ]
    if held:
        yield statements.WRITE_HELD_ACCOUNTS, [*values, _numbers([a.held for a in changed])]
    else:
        yield statements.WRITE_ACCOUNTS, values
    limited = [a for a in changed if a.limits.bind_debits]
    if limited:
        usages = [a.usage for a in limited]
        yield (
            statements.WRITE_USAGE,
            [
                array([a.id for a in limited]),
                _numbers([u.day for u in usages]),
                _numbers([u.day_amount for u in usages]),
                _numbers([u.hour for u in usages]),
                _numbers([u.hour_count for u in usages]),
            ],
        )


def _holds(book: Book) -> Iterator[Write]:
    placed = [hold for hold in book.changed_holds.values() if hold.id in book.decided]
    if placed:
        yield statements.WRITE_HOLDS, _placed(placed)
    changed = [hold for hold in book.changed_holds.values() if hold.id not in book.decided]
    if changed:
        yield (
            statements.WRITE_CHANGED_HOLDS,
            [
                array([h.id for h in changed]),
                _numbers([h.state for h in changed]),
                _numbers([h.captured for h in changed]),
                _numbers([h.released for h in changed]),
            ],
        )


def _placed(holds: Sequence[Hold]) -> list[Any]:
    return [
        array([h.id for h in holds]),
        _numbers([h.state for h in holds]),
        _texts([h.source for h in holds]),
        _texts([h.destination for h in holds]),
        _numbers([h.amount for h in holds]),
        _numbers([h.captured for h in holds]),
        _numbers([h.released for h in holds]),
        _texts([h.currency for h in holds]),
        _times(h.expire_time for h in holds),
        _times(h.create_time for h in holds),
        _texts([h.description for h in holds]),
        _texts([h.external_reference for h in holds]),
        _texts([_json(h.labels) if h.labels else "{}" for h in holds]),
    ]


def _json(value: Any) -> str:  # noqa: ANN401 - any JSON
    return json.dumps(dict(value), ensure_ascii=False)


def array(words: Iterable[str]) -> str:
    """An array literal of words that need no quotes: ids, names of reasons, NULL."""
    return "{" + ",".join(words) + "}"


def _numbers(numbers: Iterable[int]) -> str:
    return "{" + ",".join([str(int(number)) for number in numbers]) + "}"


def _times(times: Iterable[datetime]) -> str:
    return "{" + ",".join([f'"{time.isoformat()}"' for time in times]) + "}"


def _texts(texts: Iterable[str | None]) -> str:
    """Of any text: quoted, with backslashes and quotes escaped (PostgreSQL manual, 8.15.2)."""
    return "{" + ",".join(["NULL" if text is None else _quoted(text) for text in texts]) + "}"


def _quoted(text: str) -> str:
    if '"' in text or "\\" in text:
        text = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'
