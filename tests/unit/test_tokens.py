"""Which tokens a service takes, what it tells of those that it does not, and for how long it knows one."""

import time
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from service_kit import tokens as tokens_module
from service_kit.keys import Keys
from service_kit.status import Refusal
from service_kit.tokens import CLOCK_SKEW_SECONDS, Tokens
from specie_cli.stack.issuer import AUDIENCE, ISSUER, Issuer
from tests.kit.forgery import FORGED, SUBJECT_LENGTH_MAX, Forge, claims, encoded
from tests.kit.tokens import LIFETIME_SECONDS_MAX, LOCAL, KnownKeys, verifier
from tests.kit.wallets import asynchronous

FORGE = Forge(LOCAL)


async def cause_of(token: str, tokens: Tokens | None = None) -> str:
    """Why it is refused; empty: it is not."""
    return await cause_of_header(f"Bearer {token}", tokens)


async def cause_of_header(header: str, tokens: Tokens | None = None) -> str:
    try:
        await (tokens or verifier()).verified(header)
    except Refusal as refused:
        refusal = refused
    else:
        return ""
    assert refusal.reason == "UNAUTHENTICATED"
    assert set(refusal.metadata) == {"cause"}
    return refusal.metadata["cause"]


@pytest.mark.parametrize(("forged", "cause"), FORGED.values(), ids=FORGED)
@asynchronous
async def test_a_bad_token_is_refused_with_its_cause(forged: Callable[[Forge], str], cause: str) -> None:
    tokens = verifier()
    token = forged(FORGE)
    assert await cause_of(token, tokens) == cause
    assert await cause_of(token, tokens) == cause


@pytest.mark.parametrize(
    ("header", "cause"),
    [
        ("", "MISSING"),
        ("Bearer", "MISSING"),
        ("Bearer ", "MISSING"),
        ("{good}", "MISSING"),
        ("Basic {good}", "MISSING"),
        ("Bearer\t{good}", "MISSING"),
        (" Bearer {good}", "MISSING"),
        ("Bearer  {good}", "MALFORMED"),
        ("Bearer {good} ", "MALFORMED"),
        ("Bearer {good}\n", "MALFORMED"),
        ("Bearer {good},", "MALFORMED"),
        ("Bearer {good},!!!", "MALFORMED"),
        ("Bearer {good},Bearer {good}", "MALFORMED"),
        ("Basic YTpi,Bearer {good}", "MISSING"),
        ("Bearer {good}.{good}", "MALFORMED"),
        ("Bearer \u00fc.\u00fc.\u00fc", "MALFORMED"),
        ("Bearer ..", "MALFORMED"),
        ("bearer {good}", ""),
        ("BEARER {good}", ""),
    ],
)
@asynchronous
async def test_a_header_is_a_scheme_and_one_token(header: str, cause: str) -> None:
    """In whatever letters (RFC 9110, 11.1). Who sends two headers sends none: they come joined by a comma."""
    assert await cause_of_header(header.format(good=FORGE.good())) == cause


HEADERS: Mapping[str, tuple[Mapping[str, Any], str]] = {
    "crit of a known claim": ({"crit": ["exp"]}, "MALFORMED"),
    "crit of an extension": ({"crit": ["x"], "x": 1}, "MALFORMED"),
    "content that is not encoded": ({"b64": False}, "MALFORMED"),
    "kid as a list": ({"kid": ["a"]}, "MALFORMED"),
    "kid as a number": ({"kid": 1}, "MALFORMED"),
    "kid of a query": ({"kid": "' OR 1=1 --"}, "UNKNOWN_KEY"),
    "empty kid": ({"kid": ""}, "UNKNOWN_KEY"),
    "no kid": ({"kid": None}, ""),
    "no alg": ({"alg": None}, "UNKNOWN_KEY"),
    "alg as a list": ({"alg": ["ES256"]}, "UNKNOWN_KEY"),
    "alg in other letters": ({"alg": "es256"}, "UNKNOWN_KEY"),
    "keys elsewhere, of which no notice is taken": ({"jku": "https://evil.example", "x5u": "file:///etc/passwd"}, ""),
}


