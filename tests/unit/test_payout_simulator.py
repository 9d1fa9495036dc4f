"""The simulator as its callers see it: a process that can be started wrongly, killed, and asked by anybody."""

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any
from uuid import uuid4

import grpc
import pytest
from specie.payout.v1 import (
    GetPaymentRequest,
    GetPaymentResponse,
    Payment,
    PaymentState,
    PayoutProviderStub,
    PayRequest,
    PayResponse,
)
from specie.type.v1 import Money

from payout_simulator.__main__ import main
from payout_simulator.faults import CRASHED
from tests.kit.ports import free_port
from tests.kit.service import PATIENCE_SECONDS, wait_until
from tests.kit.simulator import IBAN, SimulatorProcess, code_of, pay_request, simulator


class Caller:
    def __init__(self, process: SimulatorProcess) -> None:
        self._channel = grpc.insecure_channel(process.target)
        self._stub: Any = PayoutProviderStub(self._channel)

    def pay(self, request: PayRequest, seconds: float = PATIENCE_SECONDS) -> Payment:
        answer: PayResponse = self._stub.Pay(request, timeout=seconds, wait_for_ready=True)
        return answer.payment

    def get(self, key: str) -> Payment:
        request = GetPaymentRequest(idempotency_key=key)
        answer: GetPaymentResponse = self._stub.GetPayment(request, timeout=PATIENCE_SECONDS, wait_for_ready=True)
        return answer.payment

    def close(self) -> None:
        self._channel.close()


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimulatorProcess]:
    with simulator(tmp_path_factory.mktemp("simulator")) as running:
        yield running


@pytest.fixture
def caller(bank: SimulatorProcess) -> Iterator[Caller]:
    bank.switch()
    with closing(Caller(bank)) as connected:
        yield connected


def test_a_payment_is_made_and_told_of(bank: SimulatorProcess, caller: Caller) -> None:
    key = str(uuid4())
    payment = caller.pay(pay_request(key))
    assert (payment.idempotency_key, payment.state) == (key, PaymentState.PAYMENT_STATE_PAID)
    assert payment.provider_reference == f"sim-{key}"
    assert payment.HasField("settle_time")
    assert caller.get(key) == payment == caller.pay(pay_request(key))
    assert bank.book()[key].state == "PAID"


def test_it_is_healthy(bank: SimulatorProcess) -> None:
    assert bank.is_healthy()


def test_a_key_comes_with_one_payment(caller: Caller) -> None:
    key = str(uuid4())
    caller.pay(pay_request(key))
    with pytest.raises(grpc.RpcError) as error:
        caller.pay(pay_request(key, 101))
    assert code_of(error.value) == "ALREADY_EXISTS"


def test_a_payment_that_never_came_is_not_found(caller: Caller) -> None:
    with pytest.raises(grpc.RpcError) as error:
        caller.get(str(uuid4()))
    assert code_of(error.value) == "NOT_FOUND"


KEY = str(uuid4())
EUR = Money(currency_code="EUR", minor_units=1)


@pytest.mark.parametrize(
    "request_",
    [
        PayRequest(idempotency_key="mine", amount=EUR, account=IBAN),
        PayRequest(idempotency_key=KEY.upper(), amount=EUR, account=IBAN),
        PayRequest(idempotency_key=KEY, amount=Money(currency_code="EUR"), account=IBAN),
        PayRequest(idempotency_key=KEY, amount=Money(minor_units=1), account=IBAN),
        PayRequest(idempotency_key=KEY, amount=EUR),
    ],
    ids=["no uuid", "another form of a uuid", "no amount", "no currency", "no account"],
)
def test_what_is_no_payment_is_invalid(bank: SimulatorProcess, caller: Caller, request_: PayRequest) -> None:
    with pytest.raises(grpc.RpcError) as error:
        caller.pay(request_)
    assert code_of(error.value) == "INVALID_ARGUMENT"
    assert request_.idempotency_key not in bank.book()


def test_a_refusal_is_a_state_and_no_error(bank: SimulatorProcess, caller: Caller) -> None:
    bank.switch(refuse=1)
    payment = caller.pay(pay_request(str(uuid4())))
    assert (payment.state, payment.refusal) == (PaymentState.PAYMENT_STATE_REFUSED, "the account is closed")


