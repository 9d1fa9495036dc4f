"""What can be said of a transfer before it is sent: the contract's rules, in the words of whoever writes the file."""

import re
from collections.abc import Callable
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final

import protovalidate
from iso4217 import Currency
from specie.transaction.v1 import TransferRequest

from specie_cli.money import AMOUNT_MAX

WALLET: Final = "must be a wallet: 1 to 63 of a-z, 0-9 and -, as in alice or wallets/alice"
CURRENCY: Final = "must be an ISO 4217 code, as in USD"
ABOVE_ZERO: Final = "must be 1 or more, in minor units: 2500 is 25.00 USD"
REQUEST_ID: Final = "must have up to 128 characters, none of them a control character; without one it is derived"
TOLD: Final = {
    "source": WALLET,
    "destination": WALLET,
    "amount": ABOVE_ZERO,
    "amount.currency_code": CURRENCY,
    "description": "must have up to 500 characters, none of them NUL",
    "external_reference": "must have up to 128 characters, none of them a control character",
    "labels": "must have a key of a letter a-z and up to 62 of a-z, 0-9, _ and -, and a value of up to 128 characters, "
    "none of them a control character; up to 64 labels",
    "request_id": REQUEST_ID,
    "fee.basis_points": "must be 1 to 10000 hundredths of a percent",
    "fee.minor_units": ABOVE_ZERO,
    "fee.destination": WALLET,
}
GIVEN_LATER: Final = "import"
"""A request id that keeps its rule quiet where the file gives none."""

Named = Callable[[str, str], str]
"""The file's name for a field of the contract (`amount.currency_code`) and, of a map, a key."""


def flaws_of(request: TransferRequest, named: Named) -> list[tuple[str, str]]:
    """Columns and what is wrong with them."""
    given = request.request_id
    request.request_id = given or GIVEN_LATER
    violations = protovalidate.collect_violations(request)
    request.request_id = given
    found = [_told(violation.proto, named) for violation in violations]
    columns = {column for column, _ in found}
    currency, column = request.amount.currency_code, named("amount.currency_code", "")
    if column not in columns and not is_currency(currency):
        found.append((column, f"ISO 4217 has no currency {currency}" if currency else CURRENCY))
    if request.source == request.destination and not columns & {named("source", ""), named("destination", "")}:
        found.append((named("destination", ""), "must be another wallet than the source"))
    return found


def whole_units(text: str, currency: str) -> int:
    """Raises ValueError, which tells what to write instead."""
    if re.fullmatch(r"0*[0-9]{1,19}", text, re.ASCII) and (units := int(text.lstrip("0") or "0")) <= AMOUNT_MAX:
        return units
    if re.fullmatch(r"[0-9]+", text, re.ASCII):
        raise ValueError(f"must be {AMOUNT_MAX} at the most")
    if re.fullmatch(r"[0-9]{1,18}\.[0-9]{1,6}", text, re.ASCII) and is_currency(currency):
        units_in_all = Decimal(text).scaleb(Currency(currency).exponent or 0)
        if units_in_all == int(units_in_all):
            raise ValueError(f"must be whole minor units of {currency}: {int(units_in_all)} is {text} {currency}")
    raise ValueError("must be a whole number of minor units, digits only: 2500 is 25.00 USD")


@lru_cache(maxsize=1024)
def is_currency(code: str) -> bool:
    try:
        Currency(code)
    except ValueError:
        return False
    return True


def _told(violation: Any, named: Named) -> tuple[str, str]:  # noqa: ANN401 - protovalidate has its own message classes
    elements = violation.field.elements if violation.field is not None else ()
    path = ".".join(element.field_name for element in elements)
    subscript = elements[-1].subscript if elements else None
    key = str(subscript.value) if subscript is not None else ""
    return named(path, key), TOLD.get(path) or violation.message
