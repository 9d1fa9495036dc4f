"""What the ledger does alike in PostgreSQL and in memory: posting and accounts."""

import asyncio
from dataclasses import replace
from functools import partial
from itertools import pairwise
from uuid import uuid4

import pytest

from tests.kit.builders import account, amounts, book, cash_account, code, deposit, transfer, withdrawal
from tests.kit.ledgers import Ledger, funded, named
from transaction_service.domain.account import (
    INT64_MAX,
    INT64_MIN,
    Account,
    AccountKind,
    AccountState,
    Limits,
    Unchanged,
    Usage,
    day_of,
    hour_of,
    set_limits,
    set_state,
)
from transaction_service.domain.book import check_group
from transaction_service.domain.failure import Failure, Reason
from transaction_service.domain.identity import account_id
from transaction_service.domain.ledger import decide
from transaction_service.domain.movement import Movement, Outcome, Transaction
from transaction_service.ports import Wanted

STRANGE = [
    "",
    " ",
    "NULL",
    "null",
    '"',
    "'",
    "\\",
    '\\"',
    "''",
    "a,b",
    "{}",
    '{"a":1}',
    "{NULL}",
    "%s %(x)s %%",
    "$1; DROP TABLE x; --",
    "line\nline\r\n\ttab",
    "ümläut €uro 💶 \u202e\u0301",
    "\\u0041 \\x41 \\n",
    "E'x'",
    "x" * 500,
]


def stored(ledger: Ledger, movement: Movement) -> Transaction:
    found = ledger.transaction(movement.id)
    assert found is not None
    return found


FULL = Limits(INT64_MAX, INT64_MAX - 1, 3, "Europe/Berlin", INT64_MAX)


@pytest.mark.parametrize(
    "wanted",
    [
        account("x"),
        account("x", kind=AccountKind.PROVIDER, currency="JPY", owner='o"\\\n', revision=INT64_MAX),
        account("x", limits=FULL, credit=FULL.credit),
        account("x", limits=Limits(time_zone="Asia/Tokyo")),
        account("x", credit=5),
        account("x", limits=Limits(per_day=5)),
        account("x", state=AccountState.FROZEN),
    ],
)
def test_an_account_is_kept_as_it_was_opened(ledger: Ledger, wanted: Account) -> None:
    name = named("kept")
    wanted = replace(wanted, name=name, id=account_id(name))
    assert ledger.open(wanted) == [wanted]
    assert ledger.account(name) == wanted


def test_opening_again_gives_what_is_there(ledger: Ledger) -> None:
    name = named("again")
    first = account(name, credit=5)
    assert ledger.open(first, account(name, owner="thief", credit=99)) == [first, first]
    assert ledger.account(name) == first


def test_opened_at_once_there_is_one(ledger: Ledger) -> None:
    name = named("race")

    async def all_at_once() -> list[Account]:
        return await asyncio.gather(*(ledger.accounts.open(account(name, owner=str(n))) for n in range(8)))

    owners = {opened.owner for opened in asyncio.run(all_at_once())}
    assert owners == {ledger.account(name).owner}


def test_accounts_that_do_not_exist_are_left_out(ledger: Ledger) -> None:
    [alice] = funded(ledger, 5, "alice")
    assert [a.name for a in ledger.get(["wallets/nobody", alice, alice])] == [alice]
    assert ledger.get([]) == []


def test_a_change_is_stored_and_leaves_the_money_alone(ledger: Ledger) -> None:
    [alice] = funded(ledger, 50, "alice")
    before = ledger.account(alice)
    frozen = ledger.change(alice, partial(set_state, state=AccountState.FROZEN, revision=3))
    assert frozen == replace(before, state=AccountState.FROZEN, revision=3) == ledger.account(alice)
    limited = ledger.change(alice, partial(set_limits, limits=FULL, revision=4))
    assert limited == replace(frozen, limits=FULL, floor=-INT64_MAX, revision=4) == ledger.account(alice)


def test_a_change_that_is_refused_or_none_stores_nothing(ledger: Ledger) -> None:
    [alice] = funded(ledger, 50, "alice")
    before = ledger.account(alice)
    refused = ledger.change(alice, partial(set_state, state=AccountState.CLOSED, revision=1))
    assert isinstance(refused, Failure)
    assert refused.reason is Reason.WALLET_NOT_EMPTY
    assert ledger.change(alice, lambda _: Unchanged.UNCHANGED) == before
    assert ledger.change("wallets/nobody", lambda a: replace(a, revision=1)) is None
    assert ledger.account(alice) == before


