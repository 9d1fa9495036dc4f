"""What the adapters show to a caller who is bound to the wallets of one owner: alike in PostgreSQL and in memory, and
as the domain has it for transactions of every state and kind."""

import asyncio
from typing import Any

import pytest

from tests.kit.builders import account, code, fee, placing, reversal, transfer
from tests.kit.history import History, matches
from tests.kit.ledgers import Ledger, funded, named
from transaction_service.domain.account import cash
from transaction_service.domain.movement import Manner, Movement, Outcome, Transaction, Work, accounts_of
from transaction_service.domain.terms import Terms
from transaction_service.domain.visibility import shows

ASKER = "local"
"""Of whatever the builders make."""
STRANGER = "stranger"


def owner_of(wallet: str) -> str:
    """As the builders name him: everybody has one wallet."""
    return f"owner of {wallet}"


def test_accounts_of_one_owner(ledger: Ledger) -> None:
    alice, bob = funded(ledger, 1, "alice", "bob")
    second = account(named("second"), owner=owner_of(alice))
    ledger.open(second)
    names = [alice, bob, second.name, cash("USD"), named("nobody")]

    def got(bound_to: str) -> set[str]:
        return {found.name for found in asyncio.run(ledger.accounts.get(names, bound_to))}

    assert got(owner_of(alice)) == {alice, second.name}
    assert got(owner_of(bob)) == {bob}
    assert got(STRANGER) == set()
    assert got("") == {alice, bob, second.name, cash("USD")}


def test_a_hold_is_seen_from_both_its_ends(ledger: Ledger) -> None:
    alice, bob, carol = funded(ledger, 10, "alice", "bob", "carol")
    placed = placing(alice, bob, 5)
    ledger.post(placed)

    def seen(bound_to: str) -> bool:
        return asyncio.run(ledger.holds.hold(placed.id, bound_to)) is not None

    assert [seen(owner) for owner in (owner_of(alice), owner_of(bob), "")] == [True, True, True]
    # Not by who placed it either: he has the answer.
    assert [seen(owner) for owner in (owner_of(carol), STRANGER, ASKER)] == [False, False, False]


class Attempts(History):
    """As well with those of callers who may not, and with a fee that cannot be given back."""

    def __init__(self, ledger: Ledger) -> None:
        super().__init__(ledger)
        alice, bob, carol = self.alice, self.bob, self.carol
        self._tried(transfer(alice, bob, 1, principal=owner_of(bob)), by=bob)
        self._tried(transfer(alice, bob, 1, principal=owner_of(bob), terms=Terms(deferred=True)), by=bob)
        self._tried(transfer(bob, alice, 99_999, principal=owner_of(bob)), by=bob)
        mine, foreign = (transfer(*way, 9_999, principal=owner_of(bob)) for way in ((bob, carol), (alice, bob)))
        self._tried(mine, foreign, by=bob, manner=Manner.ATOMIC)
        paid = transfer(alice, bob, 10, terms=fee(5, carol))
        left = next(a.balance for a in ledger.get([carol])) + 5
        self._tried(paid, transfer(carol, alice, left), reversal(paid), transfer(alice, carol, left))

    def _tried(self, *group: Movement, by: str = "", manner: Manner = Manner.EACH) -> None:
        for answer in self._ledger.work(Work(group, manner, bound_to=owner_of(by) if by else "")):
            assert isinstance(answer, Outcome)
            self._ours[answer.transaction.movement.id] = answer.transaction
        self.ours = list(self._ours.values())


@pytest.fixture
def past(ledger: Ledger) -> Attempts:
    return Attempts(ledger)


def test_a_transaction_is_found_by_whom_it_is_shown(ledger: Ledger, past: Attempts) -> None:
    wallets = [past.alice, past.bob, past.carol, past.house]
    seen = 0
    for transaction in past.ours:
        named_in = accounts_of(transaction.movement)
        for owner in (*map(owner_of, wallets), ASKER, STRANGER):
            own = [wallet for wallet in wallets if owner_of(wallet) == owner and wallet in named_in]
            expected = transaction.movement.principal == owner or any(shows(transaction, w, owner) for w in own)
            found = asyncio.run(ledger.reader.transaction(transaction.movement.id, owner))
            assert found == (transaction if expected else None), (code_of(transaction), owner)
            seen += expected
    assert 0 < seen < len(past.ours) * 6


def test_lists_have_what_is_shown(ledger: Ledger, past: Attempts) -> None:
    filters: list[dict[str, Any]] = [{}, {"external_reference": past.reference}, {"label": ("order", past.order)}]
    for wallet in (past.alice, past.bob, past.carol, past.house, past.ghost):
        for owner in (owner_of(wallet), ASKER, STRANGER):
            for wanted in filters:
                shown = [
                    t.movement.id
                    for t in past.ours
                    if matches(t, wanted | {"account": wallet}) and shows(t, wallet, owner)
                ]
                found = ledger.transactions(account=wallet, shown_to=owner, **wanted)
                assert sorted(t.movement.id for t in found) == sorted(shown), (wallet, owner, wanted)
                assert found == ledger.transactions(3, account=wallet, shown_to=owner, **wanted)


def test_an_attempt_to_debit_a_wallet_by_who_may_not_is_not_shown_to_its_owner(past: Attempts) -> None:
    """Alone, deferred, and in a batch that stopped for another reason."""
    of_bob = [t for t in past.ours if t.movement.principal == owner_of(past.bob) and t.movement.source == past.alice]
    assert [code_of(t) for t in of_bob] == ["SOURCE_NOT_FOUND"] * 3
    assert not any(shows(t, past.alice, owner_of(past.alice)) for t in of_bob)


def test_what_a_third_one_has_is_not_shown_to_who_paid(past: Attempts) -> None:
    [failed] = [
        t
        for t in past.ours
        if t.failure is not None
        and code_of(t) == "INSUFFICIENT_FUNDS"
        and t.failure.metadata["wallet"] not in (t.movement.source, t.movement.destination)
        and t.movement.source
    ]
    assert (failed.movement.source, failed.failure and failed.failure.metadata["wallet"]) == (past.bob, past.carol)
    assert not any(shows(failed, wallet, owner_of(wallet)) for wallet in (past.alice, past.bob, past.carol))


def code_of(transaction: Transaction) -> str:
    return code(Outcome(transaction, replayed=False))
