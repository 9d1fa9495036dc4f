"""What stands against placing a hold, and against capturing one: of several reasons the documented first is told."""

from collections.abc import Callable, Sequence

import pytest

from tests.kit.builders import account, book, capture, code, placing, transfer
from tests.kit.one_by_one import OneByOne
from tests.kit.tables import pairs
from transaction_service.domain.account import INT64_MAX, AccountState
from transaction_service.domain.failure import Reason
from transaction_service.domain.hold import HoldState
from transaction_service.domain.ledger import decide
from transaction_service.domain.movement import Movement, Outcome


class Situation:
    """A capture of 10 of a hold of 30 that would be posted, until flaws are added."""

    def __init__(self) -> None:
        self.source, self.destination = account("alice", 100), account("bob", 100)
        self.ledger, self.placed = OneByOne(self.source, self.destination), placing(amount=30)
        self.ledger.decide(self.placed)
        self.asked = capture(self.placed, 10, "the key")

    def end(self, state: HoldState) -> None:
        hold = self.ledger.holds[self.placed.id]
        self.ledger.holds[hold.id] = hold._replace(state=state)

    def answer(self) -> str:
        return code(self.ledger.decide(self.asked))


def _used_key(it: Situation) -> None:
    it.ledger.decide(transfer("bob", "alice", 1, "the key"))


def _gone(it: Situation) -> None:
    it.ledger.holds.clear()


def _above(it: Situation) -> None:
    it.asked = it.asked._replace(amount=31)


def _euros(it: Situation) -> None:
    it.asked = it.asked._replace(currency="EUR")


FLAWS: dict[Reason, Callable[[Situation], object]] = {
    Reason.REQUEST_ID_REUSED: _used_key,
    Reason.HOLD_NOT_FOUND: _gone,
    Reason.HOLD_CAPTURED: lambda it: it.end(HoldState.CAPTURED),
    Reason.CURRENCY_MISMATCH: _euros,
    Reason.CAPTURE_ABOVE_HOLD: _above,
    Reason.SOURCE_CLOSED: lambda it: setattr(it.source, "state", AccountState.CLOSED),
    Reason.SOURCE_FROZEN: lambda it: setattr(it.source, "state", AccountState.FROZEN),
    Reason.DESTINATION_CLOSED: lambda it: setattr(it.destination, "state", AccountState.CLOSED),
    Reason.BALANCE_OVERFLOW: lambda it: setattr(it.destination, "balance", INT64_MAX),
}


def test_the_flaws_stand_in_the_order_that_the_reasons_document() -> None:
    assert [reason for reason in Reason if reason in FLAWS] == list(FLAWS)


@pytest.mark.parametrize("flaws", [*[(reason,) for reason in FLAWS], *pairs(FLAWS)])
def test_of_the_flaws_of_a_capture_the_earliest_is_told(flaws: Sequence[Reason]) -> None:
    it = Situation()
    for reason in reversed(flaws):
        FLAWS[reason](it)
    assert it.answer() == flaws[0].value


def test_a_hold_within_itself_is_none() -> None:
    group = book([account("alice", 100)])
    assert code(decide(group, placing("alice", "alice"))) == "SAME_WALLET"
    assert group.decided == {}


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (placing("ghost", "bob"), "SOURCE_NOT_FOUND"),
        (placing("alice", "ghost"), "DESTINATION_NOT_FOUND"),
        (placing("alice", "bob", currency="EUR"), "CURRENCY_MISMATCH"),
        (placing("closed", "bob"), "SOURCE_CLOSED"),
        (placing("alice", "closed"), "DESTINATION_CLOSED"),
        (placing("alice", "full"), "BALANCE_OVERFLOW"),
        (placing("alice", "bob", 101), "INSUFFICIENT_FUNDS"),
        (placing("alice", "bob", 100), "POSTED"),
    ],
)
def test_a_hold_is_placed_only_where_a_transfer_would_be_posted(asked: Movement, expected: str) -> None:
    accounts = [account("alice", 100), account("bob"), account("closed", state=AccountState.CLOSED)]
    group = book([*accounts, account("full", INT64_MAX)])
    answer = decide(group, asked)
    assert code(answer) == expected
    assert isinstance(answer, Outcome)
    assert (answer.hold is not None, bool(group.holds)) == (expected == "POSTED",) * 2
