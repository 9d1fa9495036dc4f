"""The count after a payout campaign: what callers were told, the bank's book, and the ledger's tables in plain SQL,
with none of the service's code."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from specie.transaction.v1 import FeeMode

from tests.kit.auditor import audit
from tests.kit.ledger import Ledger
from tests.kit.postgres import Database
from tests.kit.simulator import Booked

BENEFICIARY: Final = "Ann"
PAID, REVERSED, DEAD = 2, 4, 5
"""States of payouts, as they are stored."""
ENDS: Final = (PAID, REVERSED)

WITHDRAWN: Final = "SELECT id::text FROM transactions.transaction WHERE kind = 3"
PAYOUTS: Final = "SELECT id::text, state, amount, reversal::text, reversal_attempts FROM transactions.payout"
GIVEN_BACK: Final = """
SELECT reverses::text, array_agg(id::text) FROM transactions.transaction WHERE kind = 5 AND state = 1 GROUP BY reverses
"""
EVENTS: Final = "SELECT subject, type FROM transactions.event WHERE type IN ('payout.paid', 'payout.reversed')"
BALANCES: Final = "SELECT name, balance FROM transactions.account"


@dataclass(frozen=True)
class Wish:
    """A withdrawal with a payout. `fee` 0: there is none. `fee_wallet`: who gets it; empty: the system does."""

    wallet: str
    amount: int
    fee: int
    fee_mode: FeeMode.ValueType
    fee_wallet: str
    account: str
    request_id: str

    @property
    def reference(self) -> str:
        return f"to {self.account}"

    @property
    def charged(self) -> int:
        """What the wallet pays."""
        return self.amount if self.fee_mode == FeeMode.FEE_MODE_INCLUDED else self.amount + self.fee

    @property
    def paid_out(self) -> int:
        """What the beneficiary gets."""
        return self.charged - self.fee


def reckon(
    database: Database, book: Mapping[str, Booked], acknowledged: Mapping[str, Wish], balance: int
) -> Counter[str]:
    """How many were paid and how many reversed. `acknowledged`: what was withdrawn, by the payout's id. `balance`: what
    each wallet began with. Raises AssertionError."""
    ledger = Ledger(database)
    assert {id_ for (id_,) in ledger.query(WITHDRAWN)} == set(acknowledged)
    payouts = {id_: payout for id_, *payout in ledger.query(PAYOUTS)}
    assert set(payouts) == set(acknowledged)
    assert set(book) <= set(acknowledged), "nothing is at the bank that was not withdrawn"
    given_back = dict(ledger.query(GIVEN_BACK))
    assert set(given_back) <= set(acknowledged)
    found: Counter[str] = Counter(paid=0, reversed=0)
    events = Counter(ledger.query(EVENTS))
    for id_, wish in acknowledged.items():
        state, amount, reversal, reversals_refused = payouts[id_]
        assert amount == wish.paid_out
        at_bank = Booked(wish.paid_out, "USD", wish.account, BENEFICIARY, wish.reference, "PAID")
        if book[id_].state == "PAID":
            assert (state, reversal, book[id_]) == (PAID, None, at_bank)
            assert id_ not in given_back, f"{id_} is paid, and given back too"
            found["paid"] += 1
        else:
            assert book[id_].state == "REFUSED"
            assert (state, given_back.get(id_)) == (REVERSED, [reversal])
            found["reversed"] += 1
            found["of them at a later try"] += reversals_refused > 0
        ended = "payout.paid" if state == PAID else "payout.reversed"
        assert events[f"payouts/{id_}", ended] == 1
    assert events.total() == len(acknowledged)
    _reckon_money(ledger, [wish for id_, wish in acknowledged.items() if id_ not in given_back], acknowledged, balance)
    audit(database.owner_dsn, dict.fromkeys(acknowledged, "POSTED"), floors_never_changed=True)
    return found


def _reckon_money(ledger: Ledger, paid: list[Wish], acknowledged: Mapping[str, Wish], balance: int) -> None:
    """Who paid, paid what it cost; the rest is where it was."""
    wallets = {wish.wallet for wish in acknowledged.values()}
    expected = Counter(dict.fromkeys(wallets, balance))
    expected["system/cash-usd"] = -balance * len(wallets)
    for wish in paid:
        expected[wish.wallet] -= wish.charged
        expected[wish.fee_wallet or "system/fees-usd"] += wish.fee
        expected["system/cash-usd"] += wish.paid_out
    balances = {name: balance for name, balance in ledger.query(BALANCES) if balance}
    assert balances == expected
