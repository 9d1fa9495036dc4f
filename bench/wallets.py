"""The wallets that every load moves money between."""

import random

from specie.type.v1 import Money

ACTIVE = 1000
"""So many take part, in every load and in every floor."""
FUNDS = 1_000_000_000
"""Minor units: whatever a run does, nobody runs dry."""
ONE = Money(currency_code="USD", minor_units=1)


def wallet(number: int) -> str:
    return f"wallets/bench-{number}"


class Wallets:
    """`active` wallets, every `stride`-th of those that there are."""

    def __init__(self, active: int = ACTIVE, stride: int = 1) -> None:
        self._names = [wallet(number) for number in range(0, active * stride, stride)]

    def one(self) -> str:
        return self._names[int(random.random() * len(self._names))]  # noqa: S311 - load, not a secret

    def pair(self) -> tuple[str, str]:
        """Two different ones."""
        names = self._names
        first = int(random.random() * len(names))  # noqa: S311 - as above
        second = first + 1 + int(random.random() * (len(names) - 1))  # noqa: S311 - as above
        return names[first], names[second % len(names)]
