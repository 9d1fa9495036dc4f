"""A ledger's past with something of everything in it, for tests of what is read of it."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import uuid4

from tests.kit.builders import capture, compound, fee, placing, release, reversal, transfer, withdrawal
from tests.kit.ledgers import Ledger, funded, named
from transaction_service.domain.movement import Manner, Movement, Outcome, Transaction, Work
from transaction_service.domain.terms import Terms


class History:
    """Groups of movements of alice and others, of every kind; the transactions of a group share their time."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self.alice, self.bob, self.carol, self.house = funded(ledger, 1000, "alice", "bob", "carol", "house")
        self.reference, self.order = f"ref-{uuid4()}", f"order-{uuid4()}"
        self.ghost = named("ghost")
        found = [
            t for name in (self.alice, self.bob, self.carol, self.house) for t in ledger.transactions(account=name)
        ]
        self._ours = {t.movement.id: t for t in found}
        self._of_transfers()
        self._of_many_accounts()
        self._of_holds()
        self._of_pending()
        self.ours = list(self._ours.values())
        self.times = sorted({t.decide_time for t in self.ours})

    def _post(self, *group: Movement, manner: Manner = Manner.EACH) -> None:
        for answer in self._ledger.work(Work(group, manner)):
            assert isinstance(answer, Outcome)
            self._ours[answer.transaction.movement.id] = answer.transaction

    def _of_transfers(self) -> None:
        bad, good = 10_000, 1
        mine: dict[str, Any] = {"external_reference": self.reference}
        labels: dict[str, Any] = {"labels": {"order": self.order, "team": "blue"}}
        self._post(transfer(self.alice, self.bob, bad), transfer(self.bob, self.alice, good))
        self._post(*[transfer(self.alice, self.bob, amount) for amount in (good, bad, good, bad, good)])
        self._post(transfer(self.bob, self.carol, good, **mine), transfer(self.bob, self.carol, good, **labels))
        self._post(
            transfer(self.bob, self.alice, bad), transfer(self.ghost, self.alice), transfer(self.alice, self.ghost)
        )
        self._post(withdrawal(self.alice, bad, **mine, **labels), withdrawal(self.alice, good))
        self._post(transfer(self.alice, self.carol, good, **mine), transfer(self.alice, self.carol, good, **labels))
        self._post(*[transfer(self.alice, self.bob, bad) for _ in range(3)])

    def _of_many_accounts(self) -> None:
        alice, bob, carol = self.alice, self.bob, self.carol
        twice = compound((alice, -5), (bob, 7), (alice, -2), (carol, -1), (alice, 1))
        labels: dict[str, Any] = {"labels": {"order": self.order}}
        self._post(twice, compound((bob, -5000), (alice, 5000), **labels), compound((bob, -5), (carol, 5)))
        paid = transfer(bob, carol, 10, terms=fee(1, alice), external_reference=self.reference)
        self._post(paid, transfer(bob, carol, 10_000, terms=fee(1, alice)), transfer(bob, carol, 1, terms=fee(1)))
        self._post(reversal(twice, **labels), reversal(paid), reversal(paid))
        again = transfer(bob, alice, 10, terms=fee(1, carol))
        self._post(again, reversal(again, 10), reversal(again))

    def _of_holds(self) -> None:
        kept, used = placing(self.alice, self.bob, 20), placing(self.bob, self.alice, 20)
        labels: dict[str, Any] = {"labels": {"order": self.order}}
        self._post(kept, used, placing(self.alice, self.bob, 5000))
        self._post(capture(used, 5, **labels), release(kept, **labels), release(kept))
        self._post(capture(used, 15))

    def _of_pending(self) -> None:
        alice, bob = self.alice, self.bob
        later: dict[str, Any] = {"terms": Terms(deferred=True), "labels": {"order": self.order}}
        later["external_reference"] = self.reference
        made = [transfer(alice, bob, amount, **later) for amount in (1, 2, 10_000, 3)]
        self._post(*made, transfer(alice, bob, 1))
        self._post(*made[:1], manner=Manner.DUE)
        self._post(transfer(alice, bob, 1), transfer(alice, bob, 10_000))
        self._post(made[2], manner=Manner.DUE)
        self._post(made[3], manner=Manner.CANCEL)


def matches(transaction: Transaction, wanted: dict[str, Any]) -> bool:
    """Whether these filters of TransactionFilter let it through."""
    movement, time, terms = transaction.movement, transaction.decide_time, transaction.movement.terms
    named_in = [movement.source, movement.destination, *(posting.account for posting in terms.postings)]
    shown: dict[str, Sequence[object]] = {
        "account": [*named_in, terms.fee.destination] if terms.fee else named_in,
        "state": (transaction.state,),
        "kind": (movement.kind,),
        "external_reference": (movement.external_reference,),
        "label": [*movement.labels.items()],
    }
    in_time = wanted.get("start", time) <= time < wanted.get("end", time + timedelta(1))
    return in_time and all(wanted[name] in values for name, values in shown.items() if name in wanted)
