"""The `specie` command against a running stack: tables for people, JSON for machines, advice for mistakes."""

import json
from uuid import uuid4

import pytest

from tests.kit.ports import free_port
from tests.kit.stack import Stack, specie


@pytest.fixture
def wallet(stack: Stack) -> str:
    """A wallet in USD with 100.00 in it."""
    name = f"cli-{uuid4().hex[:12]}"
    run(stack, "wallet", "create", name, "--currency", "usd", "--owner", "ann")
    run(stack, "deposit", name, "--amount", "10000", "--currency", "USD")
    return name


def run(stack: Stack, *arguments: str) -> str:
    result = specie(*arguments, env={"SPECIE_SERVER": stack.grpc, "SPECIE_TOKEN": stack.token})
    assert (result.returncode, result.stderr) == (0, "")
    return result.stdout


def refused(stack: Stack, *arguments: str) -> str:
    result = specie(*arguments, "--server", stack.grpc, env={"SPECIE_TOKEN": stack.token})
    assert (result.returncode, result.stdout) == (1, "")
    assert "Traceback" not in result.stderr
    return result.stderr


def test_get_prints_a_table_in_major_and_minor_units(stack: Stack, wallet: str) -> None:
    output = run(stack, "wallet", "get", wallet)
    for expected in (f"wallets/{wallet}", "ann", "ACTIVE", "100.00 USD (10000)"):
        assert expected in output


def test_get_takes_the_full_name_and_prints_json(stack: Stack, wallet: str) -> None:
    answer = json.loads(run(stack, "wallet", "get", f"wallets/{wallet}", "--json"))
    assert answer["wallet"]["balance"]["posted"] == {"currencyCode": "USD", "minorUnits": "10000"}


def test_list_filters(stack: Stack, wallet: str) -> None:
    listed = json.loads(run(stack, "wallet", "list", "--owner", "ann", "--state", "active", "--json"))["wallets"]
    assert f"wallets/{wallet}" in [w["name"] for w in listed]
    assert {w["owner"] for w in listed} == {"ann"}
    assert f"wallets/{wallet}" not in run(stack, "wallet", "list", "--state", "closed")


def test_transfer_with_the_same_request_id_happens_once(stack: Stack, wallet: str) -> None:
    other = f"{wallet}-2"
    run(stack, "wallet", "create", other, "--currency", "USD")
    transfer = ("transfer", wallet, other, "--amount", "2500", "--currency", "USD", "--request-id", f"k-{wallet}")
    assert "yes" not in run(stack, *transfer)
    assert "yes: it had happened before" in run(stack, *transfer)
    assert "75.00 USD (7500)" in run(stack, "entries", wallet)
    entries = json.loads(run(stack, "entries", wallet, "--newest-first", "--limit", "1", "--json"))["entries"]
    assert [e["amount"]["minorUnits"] for e in entries] == ["-2500"]


def test_entries_fit_a_terminal_of_80_columns(stack: Stack, wallet: str) -> None:
    result = specie("entries", wallet, env={"SPECIE_SERVER": stack.grpc, "SPECIE_TOKEN": stack.token, "COLUMNS": "80"})
    (entry,) = json.loads(run(stack, "entries", wallet, "--json"))["entries"]
    day, time = entry["postTime"].split("T")
    for whole in (day, time[:8], "DEPOSIT", entry["counterparty"], "100.00 USD", "(10000)"):
        assert whole in result.stdout
    assert "description" not in result.stdout
    assert "…" not in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 80
    run(stack, "deposit", wallet, "--amount", "1", "--currency", "USD", "--description", "tip")
    assert "tip" in run(stack, "entries", wallet)


def test_entries_never_send_control_sequences_or_markup_to_the_terminal(stack: Stack, wallet: str) -> None:
    evil = "\x1b[2J[red]paid[/red]"
    run(stack, "deposit", wallet, "--amount", "1", "--currency", "USD", "--description", evil)
    output = run(stack, "entries", wallet)
    assert "\x1b" not in output
    assert "[red]paid[/red]" in output


