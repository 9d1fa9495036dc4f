"""A posting store over memory that fails, waits and remembers as its script says."""

import threading
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from tests.kit.builders import NOON
from transaction_service.adapters.memory import Memory, MemoryPostingStore
from transaction_service.domain.account import Account
from transaction_service.domain.book import Book
from transaction_service.ports import Locked, LockTimeout, Wanted

WAIT_SECONDS_MAX = 30
"""Only a test that fails anyway waits so long."""


@dataclass
class Gate:
    """Where a lane stops until the test lets it go on."""

    reached: threading.Event = field(default_factory=threading.Event)
    opened: threading.Event = field(default_factory=threading.Event)

    def stop(self) -> None:
        self.reached.set()
        assert self.opened.wait(WAIT_SECONDS_MAX)

    def wait_until_reached(self) -> None:
        assert self.reached.wait(WAIT_SECONDS_MAX)


class LostAnswer(Exception):  # noqa: N818 - what happened
    """In a script of `write`: commit, then raise the cause."""

    def __init__(self, cause: Exception) -> None:
        self.cause = cause


class ScriptedStore(MemoryPostingStore):
    """`on_lock` and `on_write` tell what the next calls do, one item a call: None works, an exception is raised with
    nothing begun, a Gate is waited at first. Without an item it works. `on_held` alike."""

    def __init__(self, *accounts: Account) -> None:
        self.memory = Memory(lambda: NOON, {a.name: a for a in accounts})
        super().__init__(self.memory)
        self.on_lock: list[Exception | Gate | None] = []
        self.on_write: list[Exception | None] = []
        self.on_held: list[Exception | None] = []
        self.refused_amount: int | None = None
        self.calls: list[str] = []
        self.groups: list[list[str]] = []
        self.opened: list[list[str]] = []
        self.wanted: list[Wanted] = []
        self.seconds_left: list[float] = []
        self.closed = False
        self.held_elsewhere: set[str] = set()
        """Accounts that another session holds."""

    def balance(self, name: str) -> int:
        return self.memory.accounts[f"wallets/{name}"].balance

    def open_system_accounts(self, accounts: Sequence[Account]) -> None:
        self.calls.append("open")
        self.opened.append([a.name for a in accounts])
        super().open_system_accounts(accounts)

    def lock(self, wanted: Wanted, *, patient: bool, seconds_left: float = float("inf")) -> Locked:
        self.calls.append("lock" if patient else "impatient lock")
        self.seconds_left.append(seconds_left)
        self.wanted.append(wanted)
        step = self.on_lock.pop(0) if self.on_lock else None
        if isinstance(step, Gate):
            step.stop()
        elif step is not None:
            raise step
        if self.held_elsewhere & set(wanted.accounts):
            raise LockTimeout
        return super().lock(wanted, patient=patient, seconds_left=seconds_left)

    def held(self, names: Collection[str]) -> set[str]:
        self.calls.append("held")
        step = self.on_held.pop(0) if self.on_held else None
        if step is not None:
            raise step
        return self.held_elsewhere & set(names)

    def write(self, book: Book) -> None:
        self.calls.append("write")
        step = self.on_write.pop(0) if self.on_write else None
        amounts = [t.movement.amount for t in book.decided.values()]
        if step is None and self.refused_amount in amounts:
            step = ValueError("this value cannot be stored")
        if step is not None and not isinstance(step, LostAnswer):
            super().roll_back()
            raise step
        self.groups.append([t.movement.request_id for t in book.decided.values()])
        super().write(book)
        if isinstance(step, LostAnswer):
            raise step.cause

    def roll_back(self) -> None:
        self.calls.append("roll back")
        super().roll_back()

    def close(self) -> None:
        self.closed = True