@pytest.mark.parametrize(("header", "cause"), HEADERS.values(), ids=HEADERS)
@asynchronous
async def test_what_a_token_says_of_itself_is_not_believed(header: Mapping[str, Any], cause: str) -> None:
    assert await cause_of(FORGE.signed(claims(), **header)) == cause


@pytest.mark.parametrize(
    "token",
    [
        encoded(b"[" * 20_000) + ".e30.AA",
        encoded(b'{"a":' * 20_000) + ".e30.AA",
        encoded(b"[]") + ".e30.AA",
        encoded(b"\xff") + ".e30.AA",
        "a" * 10_000_000,
        f"{'a' * 1_000_000}.{'a' * 1_000_000}.AA",
        "." * 1_000_000,
        FORGE.signed(b"[" * 20_000),
        FORGE.signed(b"\xff"),
        FORGE.signed(b'{"exp":' + b"9" * 10_000 + b"}"),
    ],
    ids=["deep list", "deep object", "list", "no UTF-8", "huge", "huge parts", "dots", "deep", "bytes", "digits"],
)
@asynchronous
async def test_nonsense_is_malformed_and_no_fault_of_ours(token: str) -> None:
    tokens = verifier()
    assert await cause_of(token, tokens) == "MALFORMED"
    assert not tokens._known


NOW = int(time.time())
TIMES: Mapping[str, tuple[dict[str, object], str]] = {
    "exp as text": ({"exp": str(NOW + 3600)}, "MALFORMED"),
    "exp as a list": ({"exp": [NOW + 3600]}, "MALFORMED"),
    "exp as an object": ({"exp": {}}, "MALFORMED"),
    "exp null": ({"exp": None}, "CLAIM"),
    "exp true": ({"exp": True}, "EXPIRED"),
    "exp negative": ({"exp": -1}, "EXPIRED"),
    "exp infinite": ({"exp": float("inf")}, "MALFORMED"),
    "exp no number": ({"exp": float("nan")}, "MALFORMED"),
    "exp beyond all numbers": ({"exp": 10**400}, "LIFETIME"),
    "exp beyond all numbers, iat with a fraction": ({"exp": 10**400, "iat": NOW - 0.5}, "LIFETIME"),
    "exp with a fraction": ({"exp": NOW + 3600.5}, ""),
    "iat as text": ({"iat": str(NOW)}, "MALFORMED"),
    "iat as a list": ({"iat": []}, "NOT_YET_VALID"),
    "iat null": ({"iat": None}, "CLAIM"),
    "iat true": ({"iat": True}, "LIFETIME"),
    "iat negative": ({"iat": -1}, "LIFETIME"),
    "iat long ago": ({"iat": float("-inf")}, "NOT_YET_VALID"),
    "iat to come": ({"iat": NOW + 3600}, "NOT_YET_VALID"),
    "nbf to come": ({"nbf": NOW + 3600}, "NOT_YET_VALID"),
    "nbf as text": ({"nbf": "now"}, "MALFORMED"),
    "nbf null": ({"nbf": None}, "MALFORMED"),
    "expired, issued to come": ({"iat": NOW + 3600, "exp": NOW - 600}, "NOT_YET_VALID"),
}


@pytest.mark.parametrize(("changed", "cause"), TIMES.values(), ids=TIMES)
@asynchronous
async def test_times_are_numbers_and_in_order(changed: dict[str, object], cause: str) -> None:
    assert await cause_of(FORGE.signed(claims(**changed))) == cause


