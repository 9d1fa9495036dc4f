"""Holds: placed, captured in parts, released, expired, and what each attempt after their end is told."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from tests.kit.builders import (
    NOON,
    account,
    amounts,
    book,
    capture,
    code,
    expiry,
    placing,
    release,
    told,
    transfer,
    wallet,
)
from tests.kit.one_by_one import OneByOne
from tests.kit.tables import rows
from transaction_service.domain.account import INT64_MAX, AccountState, Limits, Usage, day_of, hour_of
from transaction_service.domain.book import check_group
from transaction_service.domain.hold import TTL_DEFAULT, Hold, HoldState
from transaction_service.domain.ledger import decide
from transaction_service.domain.movement import (
    Movement,
    Outcome,
    Refused,
    Transaction,
    TransactionState,
    movement,
    postings_of,
)
from transaction_service.domain.terms import Terms

# One row an attempt, all of them one after the other; holds end 60 minutes after they are placed, some are for a wallet
# of their own. Alice begins with 100. At the end of a row: what Alice has available and held, what Bob has, and the
# hold as state/captured/released.
ATTEMPTS = """
# minute  key  what     hold     amount  expected            available  held  bob  is
  0       1    place    h1       60      POSTED              40         60    0    OPEN/0/0
  0       2    place    h2       41      INSUFFICIENT_FUNDS  40         60    0    -
  0       1    place    h1       60      POSTED              40         60    0    OPEN/0/0
  0       1    place    h1       61      REQUEST_ID_REUSED   40         60    0    OPEN/0/0
  0       2    place    h2       41      INSUFFICIENT_FUNDS  40         60    0    -
  1       3    capture  h2       1       HOLD_NOT_FOUND      40         60    0    -
  1       4    release  h2       -       HOLD_NOT_FOUND      40         60    0    -
  1       5    pay      -        41      INSUFFICIENT_FUNDS  40         60    0    -
  1       6    pay      -        40      POSTED              0          60    40   -
  2       7    capture  h1       61      CAPTURE_ABOVE_HOLD  0          60    40   OPEN/0/0
  2       8    capture  h1       20      POSTED              0          40    60   OPEN/20/0
  2       8    capture  h1       20      POSTED              0          40    60   OPEN/20/0
  2       8    capture  h1       21      REQUEST_ID_REUSED   0          40    60   OPEN/20/0
  2       8    final    h1       20      REQUEST_ID_REUSED   0          40    60   OPEN/20/0
  2       9    capture  h1       41      CAPTURE_ABOVE_HOLD  0          40    60   OPEN/20/0
  3       10   capture  h1       10      POSTED              0          30    70   OPEN/30/0
  3       11   final    h1       5       POSTED              25         0     75   CAPTURED/35/25
  3       12   capture  h1       1       HOLD_CAPTURED       25         0     75   CAPTURED/35/25
  3       13   capture  h1       all     HOLD_CAPTURED       25         0     75   CAPTURED/35/25
  3       14   release  h1       -       HOLD_CAPTURED       25         0     75   CAPTURED/35/25
  3       15   expire   h1       -       HOLD_CAPTURED       25         0     75   CAPTURED/35/25
  4       16   place    h3       25      POSTED              0          25    75   OPEN/0/0
  4       17   capture  h3       25      POSTED              0          0     100  CAPTURED/25/0
  5       18   back     -        90      POSTED              90         0     10   -
  5       19   place    h4       30      POSTED              60         30    10   OPEN/0/0
  5       20   place    h5       20      POSTED              40         50    10   OPEN/0/0
  5       21   capture  h4       all     POSTED              40         20    40   CAPTURED/30/0
  6       22   capture  h5       7       POSTED              40         13    47   OPEN/7/0
  6       23   release  h5       -       POSTED              53         0     47   RELEASED/7/13
  6       23   release  h5       -       POSTED              53         0     47   RELEASED/7/13
  6       24   release  h5       -       HOLD_RELEASED       53         0     47   RELEASED/7/13
  6       25   capture  h5       1       HOLD_RELEASED       53         0     47   RELEASED/7/13
  6       26   expire   h5       -       HOLD_RELEASED       53         0     47   RELEASED/7/13
  10      27   place    h6       33      POSTED              20         33    47   OPEN/0/0
  10      28   place    h7       10      POSTED              10         43    47   OPEN/0/0
  10      29   place    h8       10      POSTED              0          53    47   OPEN/0/0
  69      30   capture  h6       3       POSTED              0          50    50   OPEN/3/0
  69      31   final    h7       all     POSTED              0          40    60   CAPTURED/10/0
  69      32   release  h8       -       POSTED              10         30    60   RELEASED/0/10
  70      33   capture  h6       1       HOLD_EXPIRED        10         30    60   OPEN/3/0
  70      34   release  h6       -       HOLD_EXPIRED        10         30    60   OPEN/3/0
  70      35   final    h6       all     HOLD_EXPIRED        10         30    60   OPEN/3/0
  70      36   pay      -        11      INSUFFICIENT_FUNDS  10         30    60   -
  70      37   expire   h6       -       POSTED              40         0     60   EXPIRED/3/30
  70      37   expire   h6       -       POSTED              40         0     60   EXPIRED/3/30
  70      38   expire   h6       -       HOLD_EXPIRED        40         0     60   EXPIRED/3/30
  70      39   capture  h6       1       HOLD_EXPIRED        40         0     60   EXPIRED/3/30
  70      40   release  h6       -       HOLD_EXPIRED        40         0     60   EXPIRED/3/30
