"""Compliance: an inspector finds every attempt to move money, failed ones too: who, when, what, and why it failed."""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from specie.transaction.v1 import (
    AccountState,
    CancelTransactionRequest,
    Fee,
    GetTransactionRequest,
    Transaction,
    TransactionKind,
    TransactionState,
    TransferMode,
    TransferRequest,
)
from specie.type.v1 import Limits

from tests.kit.calls import failed, outcome, posting, usd, wallet_name, why
from tests.kit.crowd import eventually
from tests.kit.postgres import Database
from tests.kit.scenario import Scenario, story
from tests.kit.service import ServiceProcess
from tests.kit.wallets import asynchronous

CASE = "case=4711"
LABELS = dict([CASE.split("=")])
ASYNC = TransferMode.TRANSFER_MODE_ASYNC
NO_UUID = "00000000-0000-0000-0000-000000000000"
MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True)
class Attempt:
    """What an inspector must find. `outcome`: POSTED, PENDING or the reason of the failure."""

    reference: str
    kind: str
    outcome: str
    wallets: tuple[str, ...]

    @property
    def state(self) -> str:
        return self.outcome if self.outcome in ("POSTED", "PENDING") else "FAILED"


class Office:
    """Makes attempts, each under a reference and a request id of its own, and writes them down."""

    def __init__(self, town: Scenario) -> None:
        self._town = town
        self._numbers = count(1)
        self.attempts: list[Attempt] = []

    def marks(self, kind: str, outcome: str, wallets: tuple[str, ...]) -> dict[str, Any]:
        """What the next attempt carries, so that it can be told from all others."""
        reference = f"reference-{next(self._numbers)}"
        self.attempts.append(Attempt(reference, kind, outcome, wallets))
        return {
            "request_id": f"request of {reference}",
            "external_reference": reference,
            "description": f"reason of {reference}",
            "labels": LABELS,
        }

    async def attempt(
        self, kind: str, expected: str, wallets: Iterable[str], call: Callable[..., Awaitable[Any]]
    ) -> Any:  # noqa: ANN401 - the call's answer
        return self._town.hear(await outcome(call(**self.marks(kind, expected, tuple(wallets)))))


