"""The posting core with a caller who is bound to wallets of its own: every kind of command, and what it leaves."""

from collections.abc import Sequence

import pytest

from tests.kit.builders import (
    account,
    amounts,
    book,
    capture,
    cash_account,
    code,
    compound,
    deposit,
    expiry,
    fee,
    fees_account,
    placing,
    release,
    reversal,
    told,
    transfer,
    withdrawal,
)
from tests.kit.tables import rows
from transaction_service.domain.account import Account, AccountKind, AccountState
from transaction_service.domain.book import Book
from transaction_service.domain.ledger import decide, decide_work
from transaction_service.domain.movement import Manner, Movement, Outcome, Work
from transaction_service.domain.terms import Terms

OWNERS = {"ann": "ann", "ben": "ben", "cat": "cat", "bank": "bank", "anybody": ""}
"""Who calls, and to whose wallets each is bound."""


def standing() -> list[Account]:
    return [
        account("alice", 100, owner="ann"),
        account("purse", 100, owner="ann"),
        account("bob", 100, owner="ben"),
        account("carol", 100, owner="cat"),
        account("shut", owner="ben", state=AccountState.CLOSED),
        account("bank", 100, owner="bank", kind=AccountKind.PROVIDER),
        fees_account(),
        cash_account(),
    ]


LATER = Terms(deferred=True)
PLACED = placing("alice", "bob", 10)
PAID = transfer("alice", "bob", 20)
PRICED = transfer("alice", "bob", 20, terms=fee(5, "carol"))
TAXED = transfer("alice", "bob", 20, terms=fee(5))
IN, OUT = deposit("alice", 20), withdrawal("alice", 20)
IN_BY_BANK, OUT_BY_BANK = deposit("alice", 20, provider="wallets/bank"), withdrawal("bob", 20, provider="wallets/bank")
SPLIT, GATHERED = compound(("alice", -9), ("bob", 4), ("carol", 5)), compound(("alice", -4), ("bob", -5), ("carol", 9))
TAKEN = capture(PLACED, 4)
FREED, GONE = placing("alice", "bob", 1), placing("alice", "bob", 2)
BEFORE = [PLACED, PAID, PRICED, TAXED, IN, OUT, IN_BY_BANK, OUT_BY_BANK, SPLIT, GATHERED, TAKEN]
BEFORE += [FREED, release(FREED), GONE, expiry(GONE)]
REFUSED, PENDING = transfer("alice", "bob", 9999), transfer("alice", "bob", 1, terms=LATER)

COMMANDS: dict[str, Movement] = {
    "pays": transfer("alice", "bob", 1),
    "pays-nobody": transfer("alice", "nobody", 1),
    "pays-herself": transfer("alice", "purse", 1),
    "pays-too-much": transfer("alice", "bob", 9999),
    "pays-with-fee": transfer("alice", "bob", 1, terms=fee(1, "carol")),
    "pays-on-condition": transfer("alice", "bob", 1, terms=Terms(expected_version=0)),
    "pays-later": transfer("alice", "bob", 1, terms=LATER),
    "pays-nobody-later": transfer("alice", "nobody", 1, terms=LATER),
    "nobody-pays": transfer("nobody", "alice", 1),
    "nobody-pays-later": transfer("nobody", "alice", 1, terms=LATER),
    "pays-in": deposit("alice", 1),
    "pays-in-to-nobody": deposit("nobody", 1),
    "pays-in-by-bank": deposit("alice", 1, provider="wallets/bank"),
    "pays-in-by-bob": deposit("alice", 1, provider="wallets/bob"),
    "pays-out": withdrawal("alice", 1),
    "pays-out-with-fee": withdrawal("alice", 1, terms=fee(1)),
    "pays-out-by-bank": withdrawal("alice", 1, provider="wallets/bank"),
    "pays-out-by-bob": withdrawal("alice", 1, provider="wallets/bob"),
    "splits": compound(("alice", -3), ("bob", 2), ("carol", 1)),
    "gathers": compound(("alice", -1), ("bob", -1), ("carol", 2)),
    "gains-by-a-debit": compound(("alice", -1), ("bob", -1), ("bob", 2)),
    "takes-cash": compound(("system/cash-usd", -1), ("alice", 1)),
    "takes-fees": compound(("system/fees-usd", -1), ("alice", 1)),
    "pays-cash": compound(("alice", -1), ("system/cash-usd", 1)),
    "holds": placing("alice", "bob", 1),
    "captures": capture(PLACED, 1),
    "captures-finally": capture(PLACED, 1, final=True),
    "captures-all": capture(PLACED),
    "captures-too-much": capture(PLACED, 7),
    "captures-freed": capture(FREED),
    "captures-gone": capture(GONE, 1),
    "releases": release(PLACED),
    "releases-freed": release(FREED),
    "expires": expiry(PLACED),
    "back": reversal(PAID),
    "back-in-part": reversal(PAID, 1),
    "back-too-much": reversal(PAID, 21),
    "back-with-fee": reversal(PRICED),
    "back-but-fee": reversal(PRICED, 20),
    "back-taxed": reversal(TAXED),
    "back-in": reversal(IN),
    "back-out": reversal(OUT),
    "back-in-by-bank": reversal(IN_BY_BANK),
    "back-out-by-bank": reversal(OUT_BY_BANK),
    "back-split": reversal(SPLIT),
    "back-split-in-part": reversal(SPLIT, 1),
    "back-gathered": reversal(GATHERED),
    "back-captured": reversal(TAKEN),
    "back-hold": reversal(PLACED),
    "back-refused": reversal(REFUSED),
    "back-pending": reversal(PENDING),
}

