"""`specie token` and the local issuer behind it."""

import json
import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from typer.testing import CliRunner, Result

from service_kit.keys import Keys, usable
from service_kit.tokens import Tokens
from specie_cli.main import app
from specie_cli.stack.failure import StackError
from specie_cli.stack.issuer import ALGORITHM, AUDIENCE, ISSUER, TTL_SECONDS_MAX, Issuer, key_id
from tests.kit.wallets import asynchronous


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["token", *map(str, arguments)])


def minted(folder: Path, *arguments: object) -> Result:
    return run("--subject", "alice", "--scope", "wallets.read", "--data-dir", folder, *arguments)


def claims(token: str) -> dict[str, object]:
    found: dict[str, object] = jwt.decode(token.strip(), options={"verify_signature": False})
    return found


@pytest.fixture
def issuer(tmp_path: Path) -> Issuer:
    made = Issuer(tmp_path)
    made.make()
    return made


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_it_prints_a_token_and_nothing_else_that_services_take(tmp_path: Path, issuer: Issuer) -> None:
    answer = run("--subject", "alice", "--scope", "wallets.read audit.read", "--data-dir", tmp_path, "--ttl", 60)
    assert (answer.exit_code, answer.stderr) == (0, "")
    assert answer.stdout.count("\n") == 1
    told = claims(answer.stdout)
    assert (told["exp"], told["sub"]) == (int(str(told["iat"])) + 60, "alice")

    @asynchronous
    async def test() -> None:
        tokens = Tokens(Keys(str(issuer.key_set)), ISSUER, AUDIENCE, TTL_SECONDS_MAX)
        caller = (await tokens.verified(f"Bearer {answer.stdout.strip()}")).caller
        assert (caller.subject, caller.scopes) == ("alice", frozenset({"wallets.read", "audit.read"}))

    test()


def test_a_scope_of_somebody_elses_is_minted_with_a_warning(issuer: Issuer) -> None:
    answer = run("--subject", "alice", "--scope", "openid wallets.reed", "--data-dir", issuer.key_set.parent)
    assert answer.exit_code == 0
    assert "no scope openid, wallets.reed" in answer.stderr
    assert "wallets.read" in answer.stderr
    assert claims(answer.stdout)["scope"] == "openid wallets.reed"


def test_a_token_that_lives_too_long_is_minted_with_a_warning(issuer: Issuer) -> None:
    answer = minted(issuer.key_set.parent, "--ttl", TTL_SECONDS_MAX + 1)
    assert answer.exit_code == 0
    assert str(TTL_SECONDS_MAX) in answer.stderr


@pytest.mark.parametrize("subject", ["", "system", "system/expiry", "a\nb", "a\x7f", "a" * 129])
def test_subjects_that_no_service_takes_are_refused(issuer: Issuer, subject: str) -> None:
    answer = run("--subject", subject, "--scope", "admin", "--data-dir", issuer.key_set.parent)
    assert (answer.exit_code, answer.stdout) == (2, "")
    assert "error: a subject" in answer.stderr


@pytest.mark.parametrize("arguments", [["--ttl", 0], ["--ttl", -1], ["--renew"]])
def test_arguments_that_make_no_sense_are_refused(issuer: Issuer, arguments: list[object]) -> None:
    answer = minted(issuer.key_set.parent, *arguments)
    assert (answer.exit_code, answer.stdout) == (2, "")


def test_without_an_issuer_it_says_how_to_get_one(tmp_path: Path) -> None:
    answer = minted(tmp_path)
    assert (answer.exit_code, answer.stdout) == (1, "")
    assert "specie up" in answer.stderr
    assert list(tmp_path.iterdir()) == []


def test_it_makes_an_issuer_when_asked_to_and_then_stays_with_it(tmp_path: Path) -> None:
    folder = tmp_path / "new"
    first = minted(folder, "--create-issuer")
    assert (first.exit_code, first.stderr) == (0, "")
    published = (folder / "jwks.json").read_text()
    second = minted(folder, "--create-issuer")
    assert (folder / "jwks.json").read_text() == published
    (key,) = usable(published, "here")
    for answer in (first, second):
        assert jwt.decode(answer.stdout.strip(), key.key, [key.algorithm], audience=AUDIENCE)["sub"] == "alice"
        assert jwt.get_unverified_header(answer.stdout.strip())["kid"] == key.id


def test_only_its_owner_can_read_what_is_secret(tmp_path: Path) -> None:
    """However lax the process' own mask is. The key set is for everybody."""
    before = os.umask(0)
    try:
        minted(tmp_path, "--create-issuer", "--output", tmp_path / "a.token")
    finally:
        os.umask(before)
    assert mode(tmp_path / "secrets") == 0o700
    assert {mode(file) for file in (tmp_path / "secrets").iterdir()} == {0o600}
    assert mode(tmp_path / "a.token") == 0o600
    assert mode(tmp_path / "jwks.json") == 0o644
    assert {file.name for file in tmp_path.iterdir()} == {"secrets", "jwks.json", "a.token"}


def test_the_key_set_has_no_secret(issuer: Issuer) -> None:
    (public,) = json.loads(issuer.key_set.read_text())["keys"]
    assert set(public) == {"kty", "crv", "x", "y", "kid", "use", "alg"}
    assert (public["alg"], public["use"], public["kid"]) == (ALGORITHM, "sig", key_id(issuer._key()))


def test_a_key_set_that_was_lost_is_written_again_from_the_key(issuer: Issuer) -> None:
    published = issuer.key_set.read_text()
    issuer.key_set.unlink()
    issuer.make()
    assert issuer.key_set.read_text() == published


@pytest.mark.parametrize("key", [ed25519.Ed25519PrivateKey.generate(), ec.generate_private_key(ec.SECP384R1())])
def test_a_key_of_another_kind_is_told_of(
    issuer: Issuer, key: ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey
) -> None:
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    issuer._key_file.write_bytes(pem)
    with pytest.raises(StackError, match="P-256"):
        issuer.make()


@pytest.mark.parametrize("content", [b"", b"no key", b"\xff"])
def test_a_key_file_that_is_no_key_is_told_of(issuer: Issuer, content: bytes) -> None:
    issuer._key_file.write_bytes(content)
    answer = minted(issuer.key_set.parent)
    assert (answer.exit_code, answer.stdout) == (1, "")
    assert "issuer.pem" in answer.stderr


class Stop(Exception):  # noqa: N818 - no error
    """The end of what goes on for ever."""


def test_it_renews_a_file_when_half_of_its_time_is_over(issuer: Issuer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each time a new file, whole, in place of the old one, which nobody but its owner can read."""
    folder = issuer.key_set.parent
    output = folder / "wallet.token"
    seen: list[tuple[float, str, int]] = []

    def between() -> Iterator[None]:
        for _ in range(2):
            yield
        raise Stop

    rounds = between()

    def sleep(seconds: float) -> None:
        seen.append((seconds, output.read_text(), output.stat().st_ino))
        assert mode(output) == 0o600
        next(rounds)

    monkeypatch.setattr(time, "sleep", sleep)
    answer = minted(folder, "--output", output, "--renew", "--ttl", 60)
    assert isinstance(answer.exception, Stop)
    assert answer.stdout == ""
    assert [seconds for seconds, *_ in seen] == [30, 30, 30]
    # Signatures differ each time.
    assert len({text for _, text, _ in seen}) == 3
    assert seen[0][2] != seen[1][2]
    assert {claims(text)["sub"] for _, text, _ in seen} == {"alice"}
    assert sorted(file.name for file in folder.iterdir()) == ["jwks.json", "secrets", "wallet.token"]