"""


def test_every_attempt_of_the_table_gets_its_code_and_leaves_what_it_says() -> None:
    ledger = OneByOne(account("alice", 100), account("bob"))
    placed: dict[str, Movement] = {}
    for minute, key, what, name, amount, expected, available, held, bob, shown in rows(ATTEMPTS):
        number = int(amount) if amount.isdigit() else 0
        request_id = f"key-{key}"
        match what:
            case "place":
                asked = placing("alice", "bob", number, request_id, ttl=timedelta(minutes=60))
                placed.setdefault(name, asked)
            case "pay":
                asked = transfer("alice", "bob", number, request_id)
            case "back":
                asked = transfer("bob", "alice", number, request_id)
            case "release":
                asked = release(placed[name], request_id)
            case "expire":
                asked = expiry(placed[name])._replace(id=transfer(request_id=request_id).id)
            case _:
                asked = capture(placed[name], number, request_id, final=what == "final")
        answer = code(ledger.decide(asked, NOON + timedelta(minutes=int(minute))))
        alice, hold = ledger.accounts["wallets/alice"], ledger.holds.get(placed[name].id) if name in placed else None
        has = (alice.available, alice.held, ledger.accounts["wallets/bob"].balance)
        is_ = "-" if hold is None else f"{hold.state.name}/{hold.captured}/{hold.released}"
        row = (minute, key, what)
        assert (answer, has, is_) == (expected, (int(available), int(held), int(bob)), shown), row


def test_a_hold_is_what_was_asked_for_and_moves_nothing() -> None:
    alice = account("alice", 100, version=3)
    group = book([alice, account("bob")])
    asked = placing(
        amount=30, ttl=timedelta(minutes=1), description="room", external_reference="r-7", labels={"a": "b"}
    )
    answer = decide(group, asked)
    hold = Hold(
        asked.id,
        HoldState.OPEN,
        "wallets/alice",
        "wallets/bob",
        30,
        0,
        0,
        "USD",
        NOON + timedelta(minutes=1),
        NOON,
        "room",
        "r-7",
        {"a": "b"},
    )
    assert answer == Outcome(Transaction(asked, TransactionState.POSTED, NOON, NOON), replayed=False, hold=hold)
    assert (group.entries, group.changed_holds, group.changed) == ([], {asked.id: hold}, {alice.name: alice})
    assert (alice.balance, alice.held, alice.version, hold.remaining) == (100, 30, 3, 30)


def test_a_capture_is_posted_like_a_transfer() -> None:
    ledger, asked = OneByOne(account("alice", 100), account("bob")), placing(amount=30)
    ledger.decide(asked)
    captured = capture(asked, 12, description="first part")
    answer = ledger.decide(captured)
    assert isinstance(answer, Outcome)
    assert answer.transaction == Transaction(captured, TransactionState.POSTED, NOON, NOON)
    assert answer.hold is not None
    assert (answer.hold.state, answer.hold.captured, answer.hold.remaining) == (HoldState.OPEN, 12, 18)
    alice, bob = ledger.accounts.values()
    assert (alice.balance, alice.held, alice.version, bob.balance, bob.version) == (88, 18, 1, 12, 1)


@pytest.mark.parametrize(
    ("terms", "expected"),
    [
        (Terms(), NOON + TTL_DEFAULT),
        (Terms(ttl_microseconds=1), NOON + timedelta(microseconds=1)),
        (Terms(ttl_microseconds=366 * 24 * 3600 * 10**6), NOON + timedelta(days=366)),
        (Terms(expire_time=NOON + timedelta(microseconds=1)), NOON + timedelta(microseconds=1)),
        (Terms(expire_time=NOON), None),
        (Terms(expire_time=NOON - timedelta(days=1)), None),
    ],
)
def test_when_it_expires(terms: Terms, expected: datetime | None) -> None:
    answer = decide(book([account("alice", 100), account("bob")]), placing()._replace(terms=terms))
    if expected is not None:
        assert isinstance(answer, Outcome)
        assert answer.hold is not None
        assert answer.hold.expire_time == expected
        return
    assert isinstance(answer, Refused)
    assert terms.expire_time is not None
    assert (code(answer), told(answer)) == ("EXPIRE_TIME_PASSED", {"expire_time": terms.expire_time.isoformat()})


MICROSECOND = timedelta(microseconds=1)


@pytest.mark.parametrize(
    ("after", "expected"),
    [(timedelta(minutes=1) - MICROSECOND, "POSTED"), (timedelta(minutes=1), "HOLD_EXPIRED")],
)
@pytest.mark.parametrize("command", [capture, release])
def test_at_the_very_instant_it_has_expired(
    command: Callable[[Movement], Movement], after: timedelta, expected: str
) -> None:
    ledger, asked = OneByOne(account("alice", 100), account("bob")), placing(ttl=timedelta(minutes=1))
    ledger.decide(asked)
    answer = ledger.decide(command(asked), NOON + after)
    assert code(answer) == expected
    if expected == "HOLD_EXPIRED":
        assert isinstance(answer, Outcome)
        expire_time = (NOON + timedelta(minutes=1)).isoformat()
        assert told(answer) == {"hold": f"holds/{asked.id}", "expire_time": expire_time}


@pytest.mark.parametrize(
    ("command", "amount"),
    [(capture, 18), (release, 18), (expiry, 18)],
)
def test_what_is_recorded_of_all_that_is_left_is_all_that_was_left(
    command: Callable[[Movement], Movement], amount: int
) -> None:
    ledger, asked = OneByOne(account("alice", 100), account("bob")), placing(amount=30)
    ledger.decide(asked)
    ledger.decide(capture(asked, 12))
    done = command(asked)
    answer = ledger.decide(done)
    assert isinstance(answer, Outcome)
    assert answer.transaction.movement == done._replace(amount=amount)
    late = release(asked)
    again = ledger.decide(late)
    assert isinstance(again, Outcome)
    assert again.transaction.movement == late._replace(amount=30)


def test_an_expiry_that_comes_too_late_is_nobodys_attempt() -> None:
    ledger, asked = OneByOne(account("alice", 100), account("bob")), placing(amount=30)
    ledger.decide(asked)
    ledger.decide(release(asked))
    known = dict(ledger.known)
    answer = ledger.decide(expiry(asked))
    assert isinstance(answer, Refused)
    assert (code(answer), told(answer)) == ("HOLD_RELEASED", {"hold": f"holds/{asked.id}"})
    assert ledger.known == known


def test_a_capture_above_what_is_left_tells_what_is_left() -> None:
    ledger, asked = OneByOne(account("alice", 100), account("bob")), placing(amount=30)
    ledger.decide(asked)
    answer = ledger.decide(capture(asked, 31))
    assert isinstance(answer, Outcome)
    assert told(answer) == {"hold": f"holds/{asked.id}", "remaining": "30", "amount": "31"}


def test_holds_of_the_same_group() -> None:
    alice = account("alice", 100)
    group = book([alice, account("bob")])
    before = amounts(group.accounts.values())
    first, second = placing(amount=60), placing(amount=60)
    asked = [first, second, capture(first, 20), release(first), placing(amount=80), transfer(amount=1)]
    answers = [code(decide(group, one)) for one in asked]
    assert answers == ["POSTED", "INSUFFICIENT_FUNDS", "POSTED", "POSTED", "POSTED", "INSUFFICIENT_FUNDS"]
    assert (alice.balance, alice.held) == (80, 80)
    check_group(group, before, {})


def test_the_credit_line_can_be_held() -> None:
    alice = account("alice", 10, credit=50)
    group = book([alice, account("bob")])
    asked = placing(amount=60)
    assert [code(decide(group, one)) for one in (placing(amount=61), asked)] == ["INSUFFICIENT_FUNDS", "POSTED"]
    assert code(decide(group, capture(asked, 55))) == "POSTED"
    assert (alice.balance, alice.held, alice.available) == (-45, 5, -50)


def test_no_more_is_held_than_int64_can_tell() -> None:
    """Though a balance and a credit line of both int64's length would allow it."""
    alice = account("alice", INT64_MAX, credit=INT64_MAX)
    group = book([alice, account("bob")])
    answers = [decide(group, one) for one in (placing(amount=INT64_MAX), placing(amount=1))]
    assert [code(answer) for answer in answers] == ["POSTED", "BALANCE_OVERFLOW"]
    assert (told(answers[1]), alice.held) == ({"wallet": "wallets/alice"}, INT64_MAX)


