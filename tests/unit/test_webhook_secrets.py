"""Webhooks' secrets: as Standard Webhooks has them, unreadable as they are kept, readable after a change of keys."""

import base64
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from standardwebhooks import Webhook

from transaction_service.webhooks.secrets import KeysUnusable, Secrets, SecretUnreadable


def key() -> str:
    return Fernet.generate_key().decode()


def keys_file(folder: Path, *keys: str) -> str:
    path = folder / "webhooks.keys"
    path.write_text("".join(f"{line}\n" for line in keys))
    return str(path)


def test_a_secret_is_one_that_receivers_libraries_take(tmp_path: Path) -> None:
    secret = Secrets.from_file(keys_file(tmp_path, key())).new()
    prefix, _, encoded = secret.partition("_")
    assert prefix == "whsec"
    assert len(base64.b64decode(encoded, validate=True)) == 32
    now = datetime.now(UTC)
    signature = Webhook(secret).sign("evt_1", now, "{}")
    headers = {"webhook-id": "evt_1", "webhook-timestamp": str(int(now.timestamp())), "webhook-signature": signature}
    assert Webhook(secret).verify("{}", headers) == {}


def test_no_two_secrets_are_alike(tmp_path: Path) -> None:
    secrets = Secrets.from_file(keys_file(tmp_path, key()))
    assert len({secrets.new() for _ in range(100)}) == 100


def test_what_is_kept_does_not_show_the_secret(tmp_path: Path) -> None:
    secrets = Secrets.from_file(keys_file(tmp_path, key()))
    secret = secrets.new()
    kept = secrets.sealed(secret)
    assert secret not in kept
    assert secret.removeprefix("whsec_").encode() not in base64.urlsafe_b64decode(kept)
    assert secrets.sealed(secret) != kept
    assert secrets.opened(kept) == secret


def test_the_first_key_encrypts_and_all_decrypt(tmp_path: Path) -> None:
    old, new = key(), key()
    kept = Secrets.from_file(keys_file(tmp_path, old)).sealed("whsec_a")
    both = Secrets.from_file(keys_file(tmp_path, new, old))
    assert both.opened(kept) == "whsec_a"
    assert Secrets.from_file(keys_file(tmp_path, new)).opened(both.sealed("whsec_b")) == "whsec_b"


@pytest.mark.parametrize("changed", ["", "x", "gAAAAA"])
def test_what_no_key_opens_is_unreadable(tmp_path: Path, changed: str) -> None:
    kept = Secrets.from_file(keys_file(tmp_path, key())).sealed("whsec_a")
    with pytest.raises(SecretUnreadable):
        Secrets.from_file(keys_file(tmp_path, key())).opened(changed or kept)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "there is none in it"),
        (b" \n\n", "there is none in it"),
        (b"not a key", "key 1 is not 32 bytes"),
        (base64.b64encode(bytes(32)) + b"\n" + b"c2hvcnQ=\n", "key 2 is not 32 bytes"),
        (b"\xff\xfe", "no text of ASCII"),
    ],
)
def test_a_file_without_good_keys_is_named(tmp_path: Path, content: bytes, problem: str) -> None:
    path = tmp_path / "keys"
    path.write_bytes(content)
    with pytest.raises(KeysUnusable, match=problem) as raised:
        Secrets.from_file(str(path))
    assert str(path) in str(raised.value)


def test_what_is_in_a_file_is_not_told(tmp_path: Path) -> None:
    good, bad = key(), key()[:-3]
    with pytest.raises(KeysUnusable) as raised:
        Secrets.from_file(keys_file(tmp_path, good, bad))
    assert good not in str(raised.value)
    assert bad not in str(raised.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(KeysUnusable, match=r"cannot be read: .*nowhere: No such file"):
        Secrets.from_file(str(tmp_path / "nowhere"))
