"""The ledger against a model of it that shares no code with it, under random groups, repeats and changes of accounts.

The model is written from the contract: it keeps every debit it has let through and counts what is used from them.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from transaction_service.adapters.memory import Memory, MemoryAccounts, MemoryPostingStore
from transaction_service.domain.account import Account, AccountKind, AccountState, Limits, set_limits, set_state
from transaction_service.domain.failure import Failure
from transaction_service.domain.identity import account_id
from transaction_service.domain.movement import Movement, Outcome, Refused, TransactionKind, TransactionState, movement
from transaction_service.posting.lane import PostingLane
from transaction_service.posting.queue import PostingQueue

BIGGEST = 9_223_372_036_854_775_807
START = datetime(2026, 3, 28, 20, 45, tzinfo=UTC)
"""Some hours before the clocks of Berlin change."""

USERS = ["wallets/a", "wallets/b", "wallets/c", "wallets/d"]
EUROS, BANK, NOBODY = "wallets/euro", "wallets/bank", "wallets/nobody"
CASH = "system/cash-usd"


class Asked(NamedTuple):
    """A request as a caller makes it."""

    key: str
    kind: str
    source: str
    destination: str
    amount: int
    currency: str
    description: str


@dataclass
class Purse:
    """The model of an account."""

    currency: str = "USD"
    kind: str = "USER"
    state: str = "OPEN"
    endless: bool = False
    amount: int = 0
    revision: int = 0
    movements: int = 0
    credit: int = 0
    per_transaction: int = 0
    per_day: int = 0
    per_hour: int = 0
    zone: str = "UTC"
    debits_today: list[tuple[datetime, int]] = field(default_factory=list)
    debits_this_hour: list[datetime] = field(default_factory=list)

    @property
    def limited(self) -> bool:
        return self.per_transaction > 0 or self.per_day > 0 or self.per_hour > 0


class Model:
    """What the contract promises."""

    def __init__(self) -> None:
        self.purses: dict[str, Purse] = {}
        self.answers: dict[str, tuple[Asked, str]] = {}
        self.now = START

    def ask(self, asked: Asked) -> tuple[str, bool]:
        """The code, and whether it had been answered before."""
        if asked.source == asked.destination:
            return "SAME_WALLET", False
        if asked.key in self.answers:
            before, answer = self.answers[asked.key]
            return (answer, True) if before == asked else ("REQUEST_ID_REUSED", False)
        answer = self.refusal(asked) or "POSTED"
        self.answers[asked.key] = (asked, answer)
        if answer == "POSTED":
            payer, paid = self.purses[asked.source], self.purses[asked.destination]
            payer.amount -= asked.amount
            paid.amount += asked.amount
            payer.movements += 1
            paid.movements += 1
            if payer.limited:
                payer.debits_today.append((self.now, asked.amount))
                payer.debits_this_hour.append(self.now)
        return answer, False

    def refusal(self, asked: Asked) -> str | None:  # noqa: C901 - the order of precedence, in one list
        payer, paid = self.purses.get(asked.source), self.purses.get(asked.destination)
        if payer is None:
            return "SOURCE_NOT_FOUND"
        if paid is None:
            return "DESTINATION_NOT_FOUND"
        outer = {"DEPOSIT": payer, "WITHDRAWAL": paid}.get(asked.kind)
        if outer is not None and outer.kind == "USER":
            return "NOT_A_PROVIDER"
        if not payer.currency == paid.currency == asked.currency:
            return "CURRENCY_MISMATCH"
        if payer.state != "OPEN":
            return f"SOURCE_{payer.state}"
        if paid.state == "CLOSED":
            return "DESTINATION_CLOSED"
        if 0 < payer.per_transaction < asked.amount:
            return "TRANSACTION_LIMIT_EXCEEDED"
        hour = self.now.strftime("%Y-%m-%d %H")
        if payer.per_hour and sum(t.strftime("%Y-%m-%d %H") == hour for t in payer.debits_this_hour) >= payer.per_hour:
            return "HOURLY_COUNT_EXCEEDED"
        day = self.now.astimezone(ZoneInfo(payer.zone)).date()
        used = sum(a for t, a in payer.debits_today if t.astimezone(ZoneInfo(payer.zone)).date() == day)
        if payer.per_day and used + asked.amount > payer.per_day:
            return "DAILY_LIMIT_EXCEEDED"
        if not payer.endless and payer.amount + payer.credit < asked.amount:
            return "INSUFFICIENT_FUNDS"
        if payer.amount - asked.amount < -BIGGEST - 1 or paid.amount + asked.amount > BIGGEST:
            return "BALANCE_OVERFLOW"
        return None

    def set_state(self, name: str, state: str, revision: int) -> str:
        purse = self.purses[name]
        if revision < purse.revision:
            return "STALE_REVISION"
        if state != purse.state and purse.state == "CLOSED":
            return "WALLET_STATE"
        if state != purse.state and state == "CLOSED" and purse.amount != 0:
            return "WALLET_NOT_EMPTY"
        purse.state, purse.revision = state, revision
        return "set"

    def set_limits(self, name: str, limits: dict[str, Any], revision: int) -> str:
        purse = self.purses[name]
        if revision < purse.revision:
            return "STALE_REVISION"
        if purse.state == "CLOSED":
            return "WALLET_STATE"
        if purse.amount + limits["credit"] < 0:
            return "FLOOR_ABOVE_BALANCE"
        if limits["time_zone"] != purse.zone:
            purse.debits_today.clear()
        purse.per_transaction, purse.per_day = limits["per_transaction"], limits["per_day"]
        purse.per_hour, purse.zone, purse.credit = limits["debits_per_hour"], limits["time_zone"], limits["credit"]
        purse.revision = revision
        return "set"


# So many that most requests are new; repeats have a rule of their own.
KEYS = st.integers(1, 500).map(lambda number: f"key-{number}")
AMOUNTS = st.one_of(st.integers(1, 30), st.sampled_from([1, 100, BIGGEST - 1, BIGGEST, BIGGEST // 2]))
DESCRIPTIONS = st.sampled_from(["", "", "", "rent"])
TRANSFERS = st.builds(
    Asked,
    KEYS,
    st.just("TRANSFER"),
    st.sampled_from([*USERS, *USERS, EUROS, BANK, NOBODY]),
    st.sampled_from([*USERS, *USERS, EUROS, BANK, NOBODY]),
    AMOUNTS,
    st.sampled_from(["USD", "USD", "USD", "EUR"]),
    DESCRIPTIONS,
)
OUTSIDE = st.sampled_from([CASH, CASH, BANK, "wallets/a", NOBODY])
DEPOSITS = st.builds(
    Asked, KEYS, st.just("DEPOSIT"), OUTSIDE, st.sampled_from(USERS), AMOUNTS, st.just("USD"), DESCRIPTIONS
)
WITHDRAWALS = st.builds(
    Asked, KEYS, st.just("WITHDRAWAL"), st.sampled_from(USERS), OUTSIDE, AMOUNTS, st.just("USD"), DESCRIPTIONS
)
GROUPS = st.lists(st.one_of(TRANSFERS, TRANSFERS, DEPOSITS, WITHDRAWALS), min_size=1, max_size=12)
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


def command(asked: Asked) -> Movement:
    outer = {"DEPOSIT": asked.source, "WITHDRAWAL": asked.destination}.get(asked.kind, "")
    return movement(
        TransactionKind[asked.kind],
        asked.source,
        asked.destination,
        asked.amount,
        asked.currency,
        provider="" if outer == CASH else outer,
        principal="local",
        request_id=asked.key,
        description=asked.description,
    )


class LedgerMachine(RuleBasedStateMachine):
    """One lane over memory, and the model beside it."""

    def __init__(self) -> None:
        super().__init__()
        self.model = Model()
        self.memory = Memory(lambda: self.model.now)
        self.lane = PostingLane(PostingQueue(1), MemoryPostingStore(self.memory), 1000, lambda _: None)
        self.accounts = MemoryAccounts(self.memory)
        self.originals: dict[str, object] = {}

    @initialize()
    def accounts_are_opened(self) -> None:
        self.model.purses[CASH] = Purse(kind="SYSTEM", endless=True)
        for name in USERS[:-1]:
            self.open(name, Purse())
        # Days and hours are used up too seldom when limits must be drawn first.
        self.open(USERS[-1], Purse(per_day=40, per_hour=3, zone="Europe/Berlin"))
        self.open(EUROS, Purse(currency="EUR", credit=50))
        self.open(BANK, Purse(kind="PROVIDER", credit=200))

    def open(self, name: str, purse: Purse) -> None:
        limits = Limits(purse.per_transaction, purse.per_day, purse.per_hour, purse.zone, purse.credit)
        kind = AccountKind[purse.kind]
        new = Account(
            account_id(name), name, "o", purse.currency, kind, AccountState.OPEN, floor=-purse.credit, limits=limits
        )
        assert asyncio.run(self.accounts.open(new)) == new
        self.model.purses[name] = purse

    @rule(group=GROUPS)
    def a_group_is_posted(self, group: list[Asked]) -> None:
        self.post(group)

    @rule(group=GROUPS, picks=st.lists(st.integers(0, 10_000), min_size=1, max_size=5))
    def a_group_repeats_requests(self, group: list[Asked], picks: list[int]) -> None:
        """Of the same group, and of any before."""
        known = [*(asked for asked, _ in self.model.answers.values()), *group]
        for pick in picks:
            group.insert(pick % len(group), known[pick % len(known)])
        self.post(group)

    @rule(name=st.sampled_from([*USERS, BANK]), amount=st.integers(1, 200), number=st.integers(1, 10_000))
    def money_comes_in(self, name: str, amount: int, number: int) -> None:
        self.post([Asked(f"income-{number}", "DEPOSIT", CASH, name, amount, "USD", "")])

    @rule(name=st.sampled_from([*USERS, BANK]), state=st.sampled_from(list(AccountState)), step=REVISIONS)
    def a_state_is_set(self, name: str, state: AccountState, step: int) -> None:
        revision = self.model.purses[name].revision + step
        expected = self.model.set_state(name, state.name, revision)
        self.changed(name, partial(set_state, state=state, revision=revision), expected)

    @rule(name=st.sampled_from([*USERS, BANK, EUROS]), limits=LIMITS, step=REVISIONS)
    def limits_are_set(self, name: str, limits: dict[str, Any], step: int) -> None:
        revision = self.model.purses[name].revision + step
        expected = self.model.set_limits(name, limits, revision)
        self.changed(name, partial(set_limits, limits=Limits(**limits), revision=revision), expected)

    @rule(minutes=st.sampled_from([1, 14, 15, 59, 60, 60 * 5, 60 * 24]))
    def time_passes(self, minutes: int) -> None:
        self.model.now += timedelta(minutes=minutes)

    def changed(self, name: str, change: Any, expected: str) -> None:  # noqa: ANN401 - a rule of the domain
        result = asyncio.run(self.accounts.change(name, change))
        assert (result.reason.value if isinstance(result, Failure) else "set") == expected

    def post(self, group: Sequence[Asked]) -> None:
        expected = [self.model.ask(asked) for asked in group]
        results = self.lane.post([command(asked) for asked in group])
        assert len(results) == len(group)
        for asked, result, (answer, replayed) in zip(group, results, expected, strict=True):
            if isinstance(result, Refused):
                assert (result.failure.reason.value, False) == (answer, replayed)
                continue
            assert isinstance(result, Outcome), result
            failure = result.transaction.failure
            assert ("POSTED" if failure is None else failure.reason.value, result.replayed) == (answer, replayed)
            assert self.originals.setdefault(asked.key, result.transaction) == result.transaction

    @invariant()
    def accounts_are_as_the_model_has_them(self) -> None:
        for name, account in self.memory.accounts.items():
            purse = self.model.purses[name]
            shown = (account.balance, account.version, account.state.name, account.revision, account.limits.credit)
            assert shown == (purse.amount, purse.movements, purse.state, purse.revision, purse.credit)
            assert purse.endless or account.balance >= -purse.credit
            assert -BIGGEST - 1 <= account.balance <= BIGGEST

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
    def posted_transactions_have_two_entries_and_others_none(self) -> None:
        sides: dict[str, list[int]] = {}
        for chain in self.memory.entries.values():
            for entry in chain:
                sides.setdefault(entry.transaction_id, []).append(entry.amount)
        assert len(self.memory.transactions) == len(self.model.answers)
        for id_, transaction in self.memory.transactions.items():
            amount = transaction.movement.amount
            expected = [-amount, amount] if transaction.state is TransactionState.POSTED else []
            assert sorted(sides.pop(id_, [])) == expected
        assert sides == {}


TestLedger = LedgerMachine.TestCase
TestLedger.settings = settings(max_examples=300, stateful_step_count=30, deadline=None)
