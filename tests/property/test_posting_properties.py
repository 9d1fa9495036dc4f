"""The ledger against a model of it that shares no code with it: every command in random groups, batches and repeats,
with changes of accounts and of time between them; in memory, and in PostgreSQL with an auditor at the end."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from tests.kit.asked import Asked
from tests.kit.auditor import audit
from tests.kit.builders import code
from tests.kit.kept import Purse, Told
from tests.kit.ledgers import Ledger, memory_ledger, postgres_ledger
from tests.kit.model import BIGGEST, Model
from tests.kit.postgres import Database, Server
from tests.kit.wishes import ANY_AMOUNT, BANK, CASH, EUROS, PICKS, SYSTEM, USERS, Wish, resolve, wishes
from transaction_service.adapters.memory import MemoryPostingStore
from transaction_service.domain.account import Account, AccountKind, AccountState, Limits, set_limits, set_state
from transaction_service.domain.failure import Failure
from transaction_service.domain.hold import Hold
from transaction_service.domain.identity import account_id, transaction_id
from transaction_service.domain.movement import (
    Manner,
    Movement,
    Outcome,
    Transaction,
    TransactionKind,
    TransactionState,
    Work,
    movement,
)
from transaction_service.domain.reversal import reversal_terms
from transaction_service.domain.terms import PLAIN, Fee, PayoutDestination, Posting, Terms
from transaction_service.ports import Locked, Wanted
from transaction_service.posting.queue import Result

START = datetime(2026, 3, 28, 20, 45, tzinfo=UTC)
"""Some hours before the clocks of Berlin change."""
PRINCIPAL = "local"
PATIENCE_SECONDS = 300
"""Also where others use the machine."""

WISHES = wishes(ANY_AMOUNT)
GROUPS = st.lists(st.lists(WISHES, min_size=1, max_size=4), min_size=1, max_size=4)
OWNED = {name: "p" if name in (*USERS[2:], EUROS[1]) else "o" for name in (*USERS, *EUROS, BANK)}
BOUND = st.sampled_from(["", "", "", "o", "p"])
"""To whose wallets who asks is bound."""
REVISIONS = st.integers(-1, 2)
LIMITS = st.fixed_dictionaries(
    {
        "per_transaction": st.sampled_from([0, 0, 20, BIGGEST]),
        "per_day": st.sampled_from([0, 0, 40, 100, BIGGEST]),
        "debits_per_hour": st.sampled_from([0, 0, 1, 3]),
        "time_zone": st.sampled_from(["UTC", "UTC", "Europe/Berlin", "Asia/Kolkata"]),
        "credit": st.sampled_from([0, 0, 15, BIGGEST]),
    }
)


class LedgerMachine(RuleBasedStateMachine):
    """One lane over a ledger, and the model beside it. The model is asked after the ledger, at the ledger's time."""

    def __init__(self, ledger: Ledger, model: Model) -> None:
        super().__init__()
        self.ledger, self.model = ledger, model
        self.transactions: dict[str, Transaction] = {}
        self.acknowledged: dict[str, str] = {}
        lock = ledger.store.lock

        def timed(wanted: Wanted, *, patient: bool, seconds_left: float = PATIENCE_SECONDS) -> Locked:
            locked = lock(wanted, patient=patient, seconds_left=seconds_left)
            self.model.now = locked.now
            return locked

        ledger.store.lock = timed  # type: ignore[method-assign]

    @initialize()
    def accounts_are_opened(self) -> None:
        for name in SYSTEM:
            self.model.purses[name] = Purse(name[-3:].upper(), kind="SYSTEM", endless=True)
        for name in USERS[:-1]:
            self.open(name, Purse())
        # Days and hours are used up too seldom when limits must be drawn first.
        self.open(USERS[-1], Purse(per_day=40, per_hour=3, zone="Europe/Berlin"))
        for name in EUROS:
            self.open(name, Purse(currency="EUR", credit=50))
        self.open(BANK, Purse(kind="PROVIDER", credit=200))
        self.post_one(Manner.EACH, [Asked(f"start-{name}", "DEPOSIT", CASH, name, 100) for name in USERS])

    def open(self, name: str, purse: Purse) -> None:
        purse.owner = OWNED[name]
        limits = Limits(purse.per_transaction, purse.per_day, purse.per_hour, purse.zone, purse.credit)
        kind = AccountKind[purse.kind]
        floor = -purse.credit
        new = Account(
            account_id(name), name, purse.owner, purse.currency, kind, AccountState.OPEN, floor=floor, limits=limits
        )
        assert self.ledger.open(new) == [new]
        self.model.purses[name] = purse

    @rule(group=GROUPS, atomic=st.sampled_from([0, 0, 0, 1, 2, 4, 8, 15]), bound=st.tuples(BOUND, BOUND, BOUND, BOUND))
    def a_group_is_posted(self, group: list[list[Wish]], atomic: int, bound: tuple[str, ...]) -> None:
        """Of batches of several callers, of which some are all or none."""
        works = [[resolve(wish, self.model) for wish in batch] for batch in group]
        manners = [_manner(atomic >> index & 1, batch) for index, batch in enumerate(works)]
        self.post(
            [
                (manner, batch, self.caller(owner, manner, batch))
                for manner, batch, owner in zip(manners, works, bound, strict=False)
            ]
        )

    @rule(
        wish=WISHES,
        picks=st.lists(PICKS, min_size=1, max_size=5),
        atomic=st.sampled_from([False, False, True]),
        bound=BOUND,
    )
    def requests_are_repeated(self, wish: Wish, picks: list[int], atomic: bool, bound: str) -> None:
        """Of the same batch, and of any before."""
        batch = [resolve(wish, self.model)]
        for pick in picks:
            known = [*(stored.asked for stored in self.model.stored.values()), *batch]
            batch.insert(pick % len(batch), known[pick % len(known)])
        manner = _manner(atomic, batch)
        self.post([(manner, batch, self.caller(bound, manner, batch))])

    @rule(name=st.sampled_from([*USERS, BANK]), amount=st.integers(1, 200), number=st.integers(1, 10_000))
    def money_comes_in(self, name: str, amount: int, number: int) -> None:
        self.post_one(Manner.EACH, [Asked(f"income-{number}", "DEPOSIT", CASH, name, amount)])

    @rule(picks=st.lists(PICKS, min_size=1, max_size=4), cancelled=st.booleans())
    def what_was_deferred_is_decided(self, picks: list[int], cancelled: bool) -> None:
        """Some of it a second time."""
        keys = [key for key, stored in self.model.stored.items() if stored.asked.deferred]
        if keys:
            chosen = [self.model.stored[keys[pick % len(keys)]].asked for pick in picks]
            self.post_one(Manner.CANCEL if cancelled else Manner.DUE, chosen)

    @rule()
    def what_is_over_expires(self) -> None:
        over = [key for key, hold in self.model.holds.items() if hold.expire <= self.model.now]
        placed = [self.model.stored[key].asked for key in over[-5:]]
        expiries = [Asked(f"expiry-{p.key}", "EXPIRY", p.source, p.destination, hold=p.key) for p in placed]
        if expiries:
            self.post_one(Manner.EACH, expiries)

    @rule(name=st.sampled_from([*USERS, BANK]), state=st.sampled_from(list(AccountState)), step=REVISIONS)
    def a_state_is_set(self, name: str, state: AccountState, step: int) -> None:
        revision = self.model.purses[name].revision + step
        expected = self.model.set_state(name, state.name, revision)
        self.changed(name, partial(set_state, state=state, revision=revision), expected)

    @rule(name=st.sampled_from([*USERS, BANK, *EUROS]), limits=LIMITS, step=REVISIONS)
    def limits_are_set(self, name: str, limits: dict[str, Any], step: int) -> None:
        revision = self.model.purses[name].revision + step
        expected = self.model.set_limits(name, limits, revision)
        self.changed(name, partial(set_limits, limits=Limits(**limits), revision=revision), expected)

    def changed(self, name: str, change: Callable[[Account], Any], expected: str) -> None:
        result = self.ledger.change(name, change)
        assert (result.reason.value if isinstance(result, Failure) else "set") == expected

    def caller(self, owner: str, manner: Manner, batch: Sequence[Asked]) -> str:
        """Who is bound sends no reversals all or none, and of no reversals: of these the contract does not say which
        of two reasons comes first."""
        for asked in batch:
            original = self.model.stored.get(asked.reverses)
            again = original is not None and original.asked.kind == "REVERSAL"
            if asked.kind == "EXPIRY" or again or (asked.kind == "REVERSAL" and manner is Manner.ATOMIC):
                return ""
        return owner

    def post_one(self, manner: Manner, batch: Sequence[Asked]) -> None:
        """Of a trusted caller."""
        self.post([(manner, batch, "")])

    def post(self, works: Sequence[tuple[Manner, Sequence[Asked], str]]) -> None:
        """As one group, of the callers who are bound to these owners' wallets."""
        commands = [
            Work([self.command(asked) for asked in batch], manner, "ann", owner) for manner, batch, owner in works
        ]
        answers = self.ledger.lane.post(commands)
        for (manner, batch, owner), results in zip(works, answers, strict=True):
            self.model.bound_to = owner
            told = [(code(result), isinstance(result, Outcome) and result.replayed) for result in results]
            assert told == self.expected(manner, batch)
            for asked, result in zip(batch, results, strict=True):
                self.remember(asked, result)

    def expected(self, manner: Manner, batch: Sequence[Asked]) -> list[Told]:
        match manner:
            case Manner.ATOMIC:
                return self.model.all_or_none(batch)
            case Manner.DUE:
                return [self.model.due(asked.key) for asked in batch]
            case Manner.CANCEL:
                return [self.model.cancel(asked.key) for asked in batch]
        return [self.model.ask(asked) for asked in batch]

    def remember(self, asked: Asked, result: Result) -> None:
        """What is decided is answered alike for ever, and a hold is told as it is after the command."""
        if not isinstance(result, Outcome):
            return
        transaction, _, hold = result
        self.acknowledged[transaction.movement.id] = code(result)
        before = self.transactions.get(asked.key)
        if before is not None and before.state is not TransactionState.PENDING:
            assert transaction == before
        self.transactions[asked.key] = transaction
        assert (hold is not None) == (bool(asked.hold or asked.kind == "HOLD") and code(result) == "POSTED") or (
            result.replayed
        )
        if hold is not None:
            assert hold.id == transaction_id(PRINCIPAL, asked.hold or asked.key)

    def command(self, asked: Asked) -> Movement:
        """As the service makes it of a request."""
        kind, terms, reverses = TransactionKind[asked.kind], _terms(asked), ""
        if asked.reverses:
            reverses = transaction_id(PRINCIPAL, asked.reverses)
            original = self.ledger.transaction(reverses)
            terms = PLAIN if original is None else reversal_terms(original.movement)
        return movement(
            kind,
            asked.source,
            asked.destination,
            asked.amount,
            asked.currency,
            provider=asked.provider,
            principal=PRINCIPAL,
            request_id=asked.key,
            description=asked.description,
            terms=terms,
            hold=transaction_id(PRINCIPAL, asked.hold) if asked.hold else "",
            reverses=reverses,
        )

    @invariant()
    def accounts_are_as_the_model_has_them(self) -> None:
        purses = self.model.purses
        for account in self.ledger.get(list(purses)):
            name, purse = account.name, purses[account.name]
            shown = (account.balance, account.held, account.version, account.state.name, account.limits.credit)
            assert shown == (purse.amount, self.model.held(name), purse.entries, purse.state, purse.credit)
            assert purse.endless or account.available >= -purse.credit
            assert -BIGGEST - 1 <= account.balance <= BIGGEST

    @invariant()
    def holds_are_as_the_model_has_them(self) -> None:
        shown = {hold.id: _hold(hold) for hold in self.ledger.list_holds()}
        assert shown == {
            transaction_id(PRINCIPAL, key): (h.state, h.amount, h.captured, h.released)
            for key, h in self.model.holds.items()
        }