def test_a_hold_counts_against_limits_when_it_is_placed_and_not_again() -> None:
    alice = account("alice", 100, limits=Limits(per_transaction=30, per_day=50, debits_per_hour=2))
    ledger, asked = OneByOne(alice, account("bob")), placing(amount=30)
    assert code(ledger.decide(placing(amount=31))) == "TRANSACTION_LIMIT_EXCEEDED"
    assert code(ledger.decide(asked)) == "POSTED"
    used = Usage(day_of(NOON, "UTC"), 30, hour_of(NOON), 1)
    assert alice.usage == used
    assert code(ledger.decide(placing(amount=21))) == "DAILY_LIMIT_EXCEEDED"
    assert code(ledger.decide(capture(asked, 10))) == "POSTED"
    assert code(ledger.decide(release(asked))) == "POSTED"
    assert alice.usage == used
    assert code(ledger.decide(placing(amount=20))) == "POSTED"
    assert code(ledger.decide(placing(amount=1))) == "HOURLY_COUNT_EXCEEDED"


def test_limits_that_were_lowered_do_not_bind_a_capture() -> None:
    alice = account("alice", 100)
    ledger, asked = OneByOne(alice, account("bob")), placing(amount=30)
    ledger.decide(asked)
    alice.limits = Limits(per_transaction=1, per_day=1, debits_per_hour=1)
    assert code(ledger.decide(capture(asked))) == "POSTED"


