"""Somebody who posts whatever comes to his mind, beside others who do."""

from collections.abc import MutableMapping, Sequence
from random import Random

from tests.kit.builders import deposit, transfer
from tests.kit.ledgers import Ledger
from transaction_service.domain.movement import Manner, Outcome, TransactionState, Work
from transaction_service.domain.terms import Terms


def write(
    ledger: Ledger, wallets: Sequence[str], seed: int, groups: int, written: MutableMapping[str, TransactionState]
) -> None:
    """So many groups, some of which fails, each with a pending transfer that is decided after it. `written`: what
    became of each transaction, by its id."""
    choose = Random(seed)  # noqa: S311 - a choice, not a secret
    for _ in range(groups):
        source, destination = choose.sample(wallets, 2)
        group = [transfer(source, destination, choose.choice([1, 10_000])) for _ in range(choose.randint(1, 5))]
        pending = transfer(source, destination, 1, terms=Terms(deferred=True))
        answers = [*ledger.post(*group, deposit(source, 1), pending), *ledger.work(Work([pending], Manner.DUE))]
        for answer in answers:
            assert isinstance(answer, Outcome)
            written[answer.transaction.movement.id] = answer.transaction.state