class MemoryMachine(LedgerMachine):
    """Where time can be moved, and everything looked at after each step."""

    def __init__(self) -> None:
        self.time = START
        super().__init__(memory_ledger(lambda: self.time), Model(START))
        assert isinstance(self.ledger.store, MemoryPostingStore)
        self.memory = self.ledger.store._memory

    @rule(minutes=st.sampled_from([1, 14, 15, 59, 60, 60 * 5, 60 * 24]))
    def time_passes(self, minutes: int) -> None:
        self.time += timedelta(minutes=minutes)
        self.model.now = self.time

    @invariant()
    def every_currency_sums_to_0(self) -> None:
        for currency in ("USD", "EUR"):
            assert sum(a.balance for a in self.memory.accounts.values() if a.currency == currency) == 0

    @invariant()
    def entries_are_a_chain_and_end_at_the_balance(self) -> None:
        for account in self.memory.accounts.values():
            chain = self.memory.entries.get(account.id, [])
            assert [entry.seq for entry in chain] == list(range(1, account.version + 1))
            assert sum(entry.amount for entry in chain) == account.balance
            assert (chain[-1].balance if chain else 0) == account.balance
            for before, after in pairwise(chain):
                assert after.balance == before.balance + after.amount
                assert after.post_time >= before.post_time

    @invariant()
    def transactions_have_entered_what_the_model_has_moved(self) -> None:
        names = {account.id: account.name for account in self.memory.accounts.values()}
        entered: dict[str, list[tuple[str, int]]] = {}
        for chain in self.memory.entries.values():
            for entry in chain:
                entered.setdefault(entry.transaction_id, []).append((names[entry.account_id], entry.amount))
        moved = {
            transaction_id(PRINCIPAL, key): sorted((name, amount) for name, amount, _ in stored.moves)
            for key, stored in self.model.stored.items()
        }
        assert {id_: sorted(entries) for id_, entries in entered.items()} == {id_: m for id_, m in moved.items() if m}
        assert self.memory.transactions.keys() == moved.keys()