def test_changes_and_postings_at_once_do_not_lose_each_other(ledger: Ledger) -> None:
    [alice] = funded(ledger, 50, "alice")

    async def all_at_once() -> None:
        rules = [partial(set_limits, limits=Limits(per_day=100 + n), revision=n) for n in range(1, 9)]
        posting = asyncio.to_thread(lambda: [ledger.post(withdrawal(alice, 1)) for _ in range(20)])
        await asyncio.gather(posting, *(ledger.accounts.change(alice, rule) for rule in rules))

    asyncio.run(all_at_once())
    found = ledger.account(alice)
    assert (found.balance, found.version, found.revision, found.limits.per_day) == (30, 21, 8, 108)


def test_the_lock_pass_returns_what_exists(ledger: Ledger) -> None:
    alice, bob = funded(ledger, 50, "alice", "bob")
    posted, failed, new = transfer(alice, bob, 5), transfer(alice, bob, 500), transfer(alice, bob, 1)
    ledger.post(posted, failed)
    locked = ledger.store.lock(Wanted({alice, bob, "wallets/nobody"}, {posted.id, failed.id, new.id}), patient=True)
    ledger.store.roll_back()
    assert locked.accounts == {alice: ledger.account(alice), bob: ledger.account(bob)}
    assert locked.known == {m.id: stored(ledger, m) for m in (posted, failed)}
    assert locked.now.utcoffset() is not None


@pytest.mark.parametrize("patient", [True, False])
def test_the_lock_pass_of_nothing_known(ledger: Ledger, patient: bool) -> None:
    locked = ledger.store.lock(Wanted({"wallets/nobody"}, {transfer().id}), patient=patient)
    ledger.store.roll_back()
    assert (locked.accounts, locked.known) == ({}, {})


def test_what_is_rolled_back_has_no_effect(ledger: Ledger) -> None:
    alice, bob = funded(ledger, 50, "alice", "bob")
    movement = transfer(alice, bob, 5)
    locked = ledger.store.lock(Wanted({alice, bob}, {movement.id}), patient=True)
    decide(book(list(locked.accounts.values()), now=locked.now), movement)
    ledger.store.roll_back()
    assert ledger.transaction(movement.id) is None
    assert (ledger.account(alice).balance, ledger.account(bob).version) == (50, 1)


def test_what_is_written_is_read_back_as_it_was(ledger: Ledger) -> None:
    alice, bob = funded(ledger, 50, "alice", "bob")
    movements = [transfer(alice, bob, 5), transfer(alice, bob, 50), transfer(bob, "wallets/nobody", 1)]
    names, ids = {alice, bob}, {m.id for m in movements}
    locked = ledger.store.lock(Wanted(names, ids), patient=True)
    before = amounts(locked.accounts.values())
    group = book(list(locked.accounts.values()), now=locked.now)
    assert [code(decide(group, m)) for m in movements] == ["POSTED", "INSUFFICIENT_FUNDS", "DESTINATION_NOT_FOUND"]
    check_group(group, before, {})
    ledger.store.write(group)
    assert {m.id: stored(ledger, m) for m in movements} == group.decided
    assert {name: ledger.account(name) for name in names} == group.changed
    [line] = [line for line in ledger.entries(group.changed[alice]) if line.entry.seq == 2]
    assert line.entry in group.entries
    assert line.transaction == group.decided[movements[0].id]


@pytest.mark.parametrize("text", STRANGE)
def test_text_of_any_kind_is_kept(ledger: Ledger, text: str) -> None:
    alice, bob = funded(ledger, 50, "alice", "bob")
    labels = {"a": text, "b": "", "null": "NULL", text or "empty": "key"}
    key = f"{text[:100]}{uuid4()}"
    said = {"description": text, "external_reference": text, "trace_id": text, "principal": text, "labels": labels}
    movements = [transfer(alice, bob, 1, key, **said), transfer(bob, alice, 999, key + "!", **said)]
    assert [code(a) for a in ledger.post(*movements)] == ["POSTED", "INSUFFICIENT_FUNDS"]
    assert [stored(ledger, m).movement for m in movements] == movements
    again = ledger.post(*movements)
    assert [isinstance(a, Outcome) and a.replayed for a in again] == [True, True]
    assert text == "" or movements[0] in [t.movement for t in ledger.transactions(external_reference=text)]


def test_every_kind_is_read_back_with_its_provider(ledger: Ledger) -> None:
    [alice] = funded(ledger, 50, "alice")
    bank = named("bank")
    ledger.open(account(bank, kind=AccountKind.PROVIDER, credit=500))
    movements = [
        deposit(alice, 5),
        withdrawal(alice, 5),
        deposit(alice, 5, provider=bank),
        withdrawal(alice, 5, provider=bank),
        transfer(alice, bank, 5),
        deposit(bank, 5, provider=alice),
    ]
    assert [code(a) for a in ledger.post(*movements)] == ["POSTED"] * 5 + ["NOT_A_PROVIDER"]
    assert [stored(ledger, m).movement for m in movements] == movements


