"""What the request alone decides: refused with reason and field, and not a row is written."""

from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from specie.transaction.v1 import (
    Account,
    AccountKind,
    AccountState,
    DepositRequest,
    GetAccountsRequest,
    GetBalanceRequest,
    GetTransactionRequest,
    ListEntriesRequest,
    ListTransactionsRequest,
    OpenAccountRequest,
    SetAccountLimitsRequest,
    SetAccountStateRequest,
    TransferRequest,
    WithdrawRequest,
)
from specie.type.v1 import Limits

from service_kit import pages
from tests.kit.calls import CALL_SECONDS, Client, Failed, connected, failed, key, outcome, usd
from tests.kit.ledger import Ledger
from tests.kit.tokens import USUAL
from tests.kit.wallets import asynchronous
from transaction_service.ports import TransactionFilter

INT64_MIN = -(2**63)
YEAR_10000_SECONDS = 253_402_300_800
YEAR_1_SECONDS = -62_135_596_800

INVALID = "INVALID_FIELD"
PATTERN = "string.pattern"
STRANGE = "x"


def transfer(**changed: Any) -> TransferRequest:  # noqa: ANN401 - any field
    values: dict[str, Any] = {
        "source": "wallets/a",
        "destination": "wallets/b",
        "amount": usd(1),
        "request_id": key(),
    }
    return TransferRequest(**(values | changed))


def deposit(**changed: Any) -> DepositRequest:  # noqa: ANN401 - as above
    values: dict[str, Any] = {"wallet": "wallets/a", "amount": usd(1), "request_id": key()}
    return DepositRequest(**(values | changed))


def withdraw(**changed: Any) -> WithdrawRequest:  # noqa: ANN401 - as above
    values: dict[str, Any] = {"wallet": "wallets/a", "amount": usd(1), "request_id": key()}
    return WithdrawRequest(**(values | changed))


def listed(**changed: Any) -> ListTransactionsRequest:  # noqa: ANN401 - as above
    return ListTransactionsRequest(**changed)


def account(**changed: Any) -> OpenAccountRequest:  # noqa: ANN401 - as above
    values: dict[str, Any] = {
        "name": "wallets/new",
        "owner": "ann",
        "currency_code": "USD",
        "kind": AccountKind.ACCOUNT_KIND_USER,
        "revision": 1,
    }
    return OpenAccountRequest(account=Account(**(values | changed)))


def at(seconds: int, nanos: int = 0) -> Timestamp:
    return Timestamp(seconds=seconds, nanos=nanos)


