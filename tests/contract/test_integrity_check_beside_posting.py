"""The check never cries wolf: whatever is posted while it looks, it sees each commit whole or not at all."""

import random
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from functools import partial

import pytest

from tests.kit.auditor import audit
from tests.kit.builders import (
    account,
    capture,
    code,
    compound,
    deposit,
    expiry,
    fee,
    placing,
    release,
    reversal,
    transfer,
    withdrawal,
)
from tests.kit.checked import Books, books
from tests.kit.ledgers import Ledger, postgres_ledger
from tests.kit.postgres import Database
from transaction_service.adapters import integrity_check
from transaction_service.domain.movement import Manner, Work
from transaction_service.domain.terms import Terms
from transaction_service.integrity.findings import FINDINGS_MAX, Broken

PEOPLE, EUROPEANS = ("alice", "bob", "carol", "dave"), ("erin", "euro")
POSTERS, WATCHERS, ROUNDS = 3, 2, 40
WAIT_SECONDS_MAX = 100
AT_ONCE = timedelta(microseconds=1)


class Poster:
    """Posts something of everything, by a lane of its own."""

    def __init__(self, ledger: Ledger, seed: int) -> None:
        self._ledger = ledger
        self._random = random.Random(seed)  # noqa: S311 - load, not a secret
        self.codes: set[str] = set()

    def run(self) -> None:
        for _ in range(ROUNDS):
            one, other = self._random.sample(PEOPLE, 2)
            amount = self._random.randint(1, 30)
            plain = [transfer(one, other, amount), transfer(other, one, amount, terms=fee(2)), withdrawal(one, amount)]
            placed = [placing(one, other, amount), placing(other, one, amount, ttl=AT_ONCE), placing(one, other, 9)]
            deferred = [transfer(one, other, amount, terms=Terms(deferred=True)) for _ in range(2)]
            both = compound((one, -amount), (other, amount), ("erin", -1, "EUR"), ("euro", 1, "EUR"))
            self._post(Work([*plain, *placed, *deferred, both, deposit(one, amount), transfer(one, "nobody", 1)]))
            self._post(Work([transfer(other, one, 10**9), transfer(one, other, 1)], Manner.ATOMIC))
            self._post(Work([capture(placed[0], 1), release(placed[2]), expiry(placed[1]), reversal(plain[0], 1)]))
            self._post(Work([capture(placed[0], final=True), reversal(plain[0]), reversal(both)]))
            self._post(Work(deferred[:1], Manner.DUE))
            self._post(Work(deferred[1:], Manner.CANCEL, "ann"))

    def _post(self, work: Work) -> None:
        [results] = self._ledger.lane.post([work])
        self.codes |= {code(result) for result in results}


class Watcher:
    """Checks as fast as it can, and is in the others' way."""

    def __init__(self, checking: Books, seed: int) -> None:
        self._checking = checking
        self._random = random.Random(seed)  # noqa: S311 - load, not a secret
        self.rounds, self.laps = 0, 0
        self.found: list[Broken] = []

    def run(self, over: threading.Event) -> None:
        while not over.is_set() or not self.laps:
            self._checking.look(limit=self._random.choice((1, 5, 50, 1000)))
            page = self._checking.go_on()
            self.laps += page is not None and page.ended is not None
            self.found += [finding.broken for finding in self._checking.checked().findings]
            self.found += self._checking.of_account(f"wallets/{self._random.choice(PEOPLE)}")
            self.rounds += 1


@contextmanager
def running(targets: Sequence[Callable[[], None]]) -> Iterator[None]:
    """Until all have ended; what ended one of them ends the test."""
    with ThreadPoolExecutor(len(targets)) as threads:
        begun = [threads.submit(target) for target in targets]
        yield
        for each in begun:
            each.result(WAIT_SECONDS_MAX)


def test_there_is_no_false_alarm(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(integrity_check, "_PAGE", {"accounts": 2, "entries": 50, "findings_max": FINDINGS_MAX})
    monkeypatch.setattr(integrity_check, "TIME_PAGE", 50)
    over = threading.Event()
    with ExitStack() as stack:
        ledgers = [stack.enter_context(postgres_ledger(database)) for _ in range(POSTERS)]
        ledgers[0].open(*[account(name) for name in PEOPLE])
        ledgers[0].open(*[account(name, currency="EUR") for name in EUROPEANS])
        ledgers[0].post(*[deposit(name, 5000) for name in PEOPLE], deposit("erin", 5000, currency="EUR"))
        posters = [Poster(ledger, seed) for seed, ledger in enumerate(ledgers)]
        watchers = [Watcher(stack.enter_context(books(database)), seed) for seed in range(WATCHERS)]
        with running([partial(watcher.run, over) for watcher in watchers]):
            try:
                with running([poster.run for poster in posters]):
                    pass
            finally:
                over.set()
        last = stack.enter_context(books(database))
        assert last.look_at_all_new() == last.lap()[0] == []
    assert [watcher.found for watcher in watchers] == [[]] * WATCHERS
    assert all(watcher.rounds and watcher.laps for watcher in watchers)
    assert {"POSTED", "PENDING", "INSUFFICIENT_FUNDS", "TRANSFER_CANCELLED"} <= set().union(*(p.codes for p in posters))
    audit(database.owner_dsn)