# What each is answered, alone, to everybody who is bound, and to who is trusted: `-` as to who is trusted.
# A dot is SOURCE_NOT_FOUND, `to` is DESTINATION_NOT_FOUND.
TABLE = """
#  command              ann   ben   cat   bank  anybody
   pays                 -     .     .     .     POSTED
   pays-nobody          -     .     .     .     DESTINATION_NOT_FOUND
   pays-herself         -     .     .     .     POSTED
   pays-too-much        -     .     .     .     INSUFFICIENT_FUNDS
   pays-with-fee        -     .     .     .     POSTED
   pays-on-condition    -     .     .     .     VERSION_MISMATCH
   pays-later           -     .     .     .     PENDING
   pays-nobody-later    -     .     .     .     PENDING
   nobody-pays          -     .     .     .     SOURCE_NOT_FOUND
   nobody-pays-later    .     .     .     .     PENDING
   pays-in              -     to    to    to    POSTED
   pays-in-to-nobody    -     -     -     -     DESTINATION_NOT_FOUND
   pays-in-by-bank      .     .     .     to    POSTED
   pays-in-by-bob       .     to    .     .     NOT_A_PROVIDER
   pays-out             -     .     .     .     POSTED
   pays-out-with-fee    -     .     .     .     POSTED
   pays-out-by-bank     -     .     .     .     POSTED
   pays-out-by-bob      -     .     .     .     NOT_A_PROVIDER
   splits               -     .     .     .     POSTED
   gathers              .     .     .     .     POSTED
   gains-by-a-debit     .     .     .     .     POSTED
   takes-cash           .     .     .     .     POSTED
   takes-fees           .     .     .     .     POSTED
   pays-cash            -     .     .     .     POSTED
   holds                -     .     .     .     POSTED
   captures             -     .     .     .     POSTED
   captures-finally     -     .     .     .     POSTED
   captures-all         -     .     .     .     POSTED
   captures-too-much    -     .     .     .     CAPTURE_ABOVE_HOLD
   captures-freed       -     .     .     .     HOLD_RELEASED
   captures-gone        -     .     .     .     HOLD_EXPIRED
   releases             -     .     .     .     POSTED
   releases-freed       -     .     .     .     HOLD_RELEASED
   back                 .     -     .     .     POSTED
   back-in-part         .     -     .     .     POSTED
   back-too-much        .     -     .     .     REVERSAL_ABOVE_ORIGINAL
   back-with-fee        .     .     .     .     POSTED
   back-but-fee         .     -     .     .     POSTED
   back-taxed           .     .     .     .     POSTED
   back-in              -     .     .     .     POSTED
   back-out             .     .     .     .     POSTED
   back-in-by-bank      -     .     .     .     POSTED
   back-out-by-bank     .     .     .     -     POSTED
   back-split           .     .     .     .     POSTED
   back-split-in-part   .     .     .     .     NOT_DIVISIBLE
   back-gathered        .     .     -     .     POSTED
   back-captured        .     -     .     .     POSTED
   back-hold            .     -     .     .     NOT_REVERSIBLE
   back-refused         .     -     .     .     TRANSACTION_NOT_POSTED
   back-pending         .     -     .     .     TRANSACTION_NOT_POSTED
"""
SHORT = {".": "SOURCE_NOT_FOUND", "to": "DESTINATION_NOT_FOUND"}


def ledger_before(*more: Movement) -> Book:
    group = book(standing())
    for movement in (*BEFORE, REFUSED, PENDING, *more):
        decide(group, movement)
    return group


def state(group: Book) -> list[object]:
    return [amounts(group.accounts.values()), dict(group.holds), len(group.entries), dict(group.reversed)]


@pytest.mark.parametrize("row", list(rows(TABLE)), ids=lambda row: row[0])
def test_what_each_is_answered(row: list[str]) -> None:
    name, *answers = row
    for (who, owner), answer in zip(OWNERS.items(), answers, strict=True):
        expected = SHORT.get(answer, answers[-1] if answer == "-" else answer)
        group = ledger_before()
        before = state(group)
        asked = COMMANDS[name]._replace(principal=who)
        found = decide(group, asked, owner)
        assert code(found) == expected, who
        assert isinstance(found, Outcome), "it is stored as an attempt"
        if expected != "POSTED":
            assert state(group) == before, who


