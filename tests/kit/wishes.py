"""Random requests of every kind, about a handful of accounts: Hypothesis strategies.

What a request is about (a hold, an original, an earlier request) cannot be drawn before it is there, so a wish carries
a number instead and is resolved against the model.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TypeVar

from hypothesis import strategies as st

from tests.kit.asked import Asked, Fee, Move
from tests.kit.model import BIGGEST, Model

USERS = ["wallets/a", "wallets/b", "wallets/c", "wallets/d"]
EUROS = ["wallets/euro", "wallets/euro-2"]
BANK, NOBODY = "wallets/bank", "wallets/nobody"
CASH, FEES = "system/cash-usd", "system/fees-usd"
SYSTEM = [CASH, FEES, "system/cash-eur", "system/fees-eur"]
NOW, MICROSECOND, MINUTE, HOUR = timedelta(0), timedelta(microseconds=1), timedelta(minutes=5), timedelta(hours=1)
NEVER = 50
"""Every so manieth request is about something that never was."""

T = TypeVar("T")


@dataclass(frozen=True)
class Wish:
    """A request, but for what it is about. `pick`: which of what is there. `expires_in`: from the model's now."""

    asked: Asked
    pick: int = 0
    expires_in: timedelta | None = None


def resolve(wish: Wish, model: Model) -> Asked:
    """The request itself."""
    asked = _possible(wish.asked)
    if wish.expires_in is not None:
        asked = replace(asked, expire=model.now + wish.expires_in)
    if asked.kind in ("CAPTURE", "RELEASE"):
        return _about_hold(asked, model, wish.pick)
    if asked.kind == "REVERSAL":
        return _about_original(asked, model, wish.pick)
    return asked


def _about_hold(asked: Asked, model: Model, pick: int) -> Asked:
    """Mostly of one that was placed, seldom of one that was refused or never asked for."""
    refused = [key for key, stored in model.stored.items() if stored.asked.kind == "HOLD" and key not in model.holds]
    keys = [*list(model.holds) * 5, *refused]
    if not keys or pick % NEVER == 0:
        return replace(asked, hold="no such hold", source=USERS[0], destination=USERS[1])
    placed = model.stored[keys[pick % len(keys)]].asked
    currency = asked.currency if asked.amount else placed.currency
    return replace(asked, hold=placed.key, source=placed.source, destination=placed.destination, currency=currency)


def _about_original(asked: Asked, model: Model, pick: int) -> Asked:
    """Mostly of one that moved money, seldom of one that was never asked for."""
    keys = [*[key for key, stored in model.stored.items() if stored.moves] * 5, *model.stored]
    if not keys or pick % NEVER == 0:
        return replace(asked, reverses="no such transaction", source=USERS[0], destination=USERS[1])
    original = model.stored[keys[pick % len(keys)]].asked
    currency = asked.currency if asked.amount else original.currency
    return replace(
        asked, reverses=original.key, source=original.destination, destination=original.source, currency=currency
    )


def _possible(asked: Asked) -> Asked:
    """Without a fee that the contract does not let in, or that comes to nothing."""
    if asked.fee is None:
        return asked
    charged = asked.charged
    too_much = charged > asked.amount or (asked.fee.included and charged == asked.amount)
    if not charged or too_much or asked.fee.destination == asked.source or asked.amount + charged > BIGGEST:
        return replace(asked, fee=None)
    return asked


# So many that most requests are new; repeats have rules of their own.
KEYS = st.integers(1, 100_000).map(lambda number: f"key-{number}")
DESCRIPTIONS = st.sampled_from(["", "", "", "rent"])
PAYOUTS = st.sampled_from(["", "", "DE89", "DE90"])
PICKS = st.integers(0, 10_000)
SMALL = st.integers(1, 30)

# Who pays whom in which currency: mostly what can be.
WAYS = [(a, b, "USD") for a in USERS for b in USERS if a != b] * 4 + [
    (EUROS[0], EUROS[1], "EUR"),
    (EUROS[1], EUROS[0], "EUR"),
    (BANK, USERS[0], "USD"),
    (USERS[1], BANK, "USD"),
    (EUROS[0], EUROS[1], "USD"),
    (USERS[0], USERS[1], "EUR"),
    (USERS[2], EUROS[0], "USD"),
    (NOBODY, USERS[0], "USD"),
    (USERS[1], NOBODY, "USD"),
    (USERS[3], USERS[3], "USD"),
]


def _seldom(strategy: st.SearchStrategy[T], times: int) -> st.SearchStrategy[T | None]:
    """Else nothing, so many times as often."""
    return st.tuples(st.sampled_from([False] * times + [True]), strategy).map(
        lambda drawn: drawn[1] if drawn[0] else None
    )


def _either(weights: Mapping[st.SearchStrategy[T], int]) -> st.SearchStrategy[T]:
    """One of them, each that often."""
    choices = [strategy for strategy, weight in weights.items() for _ in range(weight)]
    numbers = st.sampled_from(range(len(choices)))

    @st.composite
    def either(draw: st.DrawFn) -> T:
        return draw(choices[draw(numbers)])

    return either()