# What is sent, the reason, the fields with the rule that each breaks.
BAD: dict[str, tuple[Any, str, dict[str, str]]] = {
    "no amount": (transfer(amount=None), INVALID, {"amount": "required"}),
    "amount 0": (transfer(amount=usd(0)), INVALID, {"amount": "amount.positive"}),
    "amount below 0": (transfer(amount=usd(-1)), INVALID, {"amount": "amount.positive"}),
    "the least int64": (transfer(amount=usd(INT64_MIN)), INVALID, {"amount": "amount.positive"}),
    "no currency": (transfer(amount=usd(1, "")), INVALID, {"amount.currency_code": PATTERN}),
    "currency in small letters": (transfer(amount=usd(1, "usd")), INVALID, {"amount.currency_code": PATTERN}),
    "currency with a line end": (transfer(amount=usd(1, "USD\n")), INVALID, {"amount.currency_code": PATTERN}),
    "unknown currency": (transfer(amount=usd(1, "ZZZ")), "UNKNOWN_CURRENCY", {}),
    "same wallet": (transfer(destination="wallets/a"), "SAME_WALLET", {}),
    "no source": (transfer(source=""), INVALID, {"source": PATTERN}),
    "no destination": (transfer(destination=""), INVALID, {"destination": PATTERN}),
    "name without collection": (transfer(source="a"), INVALID, {"source": PATTERN}),
    "name of 64": (transfer(source="wallets/" + "a" * 64), INVALID, {"source": PATTERN}),
    "name in capitals": (transfer(source="wallets/Alice"), INVALID, {"source": PATTERN}),
    "name with a line end": (transfer(source="wallets/a\n"), INVALID, {"source": PATTERN}),
    "name with NUL": (transfer(source="wallets/a\0"), INVALID, {"source": PATTERN}),
    "name in other letters": (transfer(source="wallets/\u0430"), INVALID, {"source": PATTERN}),
    "a system account pays": (transfer(source="system/cash-usd"), INVALID, {"source": PATTERN}),
    "a system account is paid": (transfer(destination="system/cash-usd"), INVALID, {"destination": PATTERN}),
    "no request id": (transfer(request_id=""), INVALID, {"request_id": "string.min_len"}),
    "request id of 129": (transfer(request_id="k" * 129), INVALID, {"request_id": "string.max_len"}),
    "request id with NUL": (transfer(request_id="k\0"), INVALID, {"request_id": PATTERN}),
    "description with NUL": (transfer(description="a\0b"), INVALID, {"description": PATTERN}),
    "description of 501": (transfer(description="d" * 501), INVALID, {"description": "string.max_len"}),
    "reference with NUL": (transfer(external_reference="\0"), INVALID, {"external_reference": PATTERN}),
    "reference of 129": (transfer(external_reference="r" * 129), INVALID, {"external_reference": "string.max_len"}),
    "label key with a capital": (transfer(labels={"Key": "v"}), INVALID, {'labels["Key"]': PATTERN}),
    "label without key": (transfer(labels={"": "v"}), INVALID, {'labels[""]': PATTERN}),
    "label with NUL": (transfer(labels={"key": "\0"}), INVALID, {'labels["key"]': PATTERN}),
    "label value of 129": (transfer(labels={"key": "v" * 129}), INVALID, {'labels["key"]': "string.max_len"}),
    "65 labels": (transfer(labels={f"k{i}": "" for i in range(65)}), INVALID, {"labels": "map.max_pairs"}),
    "all at once": (
        TransferRequest(),
        INVALID,
        {"source": PATTERN, "destination": PATTERN, "amount": "required", "request_id": "string.min_len"},
    ),
    "deposit of nothing": (deposit(amount=usd(0)), INVALID, {"amount": "amount.positive"}),
    "deposit without amount": (deposit(amount=None), INVALID, {"amount": "required"}),
    "deposit without request id": (deposit(request_id=""), INVALID, {"request_id": "string.min_len"}),
    "deposit of an unknown currency": (deposit(amount=usd(1, "ZZZ")), "UNKNOWN_CURRENCY", {}),
    "deposit by no provider's name": (deposit(provider="bank"), INVALID, {"provider": PATTERN}),
    "deposit by the wallet itself": (deposit(provider="wallets/a"), "SAME_WALLET", {}),
    "withdrawal of nothing": (withdraw(amount=usd(0)), INVALID, {"amount": "amount.positive"}),
    "withdrawal from no name": (withdraw(wallet="a"), INVALID, {"wallet": PATTERN}),
    "withdrawal to itself": (withdraw(provider="wallets/a"), "SAME_WALLET", {}),
    "transaction by no name": (GetTransactionRequest(name="transactions/1"), INVALID, {"name": PATTERN}),
    "transaction in capitals": (
        GetTransactionRequest(name="transactions/0000000A-0000-0000-0000-000000000000"),
        INVALID,
        {"name": PATTERN},
    ),
    "balance of no name": (GetBalanceRequest(wallet="alice"), INVALID, {"wallet": PATTERN}),
    "time range reversed": (listed(start_time=at(9), end_time=at(8)), INVALID, {"": "time_range"}),
    "time range empty": (listed(start_time=at(9), end_time=at(9)), INVALID, {"": "time_range"}),
    "start beyond the years": (
        listed(start_time=at(YEAR_10000_SECONDS)),
        INVALID,
        {"start_time": "timestamp"},
    ),
    "start before the years": (listed(start_time=at(YEAR_1_SECONDS - 1)), INVALID, {"start_time": "timestamp"}),
    "end beyond the years": (listed(end_time=at(YEAR_10000_SECONDS)), INVALID, {"end_time": "timestamp"}),
    "end far beyond": (listed(end_time=at(2**62)), INVALID, {"end_time": "timestamp"}),
    "time with nanos below 0": (listed(end_time=at(5, -1)), INVALID, {"end_time": "timestamp"}),
    "time with too many nanos": (listed(end_time=at(5, 10**9)), INVALID, {"end_time": "timestamp"}),
    "page size below 0": (listed(page_size=-1), INVALID, {"page_size": "int32.gte"}),
    "page token of nobody": (listed(page_token=STRANGE), "INVALID_PAGE_TOKEN", {}),
    "page token in other letters": (listed(page_token=STRANGE + "\u00fc\u0430"), "INVALID_PAGE_TOKEN", {}),
    "page token of 1025": (listed(page_token="x" * 1025), INVALID, {"page_token": "string.max_len"}),
    "unknown state": (listed(state=9), INVALID, {"state": "enum.defined_only"}),
    "unknown kind": (listed(kind=10), INVALID, {"kind": "enum.defined_only"}),
    "unknown order": (ListEntriesRequest(wallet="wallets/a", order=9), INVALID, {"order": "enum.defined_only"}),  # type: ignore[arg-type]
    "no account": (OpenAccountRequest(), INVALID, {"account": "required"}),
    "account of no kind": (account(kind=0), INVALID, {"account.kind": "enum.not_in"}),
    "account of a system's kind": (account(kind=3), INVALID, {"account.kind": "enum.defined_only"}),
    "account with a system's name": (account(name="system/cash-usd"), INVALID, {"account.name": PATTERN}),
    "account at revision 0": (account(revision=0), INVALID, {"account.revision": "int64.gte"}),
    "account of an unknown currency": (account(currency_code="ZZZ"), "UNKNOWN_CURRENCY", {}),
    "account of an unknown zone": (account(limits=Limits(time_zone="Mars/Base")), "UNKNOWN_TIME_ZONE", {}),
    "account in a zone that is a folder": (account(limits=Limits(time_zone="Europe")), "UNKNOWN_TIME_ZONE", {}),
    "account in a zone by path": (account(limits=Limits(time_zone="/etc/passwd")), "UNKNOWN_TIME_ZONE", {}),
    "limit below 0": (
        account(limits=Limits(max_minor_units_per_day=-1)),
        INVALID,
        {"account.limits.max_minor_units_per_day": "int64.gte"},
    ),
    "state of nothing": (SetAccountStateRequest(name="wallets/a", revision=1), INVALID, {"state": "enum.not_in"}),
    "state without revision": (
        SetAccountStateRequest(name="wallets/a", state=AccountState.ACCOUNT_STATE_OPEN),
        INVALID,
        {"revision": "int64.gte"},
    ),
    "limits without limits": (SetAccountLimitsRequest(name="wallets/a", revision=1), INVALID, {"limits": "required"}),
    "third of the names": (
        GetAccountsRequest(names=["wallets/a", "wallets/b", "c"]),
        INVALID,
        {"names[2]": PATTERN},
    ),
    "1001 names": (GetAccountsRequest(names=["wallets/a"] * 1001), INVALID, {"names": "repeated.max_items"}),
}


