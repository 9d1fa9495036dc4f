"""The issuer's keys: which key sets can be used, and when they are read again."""

import asyncio
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jwt
import pytest
import structlog
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from service_kit import keys as keys_module
from service_kit.keys import Keys, KeysUnreadable, usable
from tests.kit.key_server import KeyServer, key_server
from tests.kit.service import wait_until_async
from tests.kit.wallets import asynchronous


def elliptic(name: str = "one", curve: ec.EllipticCurve | None = None, **more: object) -> dict[str, object]:
    made = ec.generate_private_key(curve or ec.SECP256R1()).public_key()
    return {**jwt.algorithms.ECAlgorithm.to_jwk(made, as_dict=True), "kid": name, **more}


def edwards(name: str = "ed", **more: object) -> dict[str, object]:
    made = Ed25519PrivateKey.generate().public_key()
    return {**jwt.algorithms.OKPAlgorithm.to_jwk(made, as_dict=True), "kid": name, **more}


def key_set(*entries: object) -> str:
    return json.dumps({"keys": entries})


RSA = {"kty": "RSA", "n": "AA", "e": "AQAB", "kid": "rsa"}

USABLE: Mapping[str, tuple[list[Any], list[tuple[str, str]]]] = {
    "none: all were withdrawn": ([], []),
    "both algorithms": ([elliptic(), edwards()], [("one", "ES256"), ("ed", "EdDSA")]),
    "without an id": ([{k: v for k, v in elliptic().items() if k != "kid"}], [("", "ES256")]),
    "an id that is a number": ([elliptic(kid=5)], [("5", "ES256")]),
    "RSA beside": ([RSA, elliptic()], [("one", "ES256")]),
    "another curve beside": ([elliptic("large", ec.SECP384R1()), elliptic()], [("one", "ES256")]),
    "one to encrypt with beside": ([elliptic("enc", use="enc"), elliptic(use="sig")], [("one", "ES256")]),
    "one for another algorithm beside": ([elliptic("x", alg="ECDH-ES"), elliptic(alg="ES256")], [("one", "ES256")]),
    "what is no key beside": ([5, None, [], {}, {"kty": ["EC"], "crv": {}}, elliptic()], [("one", "ES256")]),
}


@pytest.mark.parametrize(("entries", "found"), USABLE.values(), ids=USABLE)
def test_what_can_be_used_of_a_key_set(entries: list[Any], found: list[tuple[str, str]]) -> None:
    assert [(key.id, key.algorithm) for key in usable(key_set(*entries), "here")] == found


SECRET = {"kty": "oct", "k": "c2VjcmV0", "kid": "s"}
PRIVATE = {**jwt.algorithms.ECAlgorithm.to_jwk(ec.generate_private_key(ec.SECP256R1()), as_dict=True), "kid": "p"}

UNUSABLE: Mapping[str, tuple[str, str]] = {
    "nothing": ("", "not a JSON Web Key Set"),
    "no JSON": ("<html>", "not a JSON Web Key Set"),
    "a number": ("5", "not a JSON Web Key Set"),
    "null": ("null", "not a JSON Web Key Set"),
    "another object": ('{"key": []}', "not a JSON Web Key Set"),
    "keys are a number": ('{"keys": 5}', "not a JSON Web Key Set"),
    "too deep": ("[" * 100_000, "not a JSON Web Key Set"),
    "text for keys": ('{"keys": "abc"}', "no key for"),
    "only others": (key_set(RSA), "no key for"),
    "a symmetric key": (key_set(SECRET), "symmetric or a private key"),
    "a symmetric key among others": (key_set(elliptic(), SECRET), "symmetric or a private key"),
    "a private key": (key_set(elliptic(), PRIVATE), "symmetric or a private key"),
    "a coordinate too short": (key_set(elliptic(x="AA")), "the key one is broken"),
    "a coordinate that is a number": (key_set(elliptic(x=5)), "the key one is broken"),
    "a point beside the curve": (key_set(elliptic(y=elliptic()["y"])), "the key one is broken"),
    "a broken EdDSA key": (key_set(edwards(x="AA")), "the key ed is broken"),
}


@pytest.mark.parametrize(("text", "told"), UNUSABLE.values(), ids=UNUSABLE)
def test_a_key_set_that_is_no_good_is_refused_whole(text: str, told: str) -> None:
    with pytest.raises(KeysUnreadable, match=told):
        usable(text, "here")


@pytest.fixture
def server() -> Iterator[KeyServer]:
    with key_server() as running:
        yield running


@pytest.fixture(autouse=True)
def _quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FILE_SECONDS", "URL_SECONDS"):
        monkeypatch.setattr(keys_module, name, 0.01)


@asynchronous
async def test_a_file_must_be_there_at_the_start() -> None:
    with pytest.raises(KeysUnreadable, match="nowhere"):
        await Keys("/nowhere/jwks.json").begin()


