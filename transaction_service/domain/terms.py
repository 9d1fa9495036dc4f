"""What a movement asks for beyond one amount from one account to another, and how that is written down.

The same written form is stored and goes into a request's fingerprint, so it never changes its meaning: names are only
added.
"""

from collections.abc import Mapping
from datetime import datetime
from fractions import Fraction
from typing import Any, Final, NamedTuple

BASIS_POINTS: Final = 10_000
"""One basis point is a hundredth of a percent."""


class Posting(NamedTuple):
    """What one transaction does to one account, in minor units: above 0 comes in, below 0 goes out."""

    account: str
    amount: int
    currency: str


class Fee(NamedTuple):
    """What a movement costs, in minor units above 0, and who is paid it. `included`: out of the amount, else on top.
    `basis_points`: how it was asked for; 0: as this amount."""

    amount: int
    destination: str
    included: bool
    basis_points: int = 0


class PayoutDestination(NamedTuple):
    """Where money that leaves is to be paid to. `account` is in the provider's terms; `beneficiary` may be empty."""

    provider: str
    account: str
    beneficiary: str


class Terms(NamedTuple):
    """All of it is optional. `deferred`: stored now, posted at `execute_time` or, without one, as soon as can be.

    `expected_version` and `minimum_after` are of the source: its version before, what it has available afterwards.
    `final`: a capture that frees the rest. `payout`: of a withdrawal.
    """

    fee: Fee | None = None
    postings: tuple[Posting, ...] = ()
    expected_version: int | None = None
    minimum_after: int | None = None
    deferred: bool = False
    execute_time: datetime | None = None
    expire_time: datetime | None = None
    ttl_microseconds: int | None = None
    final: bool = False
    payout: PayoutDestination | None = None


PLAIN: Final = Terms()


def fee_of(amount: int, basis_points: int) -> int:
    """Rounded to whole minor units, half to even (IEEE 754 roundTiesToEven)."""
    return round(Fraction(amount * basis_points, BASIS_POINTS))


def written(terms: Terms) -> dict[str, Any]:
    """As values of JSON, without what is not asked for."""
    facts: dict[str, Any] = {}
    if terms.fee is not None:
        # As it was written before there were basis points.
        facts["fee"] = list(terms.fee if terms.fee.basis_points else terms.fee[:-1])
    if terms.postings:
        facts["postings"] = [list(posting) for posting in terms.postings]
    for name in ("expected_version", "minimum_after", "ttl_microseconds"):
        value = getattr(terms, name)
        if value is not None:
            facts[name] = value
    for name in ("execute_time", "expire_time"):
        time = getattr(terms, name)
        if time is not None:
            facts[name] = time.isoformat()
    for name in ("deferred", "final"):
        if getattr(terms, name):
            facts[name] = True
    if terms.payout is not None:
        facts["payout"] = list(terms.payout)
    return facts


def read(facts: Mapping[str, Any] | None) -> Terms:
    """What `written` wrote. Raises ValueError for what only a later version can have written."""
    if not facts:
        return PLAIN
    unknown = sorted(facts.keys() - set(Terms._fields))
    if unknown:
        raise ValueError(f"terms that this version does not know: {', '.join(unknown)}")
    values = dict(facts)
    if "fee" in values:
        values["fee"] = Fee(*values["fee"])
    if "postings" in values:
        values["postings"] = tuple(Posting(*posting) for posting in values["postings"])
    for name in ("execute_time", "expire_time"):
        if name in values:
            values[name] = datetime.fromisoformat(values[name])
    if "payout" in values:
        values["payout"] = PayoutDestination(*values["payout"])
    return Terms(**values)
