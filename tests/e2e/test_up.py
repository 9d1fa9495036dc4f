"""`specie up`: what stays, what is refused, and that nothing outlives it."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from uuid import uuid4

import grpc
import psycopg2
import pytest
from specie.transaction.v1 import TransactionServiceStub, TransferRequest
from specie.type.v1 import Money

from specie_cli.stack import postgres, system_user
from specie_cli.stack.directory import DataDirectory
from specie_cli.stack.postgres import wheel_tree
from tests.kit.ports import free_port
from tests.kit.stack import SPECIE, STOP_TIMEOUT_SECONDS, Stack, running_stack, specie

NAMES = {"bin/postgres": "postgresql", "envoy.yaml": "envoy", "transaction_service.back_office": "back-office"}
"""By what tells a part's process, where that is not the service's own name."""


def parts(stack: Stack) -> dict[str, int]:
    """The pids of what the stack has started, by name."""
    listed = subprocess.run(
        ["ps", "-ww", "-o", "pid=,args=", "--ppid", str(stack.process.pid)], capture_output=True, text=True, check=True
    )
    found = {}
    for line in listed.stdout.splitlines():
        pid, arguments = line.split(maxsplit=1)
        for name in (*NAMES, "wallet_service", "transaction_service"):
            if name in arguments:
                found[name] = int(pid)
                break
    return found


def wait_until_all_parts_are_gone(data_dir: Path) -> None:
    """The lock is inherited by every part and every child of one."""
    directory = DataDirectory(data_dir)
    directory.open()
    directory.close()


@pytest.fixture
def data_dir() -> Iterator[Path]:
    """Where another user, who may have to run PostgreSQL, can reach it. Pytest's own folders are closed."""
    with tempfile.TemporaryDirectory(prefix="specie-up-") as folder:
        Path(folder).chmod(0o711)
        yield Path(folder) / "data"


def test_data_stays_and_secrets_do_not_show(data_dir: Path) -> None:
    arguments = ["--data-dir", str(data_dir)]
    with running_stack(arguments, measured=True) as stack:
        stack.call("POST", "/v1/wallets?walletId=alice", {"currencyCode": "USD"})
        deposit = {"amount": {"currencyCode": "USD", "minorUnits": "5"}, "requestId": "d"}
        assert stack.call("POST", "/v1/wallets/alice:deposit", deposit).body["replayed"] is False
        assert len(parts(stack)) == 5
        assert stack.stop() == 0
        printed = stack.output.read_text()
    assert "data, logs, passwords" in printed
    assert f"export SPECIE_SERVER={stack.grpc}\n" in printed
    assert "the data stays" in printed
    secrets = list((data_dir / "secrets").iterdir())
    passwords = {"postgres", "specie_owner", "specie_wallet", "specie_transaction"}
    assert {f.name for f in secrets} == passwords | {"issuer.pem", "seal.key", "wallet.token", "webhooks.keys"}
    everything = printed + "".join(log.read_text() for log in (data_dir / "logs").iterdir())
    for file in secrets:
        assert file.stat().st_mode & 0o777 == 0o600
        assert file.read_text() not in everything
    with running_stack(arguments, measured=True) as stack:
        assert stack.call("POST", "/v1/wallets/alice:deposit", deposit).body["replayed"] is True
        assert stack.call("GET", "/v1/wallets/alice").body["wallet"]["balance"]["posted"]["minorUnits"] == "5"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has to hand PostgreSQL to another user")
def test_a_directory_that_only_root_can_enter(data_dir: Path) -> None:
    data_dir.parent.chmod(0o700)
    home = data_dir / "postgresql"
    for _ in range(2):
        with running_stack(["--data-dir", str(data_dir)], env={"COLUMNS": "200"}, measured=True) as stack:
            assert stack.stop() == 0
            assert f" {home.resolve()} " in stack.output.read_text()
    assert home.is_symlink()
    assert data_dir.parent.stat().st_mode & 0o777 == 0o700
    target = home.resolve()
    DataDirectory(data_dir).delete()
    assert not target.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has to hand PostgreSQL to another user")
