"""What is wrong with a body, a header or a method ends in a 4xx with a Status, and nothing is written."""

import http.client
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import psycopg2
import pytest

from tests.kit.calls import CALL_SECONDS, key
from tests.kit.stack import Stack

MIB = 1024 * 1024
DEEP = 10_000
BAD_REQUEST, TOO_LARGE, HEADERS_TOO_LARGE = 400, 413, 431


@dataclass(frozen=True)
class Place:
    """Where bodies are sent: a JSON call that is sound, for `wallets/bad-bodies`."""

    method: str
    path: str
    sound: Mapping[str, Any]
    text: str = "description"
    """A field for any text."""
    nothing_is_bad: bool = True
    """Else an empty body has a meaning: what the update mask names is emptied (AIP-134)."""

    def body(self, **changed: object) -> bytes:
        """`changed`: replaces fields; the field `minorUnits` is the amount's."""
        fields = dict(self.sound)
        if "minorUnits" in changed:
            fields["amount"] = {"currencyCode": "USD", "minorUnits": changed.pop("minorUnits")}
        return json.dumps(fields | changed).encode()

    def said(self, text: bytes) -> bytes:
        """With this text, as it stands."""
        return b'%b, "%b": "%b"}' % (self.body()[:-1], self.text.encode(), text)

    def raw(self, minor_units: str) -> bytes:
        """With an amount that Python would not write like that."""
        return self.body(minorUnits="@").replace(b'"@"', minor_units.encode())


WALLET = "wallets/bad-bodies"
MONEY = {"currencyCode": "USD", "minorUnits": "5"}
TO_SHOP = {"destination": "wallets/bad-bodies-shop", "amount": MONEY}
PLACES = {
    "transfer": Place("POST", "/v1/transfers", {"source": WALLET, **TO_SHOP}),
    "deposit": Place("POST", f"/v1/{WALLET}:deposit", {"amount": MONEY}),
    "withdraw": Place("POST", f"/v1/{WALLET}:withdraw", {"amount": MONEY}),
    "hold": Place("POST", "/v1/holds", {"source": WALLET, **TO_SHOP}),
    "wallet": Place("POST", "/v1/wallets?walletId=bad-bodies-new", {"currencyCode": "USD"}, "displayName"),
    "rename": Place(
        "PATCH", f"/v1/{WALLET}?updateMask=displayName", {"displayName": "x"}, "displayName", nothing_is_bad=False
    ),
}

AMOUNTS: Mapping[str, Callable[[Place], bytes]] = {
    "a field that is not there instead": lambda _: b'{"amuont":5}',
    "no amount": lambda p: json.dumps({k: v for k, v in p.sound.items() if k != "amount"}).encode(),
    "amount null": lambda p: p.body(amount=None),
    "amount a number": lambda p: p.body(amount=5),
    "amount a list": lambda p: p.body(amount=[MONEY]),
    "0": lambda p: p.raw("0"),
    "-0": lambda p: p.raw("-0"),
    "-1": lambda p: p.raw("-1"),
    '"-1"': lambda p: p.raw('"-1"'),
    "2^63": lambda p: p.raw(str(2**63)),
    '"2^63"': lambda p: p.raw(f'"{2**63}"'),
    "-2^63 - 1": lambda p: p.raw(str(-(2**63) - 1)),
    "1e19": lambda p: p.raw("1e19"),
    "1e400": lambda p: p.raw("1e400"),
    "1000 digits": lambda p: p.raw("9" * 1000),
    "1.5": lambda p: p.raw("1.5"),
    '"1.5"': lambda p: p.raw('"1.5"'),
    "NaN": lambda p: p.raw("NaN"),
    '"NaN"': lambda p: p.raw('"NaN"'),
    "Infinity": lambda p: p.raw("Infinity"),
    "true": lambda p: p.raw("true"),
    "null": lambda p: p.raw("null"),
    "empty text": lambda p: p.raw('""'),
    "blanks around": lambda p: p.raw('" 5 "'),
    "hexadecimal": lambda p: p.raw('"0x5"'),
    "other digits": lambda p: p.raw('"\u0665"'),
    "a list": lambda p: p.raw("[5]"),
    "an object": lambda p: p.raw('{"value":5}'),
}

