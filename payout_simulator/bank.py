"""The bank's book: what was ordered, and what became of it. All that makes a payment happen once is in this file.

An order is known by its key. The first one with a key is written down, and only then answered; every later one is told
what became of the first. The key is the table's primary key, so that this also holds for orders that come at once, and
every change is on the disk before anybody hears of it, so that it also holds when the bank dies in between.
"""

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

FILE: Final = "bank.sqlite3"
LOCK_SECONDS: Final = 10.0
"""How long a change waits for another process that has the same book open."""

SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS payment (
    idempotency_key TEXT PRIMARY KEY,
    currency TEXT NOT NULL,
    minor_units INTEGER NOT NULL CHECK (minor_units > 0),
    account TEXT NOT NULL,
    beneficiary TEXT NOT NULL,
    reference TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('PENDING', 'PAID', 'REFUSED')),
    refusal TEXT NOT NULL, -- why it is refused, or will be; empty: it is paid, or will be
    settle_time REAL NOT NULL, -- seconds since 1970: when it settled, or will
    CHECK (state = 'PENDING' OR (state = 'PAID') = (refusal = ''))
) STRICT;

CREATE INDEX IF NOT EXISTS to_settle ON payment (settle_time) WHERE state = 'PENDING';

CREATE TRIGGER IF NOT EXISTS what_is_settled_stays BEFORE UPDATE ON payment WHEN old.state <> 'PENDING'
BEGIN SELECT RAISE(ABORT, 'what is settled stays'); END;

CREATE TRIGGER IF NOT EXISTS no_payment_vanishes BEFORE DELETE ON payment
BEGIN SELECT RAISE(ABORT, 'no payment vanishes'); END;
"""

COLUMNS: Final = "idempotency_key, currency, minor_units, account, beneficiary, reference, state, refusal, settle_time"
TAKE: Final = f"""
INSERT INTO payment ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (idempotency_key) DO NOTHING
"""  # noqa: S608 - nothing of the input
FIND: Final = f"SELECT {COLUMNS} FROM payment WHERE idempotency_key = ?"  # noqa: S608 - nothing of the input
SETTLE: Final = """
UPDATE payment SET state = CASE refusal WHEN '' THEN 'PAID' ELSE 'REFUSED' END
WHERE state = 'PENDING' AND settle_time <= ?
"""


class State(StrEnum):
    """What became of a payment."""

    PENDING = "PENDING"
    PAID = "PAID"
    REFUSED = "REFUSED"


@dataclass(frozen=True, slots=True)
class Order:
    """What somebody wants to be paid. `key`: a uuid; `minor_units`: above 0."""

    key: str
    currency: str
    minor_units: int
    account: str
    beneficiary: str
    reference: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is to become of a new order. `refusal`: why it is refused; empty: it is paid. `after_seconds`: until then it
    is PENDING; 0: it is settled at once."""

    refusal: str = ""
    after_seconds: float = 0


@dataclass(frozen=True, slots=True)
class Payment:
    """An order and what became of it. `settle_time`: in seconds since 1970; None while it is PENDING."""

    order: Order
    state: State
    refusal: str = ""
    settle_time: float | None = None

    @property
    def reference(self) -> str:
        """What the bank calls it."""
        return f"sim-{self.order.key}"


class OtherContentError(Exception):
    """The key is taken, by an order that says something else."""


class Bank:
    """Its methods may be called from any thread. They raise sqlite3.Error when the disk fails: nothing happened."""

    def __init__(self, folder: Path) -> None:
        """Opens the book in this folder, or begins one. Raises OSError or sqlite3.Error when that cannot be."""
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self._book = sqlite3.connect(folder / FILE, timeout=LOCK_SECONDS, isolation_level=None, check_same_thread=False)
        # FULL: a commit has returned when it is on the disk.
        self._book.executescript(f"PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; {SCHEMA}")

    def close(self) -> None:
        with self._lock:
            self._book.close()

    def pay(self, order: Order, verdict: Verdict) -> Payment:
        """Takes the order, unless one with its key was taken before: the verdict is about new orders only. Raises
        OtherContentError."""
        now = time.time()
        at_once = verdict.after_seconds <= 0
        state = State.PENDING if not at_once else State.REFUSED if verdict.refusal else State.PAID
        with self._change() as book:
            book.execute(
                TAKE,
                (
                    order.key,
                    order.currency,
                    order.minor_units,
                    order.account,
                    order.beneficiary,
                    order.reference,
                    state,
                    verdict.refusal,
                    now + verdict.after_seconds,
                ),
            )
            payment = _payment(book.execute(FIND, (order.key,)).fetchone())
        if payment.order != order:
            raise OtherContentError
        return payment

    def find(self, key: str) -> Payment | None:
        """None: no order with this key has come yet."""
        with self._lock:
            row = self._book.execute(FIND, (key,)).fetchone()
        return None if row is None else _payment(row)

    def settle(self) -> None:
        """What is PENDING and due becomes what it was to become."""
        with self._change() as book:
            book.execute(SETTLE, (time.time(),))

    @contextmanager
    def _change(self) -> Iterator[sqlite3.Connection]:
        """All of it or nothing, and on the disk at the end."""
        with self._lock:
            self._book.execute("BEGIN IMMEDIATE")
            try:
                yield self._book
                self._book.execute("COMMIT")
            except BaseException:
                if self._book.in_transaction:
                    self._book.execute("ROLLBACK")
                raise


def _payment(row: tuple[str, str, int, str, str, str, str, str, float]) -> Payment:
    *ordered, state, refusal, settle_time = row
    order = Order(*ordered)  # type: ignore[arg-type] # the types of a slice are not told apart
    if state == State.PENDING:
        return Payment(order, State.PENDING)
    return Payment(order, State(state), refusal, settle_time)