@pytest.mark.parametrize(
    ("changed", "cause"),
    [
        ({"sub": 7}, "MALFORMED"),
        ({"sub": None}, "CLAIM"),
        ({"sub": ["a"]}, "MALFORMED"),
        ({"sub": "a\u200bb"}, "SUBJECT"),
        ({"sub": "a\u202eb"}, "SUBJECT"),
        ({"sub": "\ud800"}, "SUBJECT"),
        ({"sub": "system/"}, "SUBJECT"),
        ({"sub": "systematic"}, ""),
        ({"sub": "\u00fc" * SUBJECT_LENGTH_MAX}, ""),
        ({"aud": ["another", AUDIENCE]}, ""),
        ({"aud": ["another"]}, "AUDIENCE"),
        ({"aud": []}, "CLAIM"),
        ({"aud": 5}, "AUDIENCE"),
        ({"aud": AUDIENCE.upper()}, "AUDIENCE"),
        ({"iss": [ISSUER]}, "ISSUER"),
        ({"iss": f"{ISSUER}/"}, "ISSUER"),
        ({"scope": ["admin"]}, "SCOPE"),
        ({"scope": None}, "SCOPE"),
        ({"scope": {"admin": True}}, "SCOPE"),
    ],
)
@asynchronous
async def test_claims_are_what_they_must_be(changed: dict[str, object], cause: str) -> None:
    assert await cause_of(FORGE.signed(claims(**changed))) == cause


@pytest.mark.parametrize(
    ("scope", "scopes"),
    [
        ("wallets.read", {"wallets.read"}),
        ("wallets.read  audit.read ", {"wallets.read", "audit.read"}),
        ("x\u00a0admin", {"x\u00a0admin"}),
        ("x\u2003admin", {"x\u2003admin"}),
        ("x\tadmin\nservice", {"x\tadmin\nservice"}),
        ("x,admin", {"x,admin"}),
        ("ADMIN", {"ADMIN"}),
        ("adm\u0131n", {"adm\u0131n"}),
        ("\uff41dmin", {"\uff41dmin"}),
        ("", set()),
    ],
)
@asynchronous
async def test_scopes_are_parted_by_spaces_and_taken_to_the_letter(scope: str, scopes: set[str]) -> None:
    caller = (await verifier().verified(f"Bearer {FORGE.good('ann', scope)}")).caller
    assert caller.subject == "ann"
    assert caller.scopes - {""} == scopes
    assert caller.bound_to == "ann"


@asynchronous
async def test_without_the_claim_there_is_no_scope() -> None:
    assert (await verifier().verified(f"Bearer {FORGE.without('scope')}")).caller.scopes <= {""}


@asynchronous
async def test_clocks_may_be_a_little_apart_and_no_more() -> None:
    now, margin = int(time.time()), 3
    near, far = CLOCK_SKEW_SECONDS - margin, CLOCK_SKEW_SECONDS + margin
    assert await cause_of(FORGE.good(exp=now - near)) == ""
    assert await cause_of(FORGE.good(exp=now - far)) == "EXPIRED"
    assert await cause_of(FORGE.good(iat=now + near)) == ""
    assert await cause_of(FORGE.good(iat=now + far)) == "NOT_YET_VALID"
    assert await cause_of(FORGE.good(nbf=now + near)) == ""
    assert await cause_of(FORGE.good(nbf=now + far)) == "NOT_YET_VALID"
    assert await cause_of(FORGE.good(iat=now, exp=now + LIFETIME_SECONDS_MAX)) == ""
    assert await cause_of(FORGE.good(iat=now, exp=now + LIFETIME_SECONDS_MAX + 1)) == "LIFETIME"


class Clock:
    """The time, in seconds since 1970, as far as known tokens are concerned."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ahead = 0.0
        monkeypatch.setattr(tokens_module, "time", lambda: time.time() + self.ahead)


class CountedKeys(KnownKeys):
    """How often a token was verified."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0

    async def find(self, key_id: str | None, algorithm: str) -> Any:  # noqa: ANN401
        self.asked += 1
        return await super().find(key_id, algorithm)