def test_a_frozen_wallet_keeps_its_holds_and_may_let_them_go() -> None:
    alice = account("alice", 100)
    ledger, asked = OneByOne(alice, account("bob")), placing(amount=30)
    ledger.decide(asked)
    alice.state = AccountState.FROZEN
    assert code(ledger.decide(placing(amount=1))) == "SOURCE_FROZEN"
    assert code(ledger.decide(capture(asked, 1))) == "SOURCE_FROZEN"
    assert (alice.balance, alice.held) == (100, 30)
    assert code(ledger.decide(release(asked))) == "POSTED"
    assert alice.held == 0


def test_a_hold_s_amount_is_taken_in_full_by_its_postings() -> None:
    asked = placing("alice", "bob", 7)
    assert [tuple(posting) for posting in postings_of(asked)] == [
        (wallet("alice"), -7, "USD"),
        (wallet("bob"), 7, "USD"),
    ]
    assert movement(asked.kind, "a", "b", 7, "USD", principal="p", request_id="r").hold != ""


def test_taking_and_freeing_a_hold() -> None:
    answer = decide(book([account("alice", 100), account("bob")]), placing(amount=30))
    assert isinstance(answer, Outcome)
    hold = answer.hold
    assert hold is not None
    steps = [
        hold.take(30, final=False),
        hold.take(30, final=True),
        hold.take(10, final=True),
        hold.take(10, final=False),
        hold.free(HoldState.EXPIRED),
        hold.take(10, final=False).free(HoldState.RELEASED),
    ]
    assert [(h.state.name, h.captured, h.released, h.remaining) for h in steps] == [
        ("CAPTURED", 30, 0, 0),
        ("CAPTURED", 30, 0, 0),
        ("CAPTURED", 10, 20, 0),
        ("OPEN", 10, 0, 20),
        ("EXPIRED", 0, 30, 0),
        ("RELEASED", 10, 20, 0),
    ]
    assert replace(account("alice", 100), held=30).spendable == 70