FORMS: Mapping[str, tuple[Callable[[Place], bytes], int]] = {
    "empty": (lambda _: b"", BAD_REQUEST),
    "blanks": (lambda _: b"  \n", BAD_REQUEST),
    "no JSON": (lambda _: b"amount=5", BAD_REQUEST),
    "cut off": (lambda p: p.body()[:-1], BAD_REQUEST),
    "more behind": (lambda p: p.body() + b"x", BAD_REQUEST),
    "twice": (lambda p: p.body() * 2, BAD_REQUEST),
    "null": (lambda _: b"null", BAD_REQUEST),
    "a list": (lambda p: b"[" + p.body() + b"]", BAD_REQUEST),
    "a text": (lambda p: json.dumps(p.body().decode()).encode(), BAD_REQUEST),
    "NUL behind": (lambda p: p.body() + b"\x00", BAD_REQUEST),
    "UTF-16": (lambda p: p.body().decode().encode("utf-16"), BAD_REQUEST),
    "no UTF-8": (lambda p: p.said(b"\xff"), BAD_REQUEST),
    "overlong UTF-8": (lambda p: p.said(b"\xc0\xaf"), BAD_REQUEST),
    "half a surrogate": (lambda p: p.said(b"\xed\xa0\x80"), BAD_REQUEST),
    "NUL in a text": (lambda p: p.said(b"a\\u0000b"), BAD_REQUEST),
    "deep lists": (lambda _: b"[" * DEEP, BAD_REQUEST),
    "deep objects": (lambda _: b'{"a":' * DEEP + b"1" + b"}" * DEEP, BAD_REQUEST),
    "deep labels": (
        lambda p: p.body()[:-1] + b', "labels": ' + b'{"a":' * DEEP + b"1" + b"}" * DEEP + b"}",
        BAD_REQUEST,
    ),
    "deep, in an unknown field": (lambda p: p.body()[:-1] + b', "x": ' + b"[" * DEEP + b"]" * DEEP + b"}", BAD_REQUEST),
    "5 MB": (lambda p: p.said(b"a" * 5 * MIB), TOO_LARGE),
    "5 MB of blanks": (lambda p: p.body() + b" " * 5 * MIB, TOO_LARGE),
}
NOTHING = ("empty", "null")


@dataclass(frozen=True)
class Edge:
    stack: Stack

    def send(
        self, place: Place, body: bytes, headers: Mapping[str, str] | None = None, *, chunked: bool = False
    ) -> tuple[int, Any]:
        """Status and body; a client that goes on sending after the answer is let down by no error."""
        connection = http.client.HTTPConnection(self.stack.gateway.removeprefix("http://"), timeout=CALL_SECONDS)
        usual = {
            "authorization": f"Bearer {self.stack.token}",
            "content-type": "application/json",
            "idempotency-key": key(),
        }
        try:
            sent = iter([body]) if chunked else body
            connection.request(place.method, place.path, sent, usual | dict(headers or {}), encode_chunked=chunked)
        except (BrokenPipeError, ConnectionResetError):
            pass  # the gateway has answered, and reads no more
        try:
            answer = connection.getresponse()
            assert answer.getheader("content-type") == "application/json"
            return answer.status, json.loads(answer.read())
        finally:
            connection.close()

    def rows(self) -> list[tuple[Any, ...]]:
        """All that any call can write."""
        connection = psycopg2.connect(self.stack.owner_dsn)
        try:
            with connection.cursor() as cursor:
                cursor.execute(
                    "SELECT (SELECT count(*) FROM transactions.transaction), (SELECT count(*) FROM transactions.hold),"
                    " (SELECT count(*) FROM transactions.entry), (SELECT count(*) FROM transactions.account),"
                    " (SELECT count(*) FROM wallets.wallet)"
                    " UNION ALL SELECT version, balance, held, 0, 0 FROM transactions.account WHERE name = %s"
                    " UNION ALL SELECT revision, 0, 0, 0, 0 FROM wallets.wallet WHERE name = %s",
                    (WALLET, WALLET),
                )
                found: list[tuple[Any, ...]] = cursor.fetchall()
        finally:
            connection.close()
        return found


@pytest.fixture(scope="module")
def edge(stack: Stack) -> Edge:
    for name in (WALLET, "wallets/bad-bodies-shop"):
        made = stack.call("POST", f"/v1/wallets?walletId={name.partition('/')[2]}", {"currencyCode": "USD"})
        assert made.status == 200
    paid = {"amount": {"currencyCode": "USD", "minorUnits": 1000}, "requestId": key()}
    assert stack.call("POST", f"/v1/{WALLET}:deposit", paid).status == 200
    return Edge(stack)


def is_status(body: Any, status: int) -> None:  # noqa: ANN401
    assert set(body) == {"code", "message", "details"}
    assert body["message"]
    assert body["details"][0]["domain"] == "specie"
    assert body["code"] == 3, (status, body)