def send(client: Client, request: Any) -> Any:  # noqa: ANN401 - any request
    """To the method that takes it."""
    method = type(request).__name__.removesuffix("Request")
    stub = client.transactions if hasattr(client.transactions, method) else client.accounts
    return getattr(stub, method)(request, timeout=CALL_SECONDS)


@pytest.mark.parametrize(("request_", "reason", "fields"), BAD.values(), ids=BAD)
@asynchronous
async def test_it_is_refused_with_reason_and_field_and_nothing_is_written(
    target: str,
    ledger: Ledger,
    request_: Any,  # noqa: ANN401 - any request
    reason: str,
    fields: dict[str, str],
) -> None:
    async with connected(target) as client:
        before, accounts = ledger.rows(), ledger.query("SELECT count(*) FROM transactions.account")
        assert await failed(send(client, request_)) == Failed("INVALID_ARGUMENT", reason, "", {}, fields)
        assert ledger.rows() == before
        assert ledger.query("SELECT count(*) FROM transactions.account") == accounts


@asynchronous
async def test_unknown_names_are_not_found(target: str) -> None:
    async with connected(target) as client:
        for request, reason in (
            (GetTransactionRequest(name=f"transactions/{'0' * 8}-0000-0000-0000-{'0' * 12}"), "TRANSACTION"),
            (GetBalanceRequest(wallet="wallets/nobody"), "WALLET"),
            (ListEntriesRequest(wallet="wallets/nobody"), "WALLET"),
            (SetAccountStateRequest(name="wallets/nobody", state=2, revision=1), "ACCOUNT"),  # type: ignore[arg-type]
        ):
            answer = await failed(send(client, request))
            assert (answer.code, answer.reason, answer.fields) == ("NOT_FOUND", f"{reason}_NOT_FOUND", {})
            assert list(answer.metadata) == [reason.lower()]
            assert answer.metadata[reason.lower()] in answer.message