class PostgresMachine(LedgerMachine):
    """Over a database of its own, which is audited at the end."""

    def __init__(self, server: Server) -> None:
        self.stack = ExitStack()
        self.database: Database = self.stack.enter_context(server.fresh_database())
        ledger = self.stack.enter_context(postgres_ledger(self.database))
        super().__init__(ledger, Model(datetime.now(UTC)))

    def teardown(self) -> None:
        with self.stack:
            audit(self.database.owner_dsn, self.acknowledged)


def _manner(atomic: int, batch: Sequence[Asked]) -> Manner:
    """All or none, unless among them are some whose amount the ledger must find."""
    return Manner.EACH if any(asked.kind in ("CAPTURE", "RELEASE") for asked in batch) or not atomic else Manner.ATOMIC


def _terms(asked: Asked) -> Terms:
    charged, ttl = asked.charged, asked.ttl
    terms = Terms(
        fee=Fee(charged, asked.fee.destination, asked.fee.included) if asked.fee is not None and charged else None,
        postings=tuple(Posting(*posting) for posting in asked.postings),
        expected_version=asked.version,
        minimum_after=asked.minimum,
        deferred=asked.deferred,
        expire_time=asked.expire,
        ttl_microseconds=None if ttl is None else ttl // timedelta(microseconds=1),
        final=asked.final,
        payout=PayoutDestination("bank", asked.payout, "") if asked.payout else None,
    )
    return PLAIN if terms == PLAIN else terms


def _hold(hold: Hold) -> tuple[str, int, int, int]:
    return hold.state.name, hold.amount, hold.captured, hold.released


@pytest.mark.timeout(PATIENCE_SECONDS)
def test_in_memory() -> None:
    run_state_machine_as_test(MemoryMachine, settings=settings(max_examples=200, stateful_step_count=30, deadline=None))


@pytest.mark.timeout(PATIENCE_SECONDS)
def test_in_postgresql(postgres_server: Server) -> None:
    class OnThisServer(PostgresMachine):
        def __init__(self) -> None:
            super().__init__(postgres_server)

    # Each try costs a database, so a failure is told as it is found, and not looked at for one with fewer steps.
    alike = settings(max_examples=15, stateful_step_count=30, deadline=None, derandomize=True, phases=[Phase.generate])
    run_state_machine_as_test(OnThisServer, settings=alike)
