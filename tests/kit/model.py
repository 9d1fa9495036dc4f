"""What the contract promises of the ledger, in plain dicts and without a line of the service's code.

It keeps all that it was asked and every debit that it let through, and finds what is held, used or given back anew each
time. A request's key stands for the id of its transaction, and of the hold that it places.
"""

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from tests.kit.asked import Asked, Move
from tests.kit.kept import Purse, Reserved, Stored, Told

BIGGEST = 9_223_372_036_854_775_807
WEEK = timedelta(days=7)

# Decided by the request alone, or about what is not there: nothing is stored.
NEVER_STORED = {
    "SAME_WALLET",
    "REQUEST_ID_REUSED",
    "EXPIRE_TIME_PASSED",
    "HOLD_NOT_FOUND",
    "TRANSACTION_NOT_FOUND",
}
SUCCESSES = {"POSTED", "PENDING"}
MOVES_NO_MONEY = {"HOLD", "RELEASE", "EXPIRY"}


class Model:
    """What the contract promises. Whoever uses it opens the accounts that exist, moves the time, and says who asks:
    `bound_to` is the owner to whose wallets he is bound, empty: he is trusted."""

    def __init__(self, now: datetime) -> None:
        self.now = now
        self.bound_to = ""
        self.purses: dict[str, Purse] = {}
        self.stored: dict[str, Stored] = {}
        self.holds: dict[str, Reserved] = {}

    def held(self, name: str) -> int:
        return sum(hold.left for hold in self.holds.values() if hold.source == name and hold.state == "OPEN")

    def available(self, name: str) -> int:
        return self.purses[name].amount - self.held(name)

    def ask(self, asked: Asked) -> Told:
        if asked.source and asked.source == asked.destination:
            return Told("SAME_WALLET")
        before = self.stored.get(asked.key)
        if before is not None:
            return Told(before.code, replayed=True) if before.asked == asked else Told("REQUEST_ID_REUSED")
        told = self._defer(asked) if asked.deferred else self._try(asked)
        if told.code not in NEVER_STORED and not (asked.kind == "EXPIRY" and told.code != "POSTED"):
            self.stored[asked.key] = told
        return Told(told.code)

    def all_or_none(self, batch: Sequence[Asked]) -> list[Told]:
        purses = {name: _copy(purse) for name, purse in self.purses.items()}
        stored, holds = dict(self.stored), {key: replace(hold) for key, hold in self.holds.items()}
        answers: list[Told] = []
        for asked in batch:
            answers.append(self.ask(asked))
            if answers[-1].code not in SUCCESSES:
                self.purses, self.stored, self.holds = purses, stored, holds
                return self._stopped(batch, len(answers) - 1, answers[-1].code)
        return answers

    def _stopped(self, batch: Sequence[Asked], culprit: int, reason: str) -> list[Told]:
        """What the ledger's state refuses is stored with all of its batch, what the request refuses is not."""
        answers = []
        for index, asked in enumerate(batch):
            code = reason if index == culprit else self._not_his(_debits(asked)) or "BATCH_STOPPED"
            before = self.stored.get(asked.key)
            if before is not None:
                answers.append(Told(before.code, True) if before.asked == asked else Told("REQUEST_ID_REUSED"))
                continue
            if reason not in NEVER_STORED:
                self.stored[asked.key] = Stored(asked, code)
            answers.append(Told(code))
        return answers

    def due(self, key: str) -> Told:
        """The time of a deferred request has come."""
        stored = self.stored[key]
        if stored.code != "PENDING":
            return Told(stored.code, replayed=True)
        self.bound_to = ""  # whose it is was asked when it was accepted
        self.stored[key] = self._try(stored.asked)
        return Told(self.stored[key].code)

    def cancel(self, key: str) -> Told:
        stored = self.stored[key]
        if stored.code != "PENDING":
            return Told(stored.code, replayed=True)
        stored = self.stored[key] = Stored(stored.asked, "TRANSFER_CANCELLED")
        return Told(stored.code)

    def _defer(self, asked: Asked) -> Stored:
        """Of who is trusted nothing is asked before it is due."""
        return Stored(asked, self._not_his(_debits(asked)) or "PENDING")

    def _not_his(self, moves: Sequence[Move]) -> str:
        """Why who asks may not debit them: who is bound only wallets of his own. Or nothing."""
        payers = [self.purses.get(name) for name, amount, _ in moves if amount < 0]
        return "SOURCE_NOT_FOUND" if self.bound_to and not all(map(self._is_his, payers)) else ""

    def _is_his(self, purse: Purse | None) -> bool:
        return purse is not None and purse.kind != "SYSTEM" and purse.owner == self.bound_to

    def _try(self, asked: Asked) -> Stored:
        """What becomes of it now, and its effect."""
        tries: dict[str, Callable[[Asked], Stored]] = {
            "REVERSAL": self._reverse,
            "HOLD": self._place,
            "CAPTURE": self._capture,
            "RELEASE": self._release,
            "EXPIRY": self._release,
        }
        return tries.get(asked.kind, self._move)(asked)

    def _move(self, asked: Asked) -> Stored:
        moves = asked.moves
        refusal = self._refusal(asked, moves, limited=True)
        if refusal is not None:
            return Stored(asked, refusal)
        self._count(moves)
        return self._post(asked, moves, asked.received)

    def _place(self, asked: Asked) -> Stored:
        expire = asked.expire or self.now + (WEEK if asked.ttl is None else asked.ttl)
        if expire <= self.now:
            return Stored(asked, "EXPIRE_TIME_PASSED")
        refusal = self._refusal(asked, asked.moves, limited=True)
        if refusal is None and self.held(asked.source) + asked.amount > BIGGEST:
            refusal = "BALANCE_OVERFLOW"
        if refusal is not None:
            return Stored(asked, refusal)
        self._count(asked.moves)
        self.holds[asked.key] = Reserved(asked.source, asked.destination, asked.currency, asked.amount, expire)
        return Stored(asked, "POSTED")

    def _capture(self, asked: Asked) -> Stored:
        hold = self.holds.get(asked.hold)
        if hold is None:
            return Stored(asked, "HOLD_NOT_FOUND")
        not_his = self._not_his([(hold.source, -1, hold.currency)])
        if not_his or self._ended(hold):
            return Stored(asked, not_his or self._ended(hold))
        amount = asked.amount or hold.left
        if asked.currency != hold.currency:
            return Stored(asked, "CURRENCY_MISMATCH")
        if amount > hold.left:
            return Stored(asked, "CAPTURE_ABOVE_HOLD")
        moves = [(hold.source, -amount, hold.currency), (hold.destination, amount, hold.currency)]
        refusal = self._refusal(asked, moves, limited=False, set_free=amount)
        if refusal is not None:
            return Stored(asked, refusal)
        hold.captured += amount
        if asked.final:
            hold.released = hold.amount - hold.captured
        if hold.left == 0:
            hold.state = "CAPTURED"
        return self._post(asked, moves, amount)

    def _release(self, asked: Asked) -> Stored:
        hold = self.holds.get(asked.hold)
        if hold is None:
            return Stored(asked, "HOLD_NOT_FOUND")
        expires = asked.kind == "EXPIRY"
        not_his = self._not_his([(hold.source, -1, hold.currency)])
        if not_his:
            return Stored(asked, not_his)
        if hold.state != "OPEN" or (self._ended(hold) and not expires):
            return Stored(asked, self._ended(hold))
        hold.released += hold.left
        hold.state = "EXPIRED" if expires else "RELEASED"
        return Stored(asked, "POSTED")

    def _ended(self, hold: Reserved) -> str:
        """Why nothing can be done with it any more, or nothing."""
        if hold.state == "OPEN":
            return "HOLD_EXPIRED" if hold.expire <= self.now else ""
        return f"HOLD_{hold.state}"

    def _reverse(self, asked: Asked) -> Stored:
        original = self.stored.get(asked.reverses)
        if original is None:
            return Stored(asked, "TRANSACTION_NOT_FOUND")
        before = sum(s.received for s in self._reversals(asked.reverses))
        irreversible = self._not_his(_to_give_back(asked, original.asked, before)) or self._irreversible(
            asked, original
        )
        if irreversible:
            return Stored(asked, irreversible)
        if asked.amount:
            moves = [(asked.source, -asked.amount, asked.currency), (asked.destination, asked.amount, asked.currency)]
        else:
            moves = [(name, -amount, currency) for name, amount, currency in original.moves]
            if before:
                # The first two are those of the source and of the destination.
                (payer, paid, unit), (payee, received, _), *fee = moves
                moves = [(payer, paid - before, unit), (payee, received + before, unit), *fee]
                moves = [move for move in moves if move[1]]
        refusal = self._refusal(asked, moves, limited=False)
        if refusal is not None:
            return Stored(asked, refusal)
        return self._post(asked, moves, asked.amount or original.received - before)

    def _irreversible(self, asked: Asked, original: Stored) -> str:
        was, compound = original.asked, original.asked.kind == "COMPOUND"
        if was.kind == "REVERSAL" or was.kind in MOVES_NO_MONEY:
            return "NOT_REVERSIBLE"
        if was.payout:  # it comes back only if it is refused, and here nobody pays
            return "NOT_REVERSIBLE"
        if original.code != "POSTED":
            return "TRANSACTION_NOT_POSTED"
        if compound and asked.amount:
            return "NOT_DIVISIBLE"
        if asked.amount and asked.currency != was.currency:
            return "CURRENCY_MISMATCH"
        reversals = self._reversals(asked.reverses)
        left = original.received - sum(s.received for s in reversals)
        fee_is_left = len(original.moves) > 2 and all(s.asked.amount for s in reversals)
        if reversals and (compound or (left == 0 and not fee_is_left)):
            return "ALREADY_REVERSED"
        return "REVERSAL_ABOVE_ORIGINAL" if asked.amount > left else ""

    def _reversals(self, key: str) -> list[Stored]:
        return [s for s in self.stored.values() if s.asked.reverses == key and s.code == "POSTED"]

    def _refusal(self, asked: Asked, moves: Sequence[Move], *, limited: bool, set_free: int = 0) -> str | None:
        """The first that applies. `set_free`: what a hold on the source's money pays for this."""
        return (
            self._not_allowed(asked, moves)
            or (self._over_limit(moves) if limited else None)
            or self._not_affordable(asked, moves, set_free)
        )

    def _not_allowed(self, asked: Asked, moves: Sequence[Move]) -> str | None:
        debits, credits_ = [m for m in moves if m[1] < 0], [m for m in moves if m[1] > 0]
        from_outside = _comes_from_outside(asked)
        if any(name not in self.purses for name, _, _ in debits) or (not from_outside and self._not_his(debits)):
            return "SOURCE_NOT_FOUND"
        # A deposit goes only where who asks could debit it.
        to_another = asked.kind == "DEPOSIT" and self._not_his([(asked.destination, -1, asked.currency)])
        if to_another or any(name not in self.purses for name, _, _ in credits_):
            return "DESTINATION_NOT_FOUND"
        if asked.provider and self.purses[asked.provider].kind != "PROVIDER":
            return "NOT_A_PROVIDER"
        if any(self.purses[name].currency != currency for name, _, currency in moves):
            return "CURRENCY_MISMATCH"
        for state, side, reason in (
            ("CLOSED", debits, "SOURCE_CLOSED"),
            ("FROZEN", debits, "SOURCE_FROZEN"),
            ("CLOSED", credits_, "DESTINATION_CLOSED"),
        ):
            if any(self.purses[name].state == state for name, _, _ in side):
                return reason
        if asked.version is not None and self.purses[asked.source].entries != asked.version:
            return "VERSION_MISMATCH"
        return None

    def _over_limit(self, moves: Sequence[Move]) -> str | None:
        for over, reason in (
            (self._above_limit, "TRANSACTION_LIMIT_EXCEEDED"),
            (self._too_many, "HOURLY_COUNT_EXCEEDED"),
            (self._too_much, "DAILY_LIMIT_EXCEEDED"),
        ):
            if any(over(self.purses[name], -total) for name, total in _totals(moves).items() if total < 0):
                return reason
        return None

    def _not_affordable(self, asked: Asked, moves: Sequence[Move], set_free: int) -> str | None:
        totals = _totals(moves)
        for name, total in totals.items():
            purse = self.purses[name]
            if total < 0 and not purse.endless and self.available(name) + set_free + purse.credit + total < 0:
                return "INSUFFICIENT_FUNDS"
        if asked.minimum is not None and self.available(asked.source) + totals[asked.source] < asked.minimum:
            return "BALANCE_BELOW_MINIMUM"
        if any(not -BIGGEST - 1 <= self.purses[name].amount + total <= BIGGEST for name, total in totals.items()):
            return "BALANCE_OVERFLOW"
        # What comes in is entered before what goes out.
        came_in = _totals([move for move in moves if move[1] > 0])
        if any(self.purses[name].amount + total > BIGGEST for name, total in came_in.items()):
            return "BALANCE_OVERFLOW"
        return None

    def _above_limit(self, purse: Purse, amount: int) -> bool:
        return 0 < purse.per_transaction < amount

    def _too_many(self, purse: Purse, _: int) -> bool:
        hour = self.now.astimezone(UTC).strftime("%Y-%m-%d %H")
        used = sum(time.astimezone(UTC).strftime("%Y-%m-%d %H") == hour for time in purse.debits_this_hour)
        return 0 < purse.per_hour <= used

    def _too_much(self, purse: Purse, amount: int) -> bool:
        zone = ZoneInfo(purse.zone)
        today = self.now.astimezone(zone).date()
        used = sum(paid for time, paid in purse.debits_today if time.astimezone(zone).date() == today)
        return 0 < purse.per_day < used + amount

    def _count(self, moves: Sequence[Move]) -> None:
        """Against the limits of those who pay."""
        for name, total in _totals(moves).items():
            purse = self.purses[name]
            if total < 0 and purse.limited:
                purse.debits_today.append((self.now, -total))
                purse.debits_this_hour.append(self.now)

    def _post(self, asked: Asked, moves: Sequence[Move], received: int) -> Stored:
        for name, amount, _ in moves:
            self.purses[name].amount += amount
            self.purses[name].entries += 1
        return Stored(asked, "POSTED", list(moves), received)

    def set_state(self, name: str, state: str, revision: int) -> str:
        purse = self.purses[name]
        if revision < purse.revision:
            return "STALE_REVISION"
        if state != purse.state and purse.state == "CLOSED":
            return "WALLET_STATE"
        if state != purse.state and state == "CLOSED" and (purse.amount or self.held(name)):
            return "WALLET_NOT_EMPTY"
        if state != purse.state and state == "CLOSED" and self._pays_out(name):
            return "PAYOUTS_UNDER_WAY"
        purse.state, purse.revision = state, revision
        return "set"

    def _pays_out(self, name: str) -> bool:
        return any(s.asked.payout and s.asked.source == name and s.code == "POSTED" for s in self.stored.values())

    def set_limits(self, name: str, limits: dict[str, Any], revision: int) -> str:
        purse = self.purses[name]
        if revision < purse.revision:
            return "STALE_REVISION"
        if purse.state == "CLOSED":
            return "WALLET_STATE"
        if self.available(name) + limits["credit"] < 0:
            return "FLOOR_ABOVE_BALANCE"
        if limits["time_zone"] != purse.zone:
            purse.debits_today.clear()
        purse.per_transaction, purse.per_day = limits["per_transaction"], limits["per_day"]
        purse.per_hour, purse.zone, purse.credit = limits["debits_per_hour"], limits["time_zone"], limits["credit"]
        purse.revision = revision
        return "set"


