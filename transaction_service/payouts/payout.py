"""A payout: what is to be paid to the outside, once, or given back, once."""

from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from typing import Final


class PayoutState(IntEnum):
    """The numbers are stored and are those of the contract."""

    PENDING = 1
    PAID = 2
    REFUSED = 3
    REVERSED = 4
    DEAD = 5


UNDER_WAY: Final = (PayoutState.PENDING, PayoutState.REFUSED, PayoutState.DEAD)
"""Its end is not known: the money may come back."""
NOT_GIVEN_BACK: Final = "; not given back: "
"""In `last_error`, between why it was refused and why the ledger has refused the reversal."""


@dataclass(frozen=True, slots=True)
class Payout:
    """As it is stored. `amount`, above 0, in minor units.

    `attempts` are calls of the provider since it was new or retried; `failures` are those in a row that told nothing,
    or tries in a row to give the money back. `taken`: the provider has it under way. `reversal_attempts` are reversals
    that the ledger refused: above 0 only where the provider has refused to pay. `deaths`: how often it became DEAD.
    """

    id: str
    state: PayoutState
    wallet: str
    provider: str
    account: str
    beneficiary: str
    reference: str
    amount: int
    currency: str
    attempts: int
    failures: int
    taken: bool
    next_time: datetime | None
    provider_reference: str
    last_error: str
    reversal: str | None
    reversal_attempts: int
    deaths: int
    create_time: datetime
    update_time: datetime

    @property
    def name(self) -> str:
        return f"payouts/{self.id}"

    @property
    def refusal(self) -> str:
        """Why the provider refused it, as it says to people; empty: it has not. The rest of `last_error` is for
        operators: it names inner addresses and other people's wallets."""
        is_refused = self.state in {PayoutState.REFUSED, PayoutState.REVERSED} or self.reversal_attempts > 0
        return self.last_error.partition(NOT_GIVEN_BACK)[0] if is_refused else ""
