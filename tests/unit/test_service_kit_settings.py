"""Settings from the environment: bounds, and a DSN that does not print."""

import json
import subprocess
import sys

import pytest
from pydantic import ValidationError

from transaction_service.settings import TransactionSettings, providers

DSN = "postgresql://role:pass%2Fword@127.0.0.1:5432/specie"
PREFIX = "SPECIE_TRANSACTION_"


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setenv(PREFIX + "DATABASE_DSN", DSN)
    monkeypatch.setenv(PREFIX + "AUTH_ISSUER", "https://issuer")
    monkeypatch.setenv(PREFIX + "AUTH_JWKS", "jwks.json")
    return monkeypatch


def test_what_nobody_sets() -> None:
    settings = TransactionSettings()
    assert (settings.host, settings.port, settings.workers, settings.metrics_port) == ("127.0.0.1", 50061, 1, 0)
    assert (settings.lanes, settings.group_max, settings.queue_length) == (1, 1000, 20_000)
    assert settings.reflection is False


def test_the_dsn_does_not_print_and_reaches_sqlalchemy_in_its_own_form() -> None:
    settings = TransactionSettings()
    assert "word" not in repr(settings) + str(settings)
    assert settings.sqlalchemy_url() == DSN.replace("postgresql:", "postgresql+psycopg2:")


def test_without_a_dsn_it_does_not_start(environment: pytest.MonkeyPatch) -> None:
    environment.delenv(PREFIX + "DATABASE_DSN")
    with pytest.raises(ValidationError, match="database_dsn"):
        TransactionSettings()


@pytest.mark.parametrize("name", ["AUTH_ISSUER", "AUTH_JWKS"])
def test_without_an_issuer_it_does_not_start(environment: pytest.MonkeyPatch, name: str) -> None:
    environment.setenv(PREFIX + name, "")
    with pytest.raises(ValidationError, match=name.lower()):
        TransactionSettings()
    environment.delenv(PREFIX + name)
    with pytest.raises(ValidationError, match=name.lower()):
        TransactionSettings()


def test_mutual_tls_is_set_whole_or_not_at_all(environment: pytest.MonkeyPatch) -> None:
    names = ("TLS_CERTIFICATE_FILE", "TLS_KEY_FILE", "TLS_CA_FILE")
    for name in names[:-1]:
        environment.setenv(PREFIX + name, "file.pem")
        with pytest.raises(ValidationError, match="set all three"):
            TransactionSettings()
    environment.setenv(PREFIX + names[-1], "file.pem")
    assert TransactionSettings().tls_ca_file == "file.pem"


@pytest.mark.parametrize(
    ("name", "least", "most"),
    [
        ("PORT", 1, 65_535),
        ("METRICS_PORT", 0, 65_535),
        ("PROBE_PORT", 0, 65_535),
        ("WORKERS", 1, 64),
        ("LANES", 1, 16),
        ("GROUP_MAX", 1, 10_000),
        ("QUEUE_LENGTH", 1, 1_000_000),
        ("READ_THREADS", 1, 64),
        ("READ_QUEUE_LENGTH", 1, 100_000),
        ("STATEMENT_TIMEOUT_SECONDS", 0.01, 600),
        ("SHUTDOWN_NOTICE_SECONDS", 0, 600),
        ("SHUTDOWN_GRACE_SECONDS", 0, 600),
    ],
)
def test_numbers_have_bounds(environment: pytest.MonkeyPatch, name: str, least: float, most: float) -> None:
    for number in (least, most):
        environment.setenv(PREFIX + name, str(number))
        assert getattr(TransactionSettings(), name.lower()) == number
    step = 1 if isinstance(least, int) else least
    for wrong in (least - step, most + 1, "many", ""):
        environment.setenv(PREFIX + name, str(wrong))
        with pytest.raises(ValidationError, match=name.lower()):
            TransactionSettings()


@pytest.mark.parametrize(("name", "wrong"), [("LOG_LEVEL", "LOUD"), ("REFLECTION", "perhaps")])
def test_words_are_from_a_list(environment: pytest.MonkeyPatch, name: str, wrong: str) -> None:
    environment.setenv(PREFIX + name, wrong)
    with pytest.raises(ValidationError, match=name.lower()):
        TransactionSettings()


def test_wrong_settings_are_told_in_one_line_without_their_values(environment: pytest.MonkeyPatch) -> None:
    environment.setenv(PREFIX + "DATABASE_DSN", "postgres://role:secret@host/name")
    environment.setenv(PREFIX + "LANES", "many")
    command = [sys.executable, "-m", "transaction_service"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    [line] = done.stderr.splitlines()
    assert done.returncode == 2
    assert set(json.loads(line)["settings"]) == {PREFIX + "DATABASE_DSN", PREFIX + "LANES"}
    assert "secret" not in line


def test_payout_providers_by_name() -> None:
    assert providers("") == {}
    assert providers("bank=127.0.0.1:9000,old-bank=dns:///bank:443") == {
        "bank": "127.0.0.1:9000",
        "old-bank": "dns:///bank:443",
    }


@pytest.mark.parametrize("text", ["bank", "bank=", "Bank=x:1", "bank=a:1,bank=b:1", "bank=a:1,"])
def test_payout_providers_that_cannot_be_meant(environment: pytest.MonkeyPatch, text: str) -> None:
    environment.setenv(PREFIX + "PAYOUT_PROVIDERS", text)
    with pytest.raises(ValidationError, match="payout_providers"):
        TransactionSettings()
