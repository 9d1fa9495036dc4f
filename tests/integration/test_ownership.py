"""Somebody else's wallet through the running service: no call debits it, shows it, or tells that it is there."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from uuid import uuid4

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from specie.transaction.v1 import (
    AccountKind,
    Fee,
    GetBalanceRequest,
    GetHoldRequest,
    GetTransactionRequest,
    ListEntriesRequest,
    ListHoldsRequest,
    ListTransactionsRequest,
    PayoutDestination,
    ReleaseHoldsRequest,
    ReportEntriesRequest,
    TransactionServiceServicer,
    TransactionState,
    TransferMode,
    TransferRequest,
    WatchTransactionsRequest,
)

from tests.kit.calls import Client, Failed, connected, failed, key, outcome, posting, read_status, usd, why
from tests.kit.crowd import at_once, reason
from tests.kit.tokens import bearer, token
from tests.kit.wallets import asynchronous
from tests.kit.watching import watching

EVERYTHING_BOUND = "wallets.read wallets.write transfers.write deposits.write audit.read"
NO_SUCH = "00000000-0000-0000-0000-000000000000"
POSTED, FAILED = TransactionState.TRANSACTION_STATE_POSTED, TransactionState.TRANSACTION_STATE_FAILED
PENDING = TransactionState.TRANSACTION_STATE_PENDING
ASYNC = TransferMode.TRANSFER_MODE_ASYNC


@dataclass
class Scene:
    """Ann and Ben with a wallet each, and who is trusted. `house` opens wallets and pays in."""

    target: str
    house: Client
    ann: Client
    ben: Client
    ann_is: str
    ben_is: str
    alice: str
    bob: str


@asynccontextmanager
async def scene(target: str) -> AsyncIterator[Scene]:
    ann_is, ben_is = f"ann-{uuid4().hex}", f"ben-{uuid4().hex}"
    async with AsyncExitStack() as stack:
        house, ann, ben = [
            await stack.enter_async_context(connected(target, bearer(token(*who))))
            for who in (("house", "admin"), (ann_is, EVERYTHING_BOUND), (ben_is, EVERYTHING_BOUND))
        ]
        alice, bob = await house.open(100, owner=ann_is), await house.open(100, owner=ben_is)
        yield Scene(target, house, ann, ben, ann_is, ben_is, alice, bob)


def later() -> Timestamp:
    """So far away that no test sees it."""
    moment = Timestamp()
    moment.FromDatetime(datetime.now(UTC) + timedelta(days=100))
    return moment


async def first_message(client: Client, wallet: str) -> None:
    request = WatchTransactionsRequest(wallet=wallet, cursor="beginning")
    await anext(aiter(client.transactions.WatchTransactions(request)))


async def first_of_report(client: Client, wallet: str) -> None:
    await anext(aiter(client.transactions.ReportEntries(ReportEntriesRequest(wallet=wallet))))


# Every call that names a wallet: as Ben makes it of `wallet` and his own, and of `wallet` alone.
FROM_A_WALLET: Mapping[str, Callable[..., Awaitable[Any]]] = {
    "Transfer": lambda ben, wallet, bob: ben.transfer(wallet, bob, 1),
    "Transfer more than there is": lambda ben, wallet, bob: ben.transfer(wallet, bob, 2**62),
    "Transfer in another currency": lambda ben, wallet, bob: ben.transfer(wallet, bob, 1, currency="EUR"),
    "Transfer at a version": lambda ben, wallet, bob: ben.transfer(wallet, bob, 1, expected_version=1),
    "Transfer what leaves so much": lambda ben, wallet, bob: ben.transfer(wallet, bob, 1, minimum_balance_after=1),
    "Transfer with a fee": lambda ben, wallet, bob: ben.transfer(wallet, bob, 1, fee=Fee(minor_units=1)),
    "Transfer, ASYNC": lambda ben, wallet, bob: ben.transfer(wallet, bob, 1, mode=ASYNC),
    "Transfer later": lambda ben, wallet, bob: ben.transfer(wallet, bob, 1, mode=ASYNC, execute_time=later()),
    "Deposit through it": lambda ben, wallet, bob: ben.deposit(bob, 1, provider=wallet),
    "PostTransaction": lambda ben, wallet, bob: ben.post([posting(wallet, -1), posting(bob, 1)]),
    "PostTransaction, both pay": lambda ben, wallet, bob: ben.post(
        [posting(bob, -1), posting(wallet, -1), posting(wallet, 2)]
    ),
    "BatchTransfer": lambda ben, wallet, bob: first_error(ben.batch([item(wallet, bob)])),
    "BatchTransfer, atomic": lambda ben, wallet, bob: ben.batch([item(wallet, bob)], atomic=True),
    "PlaceHold": lambda ben, wallet, bob: ben.place_hold(wallet, bob, 1),
}
ABOUT_A_WALLET: Mapping[str, Callable[[Client, str], Awaitable[Any]]] = {
    "Deposit": lambda ben, wallet: ben.deposit(wallet, 1),
    "Withdraw": lambda ben, wallet: ben.withdraw(wallet, 1),
    "Withdraw with a payout": lambda ben, wallet: ben.withdraw(
        wallet, 1, payout=PayoutDestination(provider="bank", account="DE89")
    ),
    "ReleaseHolds": lambda ben, wallet: ben.transactions.ReleaseHolds(ReleaseHoldsRequest(source=wallet)),
    "GetBalance": lambda ben, wallet: ben.transactions.GetBalance(GetBalanceRequest(wallet=wallet)),
    "GetBalance at a time": lambda ben, wallet: ben.transactions.GetBalance(
        GetBalanceRequest(wallet=wallet, read_time=Timestamp(seconds=1_700_000_000))
    ),
    "ListEntries": lambda ben, wallet: ben.transactions.ListEntries(ListEntriesRequest(wallet=wallet)),
    "ListTransactions": lambda ben, wallet: ben.listed(wallet=wallet),
    "ListTransactions by reference": lambda ben, wallet: ben.listed(wallet=wallet, external_reference="rent"),
    "ListHolds": lambda ben, wallet: ben.transactions.ListHolds(ListHoldsRequest(wallet=wallet)),
    "WatchTransactions": first_message,
    "ReportEntries": first_of_report,
}
ABOUT_A_TRANSACTION: Mapping[str, Callable[[Client, str], Awaitable[Any]]] = {
    "GetTransaction": lambda ben, name: ben.transactions.GetTransaction(GetTransactionRequest(name=name)),
    "ReverseTransaction": lambda ben, name: ben.reverse(name),
    "ReverseTransaction in part": lambda ben, name: ben.reverse(name, amount=usd(1)),
    "CancelTransaction": lambda ben, name: ben.cancel(name),
}
ABOUT_A_HOLD: Mapping[str, Callable[[Client, str], Awaitable[Any]]] = {
    "GetHold": lambda ben, name: ben.transactions.GetHold(GetHoldRequest(name=name)),
    "CaptureHold": lambda ben, name: ben.capture(name),
    "CaptureHold in part": lambda ben, name: ben.capture(name, 1, final=True),
    "ReleaseHold": lambda ben, name: ben.release(name),
}


def item(source: str, destination: str, amount: int = 1) -> TransferRequest:
    return TransferRequest(source=source, destination=destination, amount=usd(amount), request_id=key())


@dataclass
class Refused(Exception):  # noqa: N818 - an error as a value, raised once more
    error: Failed


async def first_error(batch: Awaitable[Any]) -> None:
    """An item's error is raised as a call's."""
    raise Refused(read_status((await batch).results[0].error))


async def error_of(calling: Awaitable[Any], name: str) -> Failed:
    """Without the name that was asked for, nor that of the stored attempt: what is left is the same for all names."""
    try:
        found = await failed(calling)
    except Refused as refused:
        found = refused.error
    told = {k: v.replace(name, "it") for k, v in found.metadata.items() if k not in ("transaction", "item")}
    return replace(found, message=found.message.replace(name, "it"), metadata=told)


async def standing(client: Client, wallet: str) -> tuple[Any, Any, Any]:
    """All that there is to see of a wallet."""
    request = ListHoldsRequest(wallet=wallet)
    balance = await client.transactions.GetBalance(GetBalanceRequest(wallet=wallet))
    return balance, await client.listed(wallet=wallet), await client.transactions.ListHolds(request)


def alike(one: Failed, other: Failed) -> None:
    assert (one, one.message, one.metadata) == (other, other.message, other.metadata)


def test_every_call_is_tried() -> None:
    calls = {name for name in vars(TransactionServiceServicer) if name[0].isupper()}
    tried = {
        name.split()[0].rstrip(",") for name in (*FROM_A_WALLET, *ABOUT_A_WALLET, *ABOUT_A_TRANSACTION, *ABOUT_A_HOLD)
    }
    assert tried == calls


@asynchronous
async def test_somebody_elses_wallet_is_as_one_that_is_not_there(target: str) -> None:
    async with scene(target) as of:
        carol = await of.house.open(owner=of.ann_is)
        await of.house.transfer(of.alice, carol, 10)
        placed = (await of.house.place_hold(of.alice, carol, 5)).hold.name
        moved = (await of.ann.transfer(of.alice, carol, 5)).transaction.name
        waiting = (await of.ann.transfer(of.alice, carol, 5, mode=ASYNC, execute_time=later())).transaction.name
        before = [
            await standing(client, w) for client, w in ((of.ann, of.alice), (of.house, carol), (of.house, of.bob))
        ]
        calls = dict(ABOUT_A_WALLET)
        calls |= {what: partial(call, bob=of.bob) for what, call in FROM_A_WALLET.items()}
        for what, call in calls.items():
            nobody = f"wallets/{uuid4().hex}"
            foreign = await error_of(call(of.ben, of.alice), of.alice)
            alike(foreign, await error_of(call(of.ben, nobody), nobody))
            expected = {"SOURCE_NOT_FOUND", "WALLET_NOT_FOUND"} if what != "Deposit" else {"DESTINATION_NOT_FOUND"}
            assert (foreign.code, foreign.reason in expected) == ("NOT_FOUND", True), what
        for names, abouts, missing in (
            ((moved, waiting), ABOUT_A_TRANSACTION, f"transactions/{NO_SUCH}"),
            ((placed,), ABOUT_A_HOLD, f"holds/{NO_SUCH}"),
        ):
            for what, about in abouts.items():
                for name in names:
                    foreign = await error_of(about(of.ben, name), name)
                    alike(foreign, await error_of(about(of.ben, missing), missing))
                    assert foreign.reason in {"TRANSACTION_NOT_FOUND", "HOLD_NOT_FOUND"}, what
        after = [await standing(client, w) for client, w in ((of.ann, of.alice), (of.house, carol), (of.house, of.bob))]
        # Who is trusted sees the attempts, at Ben's wallet. Nothing has moved, and Ann sees nothing of them.
        assert after[:2] == before[:2]
        assert after[2][0] == before[2][0]
        assert {why(t) for t in after[2][1][: -len(before[2][1])]} == {"SOURCE_NOT_FOUND"}
        await of.ann.cancel(waiting)


@pytest.mark.parametrize("filters", [{}, {"external_reference": "rent"}, {"label": "order=1"}, {"state": POSTED}])
@asynchronous
async def test_without_a_wallet_only_who_is_trusted_asks(target: str, filters: dict[str, Any]) -> None:
    async with scene(target) as of:
        refused = await failed(of.ben.listed(**filters))
        assert (refused.reason, refused.metadata) == ("PERMISSION_DENIED", {"field": "wallet"})
        for call in (of.ben.transactions.ListHolds(ListHoldsRequest()), first_message(of.ben, "")):
            assert (await failed(call)).reason == "PERMISSION_DENIED"
        bulk = of.ben.transactions.ReleaseHolds(ReleaseHoldsRequest(destination=of.bob, external_reference="rent"))
        refused = await failed(bulk)
        assert (refused.reason, refused.metadata) == ("PERMISSION_DENIED", {"field": "source"})


@asynchronous
async def test_page_tokens_and_cursors_of_others_lead_nowhere(target: str) -> None:
    async with scene(target) as of:
        for _ in range(3):
            await of.ann.transfer(of.alice, of.bob, 1)
        for method, request in (
            ("ListTransactions", ListTransactionsRequest(wallet=of.alice, page_size=1)),
            ("ListEntries", ListEntriesRequest(wallet=of.alice, page_size=1)),
        ):
            request.page_token = (await getattr(of.ann.transactions, method)(request)).next_page_token
            assert request.page_token
            assert (await failed(getattr(of.ben.transactions, method)(request))).reason == "WALLET_NOT_FOUND"
            request.wallet = of.bob
            assert (await failed(getattr(of.ben.transactions, method)(request))).reason == "INVALID_PAGE_TOKEN"
        # Nor one of who is trusted, which would go on behind what Ben does not see.
        whole = ListTransactionsRequest(wallet=of.bob, page_size=1)
        whole.page_token = (await of.house.transactions.ListTransactions(whole)).next_page_token
        assert (await failed(of.ben.transactions.ListTransactions(whole))).reason == "INVALID_PAGE_TOKEN"
        async with watching(of.ann, of.alice) as watch:
            cursor = watch.cursor
        for wallet, expected in ((of.alice, "WALLET_NOT_FOUND"), (of.bob, "INVALID_CURSOR")):
            async with watching(of.ben, wallet, cursor) as watch:
                assert (await watch.ended() or Failed("", "", "", {})).reason == expected


@asynchronous
async def test_a_request_id_is_each_callers_own(target: str) -> None:
    async with scene(target) as of:
        request_id = key()
        mine = await of.ann.transfer(of.alice, of.bob, 10, request_id)
        again = await failed(of.ben.transfer(of.alice, of.bob, 10, request_id))
        assert (again.reason, again.metadata["replayed"]) == ("SOURCE_NOT_FOUND", "false")
        once_more = await failed(of.ben.transfer(of.alice, of.bob, 10, request_id))
        assert (once_more.reason, once_more.metadata["replayed"]) == ("SOURCE_NOT_FOUND", "true")
        assert (await of.ann.transfer(of.alice, of.bob, 10, request_id)).transaction == mine.transaction
        assert await of.house.balance(of.alice) == 90


@asynchronous
async def test_who_is_paid_sees_what_has_moved_and_not_what_was_tried(target: str) -> None:
    async with scene(target) as of:
        async with watching(of.ben, of.bob) as watch, watching(of.ann, of.alice) as of_ann:
            failed_ = (await failed(of.ann.transfer(of.alice, of.bob, 1000))).metadata["transaction"]
            pending = (await of.house.transfer(of.alice, of.bob, 1, mode=ASYNC, execute_time=later())).transaction.name
            batch = [item(of.bob, of.alice, 1000), item(of.alice, of.bob)]
            stopped = await failed(of.ben.batch(batch, atomic=True))
            hold = (await of.ann.place_hold(of.alice, of.bob, 5)).hold.name
            posted = (await of.ann.transfer(of.alice, of.bob, 10)).transaction.name
            assert (stopped.reason, stopped.metadata["item"]) == ("INSUFFICIENT_FUNDS", "0")
            assert [t.name for t in (await watch.until_named(posted)) if t.source == of.alice][-1] == posted
            assert {failed_, pending}.isdisjoint(t.name for t in watch.transactions)
            seen = {t.name for t in await of_ann.until_named(posted)}
            assert {failed_, posted} <= seen
            listed = {t.name for t in await of.ben.listed(wallet=of.bob)}
            assert {posted} <= listed
            assert {failed_, pending}.isdisjoint(listed)
            mine = await of.ann.listed(wallet=of.alice)
            assert {failed_, pending, posted} <= {t.name for t in mine}
            assert all(t.principal != of.ben_is for t in mine), "what Ben tried is none of Ann's doing"
        for name in (failed_, pending):
            get = of.ben.transactions.GetTransaction(GetTransactionRequest(name=name))
            assert (await failed(get)).reason == "TRANSACTION_NOT_FOUND"
            assert (await of.ann.transactions.GetTransaction(GetTransactionRequest(name=name))).transaction.name == name
        assert (await failed(of.ben.cancel(pending))).reason == "TRANSACTION_NOT_FOUND"
        # She did not ask for it, but it is to come out of her wallet.
        assert why((await of.ann.cancel(pending)).transaction) == "TRANSFER_CANCELLED"
        assert (await of.ben.transactions.GetHold(GetHoldRequest(name=hold))).hold.destination == of.bob
        for call in (of.ben.capture(hold), of.ben.release(hold)):
            assert (await failed(call)).reason == "SOURCE_NOT_FOUND"
        assert (await of.ann.capture(hold)).hold.captured == usd(5)
        assert (await of.ben.reverse(posted)).transaction.destination == of.alice
        assert (await failed(of.ann.reverse(posted))).reason == "SOURCE_NOT_FOUND"
        assert [await of.house.balance(w) for w in (of.alice, of.bob)] == [95, 105]


@asynchronous
async def test_what_a_third_one_has_is_told_to_who_is_trusted_only(target: str) -> None:
    """A payment with a fee cannot go back because of who got the fee: how much he has left is his own affair."""
    async with scene(target) as of:
        shop = await of.house.open(owner="shop")
        paid = (await of.ann.transfer(of.alice, of.bob, 10, fee=Fee(minor_units=5, destination=shop))).transaction.name
        await of.house.transfer(shop, of.alice, 3)
        refused = await failed(of.house.reverse(paid))
        assert (refused.reason, refused.metadata["available"]) == ("INSUFFICIENT_FUNDS", "2")
        name = refused.metadata["transaction"]
        for client, wallet in ((of.ann, of.alice), (of.ben, of.bob)):
            get = client.transactions.GetTransaction(GetTransactionRequest(name=name))
            assert (await failed(get)).reason == "TRANSACTION_NOT_FOUND"
            assert name not in {t.name for t in await client.listed(wallet=wallet)}


@asynchronous
async def test_money_of_the_outside_world_comes_in_only_to_wallets_of_ones_own(target: str) -> None:
    async with scene(target) as of:
        bank = await of.house.open(50, kind=AccountKind.ACCOUNT_KIND_PROVIDER, owner="bank")
        paid_in = (await of.ben.deposit(of.bob, 10)).transaction.name
        assert (await failed(of.ben.deposit(of.bob, 10, provider=bank))).reason == "SOURCE_NOT_FOUND"
        out = (await of.ben.withdraw(of.bob, 5)).transaction.name
        assert (await failed(of.ben.reverse(out))).reason == "SOURCE_NOT_FOUND"
        await of.ben.reverse(paid_in)
        for account in ("system/cash-usd", "system/fees-usd"):
            taken = await failed(of.ben.post([posting(account, -1), posting(of.bob, 1)]))
            assert taken.reason == "INVALID_FIELD", "it cannot even be named"
        assert [await of.house.balance(w) for w in (of.bob, bank)] == [95, 50]


@asynchronous
async def test_a_stream_ends_when_its_token_has_expired(target: str) -> None:
    async with scene(target) as of:
        now = int(time.time())
        # The service believes a token for five seconds longer than it says, because clocks may differ.
        short = bearer(token(of.ann_is, "wallets.read", iat=now - 60, exp=now - 2))
        async with connected(target, short) as brief, watching(brief, of.alice) as watch:
            made = (await of.ann.transfer(of.alice, of.bob, 1)).transaction.name
            await watch.until_named(made)
            ended = await watch.ended()
            assert ended is not None
            assert (ended.reason, ended.metadata) == ("UNAUTHENTICATED", {"cause": "EXPIRED"})
            balance = brief.transactions.GetBalance(GetBalanceRequest(wallet=of.alice))
            assert (await failed(balance)).reason == "UNAUTHENTICATED"


@asynchronous
async def test_owners_and_the_house_at_the_same_wallets_at_once(target: str) -> None:
    """Each debits what he may, whoever else does at the same moment, in whatever group."""
    async with scene(target) as of:
        clients, wallets = (of.ann, of.ben, of.house), (of.alice, of.bob)

        def call(number: int) -> Any:  # noqa: ANN401 - an untyped stub's
            source, destination = wallets if number // 3 % 2 else wallets[::-1]
            return clients[number % 3].transfer(source, destination, 1)

        answers = await at_once(48, call)
        expected = []
        for number in range(48):
            owner = of.ann if number // 3 % 2 else of.ben
            expected.append("POSTED" if clients[number % 3] in (owner, of.house) else "SOURCE_NOT_FOUND")
        assert [reason(answer) for answer in answers] == expected
        assert [await of.house.balance(wallet) for wallet in wallets] == [100, 100]
        entries = await asyncio.gather(
            *[of.house.transactions.ListEntries(ListEntriesRequest(wallet=w, page_size=1000)) for w in wallets]
        )
        assert [len(page.entries) for page in entries] == [1 + 32] * 2
        assert await outcome(of.ann.transfer(of.bob, of.alice, 1)) == await outcome(
            of.ann.transfer(of.bob, of.alice, 1)
        )