async def a_day_of_every_kind(town: Scenario, office: Office) -> None:
    """Every kind of movement, well and badly."""
    desk, attempt = town.client(), office.attempt
    alice, bob, carol = await town.wallet(10_000), await town.wallet(10_000), await town.wallet()
    euros, nobody = await town.wallet(100, "EUR"), wallet_name()
    child = await town.wallet(100, limits=Limits(max_minor_units_per_transaction=10))
    thief, gone = await town.wallet(100), await town.wallet()
    await desk.set_state(thief, AccountState.ACCOUNT_STATE_FROZEN)
    await desk.set_state(gone, AccountState.ACCOUNT_STATE_CLOSED)

    paid = await attempt("TRANSFER", "POSTED", (alice, bob), lambda **m: desk.transfer(alice, bob, 100, **m))
    fee = Fee(basis_points=100, destination=carol)
    await attempt("TRANSFER", "POSTED", (alice, bob, carol), lambda **m: desk.transfer(alice, bob, 100, fee=fee, **m))
    for reason, source, destination, more in (
        ("INSUFFICIENT_FUNDS", carol, bob, {}),
        ("SOURCE_FROZEN", thief, bob, {}),
        ("SOURCE_NOT_FOUND", nobody, bob, {}),
        ("DESTINATION_NOT_FOUND", alice, nobody, {}),
        ("DESTINATION_CLOSED", alice, gone, {}),
        ("CURRENCY_MISMATCH", alice, euros, {}),
        ("TRANSACTION_LIMIT_EXCEEDED", child, bob, {}),
        ("VERSION_MISMATCH", alice, bob, {"expected_version": 77}),
        ("BALANCE_BELOW_MINIMUM", alice, bob, {"minimum_balance_after": 10_000}),
    ):
        call = _transfer(town, source, destination, more)
        await attempt("TRANSFER", reason, (source, destination), call)

    await attempt("DEPOSIT", "POSTED", (alice,), lambda **m: desk.deposit(alice, 50, **m))
    await attempt("DEPOSIT", "NOT_A_PROVIDER", (alice, bob), lambda **m: desk.deposit(alice, 50, provider=bob, **m))
    await attempt("WITHDRAWAL", "POSTED", (alice,), lambda **m: desk.withdraw(alice, 50, **m))
    await attempt("WITHDRAWAL", "INSUFFICIENT_FUNDS", (carol,), lambda **m: desk.withdraw(carol, 5_000, **m))

    split = [posting(alice, -30), posting(bob, 20), posting(carol, 10)]
    await attempt("COMPOUND", "POSTED", (alice, bob, carol), lambda **m: desk.post(split, **m))
    bad = [posting(alice, -30), posting(bob, 20), posting(gone, 10)]
    await attempt("COMPOUND", "DESTINATION_CLOSED", (alice, bob, gone), lambda **m: desk.post(bad, **m))

    name = paid.transaction.name
    await attempt("REVERSAL", "POSTED", (alice, bob), lambda **m: desk.reverse(name, **m))
    await attempt("REVERSAL", "ALREADY_REVERSED", (alice, bob), lambda **m: desk.reverse(name, **m))

    hold = await attempt("HOLD", "POSTED", (alice, bob), lambda **m: desk.place_hold(alice, bob, 60, **m))
    held = hold.hold.name
    await attempt("HOLD", "INSUFFICIENT_FUNDS", (carol, bob), lambda **m: desk.place_hold(carol, bob, 9_000, **m))
    await attempt("CAPTURE", "POSTED", (alice, bob), lambda **m: desk.capture(held, 20, **m))
    await attempt("CAPTURE", "CAPTURE_ABOVE_HOLD", (alice, bob), lambda **m: desk.capture(held, 41, **m))
    await attempt("RELEASE", "POSTED", (alice, bob), lambda **m: desk.release(held, **m))
    await attempt("RELEASE", "HOLD_RELEASED", (alice, bob), lambda **m: desk.release(held, **m))

    batch = [("BATCH_STOPPED", bob), ("DESTINATION_NOT_FOUND", nobody), ("BATCH_STOPPED", carol)]
    transfers = [
        TransferRequest(
            source=alice, destination=payee, amount=usd(1), **office.marks("TRANSFER", reason, (alice, payee))
        )
        for reason, payee in batch
    ]
    town.hear(await failed(desk.batch(transfers, atomic=True)))

    soon = await attempt("TRANSFER", "POSTED", (alice, bob), lambda **m: desk.transfer(alice, bob, 1, mode=ASYNC, **m))
    next_year = Timestamp()
    next_year.FromDatetime(datetime.now(UTC) + timedelta(days=365))
    later: dict[str, Any] = {"mode": ASYNC, "execute_time": next_year}
    await attempt("TRANSFER", "PENDING", (alice, bob), lambda **m: desk.transfer(alice, bob, 1, **later, **m))
    regretted = await attempt(
        "TRANSFER", "TRANSFER_CANCELLED", (alice, bob), lambda **m: desk.transfer(alice, bob, 1, **later, **m)
    )
    await desk.transactions.CancelTransaction(CancelTransactionRequest(name=regretted.transaction.name))

    async def is_posted() -> bool:
        found = await desk.transactions.GetTransaction(GetTransactionRequest(name=soon.transaction.name))
        return state_of(found.transaction) == "POSTED"

    await eventually(is_posted, "the ASYNC transfer is posted")


def _transfer(town: Scenario, source: str, destination: str, more: dict[str, Any]) -> Callable[..., Awaitable[Any]]:
    return lambda **marks: town.client().transfer(source, destination, 50, **more, **marks)


