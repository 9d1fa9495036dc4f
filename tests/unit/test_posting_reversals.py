"""Reversals: whole, in parts, with fees, of compound ones, and every reason against them."""

from collections.abc import Callable, Sequence

import pytest

from service_kit.caller import is_our_own
from tests.kit.builders import (
    FEES,
    NOON,
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
from tests.kit.tables import pairs, rows
from transaction_service.domain.account import INT64_MAX, Account, AccountState, Limits, Usage
from transaction_service.domain.book import Book, Reversed, check_group
from transaction_service.domain.failure import Reason
from transaction_service.domain.ledger import decide
from transaction_service.domain.movement import Movement, Outcome, Refused, Transaction, TransactionState
from transaction_service.domain.reversal import PAYOUTS_PRINCIPAL, payout_reversal
from transaction_service.domain.terms import Fee, PayoutDestination, Terms

ORIGINALS: dict[str, Movement] = {
    "plain": transfer("alice", "bob", 30),
    "priced": transfer("alice", "bob", 30, terms=fee(6)),
    "taken": transfer("alice", "bob", 30, terms=fee(6, included=True)),
    "own": transfer("alice", "bob", 30, terms=fee(6, "bob")),
    "split": compound(("alice", -9), ("alice", 2), ("bob", 3), ("carol", 4)),
    "paid-in": deposit("bob", 20),
    "paid-out": withdrawal("bob", 20, terms=fee(2)),
    "refused": transfer("alice", "bob", 999),
    "later": transfer("alice", "bob", 1, terms=Terms(deferred=True)),
    "hold": placing("alice", "bob", 10),
}
ORIGINALS["captured"] = capture(ORIGINALS["hold"], 8)
ORIGINALS["freed"] = release(ORIGINALS["hold"])
ORIGINALS["back"] = reversal(ORIGINALS["plain"], 1)

# What is posted first, on accounts where Alice and Bob have 100 each. Then one row an attempt to give back, all of them
# one after the other, and what everybody has afterwards: Alice, Bob, Carol, the fees, cash.
TABLES = [
    """
    # plain
    plain     10     POSTED                   80   120  0  0   0
    plain     10     POSTED                   90   110  0  0   0
    plain     21     REVERSAL_ABOVE_ORIGINAL  90   110  0  0   0
    plain     all    POSTED                   100  100  0  0   0
    plain     all    ALREADY_REVERSED         100  100  0  0   0
    plain     1      ALREADY_REVERSED         100  100  0  0   0
    """,
    """
    # plain
    plain     31     REVERSAL_ABOVE_ORIGINAL  70   130  0  0   0
    plain     30     POSTED                   100  100  0  0   0
    plain     all    ALREADY_REVERSED         100  100  0  0   0
    """,
    """
    # priced
    priced    all    POSTED                   100  100  0  0   0
    priced    all    ALREADY_REVERSED         100  100  0  0   0
    """,
    """
    # priced
    priced    31     REVERSAL_ABOVE_ORIGINAL  64   130  0  6   0
    priced    29     POSTED                   93   101  0  6   0
    priced    2      REVERSAL_ABOVE_ORIGINAL  93   101  0  6   0
    priced    all    POSTED                   100  100  0  0   0
    priced    all    ALREADY_REVERSED         100  100  0  0   0
    """,
    """
    # priced
    priced    30     POSTED                   94   100  0  6   0
    priced    1      REVERSAL_ABOVE_ORIGINAL  94   100  0  6   0
    priced    all    POSTED                   100  100  0  0   0
    priced    all    ALREADY_REVERSED         100  100  0  0   0
    priced    1      ALREADY_REVERSED         100  100  0  0   0
    """,
    """
    # taken
    taken     25     REVERSAL_ABOVE_ORIGINAL  70   124  0  6   0
    taken     10     POSTED                   80   114  0  6   0
    taken     all    POSTED                   100  100  0  0   0
    taken     1      ALREADY_REVERSED         100  100  0  0   0
    """,
    """
    # own
    own       31     REVERSAL_ABOVE_ORIGINAL  64   136  0  0   0
    own       20     POSTED                   84   116  0  0   0
    own       all    POSTED                   100  100  0  0   0
    own       all    ALREADY_REVERSED         100  100  0  0   0
    """,
    """
    # split
    split     1      NOT_DIVISIBLE            93   103  4  0   0
    split     all    POSTED                   100  100  0  0   0
    split     all    ALREADY_REVERSED         100  100  0  0   0
    split     1      NOT_DIVISIBLE            100  100  0  0   0
    """,
    """
    # paid-in
    paid-in   5      POSTED                   100  115  0  0   -15
    paid-in   all    POSTED                   100  100  0  0   0
    paid-in   1      ALREADY_REVERSED         100  100  0  0   0
    """,
    """
    # paid-out
    paid-out  5      POSTED                   100  83   0  2   15
    paid-out  all    POSTED                   100  100  0  0   0
    paid-out  all    ALREADY_REVERSED         100  100  0  0   0
    """,
    """
    # hold captured
    captured  3      POSTED                   95   105  0  0   0
    hold      all    NOT_REVERSIBLE           95   105  0  0   0
    hold      1      NOT_REVERSIBLE           95   105  0  0   0
    captured  all    POSTED                   100  100  0  0   0
    captured  1      ALREADY_REVERSED         100  100  0  0   0
    """,
    """
    # hold freed
    freed     all    NOT_REVERSIBLE           100  100  0  0   0
    freed     1      NOT_REVERSIBLE           100  100  0  0   0
    """,
    """
    # plain back
    back      all    NOT_REVERSIBLE           71   129  0  0   0
    back      1      NOT_REVERSIBLE           71   129  0  0   0
    plain     30     REVERSAL_ABOVE_ORIGINAL  71   129  0  0   0
    plain     29     POSTED                   100  100  0  0   0
    plain     all    ALREADY_REVERSED         100  100  0  0   0
    """,
    """
    # refused later
    refused   all    TRANSACTION_NOT_POSTED   100  100  0  0   0
    refused   1      TRANSACTION_NOT_POSTED   100  100  0  0   0
    later     all    TRANSACTION_NOT_POSTED   100  100  0  0   0
    later     1      TRANSACTION_NOT_POSTED   100  100  0  0   0
    """,
]
CASH = "system/cash-usd"


def standing() -> dict[str, Account]:
    accounts = [account("alice", 100), account("bob", 100), account("carol"), fees_account(), cash_account()]
    return {a.name: a for a in accounts}


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("together", [True, False])
def test_every_attempt_gets_its_code_and_leaves_what_it_says(table: str, together: bool) -> None:
    """In one group, or each in one of its own."""
    accounts = standing()
    group = book(list(accounts.values()))
    heading = next(line for line in table.splitlines() if "#" in line)
    for word in heading.split()[1:]:
        decide(group, ORIGINALS[word])
    for word, amount, expected, *after in rows(table):
        if not together:
            known = [*group.known.values(), *group.decided.values()]
            group = book(list(accounts.values()), known, NOON, list(group.holds.values()), group.reversed)
        before, holds = amounts(accounts.values()), dict(group.holds)
        asked = reversal(ORIGINALS[word], 0 if amount == "all" else int(amount))
        assert code(decide(group, asked)) == expected, (word, amount)
        names = ("wallets/alice", "wallets/bob", "wallets/carol", FEES, CASH)
        assert [accounts[name].balance for name in names] == list(map(int, after)), (word, amount)
        if not together:
            check_group(group, before, holds)


def posted(*movements: Movement) -> Book:
    group = book(list(standing().values()))
    for movement in movements:
        assert code(decide(group, movement)) == "POSTED"
    return group


def test_a_reversal_is_a_transaction_of_its_own_and_the_original_stays_as_it_was() -> None:
    original = ORIGINALS["priced"]
    group = posted(original)
    kept = group.find(original.id)
    whole = reversal(original, description="sorry")
    answer = decide(group, whole)
    assert isinstance(answer, Outcome)
    assert answer.transaction.state is TransactionState.POSTED
    assert answer.transaction.movement == whole._replace(amount=30)
    assert group.find(original.id) == kept
    names = {a.id: a.name for a in group.accounts.values()}
    entered = [(names[e.account_id], e.amount) for e in group.entries if e.transaction_id == whole.id]
    assert sorted(entered) == [(FEES, -6), ("wallets/alice", 36), ("wallets/bob", -30)]
    assert group.reversed == {original.id: Reversed(1, 30, whole=True)}


def test_a_part_is_recorded_as_two_postings_and_the_rest_as_what_it_moves() -> None:
    original = ORIGINALS["priced"]
    group = posted(original)
    part, rest = decide(group, reversal(original, 10)), decide(group, reversal(original))
    assert isinstance(part, Outcome)
    assert isinstance(rest, Outcome)
    assert part.transaction.movement.terms == Terms()
    moved = [(account, amount) for account, amount, _ in rest.transaction.movement.terms.postings]
    assert moved == [("wallets/alice", 26), ("wallets/bob", -20), (FEES, -6)]
    assert group.reversed == {original.id: Reversed(2, 30, whole=True)}


def test_what_was_given_back_before_this_group_counts() -> None:
    original = ORIGINALS["plain"]
    known = Transaction(original, TransactionState.POSTED, NOON, NOON)
    group = book(list(standing().values()), [known], gone_back={original.id: Reversed(2, 25)})
    answers = [decide(group, reversal(original, amount)) for amount in (6, 5, 1)]
    assert [code(answer) for answer in answers] == ["REVERSAL_ABOVE_ORIGINAL", "POSTED", "ALREADY_REVERSED"]
    assert isinstance(answers[0], Outcome)
    assert told(answers[0]) == {"reverses": f"transactions/{original.id}", "remaining": "5", "amount": "6"}


def test_of_two_reversals_of_the_whole_one_wins_and_a_repeated_one_is_answered_alike() -> None:
    original = ORIGINALS["plain"]
    group, first, second = posted(original), reversal(original), reversal(original)
    answers = [decide(group, asked) for asked in (first, second, first, second)]
    assert [code(answer) for answer in answers] == ["POSTED", "ALREADY_REVERSED", "POSTED", "ALREADY_REVERSED"]
    assert [isinstance(answer, Outcome) and answer.replayed for answer in answers] == [False, False, True, True]
    assert code(decide(group, reversal(original, 5, first.request_id))) == "REQUEST_ID_REUSED"


def test_what_never_was_cannot_be_given_back() -> None:
    original = transfer()
    answer = decide(book(list(standing().values())), reversal(original))
    assert isinstance(answer, Refused)
    assert (code(answer), told(answer)) == ("TRANSACTION_NOT_FOUND", {"transaction": f"transactions/{original.id}"})


def test_who_was_paid_must_still_have_it() -> None:
    original = ORIGINALS["plain"]
    group = posted(original, transfer("bob", "carol", 110))
    answers = [decide(group, reversal(original, amount)) for amount in (0, 21, 20)]
    assert [code(answer) for answer in answers] == ["INSUFFICIENT_FUNDS", "INSUFFICIENT_FUNDS", "POSTED"]
    assert isinstance(answers[0], Outcome)
    assert told(answers[0]) == {"wallet": "wallets/bob", "available": "20", "amount": "30"}
    assert answers[0].transaction.movement.amount == 30


def test_limits_neither_bind_what_is_given_back_nor_count_it() -> None:
    group = posted(ORIGINALS["plain"])
    bob = group.accounts["wallets/bob"]
    bob.limits = Limits(per_transaction=1, per_day=1, debits_per_hour=1)
    assert code(decide(group, reversal(ORIGINALS["plain"]))) == "POSTED"
    assert bob.usage == Usage()


def test_every_kind_that_moves_no_money_is_not_reversible() -> None:
    placed = placing("alice", "bob", 10)
    gone = expiry(placed)
    group = posted(placed, gone)
    answers = [decide(group, reversal(original)) for original in (placed, gone)]
    assert [code(answer) for answer in answers] == ["NOT_REVERSIBLE"] * 2
    kinds = [told(answer)["kind"] for answer in answers if isinstance(answer, Outcome)]
    assert kinds == ["HOLD", "EXPIRY"]


class Situation:
    """A reversal of 10 of 30 that would be posted, until flaws are added."""

    def __init__(self) -> None:
        self.original = ORIGINALS["plain"]
        self.state, self.gone_back = TransactionState.POSTED, Reversed()
        self.payer, self.payee = account("alice", 100), account("bob", 100)
        self.known: list[Transaction] = []
        self.there = True
        self.asked = reversal(self.original, 10, "the key")

    def answer(self) -> str:
        known = [*self.known, *([Transaction(self.original, self.state, NOON, NOON)] if self.there else [])]
        group = book([self.payer, self.payee], known, gone_back={self.original.id: self.gone_back})
        return code(decide(group, self.asked))


def _used_key(it: Situation) -> None:
    it.known = [Transaction(transfer(request_id="the key"), TransactionState.POSTED, NOON, NOON)]


def _of_no_money(it: Situation) -> None:
    it.original = ORIGINALS["hold"]._replace(id=it.original.id)


def _of_many(it: Situation) -> None:
    if it.original.kind is not ORIGINALS["hold"].kind:
        it.original = ORIGINALS["split"]._replace(id=it.original.id)


def _in_euros(it: Situation) -> None:
    it.asked = it.asked._replace(currency="EUR")


FLAWS: dict[Reason, Callable[[Situation], object]] = {
    Reason.REQUEST_ID_REUSED: _used_key,
    Reason.TRANSACTION_NOT_FOUND: lambda it: setattr(it, "there", False),
    Reason.NOT_REVERSIBLE: _of_no_money,
    Reason.TRANSACTION_NOT_POSTED: lambda it: setattr(it, "state", TransactionState.FAILED),
    Reason.NOT_DIVISIBLE: _of_many,
    Reason.CURRENCY_MISMATCH: _in_euros,
    Reason.ALREADY_REVERSED: lambda it: setattr(it, "gone_back", Reversed(1, 30)),
    Reason.REVERSAL_ABOVE_ORIGINAL: lambda it: setattr(it, "gone_back", Reversed(1, 21)),
    Reason.SOURCE_CLOSED: lambda it: setattr(it.payee, "state", AccountState.CLOSED),
    Reason.SOURCE_FROZEN: lambda it: setattr(it.payee, "state", AccountState.FROZEN),
    Reason.DESTINATION_CLOSED: lambda it: setattr(it.payer, "state", AccountState.CLOSED),
    Reason.INSUFFICIENT_FUNDS: lambda it: setattr(it.payee, "balance", 9),
    Reason.BALANCE_OVERFLOW: lambda it: setattr(it.payer, "balance", INT64_MAX),
}


def test_without_a_flaw_it_is_posted() -> None:
    assert Situation().answer() == "POSTED"


def test_the_flaws_stand_in_the_order_that_the_reasons_document() -> None:
    assert [reason for reason in Reason if reason in FLAWS] == list(FLAWS)


@pytest.mark.parametrize("flaws", [*[(reason,) for reason in FLAWS], *pairs(FLAWS)])
def test_of_the_flaws_of_a_reversal_the_earliest_is_told(flaws: Sequence[Reason]) -> None:
    it = Situation()
    for reason in reversed(flaws):
        FLAWS[reason](it)
    assert it.answer() == flaws[0].value


BANK = PayoutDestination("bank", "DE89 3704", "")
PAID_OUT = withdrawal("alice", 20, terms=Terms(payout=BANK, fee=Fee(2, FEES, included=False)))


def after_payout() -> tuple[Book, Movement]:
    """Alice had 100, and a withdrawal of 20 with a fee of 2 is to be paid out."""
    posted = book([account("alice", 100), cash_account(), fees_account()])
    assert code(decide(posted, PAID_OUT)) == "POSTED"
    return posted, PAID_OUT


@pytest.mark.parametrize("amount", [0, 5])
def test_nobody_gives_a_withdrawal_with_a_payout_back(amount: int) -> None:
    posted, original = after_payout()
    answer = decide(posted, reversal(original, amount))
    assert code(answer) == "NOT_REVERSIBLE"
    assert told(answer) == {
        "reverses": f"transactions/{original.id}",
        "kind": "WITHDRAWAL",
        "payout": f"payouts/{original.id}",
    }


def test_what_payouts_give_back_is_all_of_it_with_the_fee_once() -> None:
    posted, original = after_payout()
    assert code(decide(posted, payout_reversal(original, 0))) == "POSTED"
    assert posted.accounts["wallets/alice"].balance == 100
    again = decide(posted, payout_reversal(original, 0))
    assert isinstance(again, Outcome)
    assert again.replayed
    assert code(decide(posted, payout_reversal(original, 1))) == "ALREADY_REVERSED"


def test_a_number_makes_the_reversal_of_a_payout() -> None:
    first, same, second = (payout_reversal(PAID_OUT, number) for number in (0, 0, 1))
    other = payout_reversal(PAID_OUT._replace(id="another"), 0)
    assert first == same
    assert (first.principal, first.reverses) == (PAYOUTS_PRINCIPAL, PAID_OUT.id)
    assert len({first.id, second.id, other.id, reversal(PAID_OUT).id}) == 4
    assert len({first.request_id, second.request_id, other.request_id}) == 3
    assert (first.source, first.destination) == (PAID_OUT.destination, PAID_OUT.source)


def test_no_caller_can_be_who_gives_payouts_back() -> None:
    assert is_our_own(PAYOUTS_PRINCIPAL)
