"""Who calls, and what the contract asks of who makes a call."""

from dataclasses import dataclass, field
from functools import cache, lru_cache
from typing import Final

from google.protobuf import descriptor_pool
from specie.type.v1 import Access, Scope
from specie.type.v1 import access_pb2 as contract

NOBODY_ELSE: Final = Access()
"""What a method asks for that says nothing: it is refused to everybody."""


@cache
def scope_name(scope: "Scope.ValueType") -> str:
    """As tokens have it: `wallets.read` for SCOPE_WALLETS_READ."""
    return Scope.Name(scope).removeprefix("SCOPE_").lower().replace("_", ".")


ADMIN: Final = scope_name(Scope.SCOPE_ADMIN)
SERVICE: Final = scope_name(Scope.SCOPE_SERVICE)

SCOPES: Final = frozenset(scope_name(number) for number in Scope.values() if number)
"""All that there are, as tokens have them."""

SUBJECT_LENGTH_MAX: Final = 128
"""As a wallet's owner."""
OUR_OWN: Final = "system"
"""Whose accounts of the house are, and with a slash behind it what services call themselves where nobody calls."""


def is_subject(text: str) -> bool:
    """Whether it can own a wallet: 1 to 128 printable characters."""
    return 0 < len(text) <= SUBJECT_LENGTH_MAX and text.isprintable()


def is_our_own(subject: str) -> bool:
    """What services call themselves: they take it from no token."""
    return subject == OUR_OWN or subject.startswith(f"{OUR_OWN}/")


NOBODY: Final = "\x7f"
"""The owner of no wallet: an owner has no control characters. Who is not known is bound to it, not trusted."""


@dataclass(frozen=True, slots=True)
class Caller:
    """`subject` is who it is, 1 to 128 characters, `scopes` what its token allows. `bound_to` is the owner whose
    wallets it may see and debit, and no others; empty: it is trusted, and acts for anybody."""

    subject: str
    scopes: frozenset[str] = frozenset()
    bound_to: str = field(init=False)

    def __post_init__(self) -> None:
        trusted = ADMIN in self.scopes or SERVICE in self.scopes
        object.__setattr__(self, "bound_to", "" if trusted else self.subject or NOBODY)

    def may(self, access: Access) -> bool:
        """Whether it has the scope, and is trusted if it must be."""
        if access.anybody:
            return True
        if not access.scope or (access.trusted_only and self.bound_to):
            return False
        scope = scope_name(access.scope)
        return scope in self.scopes or (ADMIN in self.scopes and scope != SERVICE)


ANONYMOUS: Final = Caller("")
"""Who calls what needs no token."""


@lru_cache(1024)
def access_of(method: str) -> Access:
    """What the contract asks of who calls `/package.Service/Method`. Of what it does not know: what nobody has."""
    try:
        found = descriptor_pool.Default().FindMethodByName(method.strip("/").replace("/", "."))
    except KeyError:
        return NOBODY_ELSE
    access: Access = found.GetOptions().Extensions[contract.access]
    return access
