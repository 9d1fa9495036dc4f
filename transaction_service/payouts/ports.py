"""What payouts need of the outside, as protocols: who pays, where payouts are kept, and the ledger."""

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import NamedTuple, Protocol

from transaction_service.domain.movement import Answer, Movement, Transaction
from transaction_service.payouts.payout import Payout, PayoutState
from transaction_service.ports import Position


class PaymentState(Enum):
    """What a provider says became of a payment."""

    PENDING = "taken, and under way"
    PAID = "paid, for good"
    REFUSED = "not paid, and never will be"


class Payment(NamedTuple):
    """`reference`: what the provider calls it. `refusal`: why it was refused, for people."""

    state: PaymentState
    reference: str = ""
    refusal: str = ""


class ProviderUnavailable(Exception):  # noqa: N818 - what happened, in plain words
    """There is no answer, or none that can be understood: whether the payment was made is not known. Its text is for
    people and may tell what the provider said; `code` is a word for logs and metrics, as UNAVAILABLE."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


class Provider(Protocol):
    """Who pays out. A payment's key is the payout's id. No call takes longer than the provider's time limit."""

    async def pay(self, payout: Payout) -> Payment:
        """Pays, or tells what became of it. Raises ProviderUnavailable."""

    async def get(self, payout_id: str) -> Payment | None:
        """What became of a payment. None: the provider knows of none. Raises ProviderUnavailable."""

    async def close(self) -> None:
        """Ends its connections."""


class Backlog(NamedTuple):
    """`overdue_seconds`: for how long the oldest of those that are due has been; 0: none is."""

    pending: int
    refused: int
    dead: int
    overdue_seconds: float


class PayoutStore(Protocol):
    """The payouts for who pays them.

    Each change is of a payout as it was claimed, holds only where the row's state still allows it, and says whether it
    did; an event of it is in the same commit. All raise Refusal when the store does not answer.
    """

    async def claim(self, each_max: int, lease_seconds: float, under_way: Mapping[str, int]) -> Sequence[Payout]:
        """PENDING and REFUSED ones that are due, the longest overdue first: of each provider as many as bring those
        that are under way to `each_max`. Nobody else gets them until the lease is over. A PENDING one is counted one
        attempt more, and each one failure more, until its answer comes."""

    async def paid(self, payout: Payout, reference: str) -> bool:
        """Of one that is PENDING, or DEAD without having been refused."""

    async def refused(self, payout: Payout, reference: str, refusal: str) -> Payout | None:
        """Of a PENDING one. It stays claimed, and is due. As it is now; None: it was not PENDING any more."""

    async def taken(self, payout: Payout, reference: str, pause_seconds: float) -> bool:
        """Of a PENDING one: the provider has it under way. Ends the claim."""

    async def postponed(self, payout: Payout, error: str, pause_seconds: float) -> bool:
        """In the state that it is in. Ends the claim."""

    async def reversed(self, payout: Payout, reversal: str) -> bool:
        """Of a REFUSED one: this transaction has given the money back."""

    async def irreversible(self, payout: Payout, error: str) -> bool:
        """Of a REFUSED one: the ledger has refused this very reversal, for good. It is DEAD."""

    async def dead(self, payout: Payout, error: str) -> bool:
        """Of a PENDING one."""

    async def state(self, payout_id: str) -> PayoutState:
        """What it is now."""

    async def backlog(self, count_max: int) -> Backlog:
        """How many there are in each state, counted up to so many DEAD ones and as many others, those due first."""


class Ledger(Protocol):
    """Where the money is given back."""

    async def find(self, transaction_id: str) -> Transaction | None:
        """Raises Refusal when it does not answer."""

    async def post(self, movement: Movement) -> Answer:
        """Raises LedgerBusy."""


class LedgerBusy(Exception):  # noqa: N818 - as above
    """The movement has no answer yet. It may have an effect or none: posted again, it is the same."""


class Payouts(Protocol):
    """The payouts for who asks about them. `bound_to`: the owner whose wallets' payouts he sees; empty: everybody's."""

    async def payout(self, payout_id: str, bound_to: str = "") -> Payout | None:
        """None: there is none, for him."""

    async def payouts(
        self, wallet: str, state: PayoutState | None, after: Position | None, limit: int
    ) -> tuple[list[Payout], Position | None]:
        """The newest first, out of this wallet (empty: of all), and where to go on."""

    async def retry(self, payout_id: str, principal: str, trace_id: str) -> Payout | None:
        """A DEAD one is as if new, or is given back once more, and that is on record as an act of this principal; any
        other one stays as it is. None: there is none."""