@asynchronous
async def test_every_attempt_of_every_kind_is_found_with_who_when_and_why(
    service: ServiceProcess, database: Database
) -> None:
    async with story(service, database) as town:
        office, inspector = Office(town), town.client(1)
        began = datetime.now(UTC)
        await a_day_of_every_kind(town, office)
        ended = datetime.now(UTC)

        case = {found.external_reference: found for found in await inspector.listed(label=CASE)}
        assert case.keys() == {attempt.reference for attempt in office.attempts}
        for attempt in office.attempts:
            found = case[attempt.reference]
            assert await inspector.listed(external_reference=attempt.reference) == [found]
            assert (kind_of(found), state_of(found)) == (attempt.kind, attempt.state)
            # Who
            assert (found.principal, found.request_id) == ("local", f"request of {attempt.reference}")
            # When
            assert began <= found.create_time.ToDatetime(UTC) <= ended
            assert found.HasField("decide_time") == (attempt.state != "PENDING")
            # Why
            assert found.description == f"reason of {attempt.reference}"
            assert why(found) == (attempt.outcome if attempt.state == "FAILED" else "")
            for wallet in attempt.wallets:
                assert found in await inspector.listed(wallet=wallet)
                assert await inspector.listed(wallet=wallet, **particulars(found)) == [found]

        # By every kind and every state: what is found is what was attempted.
        states = ("POSTED", "FAILED", "PENDING")
        for kind in {attempt.kind for attempt in office.attempts}:
            for state in states:
                expected = {a.reference for a in office.attempts if (a.kind, a.state) == (kind, state)}
                listed = await inspector.listed(
                    kind=f"TRANSACTION_KIND_{kind}", state=f"TRANSACTION_STATE_{state}", label=CASE
                )
                assert {found.external_reference for found in listed} == expected
        await town.ends_with(USD=20_200, EUR=100)


@asynchronous
async def test_what_expires_by_itself_is_found_too(service: ServiceProcess, database: Database) -> None:
    async with story(service, database) as town:
        alice, bob = await town.wallet(100), await town.wallet()
        hold = town.hear(await town.client().place_hold(alice, bob, 60, ttl=Duration(nanos=1_000))).hold
        expiry = TransactionKind.TRANSACTION_KIND_EXPIRY

        async def is_found() -> bool:
            return bool(await town.client().listed(wallet=bob, kind=expiry))

        await eventually(is_found, "the hold expires")
        (found,) = await town.client().listed(wallet=alice, kind=expiry)
        assert (found.hold, found.principal, found.amount) == (hold.name, "system/expiry", usd(60))
        assert found.decide_time.ToDatetime(UTC) >= hold.expire_time.ToDatetime(UTC)
        await town.ends_with(USD=100)


@asynchronous
async def test_what_the_request_alone_decides_leaves_no_trace(service: ServiceProcess, database: Database) -> None:
    async with story(service, database) as town:
        desk, alice, bob = town.client(), await town.wallet(100), await town.wallet()
        refused = [
            await failed(desk.transfer(alice, alice, 1)),
            await failed(desk.transfer(alice, bob, 0)),
            await failed(desk.post([posting(alice, -2), posting(bob, 1)])),
            await failed(desk.capture(f"holds/{NO_UUID}")),
            await failed(desk.reverse(f"transactions/{NO_UUID}")),
        ]
        assert [refusal.reason for refusal in refused] == [
            "SAME_WALLET",
            "INVALID_FIELD",
            "INVALID_FIELD",
            "HOLD_NOT_FOUND",
            "TRANSACTION_NOT_FOUND",
        ]
        assert [found.kind for found in await desk.listed(wallet=alice)] == [TransactionKind.TRANSACTION_KIND_DEPOSIT]
        assert await desk.listed(wallet=bob) == []
        await town.ends_with(USD=100)


def kind_of(found: Transaction) -> str:
    return TransactionKind.Name(found.kind).removeprefix("TRANSACTION_KIND_")


def state_of(found: Transaction) -> str:
    return TransactionState.Name(found.state).removeprefix("TRANSACTION_STATE_")


def particulars(found: Transaction) -> dict[str, Any]:
    """All filters that it passes but its wallets; the time is the microsecond when it was decided or asked for."""
    start = found.decide_time if found.HasField("decide_time") else found.create_time
    end = Timestamp()
    end.FromDatetime(start.ToDatetime() + MICROSECOND)
    return {
        "kind": found.kind,
        "state": found.state,
        "label": CASE,
        "external_reference": found.external_reference,
        "start_time": start,
        "end_time": end,
    }