def test_every_reason_is_read_back_with_its_words(ledger: Ledger) -> None:
    alice, bob = funded(ledger, 5, "alice", "bob")
    for name, limits in ((alice, Limits(per_transaction=4)), (bob, Limits(per_day=4, time_zone="Asia/Tokyo"))):
        ledger.change(name, partial(set_limits, limits=limits, revision=1))
    movements = [
        transfer("wallets/nobody", bob, 1),
        transfer(alice, bob, 1, currency="EUR"),
        transfer(alice, bob, 5),
        transfer(bob, alice, 5),
        transfer(alice, bob, 4),
        transfer(alice, bob, 2),
    ]
    answers = ledger.post(*movements)
    assert [code(a) for a in answers] == [
        "SOURCE_NOT_FOUND",
        "CURRENCY_MISMATCH",
        "TRANSACTION_LIMIT_EXCEEDED",
        "DAILY_LIMIT_EXCEEDED",
        "POSTED",
        "INSUFFICIENT_FUNDS",
    ]
    assert [Outcome(stored(ledger, m), replayed=False) for m in movements] == answers


def test_the_ends_of_int64_are_kept(ledger: Ledger) -> None:
    full = named("full")
    low = replace(cash_account(), name=named("low"), balance=0)
    low = replace(low, id=account_id(low.name))
    ledger.open(account(full), low)
    assert [code(a) for a in ledger.post(transfer(low.name, full, INT64_MAX))] == ["POSTED"]
    other = named("other")
    ledger.open(account(other))
    assert [code(a) for a in ledger.post(transfer(low.name, other, 1))] == ["POSTED"]
    assert (ledger.account(low.name).balance, ledger.account(full).balance) == (INT64_MIN, INT64_MAX)
    answers = ledger.post(transfer(low.name, other, 1), transfer(other, full, 1))
    assert [code(a) for a in answers] == ["BALANCE_OVERFLOW"] * 2


def test_what_is_used_of_limits_is_kept(ledger: Ledger) -> None:
    alice, bob = funded(ledger, 100, "alice", "bob")
    limits = Limits(per_transaction=90, per_day=INT64_MAX, debits_per_hour=1000, time_zone="Asia/Tokyo")
    ledger.change(alice, partial(set_limits, limits=limits, revision=1))
    [answer, _] = ledger.post(transfer(alice, bob, 10), transfer(alice, bob, 20))
    assert isinstance(answer, Outcome)
    now = answer.transaction.create_time
    used = Usage(day_of(now, "Asia/Tokyo"), 30, hour_of(now), 2)
    assert ledger.account(alice).usage == used
    assert ledger.account(bob).usage == Usage()
    ledger.post(transfer(bob, alice, 5))
    assert ledger.account(alice).usage == used
    locked = ledger.store.lock(Wanted({alice}, ()), patient=True)
    ledger.store.roll_back()
    assert locked.accounts[alice].usage == used


def test_a_days_sum_can_be_kept_however_often_money_goes_round(ledger: Ledger) -> None:
    alice, bob = named("alice"), named("bob")
    lender = named("lender")
    ledger.open(account(alice, limits=Limits(debits_per_hour=1000)), account(bob), account(lender, credit=INT64_MAX))
    round_ = [transfer(lender, alice, INT64_MAX), transfer(alice, bob, INT64_MAX), transfer(bob, lender, INT64_MAX)]
    again = [m._replace(id=transfer().id) for m in round_]
    assert [code(a) for a in ledger.post(*round_, *again)] == ["POSTED"] * 6
    assert ledger.account(alice).usage.day_amount == INT64_MAX


def test_system_accounts_are_opened_on_first_use_and_once(ledger: Ledger) -> None:
    new = named("cash-eur").removeprefix("wallets/")
    opened = replace(cash_account("EUR"), name=f"system/{new}", id=account_id(f"system/{new}"))
    ledger.store.open_system_accounts([opened])
    [alice] = funded(ledger, 5, "alice")
    assert ledger.account(opened.name) == opened
    ledger.change(opened.name, lambda a: replace(a, revision=7))
    ledger.store.open_system_accounts([opened])
    assert ledger.account(opened.name) == replace(opened, revision=7)
    assert ledger.account("system/cash-usd").floor is None
    assert ledger.account(alice).balance == 5


def test_time_never_goes_back(ledger: Ledger) -> None:
    alice, bob = funded(ledger, 100, "alice", "bob")
    for _ in range(3):
        ledger.post(*[transfer(alice, bob, 1) for _ in range(3)], transfer(alice, bob, 1000))
    lines = ledger.entries(ledger.account(alice), newest_first=False)
    assert [line.entry.seq for line in lines] == list(range(1, 11))
    assert all(before.entry.post_time <= after.entry.post_time for before, after in pairwise(lines))
    assert len({line.entry.post_time for line in lines[1:]}) == 3
    assert all(line.entry.post_time == line.transaction.decide_time for line in lines)
