"""The core without a lane or a store: one movement a group, each upon what the ones before have left."""

from datetime import datetime

from tests.kit.builders import NOON, amounts, book
from transaction_service.domain.account import Account
from transaction_service.domain.book import check_group
from transaction_service.domain.hold import Hold
from transaction_service.domain.ledger import decide
from transaction_service.domain.movement import Answer, Movement, Transaction


class OneByOne:
    """The accounts are changed in place."""

    def __init__(self, *accounts: Account) -> None:
        self.accounts = {a.name: a for a in accounts}
        self.known: dict[str, Transaction] = {}
        self.holds: dict[str, Hold] = {}

    def decide(self, asked: Movement, now: datetime = NOON) -> Answer:
        group = book(list(self.accounts.values()), list(self.known.values()), now, list(self.holds.values()))
        before = amounts(self.accounts.values())
        answer = decide(group, asked)
        check_group(group, before, self.holds)
        self.known |= group.decided
        self.holds |= group.changed_holds
        return answer
