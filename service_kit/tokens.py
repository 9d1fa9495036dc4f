"""Tokens: JSON Web Tokens (RFC 7519) of one issuer, as the gateway verifies them and every service once more, so that a
caller on the inner network is held to the same rules."""

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from time import time
from typing import Any, Final, NamedTuple

import jwt

from service_kit.caller import OUR_OWN, SUBJECT_LENGTH_MAX, Caller, is_our_own, is_subject
from service_kit.keys import Key, Keys, KeysUnreadable
from service_kit.status import RETRY_AFTER_SECONDS, Refusal

CLOCK_SKEW_SECONDS: Final = 5
"""As at the gateway: so far clocks may be apart."""
KNOWN_MAX: Final = 10_000
"""Tokens that were verified and have not expired, some 200 bytes each."""
TIMES: Final = ("exp", "iat")
REQUIRED: Final = ("iss", "aud", "sub", *TIMES)
SCHEME: Final = "bearer"


class Verified(NamedTuple):
    """Who it is, and until when, in seconds since 1970."""

    caller: Caller
    until: float


class Tokens:
    """Of the event loop's thread only."""

    def __init__(self, keys: Keys, issuer: str, audience: str, lifetime_seconds_max: int) -> None:
        self.keys: Final = keys
        self._issuer = issuer
        self._audience = audience
        self._lifetime_seconds_max = lifetime_seconds_max
        self._known: OrderedDict[bytes, Verified] = OrderedDict()
        self._known_by = keys.generation

    async def verified(self, authorization: str) -> Verified:
        """Whom a header `authorization: Bearer ...` is from. A token is verified once and then known by its hash until
        it expires or the keys change.

        Raises Refusal: UNAUTHENTICATED; UNAVAILABLE while there are no keys.
        """
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != SCHEME or not token:
            raise _refused("MISSING", "the call has no token; send the header `authorization: Bearer ...`")
        if self._known_by != self.keys.generation:
            self._known.clear()
            self._known_by = self.keys.generation
        digest = hashlib.sha256(token.encode()).digest()
        known = self._known.get(digest)
        if known is not None and time() < known.until:
            self._known.move_to_end(digest)
            return known
        verified = await self._verify(token)
        self._known[digest] = verified
        if len(self._known) > KNOWN_MAX:
            self._known.popitem(last=False)
        return verified

    async def _verify(self, token: str) -> Verified:
        try:
            header = jwt.get_unverified_header(token)
            keys = await self.keys.find(header.get("kid"), str(header.get("alg")))
        except jwt.PyJWTError:
            raise _refused("MALFORMED", "the token is not a signed JSON Web Token") from None
        except KeysUnreadable:
            text = "tokens cannot be verified now: the issuer's keys cannot be read"
            raise Refusal("UNAVAILABLE", text, retry_after_seconds=RETRY_AFTER_SECONDS) from None
        if not keys:
            raise _refused("UNKNOWN_KEY", "the token is signed with a key or an algorithm that is not the issuer's")
        claims = self._claims(token, keys)
        if not all(isinstance(claims[name], int | float) for name in TIMES):
            raise _refused("MALFORMED", "the token's times are not numbers")
        if claims["exp"] > claims["iat"] + self._lifetime_seconds_max:
            text = f"the token lives longer than the {self._lifetime_seconds_max} s that one may"
            raise _refused("LIFETIME", text)
        return Verified(_caller(claims), claims["exp"] + CLOCK_SKEW_SECONDS)

    def _claims(self, token: str, keys: Sequence[Key]) -> dict[str, Any]:
        """Raises Refusal UNAUTHENTICATED. Of several keys it is enough that one fits."""
        for key in keys:
            try:
                claims: dict[str, Any] = jwt.decode(
                    token,
                    key.key,
                    algorithms=[key.algorithm],
                    audience=self._audience,
                    issuer=self._issuer,
                    leeway=CLOCK_SKEW_SECONDS,
                    options={"require": list(REQUIRED)},
                )
            except jwt.InvalidSignatureError:
                continue
            except jwt.PyJWTError as error:
                raise _named(error) from None
            return claims
        raise _refused("SIGNATURE", "the token's signature is not the issuer's")


def _caller(claims: dict[str, Any]) -> Caller:
    """Raises Refusal UNAUTHENTICATED for a subject that cannot own a wallet, or a scope that cannot be read."""
    subject, scope = claims["sub"], claims.get("scope", "")
    if not isinstance(subject, str) or not is_subject(subject):
        raise _refused("SUBJECT", f"the token's subject must have 1 to {SUBJECT_LENGTH_MAX} printable characters")
    if is_our_own(subject):
        raise _refused("SUBJECT", f"the token's subject must not be {OUR_OWN}, nor begin with {OUR_OWN}/")
    if not isinstance(scope, str):
        raise _refused("SCOPE", "the token's scope must be one text, its parts separated by spaces")
    # By the space alone (RFC 8693): with other whitespace inside, a text was one scope to the issuer.
    return Caller(subject, frozenset(scope.split(" ")))


def _named(error: jwt.PyJWTError) -> Refusal:
    """Nothing of the token itself is told: a log may keep it."""
    match error:
        case jwt.ExpiredSignatureError():
            return expired()
        case jwt.ImmatureSignatureError() | jwt.InvalidIssuedAtError():
            return _refused("NOT_YET_VALID", "the token is not valid yet")
        case jwt.InvalidAudienceError():
            return _refused("AUDIENCE", "the token is for another audience")
        case jwt.InvalidIssuerError():
            return _refused("ISSUER", "the token is of another issuer")
        case jwt.MissingRequiredClaimError():
            return _refused("CLAIM", f"the token has no claim {error.claim}")
    return _refused("MALFORMED", "the token is not a signed JSON Web Token with the claims that it needs")


def expired() -> Refusal:
    """As of one that was valid when the call began."""
    return _refused("EXPIRED", "the token has expired; get a new one")


def _refused(cause: str, text: str) -> Refusal:
    return Refusal("UNAUTHENTICATED", text, {"cause": cause})
