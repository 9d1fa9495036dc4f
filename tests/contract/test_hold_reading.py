"""Reading holds, alike in PostgreSQL and in memory."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from tests.kit.builders import capture, expiry, placing, release, transfer
from tests.kit.ledgers import Ledger, funded, named, postgres_ledger
from tests.kit.postgres import Database
from transaction_service.adapters import walk
from transaction_service.domain.hold import Hold, HoldState
from transaction_service.domain.movement import Movement, Outcome
from transaction_service.ports import HoldFilter


class Holds:
    """Of alice, bob and carol, in every state, several placed at one time."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self.alice, self.bob, self.carol = funded(ledger, 1000, "alice", "bob", "carol")
        self.reference = f"ref-{uuid4()}"
        alice, bob, carol = self.alice, self.bob, self.carol
        ours: dict[str, Any] = {"external_reference": self.reference, "labels": {"order": "1"}, "description": "a room"}
        self._movements: list[Movement] = []
        self._post(*[placing(alice, bob, amount, **ours) for amount in (1, 2, 3)])
        self._post(placing(bob, alice, 4), placing(bob, carol, 5, **ours), placing(carol, alice, 6))
        self._post(*[placing(alice, carol, amount) for amount in (7, 8, 9, 10)])
        first, second, third, *_ = self._movements
        ledger.post(capture(first), capture(second, 1), release(third), expiry(self._movements[6]))
        self._post(placing(alice, bob, 5000))
        self._post(placing(alice, bob, 12, **ours))
        [*self.all] = [self.now(movement) for movement in self._movements if movement.amount < 5000]

    def _post(self, *placed: Movement) -> None:
        self._movements += placed
        for answer in self._ledger.post(*placed):
            assert isinstance(answer, Outcome)

    def now(self, movement: Movement) -> Hold:
        found = asyncio.run(self._ledger.holds.hold(movement.id))
        assert found is not None
        assert (found.id, found.source, found.amount) == (movement.id, movement.source, movement.amount)
        assert (found.labels, found.external_reference) == (movement.labels, movement.external_reference)
        return found


def test_a_hold_that_does_not_exist(ledger: Ledger) -> None:
    assert asyncio.run(ledger.holds.hold(transfer().id)) is None


@pytest.mark.parametrize("who", ["alice", "bob", "carol", "nobody", ""])
@pytest.mark.parametrize("state", [None, *HoldState])
def test_holds_by_account_and_state_in_pages(ledger: Ledger, who: str, state: HoldState | None) -> None:
    made = Holds(ledger)
    account = getattr(made, who, named("nobody")) if who else ""
    expected = {h.id: h for h in made.all if account in ("", h.source, h.destination) and state in (None, h.state)}
    for page_size in (1, 2, 1000):
        found = ledger.list_holds(page_size, account, state)
        if not account:
            found = [h for h in found if h.source in (made.alice, made.bob, made.carol)]  # other tests' are there too
        assert {h.id: h for h in found} == expected
        assert len(found) == len(expected)
        times = [h.create_time for h in found]
        assert times == sorted(times, reverse=True)


FILTERS = [("source",), ("destination",), ("external_reference",), ("source", "destination"), ("placed_before",)]


@pytest.mark.parametrize("names", [*FILTERS, *[(*names, "placed_before") for names in FILTERS[:4]], sum(FILTERS, ())])
def test_the_open_holds_that_match_oldest_first(ledger: Ledger, names: tuple[str, ...]) -> None:
    made = Holds(ledger)
    values = {"source": made.alice, "destination": made.bob, "external_reference": made.reference}
    wanted: dict[str, Any] = {name: values[name] for name in names if name in values}
    if "placed_before" in names:
        wanted["placed_before"] = max(h.create_time for h in made.all)
    expected = [
        h
        for h in sorted(made.all, key=lambda h: (h.create_time, h.id))
        if h.state is HoldState.OPEN
        and all(getattr(h, name) == value for name, value in wanted.items() if name != "placed_before")
        and ("placed_before" not in names or h.create_time < wanted["placed_before"])
    ]
    found = asyncio.run(ledger.holds.open_holds(HoldFilter(**wanted), 1000))
    assert [h for h in found if h in made.all] == expected
    if names != ("placed_before",):
        assert found == expected
        assert asyncio.run(ledger.holds.open_holds(HoldFilter(**wanted), 2)) == expected[:2]


def test_open_holds_are_found_however_far_down(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walk, "STEPS_MAX", 2)
    monkeypatch.setattr(walk, "WALKED_MAX", 3)
    with postgres_ledger(database) as ledger:
        made = Holds(ledger)
        expected = [
            h for h in made.all if h.state is HoldState.OPEN and (h.source, h.destination) == (made.alice, made.carol)
        ]
        wanted = HoldFilter(source=made.alice, destination=made.carol, placed_before=datetime.now(UTC) + timedelta(1))
        found = asyncio.run(ledger.holds.open_holds(wanted, 1000))
        assert len(found) == 3
        assert found == sorted(expected, key=lambda h: (h.create_time, h.id))
