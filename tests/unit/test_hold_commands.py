"""The commands about a hold that is there: its accounts and currency are the hold's own."""

from typing import Any

import pytest

from tests.kit.builders import account, book, placing
from transaction_service.domain.hold import EXPIRY_PRINCIPAL, Hold
from transaction_service.domain.hold_commands import capture, expiry, release, release_of_many
from transaction_service.domain.identity import transaction_id
from transaction_service.domain.ledger import decide
from transaction_service.domain.movement import Movement, Outcome, TransactionKind
from transaction_service.domain.terms import PLAIN, Terms

SAID: dict[str, Any] = {"principal": "ann", "request_id": "r", "description": "d", "labels": {"a": "b"}}


def a_hold() -> Hold:
    answer = decide(book([account("alice", 100), account("bob")]), placing("alice", "bob", 30, "the hold"))
    assert isinstance(answer, Outcome)
    assert answer.hold is not None
    return answer.hold


@pytest.mark.parametrize(
    ("command", "kind", "amount", "terms"),
    [
        (capture(a_hold(), 5, "USD", final=False, **SAID), TransactionKind.CAPTURE, 5, PLAIN),
        (capture(a_hold(), 0, "USD", final=True, **SAID), TransactionKind.CAPTURE, 0, Terms(final=True)),
        (release(a_hold(), **SAID), TransactionKind.RELEASE, 0, PLAIN),
    ],
)
def test_what_a_caller_asks_about_a_hold(command: Movement, kind: TransactionKind, amount: int, terms: Terms) -> None:
    assert (command.kind, command.amount, command.terms) == (kind, amount, terms)
    assert (command.source, command.destination, command.currency) == ("wallets/alice", "wallets/bob", "USD")
    assert (command.hold, command.id) == (a_hold().id, transaction_id("ann", "r"))
    assert (command.description, command.labels) == ("d", {"a": "b"})


def test_what_the_service_asks_by_itself_is_the_same_command_each_time_and_no_caller_s() -> None:
    hold = a_hold()
    own = [expiry(hold), release_of_many(hold, "ann"), release_of_many(hold, "bob")]
    assert own == [expiry(hold), release_of_many(hold, "ann"), release_of_many(hold, "bob")]
    callers = {transaction_id(command.principal, command.request_id) for command in own}
    assert len({command.id for command in own} | callers | {hold.id}) == 7
    assert [command.principal for command in own] == [EXPIRY_PRINCIPAL, "ann", "bob"]
    assert [command.kind.name for command in own] == ["EXPIRY", "RELEASE", "RELEASE"]
