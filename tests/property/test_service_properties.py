"""The running service against the model, side by side: every call that moves money or reserves it, batches with bad
items and repeated keys, repetitions of what was asked long ago, changes of accounts; with an auditor at the end.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from specie.transaction.v1 import AccountState

from tests.kit.asked import Asked
from tests.kit.asker import Asker, Heard, shown
from tests.kit.auditor import audit
from tests.kit.kept import Purse, Told
from tests.kit.model import SUCCESSES, Model
from tests.kit.postgres import Database
from tests.kit.service import ServiceProcess, transaction_service, wait_until
from tests.kit.wishes import (
    BANK,
    CASH,
    EUROS,
    KEYS,
    PICKS,
    SMALL,
    SYSTEM,
    USERS,
    Wish,
    items,
    resolve,
    transfers,
    wishes,
)

PATIENCE_SECONDS = 300
"""Also where others use the machine."""
OPENED = [*USERS, *EUROS, BANK]
REVISIONS = st.integers(-1, 2)
LIMITS = st.fixed_dictionaries(
    {
        "per_transaction": st.sampled_from([0, 0, 20]),
        "per_day": st.sampled_from([0, 0, 100]),
        "debits_per_hour": st.sampled_from([0, 0, 3]),
        "time_zone": st.sampled_from(["UTC", "UTC", "Europe/Berlin", "Asia/Kolkata"]),
        "credit": st.sampled_from([0, 0, 15]),
    }
)


class ServiceMachine(RuleBasedStateMachine):
    """The model is asked after the service, at the time that the service tells."""

    def __init__(self, target: str, database: Database) -> None:
        super().__init__()
        self.database, self.asker, self.model = database, Asker(target), Model(datetime.now(UTC))
        self.acknowledged: dict[str, str] = {}

    def teardown(self) -> None:
        """What was stored is still told as it was, and the books are sound."""
        for key, name in self.asker.names.items():
            if key in self.model.stored:
                assert self.asker.decided(name)[0] == self.model.stored[key].code
        self.asker.close()
        audit(self.database.owner_dsn, self.acknowledged)

    @initialize()
    def accounts_are_opened(self) -> None:
        for name in SYSTEM:
            self.model.purses[name] = Purse(name[-3:].upper(), kind="SYSTEM", endless=True)
        for name in USERS[:-1]:
            self.open(name, Purse())
        # Days and hours are used up too seldom when limits must be drawn first.
        self.open(USERS[-1], Purse(per_day=60, per_hour=4, zone="Europe/Berlin"))
        for name in EUROS:
            self.open(name, Purse(currency="EUR", credit=50))
        self.open(BANK, Purse(kind="PROVIDER", credit=200))
        for name in USERS:
            self.ask(Asked(f"start-{name}", "DEPOSIT", CASH, name, 100))

    def open(self, name: str, purse: Purse) -> None:
        self.model.purses[name] = replace(purse, revision=1)
        self.asker.open(name, self.model.purses[name])

    @rule(some=st.lists(wishes(SMALL), min_size=6, max_size=12))
    def requests_are_sent(self, some: list[Wish]) -> None:
        for wish in some:
            self.ask(resolve(wish, self.model))

    @rule(picks=st.lists(PICKS, min_size=1, max_size=4), other_amount=st.sampled_from([False, False, True]))
    def requests_are_repeated(self, picks: list[int], other_amount: bool) -> None:
        """Also those that came in a batch; some with another amount."""
        for pick in picks:
            asked = list(self.model.stored.values())[pick % len(self.model.stored)].asked
            if asked.kind != "EXPIRY" and asked.key in self.asker.names:
                self.ask(replace(asked, amount=asked.amount + 1) if other_amount and asked.amount else asked)

    @rule(name=st.sampled_from([*USERS, BANK]), amount=st.integers(1, 200), key=KEYS)
    def money_comes_in(self, name: str, amount: int, key: str) -> None:
        self.ask(Asked(f"income-{key}", "DEPOSIT", CASH, name, amount))

    @rule(items=items(SMALL, 8), picks=st.lists(PICKS, max_size=3))
    def a_batch_is_sent(self, items: list[Wish | None], picks: list[int]) -> None:
        """None: an item that breaks the contract's rules."""
        batch = self.batch(items, picks)
        heard = self.asker.ask_batch(batch, atomic=False)
        assert isinstance(heard, list)
        self.set_time(heard)
        expected = [Told("INVALID_FIELD") if asked is None else self.model.ask(asked) for asked in batch]
        self.compare(heard, expected)
        self.settle([asked.key for asked in batch if asked is not None])

    @rule(items=items(SMALL, 60), picks=st.lists(PICKS, max_size=3))
    def a_batch_is_sent_all_or_none(self, items: list[Wish | None], picks: list[int]) -> None:
        batch = [
            None if asked is None else replace(asked, deferred=False, due=None) for asked in self.batch(items, picks)
        ]
        heard = self.asker.ask_batch(batch, atomic=True)
        if None in batch:
            assert heard == Heard("INVALID_FIELD", item=batch.index(None))
            return
        self.set_time(heard if isinstance(heard, list) else [heard])
        expected = self.model.all_or_none([asked for asked in batch if asked is not None])
        failed = [index for index, told in enumerate(expected) if told.code not in SUCCESSES]
        if not failed:
            assert isinstance(heard, list)
            self.compare(heard, expected)
            return
        # The first that failed for a reason of its own; of a repeated batch, none of whose items was it, the first.
        own = [index for index in failed if expected[index].code != "BATCH_STOPPED"]
        stopped_by = own[0] if own else failed[0]
        assert isinstance(heard, Heard)
        self.compare([heard], [expected[stopped_by]])
        assert not own or heard.item == stopped_by
        # Only by asking for it alone is the name of another item told.
        for asked in batch:
            if asked is not None and asked.key in self.model.stored:
                self.ask(asked)

    def batch(self, items: Sequence[Wish | None], picks: Sequence[int]) -> list[Asked | None]:
        """With some items twice, and some of what was asked before."""
        batch = [None if wish is None else resolve(wish, self.model) for wish in items]
        for pick in picks:
            before = [s.asked for s in self.model.stored.values() if s.asked.kind == "TRANSFER"]
            choices = [*before, *[asked for asked in batch if asked is not None]]
            if choices:
                batch.insert(pick % (len(batch) + 1), choices[pick % len(choices)])
        return batch

    @rule(wish=transfers(SMALL))
    def a_transfer_is_scheduled(self, wish: Wish) -> None:
        """For a day that this test does not see."""
        self.ask(replace(resolve(wish, self.model), deferred=True, due=self.model.now + timedelta(days=100)))

    @rule(pick=PICKS)
    def a_transfer_is_cancelled(self, pick: int) -> None:
        deferred = [key for key, stored in self.model.stored.items() if stored.asked.deferred]
        if deferred:
            key = deferred[pick % len(deferred)]
            told, heard = self.model.cancel(key), self.asker.cancel(key)
            assert heard.code == (told.code if told.code == "TRANSFER_CANCELLED" else "NOT_PENDING")

    @rule(name=st.sampled_from(USERS))
    def holds_are_released_in_bulk(self, name: str) -> None:
        open_ = [key for key, hold in self.model.holds.items() if (hold.source, hold.state) == (name, "OPEN")]
        released = self.asker.release_all(name)
        assert released == {self.asker.hold(key).name for key in open_}
        for key in open_:
            placed = self.model.holds[key]
            asked = Asked(f"bulk release of {key}", "RELEASE", placed.source, placed.destination, hold=key)
            assert self.model.ask(asked) == Told("POSTED")

    @rule(name=st.sampled_from([*USERS, BANK]), state=st.sampled_from(["OPEN", "FROZEN", "CLOSED"]), step=REVISIONS)
    def a_state_is_set(self, name: str, state: str, step: int) -> None:
        revision = max(1, self.model.purses[name].revision + step)
        assert self.asker.set_state(name, state, revision) == self.model.set_state(name, state, revision)

    @rule(name=st.sampled_from([*USERS, BANK, *EUROS]), limits=LIMITS, step=REVISIONS)
    def limits_are_set(self, name: str, limits: dict[str, Any], step: int) -> None:
        revision = max(1, self.model.purses[name].revision + step)
        assert self.asker.set_limits(name, limits, revision) == self.model.set_limits(name, limits, revision)

    def ask(self, asked: Asked) -> None:
        heard = self.asker.ask(asked)
        self.set_time([heard])
        # What a request is about is looked for before anything else. Of releases and expiries no name is told.
        if asked.kind in ("CAPTURE", "RELEASE") and asked.hold not in self.model.holds:
            expected = Told("HOLD_NOT_FOUND")
        elif asked.kind == "REVERSAL" and asked.reverses not in self.asker.names:
            expected = Told("TRANSACTION_NOT_FOUND")
        else:
            expected = self.model.ask(asked)
        self.compare([heard], [expected])
        self.settle([asked.key])
        if heard.hold is not None and not heard.replayed:
            hold = self.model.holds[asked.hold or asked.key]
            assert shown(heard.hold)[1:] == (
                hold.amount,
                hold.captured,
                hold.released if hold.state != "EXPIRED" else 0,
            )

    def compare(self, heard: Sequence[Heard], expected: Sequence[Told]) -> None:
        assert [(one.code, one.replayed) for one in heard] == expected
        self.acknowledged |= {one.name: one.code for one in heard if one.name}

    def set_time(self, heard: Sequence[Heard]) -> None:
        """When the service decided it; of what left no trace: now."""
        fresh = [one.name for one in heard if one.name and not one.replayed]
        self.model.now = self.asker.created(fresh[0]) if fresh else datetime.now(UTC)

    def settle(self, keys: Sequence[str]) -> None:
        """What the service does by itself: ASYNC transfers that are due are decided, holds that are over expire."""
        due = {self.asker.names[key]: key for key in keys if self.waits(key)}
        for name in sorted(due):
            wait_until(partial(self.is_decided, name), f"{name} is decided")
            code, self.model.now = self.asker.decided(name)
            assert self.model.due(due[name]) == Told(code)
        for key in keys:
            hold = self.model.holds.get(key)
            if hold is not None and hold.state == "OPEN" and hold.expire <= datetime.now(UTC):
                wait_until(partial(self.has_expired, key), f"{key} expires")
                self.model.now = datetime.now(UTC)
                asked = Asked(f"expiry of {key}", "EXPIRY", hold.source, hold.destination, hold=key)
                assert self.model.ask(asked) == Told("POSTED")

    def waits(self, key: str) -> bool:
        stored = self.model.stored.get(key)
        return stored is not None and stored.code == "PENDING" and stored.asked.due is None

    def is_decided(self, name: str) -> bool:
        return self.asker.decided(name)[0] != "PENDING"

    def has_expired(self, key: str) -> bool:
        return shown(self.asker.hold(key))[0] == "EXPIRED"

    @invariant()
    def accounts_are_as_the_model_has_them(self) -> None:
        found = self.asker.accounts([name for name in OPENED if name in self.model.purses])
        for name, account in found.items():
            purse, held, balance = self.model.purses[name], self.model.held(name), account.balance
            state = AccountState.Name(account.state).removeprefix("ACCOUNT_STATE_")
            assert (balance.posted.minor_units, balance.held.minor_units) == (purse.amount, held)
            assert (balance.available.minor_units, balance.version) == (purse.amount - held, purse.entries)
            assert (state, account.revision) == (purse.state, purse.revision)

    @invariant()
    def holds_are_as_the_model_has_them(self) -> None:
        for key, hold in list(self.model.holds.items())[-5:]:
            assert shown(self.asker.hold(key)) == (hold.state, hold.amount, hold.captured, hold.released)


@pytest.fixture(scope="module")
def service(database: Database, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    """Whatever was sent to it, it had no error of its own. What is to be paid out nobody pays."""
    folder, fast = tmp_path_factory.mktemp("service"), {"SWEEP_SECONDS": 0.02, "DISPATCH_SECONDS": 0.02}
    with transaction_service(database, folder, PAYOUT_PROVIDERS="bank=127.0.0.1:9", **fast) as running:
        yield running
        assert running.stop() == 0
        assert [event for event in running.events() if event.get("level") not in ("info", "warning")] == []


@pytest.mark.timeout(PATIENCE_SECONDS)
def test_the_service_answers_as_the_model_does(service: ServiceProcess, database: Database) -> None:
    class OfThisService(ServiceMachine):
        def __init__(self) -> None:
            super().__init__(service.targets[0], database)

    # A failure is told as it is found, and not looked at for one with fewer steps: that takes long.
    few_and_long = settings(
        max_examples=8, stateful_step_count=50, deadline=None, derandomize=True, phases=[Phase.generate]
    )
    run_state_machine_as_test(OfThisService, settings=few_and_long)
