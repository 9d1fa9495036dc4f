"""`python -m wallet_service` as whoever runs it sees it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import grpc
import pytest
from specie.wallet.v1 import ListWalletsRequest, WalletServiceStub

from service_kit import probe
from tests.kit.ports import free_port
from tests.kit.postgres import Database
from tests.kit.tokens import SERVICE_TOKEN_FILE, SETTINGS, Authorised

PATIENCE_SECONDS = 30.0


@contextmanager
def process(database: Database, port: int, **settings: str) -> Iterator["subprocess.Popen[str]"]:
    environment = {
        "SPECIE_WALLET_DATABASE_DSN": database.wallet_dsn,
        "SPECIE_WALLET_PORT": str(port),
        "SPECIE_WALLET_SHUTDOWN_NOTICE_SECONDS": "0",
        "SPECIE_WALLET_TRANSACTION_TARGET": f"ipv4:127.0.0.1:{free_port()}",
        "SPECIE_WALLET_SERVICE_TOKEN_FILE": str(SERVICE_TOKEN_FILE),
        **{f"SPECIE_WALLET_{name}": value for name, value in (SETTINGS | settings).items()},
    }
    command = [sys.executable, "-m", "wallet_service"]
    started = subprocess.Popen(command, env=os.environ | environment, stderr=subprocess.PIPE, text=True)
    try:
        yield started
    finally:
        started.kill()
        started.communicate()


def wait_until_ready(port: int) -> None:
    last = time.monotonic() + PATIENCE_SECONDS
    while probe.main([f"127.0.0.1:{port}"]) != 0:
        assert time.monotonic() < last
        time.sleep(0.05)


def test_it_serves_without_the_account_service_and_stops_on_sigterm(database: Database) -> None:
    port = free_port()
    with process(database, port) as running:
        wait_until_ready(port)
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            assert not Authorised(WalletServiceStub(channel)).ListWallets(ListWalletsRequest(), timeout=10).wallets
        running.send_signal(signal.SIGTERM)
        _, log = running.communicate(timeout=PATIENCE_SECONDS)
        assert running.returncode == 0
        assert '"event":"stopped"' in log
        assert database.wallet_dsn not in log


@pytest.mark.parametrize("setting", ["TRANSACTION_TARGET", "RECONCILE_SECONDS"])
def test_an_empty_setting_does_not_start_either(database: Database, setting: str) -> None:
    with process(database, free_port(), **{setting: ""}) as started:
        _, log = started.communicate(timeout=PATIENCE_SECONDS)
        assert started.returncode != 0
        assert "SPECIE_WALLET_" + setting in log
        assert database.wallet_dsn not in log
