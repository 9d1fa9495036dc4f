"""The client of payout providers: against the simulator as it runs, and providers that say what they must not."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

import grpc
import grpc.aio
import pytest
from specie.payout.v1 import GetPaymentResponse, PayResponse
from specie.payout.v1 import Payment as PaymentMessage
from specie.payout.v1 import PaymentState as State

from specie_cli.stack.authority import Authority
from tests.kit.ports import free_port
from tests.kit.service import PATIENCE_SECONDS, wait_until
from tests.kit.simulator import IBAN, Booked, SimulatorProcess, simulator
from transaction_service.adapters.payout_provider import GrpcPayoutProvider
from transaction_service.payouts.payout import Payout, PayoutState
from transaction_service.payouts.ports import Payment, PaymentState, Provider, ProviderUnavailable

T = TypeVar("T")
NOW = datetime.now(UTC)


def payout(minor_units: int = 1_250) -> Payout:
    return Payout(
        id=str(uuid4()),
        state=PayoutState.PENDING,
        wallet="wallets/ann",
        provider="bank",
        account=IBAN,
        beneficiary="Ann",
        reference="rent",
        amount=minor_units,
        currency="EUR",
        attempts=1,
        failures=0,
        taken=False,
        next_time=NOW,
        provider_reference="",
        last_error="",
        reversal=None,
        reversal_attempts=0,
        deaths=0,
        create_time=NOW,
        update_time=NOW,
    )


@asynccontextmanager
async def calling(
    target: str, credentials: grpc.ChannelCredentials | None = None, seconds: float = PATIENCE_SECONDS
) -> AsyncIterator[Provider]:
    provider = GrpcPayoutProvider(target, credentials, seconds)
    try:
        yield provider
    finally:
        await provider.close()


def asked(target: str, ask: Callable[[Provider], Awaitable[T]], **how: Any) -> T:  # noqa: ANN401
    async def ask_it() -> T:
        async with calling(target, **how) as provider:
            return await ask(provider)

    return asyncio.run(ask_it())


def unavailable(target: str, ask: Callable[[Provider], Awaitable[object]], **how: Any) -> ProviderUnavailable:  # noqa: ANN401
    with pytest.raises(ProviderUnavailable) as error:
        asked(target, ask, **how)
    return error.value


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimulatorProcess]:
    with simulator(tmp_path_factory.mktemp("simulator")) as process:
        yield process


@pytest.fixture
def bank(running: SimulatorProcess) -> SimulatorProcess:
    running.switch()
    return running


def test_a_payout_is_paid_as_it_stands(bank: SimulatorProcess) -> None:
    mine = payout()
    paid = Payment(PaymentState.PAID, f"sim-{mine.id}")
    assert asked(bank.target, lambda provider: provider.pay(mine)) == paid
    assert asked(bank.target, lambda provider: provider.get(mine.id)) == paid
    assert bank.book()[mine.id] == Booked(1_250, "EUR", IBAN, "Ann", "rent", "PAID")


def test_what_a_customer_wrote_is_one_line(bank: SimulatorProcess) -> None:
    """Also by what Unicode, and many programs that read files, take for the end of one."""
    mine = replace(
        payout(),
        account="DE89\u2028:61:",
        beneficiary="Ann\x85:61:\u2029",
        reference="rent\r\n:61:2611C999,\x1b[31m\u202e \u00fc",
    )
    asked(bank.target, lambda provider: provider.pay(mine))
    booked = bank.book()[mine.id]
    assert (booked.account, booked.beneficiary) == ("DE89 :61:", "Ann :61: ")
    assert booked.reference == "rent  :61:2611C999, [31m  \u00fc"


def test_asked_again_it_is_the_same_payment(bank: SimulatorProcess) -> None:
    mine, before = payout(), len(bank.book())

    async def pay_often(provider: Provider) -> list[Payment]:
        return [await provider.pay(mine), *await asyncio.gather(*[provider.pay(mine) for _ in range(5)])]

    assert len(set(asked(bank.target, pay_often))) == 1
    assert len(bank.book()) == before + 1


def test_a_refusal_has_its_reason(bank: SimulatorProcess) -> None:
    bank.switch(refuse=1)
    mine = payout()
    refused = Payment(PaymentState.REFUSED, f"sim-{mine.id}", "the account is closed")
    assert asked(bank.target, lambda provider: provider.pay(mine)) == refused
    assert asked(bank.target, lambda provider: provider.get(mine.id)) == refused


def test_what_is_pending_settles(bank: SimulatorProcess) -> None:
    bank.switch(pending=1)
    mine = payout()
    pending = Payment(PaymentState.PENDING, f"sim-{mine.id}")
    assert asked(bank.target, lambda provider: provider.pay(mine)) == pending
    wait_until(
        lambda: asked(bank.target, lambda provider: provider.get(mine.id)) == pending._replace(state=PaymentState.PAID),
        "it settles",
    )


def test_a_payment_that_the_provider_does_not_know_is_none(bank: SimulatorProcess) -> None:
    assert asked(bank.target, lambda provider: provider.get(str(uuid4()))) is None


def test_a_key_with_other_content_tells_nothing(bank: SimulatorProcess) -> None:
    mine = payout()
    asked(bank.target, lambda provider: provider.pay(mine))
    error = unavailable(bank.target, lambda provider: provider.pay(replace(mine, amount=1)))
    assert error.code == "ALREADY_EXISTS"
    assert str(error) == "ALREADY_EXISTS: this key has come with another payment"


def test_a_bank_that_is_not_there_tells_nothing() -> None:
    error = unavailable(f"127.0.0.1:{free_port()}", lambda provider: provider.pay(payout()))
    assert error.code == "UNAVAILABLE"


def test_an_answer_that_does_not_come_in_time_tells_nothing(bank: SimulatorProcess) -> None:
    bank.switch(delay_ms=60_000)
    for ask in (lambda provider: provider.pay(payout()), lambda provider: provider.get(str(uuid4()))):
        assert unavailable(bank.target, ask, seconds=0.2).code == "DEADLINE_EXCEEDED"


def test_a_lost_answer_is_found_out_by_asking_again(bank: SimulatorProcess) -> None:
    bank.switch(lost_answer=1)
    mine = payout()
    assert unavailable(bank.target, lambda provider: provider.pay(mine), seconds=0.5).code in {
        "UNAVAILABLE",
        "DEADLINE_EXCEEDED",
    }
    bank.switch()
    assert asked(bank.target, lambda provider: provider.pay(mine)).state is PaymentState.PAID


def test_a_bank_that_was_away_is_found_again(tmp_path: Path) -> None:
    with simulator(tmp_path) as bank:

        async def before_and_after(provider: Provider) -> PaymentState:
            bank.kill()
            with pytest.raises(ProviderUnavailable):
                await provider.pay(payout())
            await asyncio.to_thread(bank.start)
            while True:
                try:
                    return (await provider.pay(payout())).state
                except ProviderUnavailable:
                    await asyncio.sleep(0.02)

        assert asked(bank.target, before_and_after) is PaymentState.PAID


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    made = Authority(tmp_path)
    made.make()
    return made


def shown(authority: Authority, name: str) -> grpc.ChannelCredentials:
    """As the back office makes them of its files."""
    pair = authority.sign(name, ["127.0.0.1"])
    return grpc.ssl_channel_credentials(
        authority.certificate.read_bytes(), pair.key.read_bytes(), pair.certificate.read_bytes()
    )


def test_both_sides_show_certificates(authority: Authority, tmp_path: Path) -> None:
    pair = authority.sign("bank", ["127.0.0.1"])
    files = {"certificate": pair.certificate, "key": pair.key, "ca": authority.certificate}
    with simulator(tmp_path, [f"--tls-{name}={path}" for name, path in files.items()]) as bank:
        mine = payout()
        credentials = shown(authority, "back-office")
        assert asked(bank.target, lambda provider: provider.pay(mine), credentials=credentials).reference
        nameless = grpc.ssl_channel_credentials(authority.certificate.read_bytes())
        for without in (nameless, None):
            assert unavailable(bank.target, lambda p: p.pay(payout()), credentials=without).code == "UNAVAILABLE"
        assert list(bank.book()) == [mine.id]


@asynccontextmanager
async def saying(answer: bytes) -> AsyncIterator[str]:
    """A provider that answers every call with these bytes; its target."""

    async def answer_it(_request: bytes, _context: object) -> bytes:
        return answer

    handler: Any = grpc.unary_unary_rpc_method_handler(answer_it)
    server = grpc.aio.server()
    methods = {"Pay": handler, "GetPayment": handler}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("specie.payout.v1.PayoutProvider", methods),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(None)


MINE = payout()
PAID = PaymentMessage(idempotency_key=MINE.id, state=State.PAYMENT_STATE_PAID, provider_reference="a" * 128)


def told(answer: bytes) -> list[Payment | ProviderUnavailable | None]:
    """What the client makes of it, as the answer of Pay and of GetPayment, which look alike."""

    async def ask() -> list[Payment | ProviderUnavailable | None]:
        found: list[Payment | ProviderUnavailable | None] = []
        async with saying(answer) as target, calling(target) as provider:
            for ask in (provider.pay(MINE), provider.get(MINE.id)):
                try:
                    found.append(await ask)
                except ProviderUnavailable as error:
                    found.append(error)
        return found

    return asyncio.run(ask())


def changed(**fields: Any) -> bytes:  # noqa: ANN401
    message = PaymentMessage()
    message.CopyFrom(PAID)
    message.MergeFrom(PaymentMessage(**fields))
    return PayResponse(payment=message).SerializeToString()


def test_both_answers_look_alike() -> None:
    assert GetPaymentResponse(payment=PAID).SerializeToString() == changed()
    assert told(changed()) == [Payment(PaymentState.PAID, "a" * 128)] * 2
    assert told(changed(refusal="b" * 500, **REFUSED)) == [Payment(PaymentState.REFUSED, "a" * 128, "b" * 500)] * 2


PENDING: dict[str, Any] = {"state": State.PAYMENT_STATE_PENDING}
REFUSED: dict[str, Any] = {"state": State.PAYMENT_STATE_REFUSED}


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (b"", "is about another payment"),
        (changed(idempotency_key=str(uuid4())), "is about another payment"),
        (changed(idempotency_key=MINE.id.upper()), "is about another payment"),
        (
            PayResponse(payment=PaymentMessage(idempotency_key=MINE.id)).SerializeToString(),
            "does not say what became of the payment",
        ),
        (changed(state=9), "does not say what became of the payment"),
        (changed(refusal="no"), "says why it refused a payment that it did not refuse"),
        (changed(refusal="no", **PENDING), "says why it refused a payment that it did not refuse"),
        (changed(provider_reference="a" * 129), "has longer texts than the contract allows"),
        (changed(refusal="a" * 501, **REFUSED), "has longer texts than the contract allows"),
        (changed(refusal="\0", **REFUSED), "has a NUL character, which PostgreSQL does not take"),
        (changed(provider_reference="\0"), "has a NUL character, which PostgreSQL does not take"),
        (b"\xff\xff", "is no message of the contract"),
        (b"\x0a\x03\x1a\x01\xff", "is no message of the contract"),
    ],
    ids=[
        "nothing",
        "another key",
        "another form of the key",
        "no state",
        "a state that is not there",
        "paid and refused",
        "pending and refused",
        "long reference",
        "long refusal",
        "NUL in refusal",
        "NUL in reference",
        "no protobuf",
        "no UTF-8",
    ],
)
def test_an_answer_that_cannot_be_believed_tells_nothing(
    answer: bytes, problem: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("CRITICAL")  # gRPC logs what it cannot read
    for error in told(answer):
        assert isinstance(error, ProviderUnavailable)
        assert (error.code, str(error)) == ("MALFORMED_ANSWER", f"the provider's answer {problem}")


def test_an_answer_that_is_huge_tells_nothing() -> None:
    for error in told(changed(provider_reference="a" * 100_000)):
        assert isinstance(error, ProviderUnavailable)
        assert error.code == "RESOURCE_EXHAUSTED"
