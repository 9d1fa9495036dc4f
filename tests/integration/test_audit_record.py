"""AuditService through the running service: every attempt with who made it, what became of it and what it changed."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import grpc.aio
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from specie.transaction.v1 import (
    AuditServiceStub,
    ListActsRequest,
    ListAuditRecordsRequest,
    TransactionKind,
    TransactionState,
    TransferMode,
    TransferRequest,
)

from tests.kit.calls import Client, connected, failed, key, usd
from tests.kit.ledger import Ledger
from tests.kit.tokens import Authorised, bearer, token
from tests.kit.wallets import asynchronous

POSTED, FAILED = TransactionState.TRANSACTION_STATE_POSTED, TransactionState.TRANSACTION_STATE_FAILED
PENDING = TransactionState.TRANSACTION_STATE_PENDING
TRANSFER = TransactionKind.TRANSACTION_KIND_TRANSFER


@dataclass
class Scene:
    """`audit`: the calls of an auditor, who owns nothing. `house` is the principal of its own."""

    house: Client
    principal: str
    audit: Any
    channel: grpc.aio.Channel

    async def paid(self, source: str, destination: str, amount: int, request_id: str, trace_id: str) -> Any:  # noqa: ANN401
        """A transfer by a call with this x-request-id."""
        asked = TransferRequest(source=source, destination=destination, amount=usd(amount), request_id=request_id)
        return await self.house.transactions.Transfer(asked, metadata=(("x-request-id", trace_id),))

    async def records(self, **filters: Any) -> list[Any]:  # noqa: ANN401 - any field
        """All pages, the newest first."""
        request, found = ListAuditRecordsRequest(**filters), []
        while True:
            page = await self.audit.ListAuditRecords(request)
            found += page.records
            request.page_token = page.next_page_token
            if not request.page_token:
                return found


@asynccontextmanager
async def scene(target: str) -> AsyncIterator[Scene]:
    principal = f"house-{uuid4().hex}"
    async with connected(target, bearer(token(principal, "admin"))) as house:
        audit = Authorised(AuditServiceStub(house.channel), bearer(token("eve", "audit.read")))
        yield Scene(house, principal, audit, house.channel)


@asynchronous
async def test_an_attempt_is_on_record_with_who_made_it_and_what_it_changed(target: str) -> None:
    async with scene(target) as s:
        alice, bob = await s.house.open(100), await s.house.open()
        request_id, trace = key(), f"trace-{uuid4().hex}"
        paid = await s.paid(alice, bob, 30, request_id, trace)
        [record] = await s.records(wallet=alice, kind=TRANSFER)
        assert record.transaction == paid.transaction
        asked = (record.transaction.principal, record.transaction.request_id, record.transaction.trace_id)
        assert asked == (s.principal, request_id, trace)
        changes = {change.account: (change.sequence, change.before, change.after) for change in record.changes}
        assert changes == {alice: (2, usd(100), usd(70)), bob: (1, usd(0), usd(30))}
        assert [change.account for change in record.changes] == sorted([alice, bob])


@asynchronous
async def test_what_failed_and_what_waits_is_on_record_and_a_replay_is_no_attempt(target: str) -> None:
    async with scene(target) as s:
        alice, bob = await s.house.open(10), await s.house.open()
        request_id = key()
        for _ in range(3):
            assert (await failed(s.house.transfer(alice, bob, 11, request_id))).reason == "INSUFFICIENT_FUNDS"
        later = Timestamp(seconds=4_102_444_800)
        waiting = s.house.transfer(alice, bob, 1, mode=TransferMode.TRANSFER_MODE_ASYNC, execute_time=later)
        assert (await waiting).transaction.state == PENDING
        records = await s.records(wallet=bob)
        assert [record.transaction.state for record in records] == [PENDING, FAILED]
        assert not any(record.changes for record in records)
        assert records[1].transaction.error.details


@asynchronous
async def test_the_filters_must_all_match(target: str) -> None:
    async with scene(target) as s:
        alice, bob = await s.house.open(10), await s.house.open()
        request_id, trace = key(), f"trace-{uuid4().hex}"
        await s.paid(alice, bob, 1, request_id, trace)
        await failed(s.house.transfer(alice, bob, 99))
        mine: dict[str, Any] = {"principal": s.principal}
        this = mine | {"transaction_request_id": request_id}
        assert len(await s.records(**mine)) == 3
        assert len(await s.records(**mine, page_size=1)) == 3
        assert len(await s.records(**mine, state=FAILED)) == 1
        assert len(await s.records(**this)) == 1
        assert len(await s.records(**this, wallet=bob, trace_id=trace, kind=TRANSFER)) == 1
        assert len(await s.records(**this, state=FAILED)) == 0
        assert len(await s.records(principal="somebody else", transaction_request_id=request_id)) == 0
        assert len(await s.records(wallet=bob, trace_id=trace)) == 1
        [one] = await s.records(wallet=bob, state=POSTED)
        time = one.transaction.decide_time
        assert await s.records(wallet=bob, end_time=time) == []
        assert (await s.records(wallet=bob, start_time=time))[-1] == one


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (ListAuditRecordsRequest(transaction_request_id="r"), ""),
        (ListAuditRecordsRequest(wallet="alice"), "wallet"),
        (ListAuditRecordsRequest(page_size=-1), "page_size"),
        (ListAuditRecordsRequest(start_time=Timestamp(seconds=2), end_time=Timestamp(seconds=1)), ""),
        (ListAuditRecordsRequest(start_time=Timestamp(seconds=2**60)), "start_time"),
        (ListActsRequest(subject="wallets/alice"), "subject"),
        (ListActsRequest(start_time=Timestamp(seconds=2), end_time=Timestamp(seconds=2)), ""),
    ],
)
@asynchronous
async def test_a_bad_question_is_told_which_field_is_wrong(target: str, request_: Any, field: str) -> None:  # noqa: ANN401
    async with scene(target) as s:
        method = type(request_).__name__.removesuffix("Request")
        refused = await failed(getattr(s.audit, method)(request_))
        assert (refused.reason, field in refused.fields or not field) == ("INVALID_FIELD", True), refused


@asynchronous
async def test_a_token_of_another_query_is_refused(target: str) -> None:
    async with scene(target) as s:
        await s.house.open(10)
        await s.house.open(10)
        page = await s.audit.ListAuditRecords(ListAuditRecordsRequest(principal=s.principal, page_size=1))
        assert page.next_page_token
        for request in (
            ListAuditRecordsRequest(principal="ben", page_token=page.next_page_token),
            ListActsRequest(page_token=page.next_page_token),
        ):
            method = type(request).__name__.removesuffix("Request")
            assert (await failed(getattr(s.audit, method)(request))).reason == "INVALID_PAGE_TOKEN"


@pytest.mark.parametrize("scope", ["audit.read", "admin", "service audit.read"])
@asynchronous
async def test_who_audits_sees_everything_whoever_owns_it(target: str, scope: str) -> None:
    async with scene(target) as s:
        alice = await s.house.open(10, owner="ann")
        audit: Any = Authorised(AuditServiceStub(s.channel), bearer(token("eve", scope)))
        assert len((await audit.ListAuditRecords(ListAuditRecordsRequest(wallet=alice))).records) == 1
        await audit.ListActs(ListActsRequest())


@pytest.mark.parametrize("request_", [ListAuditRecordsRequest(), ListActsRequest()])
@asynchronous
async def test_nobody_else_sees_any_of_it(target: str, request_: Any) -> None:  # noqa: ANN401 - a request that lists
    """Not even what is about his own wallets."""
    async with scene(target) as s:
        everything_else = bearer(token("ann", "wallets.read wallets.write transfers.write deposits.write service"))
        audit: Any = Authorised(AuditServiceStub(s.channel), everything_else)
        method = type(request_).__name__.removesuffix("Request")
        refused = await failed(getattr(audit, method)(request_))
        assert (refused.code, refused.reason) == ("PERMISSION_DENIED", "PERMISSION_DENIED")


@asynchronous
async def test_acts_are_listed_the_newest_first_by_each_filter(target: str, ledger: Ledger) -> None:
    subject, other = f"payouts/{uuid4()}", f"webhookEndpoints/{uuid4()}"
    principal = f"ann-{uuid4().hex}"
    with ledger.session() as cursor:
        cursor.execute(
            "INSERT INTO transactions.act SELECT subject, number, word, '{\"state\": \"DEAD\"}', '{}', %s, '', 't',"
            " now() + number * interval '1 second'"
            " FROM (VALUES (%s, 1, 'RETRY'), (%s, 2, 'RETRY'), (%s, 3, 'DELETE')) AS made (subject, number, word)",
            (principal, subject, subject, other),
        )
        cursor.connection.commit()
    async with scene(target) as s:

        async def told(**filters: Any) -> list[tuple[str, int]]:  # noqa: ANN401 - any field
            return [(act.act, act.number) for act in (await s.audit.ListActs(ListActsRequest(**filters))).acts]

        assert await told(principal=principal) == [("DELETE", 3), ("RETRY", 2), ("RETRY", 1)]
        assert await told(subject=subject) == [("RETRY", 2), ("RETRY", 1)]
        assert await told(subject=other, principal=principal) == [("DELETE", 3)]
        assert await told(subject=other, principal="ben") == []
        [first] = (await s.audit.ListActs(ListActsRequest(subject=other))).acts
        assert (dict(first.before), dict(first.after), first.trace_id) == ({"state": "DEAD"}, {}, "t")
        assert await told(principal=principal, end_time=first.create_time) == [("RETRY", 2), ("RETRY", 1)]
        assert await told(principal=principal, start_time=first.create_time) == [("DELETE", 3)]
        page = await s.audit.ListActs(ListActsRequest(principal=principal, page_size=2))
        rest = await told(principal=principal, page_size=2, page_token=page.next_page_token)
        assert (len(page.acts), rest) == (2, [("RETRY", 1)])