ANY_AMOUNT = _either({SMALL: 12, st.sampled_from([100, BIGGEST // 2, BIGGEST - 1, BIGGEST]): 1})


def transfers(amounts: st.SearchStrategy[int]) -> st.SearchStrategy[Wish]:
    """Some with fees, some with conditions, some ASYNC."""
    version, minimum = _seldom(st.integers(0, 12), 15), _seldom(st.integers(-20, 60), 10)
    later = st.sampled_from([False] * 7 + [True])
    ways = st.sampled_from(WAYS)
    return st.builds(_transfer, KEYS, ways, amounts, DESCRIPTIONS, _fees(), version, minimum, later)


def items(amounts: st.SearchStrategy[int], bad_one_in: int) -> st.SearchStrategy[list[Wish | None]]:
    """Of a batch. None: one that breaks the contract's rules."""
    either: dict[st.SearchStrategy[Wish | None], int] = {st.none(): 1, transfers(amounts): bad_one_in - 1}
    return st.lists(_either(either), min_size=2, max_size=12)


def _fees() -> st.SearchStrategy[Fee | None]:
    prices = st.sampled_from([(1, 0), (250, 0), (5000, 0), (10_000, 0), (0, 1), (0, 3), (0, 9)])
    fees = st.builds(
        lambda price, destination, included: Fee(price[0], price[1], destination, included),
        prices,
        st.sampled_from([FEES, FEES, *USERS]),
        st.booleans(),
    )
    return _seldom(fees, 3)


def wishes(amounts: st.SearchStrategy[int]) -> st.SearchStrategy[Wish]:
    """Of every kind but expiries."""
    ways = st.sampled_from(WAYS)
    providers = st.sampled_from(["", "", "", "", BANK, BANK, USERS[0], NOBODY])
    part = _either({st.just(0): 1, amounts: 3})
    units, ttls = st.sampled_from(["USD"] * 12 + ["EUR"]), st.sampled_from([None, MICROSECOND, MINUTE, HOUR])
    return _either(
        {
            transfers(amounts): 4,
            st.builds(_deposit, KEYS, st.sampled_from(USERS), amounts, providers): 2,
            st.builds(_withdrawal, KEYS, st.sampled_from(USERS), amounts, providers, _fees(), PAYOUTS): 2,
            st.builds(_posting, KEYS, _balanced(amounts), DESCRIPTIONS): 2,
            st.builds(_hold, KEYS, ways, amounts, ttls): 2,
            st.builds(_hold, KEYS, ways, amounts, st.none(), st.sampled_from([-MINUTE, NOW, MINUTE, HOUR, HOUR])): 1,
            st.builds(_capture, KEYS, part, units, st.sampled_from([False, False, True]), PICKS): 3,
            st.builds(lambda key, pick: Wish(Asked(key, "RELEASE"), pick), KEYS, PICKS): 1,
            st.builds(
                lambda key, amount, unit, pick: Wish(Asked(key, "REVERSAL", amount=amount, currency=unit), pick),
                KEYS,
                part,
                units,
                PICKS,
            ): 3,
        }
    )


def _transfer(
    key: str,
    way: tuple[str, str, str],
    amount: int,
    description: str,
    fee: Fee | None,
    version: int | None,
    minimum: int | None,
    deferred: bool,
) -> Wish:
    source, destination, currency = way
    if fee is not None and fee.destination == FEES:
        fee = fee._replace(destination=f"system/fees-{currency.lower()}")
    return Wish(
        Asked(
            key,
            "TRANSFER",
            source,
            destination,
            amount,
            currency,
            description,
            fee=fee,
            version=version,
            minimum=minimum,
            deferred=deferred,
        )
    )


def _hold(
    key: str, way: tuple[str, str, str], amount: int, ttl: timedelta | None, expires_in: timedelta | None = None
) -> Wish:
    source, destination, currency = way
    return Wish(Asked(key, "HOLD", source, destination, amount, currency, ttl=ttl), expires_in=expires_in)


def _capture(key: str, amount: int, currency: str, final: bool, pick: int) -> Wish:
    return Wish(Asked(key, "CAPTURE", amount=amount, currency=currency, final=final), pick)


def _posting(key: str, postings: tuple[Move, ...], description: str) -> Wish:
    return Wish(Asked(key, "COMPOUND", currency="", description=description, postings=postings))


def _deposit(key: str, wallet: str, amount: int, provider: str) -> Wish:
    return Wish(Asked(key, "DEPOSIT", provider or CASH, wallet, amount, provider=provider))


def _withdrawal(key: str, wallet: str, amount: int, provider: str, fee: Fee | None, payout: str) -> Wish:
    return Wish(Asked(key, "WITHDRAWAL", wallet, provider or CASH, amount, provider=provider, fee=fee, payout=payout))


def _balanced(amounts: st.SearchStrategy[int]) -> st.SearchStrategy[tuple[Move, ...]]:
    """2 to 7 postings that sum to 0, some with an exchange of dollars into euros."""
    signed = st.builds(lambda amount, out: -amount if out else amount, amounts, st.booleans())
    wallets = st.sampled_from([*USERS * 8, BANK, EUROS[0], NOBODY])
    legs = st.lists(st.tuples(wallets, signed), min_size=1, max_size=4)
    exchange = _seldom(st.tuples(st.permutations(EUROS), amounts), 3)
    return st.builds(_compound, legs, wallets, exchange)


def _compound(legs: list[tuple[str, int]], last: str, exchange: tuple[list[str], int] | None) -> tuple[Move, ...]:
    total = sum(amount for _, amount in legs)
    postings = [(name, amount, "USD") for name, amount in legs if -BIGGEST <= total <= BIGGEST]
    if not postings:
        postings, total = [(last, -1, "USD"), (USERS[0], 1, "USD")], 0
    if total:
        postings.append((last, -total, "USD"))
    if len(postings) == 1:
        postings.append((last, -postings[0][1], "USD"))
    if exchange is not None:
        (payer, paid), amount = exchange
        postings += [(payer, -amount, "EUR"), (paid, amount, "EUR")]
    return tuple(postings)