@asynchronous
async def test_a_token_that_somebody_made_up_is_refused(target: str) -> None:
    """The seal is no secret, so what is inside may be anything."""
    async with connected(target) as client:
        alice = await client.open(1)
        insides: list[Any] = [
            [],
            ["x"],
            [None],
            {},
            7,
            "text",
            None,
            [2**63],
            [1.5],
            [True],
            [1, 2],
            [1, None],
            ["2026-01-01T00:00:00+00:00", "no uuid"],
            ["2026-01-01", "00000000-0000-0000-0000-000000000000"],
            ["no time", "00000000-0000-0000-0000-000000000000"],
            ["2026-01-01T00:00:00+00:00", "00000000-0000-0000-0000-000000000000", 1],
            [1, ["2026-01-01T00:00:00+00:00", 5]],
            [1, ["2026-01-01T00:00:00+00:00"]],
            [-1, "x"],
        ]
        for inside in insides:
            everything = pages.encode(inside, "transactions", TransactionFilter())
            of_alice = pages.encode(inside, "transactions", TransactionFilter(alice))
            of_entries = pages.encode(inside, "entries", alice, False)
            for request in (
                ListTransactionsRequest(page_token=everything),
                ListTransactionsRequest(wallet=alice, page_token=of_alice),
                ListEntriesRequest(wallet=alice, page_token=of_entries),
            ):
                answer = await outcome(send(client, request))
                if isinstance(answer, Failed):
                    assert (answer.code, answer.reason) == ("INVALID_ARGUMENT", "INVALID_PAGE_TOKEN"), (inside, answer)


@asynchronous
async def test_a_refusal_of_very_much_fits_into_what_clients_read(target: str) -> None:
    """An error travels in the trailers, of which a client takes some kilobytes."""
    async with connected(target) as client:
        for request in (
            transfer(labels={"K" * 100_000: "v"}),
            transfer(labels={f"K{i}-{'x' * 200}": "\0" for i in range(500)}),
            transfer(source="x" * 100_000, description="\u00fc" * 100_000),
            GetAccountsRequest(names=["x"] * 1000),
            ListTransactionsRequest(external_reference="\u00fc" * 100_000),
        ):
            answer = await failed(send(client, request))
            assert (answer.code, answer.reason) == ("INVALID_ARGUMENT", INVALID)
            assert answer.fields


@asynchronous
async def test_unknown_methods_and_broken_messages(target: str) -> None:
    async with connected(target) as client:
        unknown: Any = client.channel.unary_unary("/specie.transaction.v1.TransactionService/Steal")
        assert (await failed(unknown(b"", timeout=CALL_SECONDS))).code == "UNIMPLEMENTED"
        broken: Any = client.channel.unary_unary("/specie.transaction.v1.TransactionService/Transfer")
        no_text = b"\x0a\x01\xff"
        for raw in (b"\xff\xff", no_text):
            answer = await failed(broken(raw, timeout=CALL_SECONDS, metadata=[USUAL]))
            assert (answer.code, answer.reason) == ("INVALID_ARGUMENT", "MALFORMED_REQUEST")