def test_a_pending_payment_settles(bank: SimulatorProcess, caller: Caller) -> None:
    bank.switch(pending=1)
    key = str(uuid4())
    payment = caller.pay(pay_request(key))
    assert payment.state == PaymentState.PAYMENT_STATE_PENDING
    assert not payment.HasField("settle_time")
    wait_until(lambda: caller.get(key).state == PaymentState.PAYMENT_STATE_PAID, "it settles")


def test_a_lost_answer_was_a_payment(bank: SimulatorProcess, caller: Caller) -> None:
    bank.switch(lost_answer=1)
    keys = [str(uuid4()) for _ in range(6)]
    for key in keys:
        with pytest.raises(grpc.RpcError) as error:
            caller.pay(pay_request(key), seconds=0.5)
        assert code_of(error.value) in {"UNAVAILABLE", "DEADLINE_EXCEEDED"}
    assert {bank.book()[key].state for key in keys} == {"PAID"}


def test_many_at_once_with_duplicates_are_paid_once(bank: SimulatorProcess, caller: Caller) -> None:
    bank.switch(duplicate=1, delay_ms=5)
    keys = [str(uuid4()) for _ in range(5)]
    with ThreadPoolExecutor(20) as callers:
        payments = list(callers.map(lambda number: caller.pay(pay_request(keys[number % 5])), range(20)))
    assert len({payment.SerializeToString() for payment in payments}) == 5


def test_wrong_faults_are_told_of_and_the_old_ones_stay(bank: SimulatorProcess, caller: Caller) -> None:
    bank.switch(refuse=1)
    caller.pay(pay_request(str(uuid4())))
    bank.switch(refuze=0)
    assert caller.pay(pay_request(str(uuid4()))).state == PaymentState.PAYMENT_STATE_REFUSED
    assert "there is no fault 'refuze'" in bank.log()


def test_it_is_killed_and_knows_what_it_paid(tmp_path: Path) -> None:
    with simulator(tmp_path) as bank, closing(Caller(bank)) as caller:
        key = str(uuid4())
        payment = caller.pay(pay_request(key))
        bank.kill()
        bank.start()
        assert caller.get(key) == payment
        bank.switch(refuse=1)
        assert caller.pay(pay_request(key)) == payment


def test_it_crashes_when_it_is_told_to(tmp_path: Path) -> None:
    with simulator(tmp_path) as bank, closing(Caller(bank)) as caller:
        bank.switch(crash=1)
        with pytest.raises(grpc.RpcError):
            caller.pay(pay_request(str(uuid4())))
        assert bank.wait() == CRASHED
        assert bank.happened() == {"crash": 1}


def test_it_ends_in_order_with_calls_under_way(tmp_path: Path) -> None:
    with simulator(tmp_path) as bank, closing(Caller(bank)) as caller, ThreadPoolExecutor(1) as another:
        bank.switch(delay_ms=60_000)
        waiting = another.submit(caller.pay, pay_request(str(uuid4())))
        wait_until(lambda: bank.happened()["delay"], "the call is under way")
        assert bank.stop() == 0
        assert isinstance(waiting.exception(), grpc.RpcError)


def test_it_does_not_share_a_port(bank: SimulatorProcess, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "payout_simulator", "--port", str(bank.port), "--data-dir", str(tmp_path)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False)
    assert ended.returncode == 1
    assert "payout_simulator: " in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_folder_that_cannot_be_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    assert main(["--data-dir", str(tmp_path / "file")]) == 1
    assert "file" in capsys.readouterr().err


def test_a_book_that_is_none_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bank.sqlite3").write_text("not a database, and longer than a header would be" * 10)
    assert main(["--data-dir", str(tmp_path)]) == 1
    assert "not a database" in capsys.readouterr().err


def test_a_wrong_faults_file_at_the_start_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    faults = tmp_path / "faults.json"
    faults.write_text('{"crash": 2}')
    assert main(["--data-dir", str(tmp_path), "--faults", str(faults)]) == 1
    assert f"payout_simulator: {faults}: crash must be a number from 0 to 1, not 2" in capsys.readouterr().err


def test_tls_is_whole_or_not_at_all(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--data-dir", str(tmp_path), "--tls-key", "key.pem"])
    assert ended.value.code == 2
    assert "give all three of --tls-certificate, --tls-key and --tls-ca, or none" in capsys.readouterr().err


def test_a_certificate_that_is_not_there_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = [f"--tls-{name}={tmp_path / name}.pem" for name in ("certificate", "key", "ca")]
    assert main(["--data-dir", str(tmp_path), "--port", str(free_port()), *files]) == 1
    assert "key.pem" in capsys.readouterr().err