@pytest.mark.parametrize("at_a_url", [False, True], ids=["file", "url"])
def test_keys_come_and_go_while_the_service_runs(tmp_path: Path, server: KeyServer, *, at_a_url: bool) -> None:
    file = tmp_path / "jwks.json"

    def publish(text: str) -> None:
        file.write_text(text)
        server.publish(text)

    @asynchronous
    async def test() -> None:
        publish(key_set(elliptic("old")))
        keys = Keys(server.url if at_a_url else str(file))
        await keys.begin()
        watching = asyncio.create_task(keys.watch())
        assert keys.generation == 1
        publish(key_set(elliptic("new"), edwards("ed")))
        await wait_until_async(lambda: keys.generation == 2, "the new keys are read")
        assert [key.id for key in await keys.find("new", "ES256")] == ["new"]
        assert [key.id for key in await keys.find(None, "EdDSA")] == ["ed"]
        assert list(await keys.find("old", "ES256")) == []
        # While what is published is no good, those that were read last stay.
        with structlog.testing.capture_logs() as logs:
            publish(key_set(elliptic("newer"), SECRET))
            await wait_until_async(lambda: logs, "it is told")
        assert {line["event"] for line in logs} == {"keys_not_read"}
        assert [key.id for key in await keys.find("new", "ES256")] == ["new"]
        assert keys.generation == 2
        # An issuer that withdraws all of them is believed.
        publish(key_set())
        await wait_until_async(lambda: keys.generation == 3, "that there are no keys is read")
        assert list(await keys.find("new", "ES256")) == []
        assert not watching.done()
        watching.cancel()

    test()


NONSENSE: Mapping[str, bytes] = {
    "silence": b"",
    "no HTTP": b"hello\r\n\r\n",
    "an endless line": b"H" * 200_000,
    "an error": b"HTTP/1.0 500 Oops\r\n\r\n",
    "less than promised": b"HTTP/1.0 200 OK\r\ncontent-length: 999\r\n\r\n{",
    "broken chunks": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
    "no UTF-8": b"HTTP/1.0 200 OK\r\n\r\n\xff",
    "a file elsewhere": b"HTTP/1.0 302 Found\r\nlocation: file:///etc/passwd\r\n\r\n",
    "more than enough": b"HTTP/1.0 200 OK\r\n\r\n" + b" " * (keys_module.BYTES_MAX + 10),
}


@pytest.mark.parametrize("answer", NONSENSE.values(), ids=NONSENSE)
def test_whatever_the_url_says_the_service_lives(server: KeyServer, answer: bytes) -> None:
    @asynchronous
    async def test() -> None:
        server.answer = answer
        keys = Keys(server.url)
        with structlog.testing.capture_logs() as logs:
            await keys.begin()
        assert [line["event"] for line in logs] == ["keys_not_read"]
        with pytest.raises(KeysUnreadable):
            await keys.find(None, "ES256")

    test()


def test_a_url_that_is_down_at_the_start_may_come_up_later(server: KeyServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys_module, "UNKNOWN_KEY_SECONDS", 0.01)

    @asynchronous
    async def test() -> None:
        keys = Keys(server.url)
        await keys.begin()
        watching = asyncio.create_task(keys.watch())
        with pytest.raises(KeysUnreadable):
            await keys.find("one", "ES256")
        with pytest.raises(KeysUnreadable):
            await keys.check()  # nobody is let in, so the process is not ready
        server.publish(key_set(elliptic("one")))
        await wait_until_async(lambda: keys.generation == 1, "the keys are read")
        assert len(await keys.find("one", "ES256")) == 1
        server.publish("no keys any more")
        await keys.check()
        watching.cancel()

    test()


@asynchronous
async def _strangers(keys: Keys, server: KeyServer) -> None:
    await keys.begin()
    before = server.fetched
    for number in range(200):
        assert list(await keys.find(f"stranger-{number}", "ES256")) == []
        assert list(await keys.find("one", f"HS{number}")) == []
    assert server.fetched == before


def test_tokens_with_unknown_keys_cannot_make_us_hammer_the_url(server: KeyServer) -> None:
    server.publish(key_set(elliptic("one")))
    _strangers(Keys(server.url), server)


def test_one_reading_serves_all_who_wait_and_none_of_them_can_end_it(
    server: KeyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At a rotation, many come at once with the new key, and one of them goes away."""

    @asynchronous
    async def test() -> None:
        server.publish(key_set(elliptic("old")))
        keys = Keys(server.url)
        await keys.begin()
        monkeypatch.setattr(keys_module, "UNKNOWN_KEY_SECONDS", 0)
        server.held.clear()
        server.publish(key_set(elliptic("new")))
        first = asyncio.create_task(keys.find("new", "ES256"))
        await wait_until_async(lambda: server.fetched == 2, "it is asked for")
        monkeypatch.setattr(keys_module, "UNKNOWN_KEY_SECONDS", 5)
        others = [asyncio.create_task(keys.find("new", "ES256")) for _ in range(50)]
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        server.held.set()
        assert {len(found) for found in await asyncio.gather(*others)} == {1}
        assert server.fetched == 2

    test()