def _comes_from_outside(asked: Asked) -> bool:
    """The outside world is nobody's, and pays what is deposited."""
    return asked.kind == "DEPOSIT" and not asked.provider


def _debits(asked: Asked) -> list[Move]:
    """What is asked of those who pay, but for the outside world."""
    return [] if _comes_from_outside(asked) else asked.moves


def _to_give_back(asked: Asked, original: Asked, gone_back: int) -> list[Move]:
    """Out of which wallets a reversal takes, as far as that is known before anything is looked at: the part that was
    asked for, or all that is left; if nothing is, as if all were."""
    if original.kind == "COMPOUND" or (not asked.amount and original.charged):
        back = [(name, -amount, currency) for name, amount, currency in original.moves]
        if original.kind != "COMPOUND" and gone_back == original.received:
            back = [back[0], *back[2:]]  # its destination has given all that it got
        return back
    return [(asked.source, -1, asked.currency)]


def _totals(moves: Sequence[Move]) -> dict[str, int]:
    """What they come to for each account."""
    totals: dict[str, int] = {}
    for name, amount, _ in moves:
        totals[name] = totals.get(name, 0) + amount
    return totals


def _copy(purse: Purse) -> Purse:
    other = copy(purse)
    other.debits_today, other.debits_this_hour = list(purse.debits_today), list(purse.debits_this_hour)
    return other