def counted() -> tuple[CountedKeys, Tokens]:
    keys = CountedKeys()
    return keys, Tokens(keys, ISSUER, AUDIENCE, LIFETIME_SECONDS_MAX)


def test_a_token_is_verified_once_and_again_when_it_has_expired(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)

    @asynchronous
    async def test() -> None:
        keys, tokens = counted()
        token = FORGE.good(exp=int(time.time()) + 60)
        for _ in range(3):
            assert await cause_of(token, tokens) == ""
        assert keys.asked == 1
        clock.ahead = 60 + CLOCK_SKEW_SECONDS + 1
        await cause_of(token, tokens)
        assert keys.asked == 2

    test()


@asynchronous
async def test_what_was_refused_is_looked_at_each_time() -> None:
    keys, tokens = counted()
    bad = FORGED["bad signature"][0](FORGE)
    assert {await cause_of(bad, tokens) for _ in range(3)} == {"SIGNATURE"}
    assert keys.asked == 3


@asynchronous
async def test_tokens_that_are_known_are_not_taken_for_each_other() -> None:
    tokens = verifier()
    good = {name: FORGE.good(name, scope) for name, scope in (("ann", "admin"), ("bob", ""), ("eve", "audit.read"))}
    for _ in range(2):
        for name, token in good.items():
            assert (await tokens.verified(f"Bearer {token}")).caller.subject == name
    head, body, signature = good["ann"].split(".")
    others = [good["bob"].split("."), good["eve"].split(".")]
    for other_head, other_body, other_signature in others:
        for mixed in (
            (other_head, body, other_signature),
            (head, other_body, signature),
            (head, body, other_signature),
        ):
            assert await cause_of(".".join(mixed), tokens) == "SIGNATURE"


def test_known_tokens_have_a_bound_and_those_used_last_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens_module, "KNOWN_MAX", 3)

    @asynchronous
    async def test() -> None:
        keys, tokens = counted()
        first, *more = (FORGE.good(f"s{number}") for number in range(6))
        await cause_of(first, tokens)
        for token in more:
            await cause_of(token, tokens)
            await cause_of(first, tokens)
        assert len(tokens._known) == 3
        assert keys.asked == 6
        await cause_of(more[0], tokens)
        assert keys.asked == 7

    test()


def test_tokens_of_a_key_that_was_removed_die_though_they_were_known(tmp_path: Any) -> None:  # noqa: ANN401
    old, new = Issuer(tmp_path / "old"), Issuer(tmp_path / "new")
    old.make()
    new.make()
    published = tmp_path / "jwks.json"

    @asynchronous
    async def test() -> None:
        published.write_text(old.key_set.read_text())
        tokens = Tokens(Keys(str(published)), ISSUER, AUDIENCE, LIFETIME_SECONDS_MAX)
        await tokens.keys.begin()
        of_old, of_new = Forge(old).good(), Forge(new).good()
        assert await cause_of(of_old, tokens) == ""
        assert await cause_of(of_new, tokens) == "UNKNOWN_KEY"
        published.write_text(new.key_set.read_text())
        await tokens.keys.read()
        assert await cause_of(of_old, tokens) == "UNKNOWN_KEY"
        assert await cause_of(of_new, tokens) == ""

    test()


def test_while_there_are_no_keys_nobody_is_told_that_his_token_is_bad(tmp_path: Any) -> None:  # noqa: ANN401
    @asynchronous
    async def test() -> None:
        tokens = Tokens(Keys(str(tmp_path / "none.json")), ISSUER, AUDIENCE, LIFETIME_SECONDS_MAX)
        with pytest.raises(Refusal) as refused:
            await tokens.verified(f"Bearer {FORGE.good()}")
        assert refused.value.reason == "UNAVAILABLE"
        assert refused.value.retry_after_seconds

    test()