def test_programs_that_only_root_can_reach(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a virtual environment below root's home: they are copied to where PostgreSQL's user can run them."""
    closed, shared = data_dir.parent / "closed", data_dir.parent / "shared"
    closed.mkdir(mode=0o700)
    package = wheel_tree().parent
    for tree in (wheel_tree(), package.parent / f"{package.name}.libs"):
        shutil.copytree(tree, closed / tree.relative_to(package.parent), symlinks=True)
    monkeypatch.setattr(system_user, "SHARED_HOME", shared)
    monkeypatch.setattr(postgres, "wheel_tree", lambda: closed / wheel_tree().relative_to(package.parent))
    server = postgres.Postgres(data_dir.parent / "p", data_dir.parent / "secrets", free_port(), data_dir.parent / "log")
    server.start()
    try:
        psycopg2.connect(server.superuser_dsn()).close()
    finally:
        server.stop()
    assert (shared / f"{postgres.WHEEL}-{version(postgres.WHEEL)}").is_dir()


def test_a_stop_under_load_cuts_nothing_short(data_dir: Path) -> None:
    """Every call either was answered or never came in, and every answered one is in the ledger."""
    arguments = ["--data-dir", str(data_dir)]
    acknowledged: list[str] = []
    refusals: list[str] = []
    enough, stopped = threading.Event(), threading.Event()

    def transfer_until_stopped(money: TransactionServiceStub) -> None:
        while not stopped.is_set():
            key = str(uuid4())
            amount = Money(currency_code="USD", minor_units=1)
            request = TransferRequest(source="wallets/a", destination="wallets/b", amount=amount, request_id=key)
            try:
                money.Transfer(request, timeout=30)
            except grpc.RpcError as error:
                refusals.append(str(error))
                return
            acknowledged.append(key)
            if len(acknowledged) > 200:
                enough.set()

    with running_stack(arguments) as stack, grpc.insecure_channel(stack.grpc) as channel:
        for wallet in ("a", "b"):
            stack.call("POST", f"/v1/wallets?walletId={wallet}", {"currencyCode": "USD"})
        amount = {"currencyCode": "USD", "minorUnits": "1000000000"}
        stack.call("POST", "/v1/wallets/a:deposit", {"amount": amount, "requestId": "d"})
        money = stack.authorised(TransactionServiceStub(channel))
        with ThreadPoolExecutor(16) as pool:
            for _ in range(16):
                pool.submit(transfer_until_stopped, money)
            assert enough.wait(60)
            assert stack.stop() == 0
            stopped.set()
    assert [r for r in refusals if "failed to connect" not in r.lower()] == []
    with running_stack(arguments) as stack:
        connection = psycopg2.connect(stack.owner_dsn)
        try:
            with connection.cursor() as cursor:
                cursor.execute("SELECT request_id FROM transactions.transaction WHERE kind = 1")
                assert {row[0] for row in cursor.fetchall()} == set(acknowledged)
        finally:
            connection.close()


def test_durability_is_on(stack: Stack) -> None:
    connection = psycopg2.connect(stack.owner_dsn)
    try:
        with connection.cursor() as cursor:
            for setting in ("fsync", "synchronous_commit", "full_page_writes"):
                cursor.execute("SELECT current_setting(%s)", (setting,))
                assert cursor.fetchone() == ("on",)
    finally:
        connection.close()


def test_a_wrong_password_is_refused(stack: Stack) -> None:
    user, _, address = stack.owner_dsn.partition("@")
    with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
        psycopg2.connect(f"{user}x@{address}")


def test_a_second_stack_in_the_same_directory_is_refused(data_dir: Path) -> None:
    with running_stack(["--data-dir", str(data_dir)], measured=True) as stack:
        second = specie("up", "--data-dir", str(data_dir), "--port", str(free_port()))
        assert second.returncode == 1
        assert f"process {stack.process.pid}" in second.stderr
        assert stack.call("GET", "/healthz").status == 200


def test_a_taken_port_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        for option in ("--port", "--wallet-port", "--postgres-port"):
            gateway = [] if option == "--port" else ["--port", str(free_port())]
            result = specie("up", "--data-dir", str(tmp_path / "d"), *gateway, option, str(port))
            assert result.returncode == 1
            assert f"Port {port} " in result.stderr
            assert option in result.stderr


def test_two_stacks_run_side_by_side(stack: Stack) -> None:
    with running_stack() as other:
        assert other.call("GET", "/healthz").status == 200
        assert set(other.wallet).isdisjoint(stack.wallet)


def test_settings_and_workers_reach_the_services() -> None:
    arguments = ["--ephemeral", "--wallet-workers", "2"]
    with running_stack(arguments, env={"SPECIE_TRANSACTION_WORKERS": "2", "SPECIE_WALLET_LOG_LEVEL": "DEBUG"}) as stack:
        assert (len(stack.wallet), len(stack.transaction)) == (2, 2)
        for address in (*stack.wallet, *stack.transaction):
            host, _, port = address.rpartition(":")
            socket.create_connection((host, int(port)), timeout=10).close()


@pytest.mark.parametrize("part", ["wallet_service", "transaction_service", *NAMES])
def test_when_a_part_dies_all_stop_and_it_is_named(data_dir: Path, part: str) -> None:
    with running_stack(["--data-dir", str(data_dir)], measured=True) as stack:
        os.kill(parts(stack)[part], signal.SIGKILL)
        assert stack.process.wait(STOP_TIMEOUT_SECONDS) == 1
        printed = stack.output.read_text()
    assert f"error: {NAMES.get(part, part.removesuffix('_service'))} was ended by signal 9" in printed
    wait_until_all_parts_are_gone(data_dir)


def test_nothing_outlives_a_killed_parent_and_the_data_is_safe(data_dir: Path) -> None:
    arguments = ["--data-dir", str(data_dir), "--transaction-workers", "2"]
    with running_stack(arguments) as stack:
        stack.call("POST", "/v1/wallets?walletId=alice", {"currencyCode": "USD"})
        stack.process.kill()
        stack.process.wait()
        wait_until_all_parts_are_gone(data_dir)
    with running_stack(arguments) as stack:
        assert stack.call("GET", "/v1/wallets/alice").status == 200


def test_a_stop_while_it_starts_leaves_nothing(data_dir: Path) -> None:
    process = subprocess.Popen(
        [*SPECIE, "up", "--data-dir", str(data_dir), "--port", str(free_port())], stderr=subprocess.PIPE, text=True
    )
    with process:
        assert process.stderr is not None
        assert any("migrations" in line for line in process.stderr)
        process.send_signal(signal.SIGINT)
        process.stderr.read()
    assert process.returncode == 0
    wait_until_all_parts_are_gone(data_dir)


def test_an_ephemeral_stack_leaves_no_files(tmp_path: Path) -> None:
    with running_stack(env={"TMPDIR": str(tmp_path)}) as stack:
        assert len(list(tmp_path.iterdir())) == 1
        assert stack.stop() == 0
        assert "the data is deleted" in stack.output.read_text()
        assert list(tmp_path.iterdir()) == []


def test_another_databases_password_is_told_from_a_crash(data_dir: Path) -> None:
    with running_stack(["--data-dir", str(data_dir)]) as stack:
        stack.stop()
    (data_dir / "secrets" / "postgres").write_text("not-it")
    result = specie("up", "--data-dir", str(data_dir), "--port", str(free_port()))
    assert result.returncode == 1
    assert "belongs to other data" in result.stderr
    (data_dir / "secrets" / "postgres").unlink()
    result = specie("up", "--data-dir", str(data_dir), "--port", str(free_port()))
    assert "passwords" in result.stderr