def test_an_overdraft_names_the_reason_and_the_request_id(stack: Stack, wallet: str) -> None:
    run(stack, "wallet", "create", f"{wallet}-2", "--currency", "USD")
    transfer = ("transfer", wallet, f"{wallet}-2", "--amount", "10001", "--currency", "USD", "--request-id", "o-1")
    error = refused(stack, *transfer)
    assert "INSUFFICIENT_FUNDS" in error
    assert "Deposit first" in error
    assert "request id: o-1" in error


def test_a_broken_rule_names_the_field(stack: Stack, wallet: str) -> None:
    error = refused(stack, "deposit", wallet, "--amount", "1", "--currency", "US")
    assert "INVALID_FIELD" in error
    assert error.count("amount.currency_code: ") == 1


@pytest.mark.parametrize("amount", ["0", "-1", "9223372036854775808"])
@pytest.mark.parametrize("command", [("deposit", "a"), ("transfer", "a", "b")])
def test_an_amount_out_of_range_is_a_mistake_of_usage(command: tuple[str, ...], amount: str) -> None:
    result = specie(*command, "--amount", amount, "--currency", "USD")
    assert (result.returncode, result.stdout) == (2, "")
    assert "--amount" in result.stderr
    assert "Traceback" not in result.stderr


def test_the_largest_amount_is_sent(stack: Stack, wallet: str) -> None:
    error = refused(stack, "transfer", wallet, "nobody", "--amount", "9223372036854775807", "--currency", "USD")
    assert "DESTINATION_NOT_FOUND" in error


def test_an_unknown_wallet_says_where_to_look(stack: Stack) -> None:
    error = refused(stack, "wallet", "get", "nobody-has-this-name")
    assert "WALLET_NOT_FOUND" in error
    assert "specie wallet list" in error


def test_a_server_that_is_not_there_is_another_exit_code() -> None:
    result = specie("wallet", "list", "--server", f"127.0.0.1:{free_port()}")
    assert result.returncode == 3
    assert "specie up" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("scheme", ["http://", "https://"])
def test_a_server_with_a_scheme_is_a_mistake_of_usage(scheme: str) -> None:
    result = specie("wallet", "list", "--server", f"{scheme}127.0.0.1:{free_port()}")
    assert result.returncode == 2
    assert f"leave {scheme} out" in " ".join(result.stderr.replace("│", " ").split())


def test_without_a_token_and_without_its_scope_it_says_what_to_do(stack: Stack, wallet: str) -> None:
    for token, reason, advice in (
        ("", "UNAUTHENTICATED", "Set SPECIE_TOKEN"),
        (stack.mint("ann", "wallets.write"), "PERMISSION_DENIED", "specie token --scope"),
        (stack.mint("bob", "wallets.read"), "WALLET_NOT_FOUND", "specie wallet list"),
    ):
        result = specie("wallet", "get", wallet, "--server", stack.grpc, env={"SPECIE_TOKEN": token})
        assert (result.returncode, result.stdout) == (1, "")
        assert reason in result.stderr
        assert advice in result.stderr
        assert not token or token not in result.stderr


def test_a_minted_token_opens_what_its_scope_says(stack: Stack, wallet: str) -> None:
    minted = specie("token", "--data-dir", str(stack.data_dir), "--subject", "ann", "--scope", "wallets.read")
    assert (minted.returncode, minted.stderr, minted.stdout.count("\n")) == (0, "", 1)
    environment = {"SPECIE_TOKEN": minted.stdout.strip(), "SPECIE_SERVER": stack.grpc}
    assert "100.00 USD" in specie("wallet", "get", wallet, env=environment).stdout
    assert "PERMISSION_DENIED" in specie("wallet", "create", f"{wallet}-3", "--currency", "USD", env=environment).stderr
