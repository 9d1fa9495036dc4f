"""What callers see and touch who are bound to wallets of their own: tables of postings, and of transactions."""

import pytest

from tests.kit.builders import FEES, NOON, account, cash_account, compound, fee, fees_account, reversal, transfer
from tests.kit.tables import rows
from transaction_service.domain.account import Account, AccountKind
from transaction_service.domain.failure import Failure, Reason
from transaction_service.domain.movement import Movement, Transaction, TransactionKind, TransactionState
from transaction_service.domain.visibility import is_foreign, shows

ACCOUNTS: dict[str, Account] = {
    "alice": account("alice", owner="ann"),
    "bob": account("bob", owner="ben"),
    "bank": account("bank", owner="bank", kind=AccountKind.PROVIDER),
    "cash": cash_account(),
    "fees": fees_account(),
}

# Whether Ann touches what is not hers when so much goes into an account (below 0: comes out of it).
POSTINGS = """
#  kind        account  amount  foreign
   TRANSFER    alice    -1      no
   TRANSFER    alice    1       no
   TRANSFER    bob      -1      yes
   TRANSFER    bob      1       no
   TRANSFER    bank     -1      yes
   TRANSFER    fees     1       no
   DEPOSIT     cash     -1      no
   DEPOSIT     bank     -1      yes
   DEPOSIT     alice    1       no
   DEPOSIT     alice    -1      no
   DEPOSIT     bob      1       yes
   WITHDRAWAL  alice    -1      no
   WITHDRAWAL  bob      -1      yes
   WITHDRAWAL  cash     1       no
   WITHDRAWAL  bank     1       no
   COMPOUND    cash     -1      yes
   COMPOUND    cash     1       no
   COMPOUND    fees     -1      yes
   COMPOUND    bob      -1      yes
   COMPOUND    bob      1       no
   REVERSAL    cash     -1      yes
   REVERSAL    cash     1       no
   REVERSAL    fees     -1      yes
   REVERSAL    alice    -1      no
   REVERSAL    bob      -1      yes
   HOLD        alice    -1      no
   HOLD        bob      -1      yes
   CAPTURE     bob      -1      yes
   CAPTURE     cash     1       no
   RELEASE     bob      -1      yes
"""


def test_whose_postings_are_somebody_elses() -> None:
    for kind, name, amount, foreign in rows(POSTINGS):
        posted, asked = ACCOUNTS[name], (int(amount), TransactionKind[kind])
        assert is_foreign(posted, *asked, "ann") is (foreign == "yes"), (kind, name, amount)
        assert not is_foreign(posted, *asked, ""), "who is trusted acts for anybody"


def test_an_owner_is_the_whole_word() -> None:
    for other in ("an", "anna", "Ann", "ann ", "system"):
        assert is_foreign(ACCOUNTS["alice"], -1, TransactionKind.TRANSFER, other)


def test_nobody_is_the_owner_of_the_outside_world_by_its_name() -> None:
    assert is_foreign(ACCOUNTS["cash"], -1, TransactionKind.TRANSFER, ACCOUNTS["cash"].owner)


PAYMENT = transfer("alice", "bob", 10, terms=fee(1, "carol"), principal="house")
MOVEMENTS: dict[str, Movement] = {
    "payment": PAYMENT,
    "by-ann": PAYMENT._replace(principal="ann"),
    "by-ben": PAYMENT._replace(principal="ben"),
    "split": compound(("alice", -3), ("bob", 2), ("carol", 1), principal="house"),
    "back": reversal(PAYMENT, principal="house"),
}
OWNERS = {"alice": "ann", "bob": "ben", "carol": "cat"}

# Who sees it, of Ann (alice), Ben (bob) and Cat (carol): a payment of Alice to Bob with a fee for Carol, and back.
SEEN = """
#  what     state    reason               about   ann  ben  cat
   payment  POSTED   -                    -       yes  yes  yes
   payment  PENDING  -                    -       yes  no   no
   payment  FAILED   INSUFFICIENT_FUNDS   alice   yes  no   no
   payment  FAILED   DESTINATION_CLOSED   bob     yes  no   no
   payment  FAILED   DESTINATION_CLOSED   carol   no   no   no
   payment  FAILED   SOURCE_NOT_FOUND     alice   no   no   no
   payment  FAILED   BATCH_STOPPED        -       yes  no   no
   payment  FAILED   TRANSFER_CANCELLED   -       yes  no   no
   by-ann   FAILED   INSUFFICIENT_FUNDS   alice   yes  no   no
   by-ann   FAILED   DESTINATION_CLOSED   carol   yes  no   no
   by-ben   POSTED   -                    -       yes  yes  yes
   by-ben   PENDING  -                    -       yes  yes  no
   by-ben   FAILED   SOURCE_NOT_FOUND     alice   no   yes  no
   split    POSTED   -                    -       yes  yes  yes
   split    FAILED   INSUFFICIENT_FUNDS   alice   no   no   no
   back     POSTED   -                    -       yes  yes  yes
   back     FAILED   INSUFFICIENT_FUNDS   bob     no   yes  no
   back     FAILED   INSUFFICIENT_FUNDS   carol   no   no   no
   back     FAILED   ALREADY_REVERSED     -       no   yes  no
"""


@pytest.mark.parametrize("row", list(rows(SEEN)), ids=" ".join)
def test_who_sees_a_transaction(row: list[str]) -> None:
    what, state, reason, about, *seen = row
    failure = None
    if reason != "-":
        failure = Failure(Reason[reason], {} if about == "-" else {"wallet": f"wallets/{about}"})
    told = Transaction(MOVEMENTS[what], TransactionState[state], NOON, NOON, failure)
    found = [shows(told, f"wallets/{name}", owner) for name, owner in OWNERS.items()]
    assert found == [answer == "yes" for answer in seen]


def test_the_fees_of_the_house_are_nobodys_source() -> None:
    priced = transfer("alice", "bob", terms=fee(1), principal="house")
    pending = Transaction(priced, TransactionState.PENDING, NOON, NOON)
    assert not shows(pending, FEES, "ann")