def test_the_table_has_every_command() -> None:
    assert [row[0] for row in rows(TABLE)] == [name for name in COMMANDS if name != "expires"]


def test_that_a_hold_is_over_is_nobodys_own_doing() -> None:
    assert code(decide(ledger_before(), COMMANDS["expires"])) == "POSTED"


def test_what_is_somebody_elses_and_what_is_not_there_are_told_alike() -> None:
    group = ledger_before()
    foreign, missing = (told(decide(group, transfer(source, "alice", 1), "ann")) for source in ("bob", "nobody"))
    assert foreign == {"wallet": "wallets/bob"}
    assert missing == {"wallet": "wallets/nobody"}


@pytest.mark.parametrize("source", ["bob", "shut", "bank"])
def test_nothing_of_somebody_elses_wallet_is_told_whatever_it_is_like(source: str) -> None:
    """Neither its state, nor its currency, version or funds."""
    for changed in ({"currency": "EUR"}, {"terms": Terms(expected_version=7, minimum_after=7)}, {"amount": 9999}):
        asked = transfer(source, "alice", **{"amount": 1, **changed})  # type: ignore[arg-type] # as the builder has it
        assert told(decide(ledger_before(), asked, "ann")) == {"wallet": f"wallets/{source}"}


def test_who_has_nothing_to_give_back_is_not_told_what_was_given_back() -> None:
    group = ledger_before(reversal(PAID, 5), reversal(PAID), reversal(SPLIT), reversal(PRICED, 20))
    for original in (PAID, SPLIT, PRICED):
        for amount in (0, 1, 16):
            assert code(decide(group, reversal(original, amount), "ann")) == "SOURCE_NOT_FOUND"


def test_the_fee_that_is_left_is_given_back_by_who_got_it() -> None:
    group = ledger_before(reversal(PRICED, 20))
    assert code(decide(group, reversal(PRICED), "ben")) == "SOURCE_NOT_FOUND"
    assert code(decide(group, reversal(PRICED), "cat")) == "POSTED"
    assert code(decide(group, reversal(PRICED), "cat")) == "ALREADY_REVERSED"


def test_a_stored_answer_is_told_again_to_who_asked() -> None:
    """An owner never changes, so neither does it."""
    group, asked = ledger_before(), transfer("bob", "alice", 1, principal="ann")
    first, again = decide(group, asked, "ann"), decide(group, asked, "ann")
    assert [code(first), code(again)] == ["SOURCE_NOT_FOUND"] * 2
    assert code(decide(group, asked._replace(fingerprint="another"), "ann")) == "REQUEST_ID_REUSED"


def test_what_was_accepted_is_posted_when_it_is_due_whoever_is_bound() -> None:
    group, asked = ledger_before(), transfer("alice", "bob", 1, terms=LATER)
    assert code(decide(group, asked, "ann")) == "PENDING"
    [due] = decide_work(group, Work([asked], Manner.DUE))
    assert code(due) == "POSTED"


def work(manner: Manner, *movements: Movement) -> Sequence[str]:
    return [code(answer) for answer in decide_work(ledger_before(), Work(movements, manner, bound_to="ann"))]


MINE, FOREIGN = transfer("alice", "bob", 1), transfer("bob", "alice", 1)


def test_of_a_batch_each_item_is_judged_alone() -> None:
    assert work(Manner.EACH, MINE, FOREIGN, transfer("alice", "carol", 1)) == ["POSTED", "SOURCE_NOT_FOUND", "POSTED"]


@pytest.mark.parametrize(
    ("batch", "answers"),
    [
        ([MINE, FOREIGN], ["BATCH_STOPPED", "SOURCE_NOT_FOUND"]),
        ([FOREIGN, MINE], ["SOURCE_NOT_FOUND", "BATCH_STOPPED"]),
        ([REFUSED._replace(id=MINE.id), FOREIGN], ["INSUFFICIENT_FUNDS", "SOURCE_NOT_FOUND"]),
        (
            [MINE, transfer("alice", "nobody", 1), FOREIGN],
            ["BATCH_STOPPED", "DESTINATION_NOT_FOUND", "SOURCE_NOT_FOUND"],
        ),
        ([MINE, transfer("alice", "alice", 1), FOREIGN], ["BATCH_STOPPED", "SAME_WALLET", "SOURCE_NOT_FOUND"]),
    ],
)
def test_of_a_batch_that_is_all_or_none_nothing_is_posted_and_no_foreign_item_looks_possible(
    batch: Sequence[Movement], answers: Sequence[str]
) -> None:
    """Else its owner would see that it was tried."""
    group = ledger_before()
    before = state(group)
    found = decide_work(group, Work(batch, Manner.ATOMIC, bound_to="ann"))
    assert [code(answer) for answer in found] == answers
    assert state(group) == before
