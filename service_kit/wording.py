"""What a pattern of the contract asks for, in words: who has sent something else need not read a regular expression."""

import re
from collections.abc import Mapping
from typing import Final

UUID: Final = re.compile(r"\[0-9a-f\]\{8\}(\(-\[0-9a-f\]\{4\}\)\{3\}|(-\[0-9a-f\]\{4\}){3})-\[0-9a-f\]\{12\}")
"""How the contract writes one."""
OPTIONAL: Final = re.compile(r"\((.*)\)\?")
NAMED: Final = re.compile(r"(\w+)/<uuid>")
WORDS: Final[Mapping[str, str]] = {
    r"wallets/[a-z0-9-]{1,63}": "must be a wallet's name: wallets/ and 1 to 63 of a-z, 0-9 and -",
    r"[a-z0-9-]{0,63}": "must be up to 63 of a-z, 0-9 and -",
    r"[A-Z]{3}": "must be an ISO 4217 code: three capital letters, as EUR",
    r"[a-z][a-z0-9_-]{0,62}": "must be a letter of a-z and up to 62 more of a-z, 0-9, _ and -",
    r"[a-z][a-z0-9-]{0,62}": "must be a letter of a-z and up to 62 more of a-z, 0-9 and -",
    r"[a-z][a-z0-9_-]{0,62}=[^\x00-\x1f\x7f]{0,128}": "must be a label as key=value: its key a letter of a-z and up to"
    " 62 more of a-z, 0-9, _ and -, its value up to 128 characters, none of them a control character",
    r"[^\x00-\x1f\x7f]*": "must have no control characters, such as tabs and line breaks",
    r"[^\x00]*": "must have no zero byte",
    r"[A-Za-z0-9_+/-]*": "must be an IANA time zone, as Europe/Berlin",
    r"CREATE|UPDATE|FREEZE|UNFREEZE|CLOSE": "must be CREATE, UPDATE, FREEZE, UNFREEZE or CLOSE",
    r"(payouts|webhookEndpoints)/[0-9a-f-]{36}": "must be payouts/ or webhookEndpoints/ and a uuid in lower case",
}
"""By what stands between ^ and $."""


def in_words(pattern: str) -> str:
    """What a value must be. A pattern that has no words speaks for itself."""
    inner = pattern.removeprefix("^").removesuffix("$")
    optional = OPTIONAL.fullmatch(inner)
    if optional:
        inner = optional[1]
    named = NAMED.fullmatch(UUID.sub("<uuid>", inner))
    words = f"must be {named[1]}/ and a uuid in lower case" if named else WORDS.get(inner, f"must match {pattern}")
    return f"{words}; or leave it out" if optional else words