@pytest.mark.parametrize(
    "place", [place for place in PLACES.values() if place.text == "description"], ids=lambda p: p.path
)
def test_an_amount_that_is_none(edge: Edge, place: Place) -> None:
    before = edge.rows()
    answers = {name: edge.send(place, make(place)) for name, make in AMOUNTS.items()}
    assert {name: answer for name, answer in answers.items() if answer[0] != BAD_REQUEST} == {}
    for status, body in answers.values():
        is_status(body, status)
    assert edge.rows() == before


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
def test_a_body_that_is_none(edge: Edge, place: Place) -> None:
    before = edge.rows()
    forms = {name: form for name, form in FORMS.items() if place.nothing_is_bad or name not in NOTHING}
    answers = {name: (edge.send(place, make(place)), expected) for name, (make, expected) in forms.items()}
    assert {name: answer for name, (answer, expected) in answers.items() if answer[0] != expected} == {}
    for (status, body), _ in answers.values():
        is_status(body, status)
    assert edge.rows() == before


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"x-large": "a" * 20_000}, HEADERS_TOO_LARGE),
        ({f"x-{number}": "a" * 1000 for number in range(20)}, HEADERS_TOO_LARGE),
        ({"authorization": f"Bearer {'a' * 20_000}"}, HEADERS_TOO_LARGE),
        ({"idempotency-key": "k" * 129}, BAD_REQUEST),
        ({"idempotency-key": "k", "x-idempotency-key": "l"}, BAD_REQUEST),
        ({"content-encoding": "gzip"}, BAD_REQUEST),
    ],
    ids=["one of 20 KB", "20 of 1 KB", "a token of 20 KB", "a long key", "two keys", "said to be packed"],
)
def test_headers_that_are_none(edge: Edge, headers: dict[str, str], expected: int) -> None:
    before = edge.rows()
    place = PLACES["transfer"]
    body = place.body() if "content-encoding" not in headers else b"\x1f\x8b\x08\x00"
    status, answer = edge.send(place, body, headers)
    assert status == expected
    is_status(answer, status)
    assert edge.rows() == before


@pytest.mark.parametrize(
    "content_type", ["application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/plain", "x"]
)
def test_a_body_of_another_type_is_no_json(edge: Edge, content_type: str) -> None:
    """What is sent as another type is read as JSON all the same, and is none."""
    before = edge.rows()
    place = PLACES["transfer"]
    status, _ = edge.send(place, b"source=wallets%2Fbad-bodies&amount=5", {"content-type": content_type})
    assert 400 <= status < 500
    assert edge.rows() == before


@pytest.mark.parametrize("protocol", ["websocket", "h2c, websocket"])
def test_a_switch_to_another_protocol_is_refused_in_words(edge: Edge, protocol: str) -> None:
    place = PLACES["transfer"]
    status, answer = edge.send(place, b"", {"connection": "upgrade", "upgrade": protocol})
    assert (status, answer["code"], answer["details"][0]["reason"]) == (403, 7, "PERMISSION_DENIED")
    assert "upgrade_failed" in answer["message"]


@pytest.mark.parametrize("method", ["CONNECT", "TRACE", "OPTIONS"])
def test_no_method_passes_without_a_token(edge: Edge, method: str) -> None:
    """CONNECT has no path to find a rule by."""
    place = Place(method, "127.0.0.1:22" if method == "CONNECT" else "/v1/wallets", {})
    status, answer = edge.send(place, b"", {"authorization": ""})
    assert (status, answer["code"], answer["details"][0]["reason"]) == (401, 16, "UNAUTHENTICATED")


def test_chunks_are_counted_too(edge: Edge) -> None:
    before = edge.rows()
    place = PLACES["transfer"]
    status, body = edge.send(place, place.body(description="a" * 5 * MIB), chunked=True)
    assert status == TOO_LARGE
    is_status(body, status)
    assert edge.rows() == before


def test_the_last_of_two_fields_of_one_name_wins_as_documented(edge: Edge) -> None:
    place = PLACES["transfer"]
    amount = b'"amount": {"currencyCode": "USD", "minorUnits": %s}'
    body = place.body()[:-1] + b", " + amount % b"3" + b"}"
    status, answer = edge.send(place, body)
    assert (status, answer["transaction"]["amount"]["minorUnits"]) == (200, "3")
    inside = place.raw('1, "minorUnits": 2')
    status, answer = edge.send(place, inside)
    assert (status, answer["transaction"]["amount"]["minorUnits"]) == (200, "2")
