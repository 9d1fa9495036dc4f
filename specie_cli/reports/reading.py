"""A report as it comes from the service: taken up again where it breaks off, and checked to the last minor unit."""

import time
from collections.abc import Callable, Iterable, Iterator

import grpc
from specie.transaction.v1 import (
    Entry,
    ReportClosing,
    ReportEntriesRequest,
    ReportEntriesResponse,
    ReportOpening,
)

from specie_cli.breaks import PAUSES_SECONDS, may_pass
from specie_cli.ending import Refused

Call = Callable[[ReportEntriesRequest], Iterable[ReportEntriesResponse]]


class Unsound(Refused):
    """What came does not add up. Nobody should rely on it."""


def read(
    call: Call, request: ReportEntriesRequest, pause: Callable[[float], None] = time.sleep
) -> Iterator[ReportEntriesResponse]:
    """The opening, entries many at a time, and the closing, each once.

    Raises Unsound, and grpc.RpcError when it cannot begin, or cannot go on for half a minute.
    """
    asked, check, failures = ReportEntriesRequest(), _Check(), 0
    asked.CopyFrom(request)
    while not check.is_whole:
        try:
            for message in call(asked):
                if check.take(message):
                    yield message
                if message.entries:
                    failures = 0
            check.ended()
        except grpc.RpcError as error:
            if check.opening is None or failures == len(PAUSES_SECONDS) or not may_pass(error):
                raise
            pause(PAUSES_SECONDS[failures])
            failures += 1
            asked.end_time.CopyFrom(check.opening.end_time)
            asked.after_sequence = check.sequence


class _Check:
    """That no entry is missing, and that the balances are those of the entries. Raises Unsound."""

    def __init__(self) -> None:
        self.opening: ReportOpening | None = None
        self.sequence = 0
        self.is_whole = False
        self._balance = 0

    def take(self, message: ReportEntriesResponse) -> bool:
        """Whether it is new: after a break the opening comes again."""
        if message.HasField("opening"):
            return self._open(message.opening)
        if self.opening is None or self.is_whole:
            raise Unsound("something came before the opening or after the closing")
        for entry in message.entries:
            self._add(entry)
        if message.HasField("closing"):
            self._close(message.closing)
        return True

    def ended(self) -> None:
        if not self.is_whole:
            raise Unsound("the report ended without its closing")

    def _open(self, opening: ReportOpening) -> bool:
        if self.opening is not None:
            if opening != self.opening:
                raise Unsound("after a break another report came")
            return False
        self.opening, self.sequence, self._balance = opening, opening.sequence, opening.balance.minor_units
        return True

    def _add(self, entry: Entry) -> None:
        if entry.sequence != self.sequence + 1:
            raise Unsound(f"entry {entry.sequence} came after entry {self.sequence}")
        self.sequence = entry.sequence
        self._balance += entry.amount.minor_units
        if entry.balance.minor_units != self._balance:
            told = entry.balance.minor_units
            raise Unsound(f"entry {entry.sequence} says the balance is {told}, but it adds up to {self._balance}")

    def _close(self, closing: ReportClosing) -> None:
        if closing.sequence != self.sequence:
            raise Unsound(f"the closing is of entry {closing.sequence}, but the last that came is {self.sequence}")
        if closing.balance.minor_units != self._balance:
            told = closing.balance.minor_units
            raise Unsound(f"the closing balance is {told}, but opening and entries add up to {self._balance}")
        self.is_whole = True
