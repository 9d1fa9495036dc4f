"""CreateWallet's rules: what a new wallet is called, and when two requests are the same."""

import json
from dataclasses import asdict
from functools import cache
from hashlib import blake2b
from typing import Final
from uuid import UUID
from zoneinfo import available_timezones

from iso4217 import Currency

from wallet_service.domain.failure import Failure, Reason
from wallet_service.domain.wallet import NAME_PREFIX, Limits, Particulars, WalletKind

DIGEST_BYTES: Final = 16

CURRENCIES: Final = frozenset(currency.code for currency in Currency if currency.exponent is not None)
"""Those of ISO 4217 that money is counted in: precious metals, funds' units and the test code have no minor unit."""


def derived_name(principal: str, request_id: str) -> str:
    """The name of a wallet that was created without one: BLAKE2b-128, written as a UUID, of who asked and the request
    id. A part goes in behind its length, so that ("ab", "c") and ("a", "bc") are different."""
    parts = b"".join(b"%d:%b" % (len(part), part) for part in (principal.encode(), request_id.encode()))
    return f"{NAME_PREFIX}{UUID(bytes=blake2b(parts, digest_size=DIGEST_BYTES).digest())}"


def fingerprint(name: str, owner: str, currency_code: str, kind: WalletKind, particulars: Particulars) -> bytes:
    """The same for the same wallet asked for, whatever the order of its labels."""
    asked = json.dumps([name, owner, currency_code, kind, asdict(particulars)], sort_keys=True)
    return blake2b(asked.encode(), digest_size=DIGEST_BYTES).digest()


def check_currency(code: str) -> Failure | None:
    return None if code in CURRENCIES else Failure(Reason.UNKNOWN_CURRENCY, {"currency": code})


def check_limits(limits: Limits) -> Failure | None:
    """Membership, not `ZoneInfo(name)`: that would take names like `posixrules`, and others on other file systems."""
    if limits.time_zone and limits.time_zone not in _time_zones():
        return Failure(Reason.UNKNOWN_TIME_ZONE, {"time_zone": limits.time_zone})
    return None


@cache
def _time_zones() -> frozenset[str]:
    """Of the system's IANA database and package tzdata; reading them takes some 50 ms, once."""
    return frozenset(available_timezones())
