"""Card authorisations: a hotel reserves a guest's money, and takes what the stay costs in parts."""

from collections import Counter

from google.protobuf.duration_pb2 import Duration
from specie.transaction.v1 import GetBalanceRequest, GetHoldRequest, Hold, HoldState, TransactionKind

from tests.kit.calls import Client, failed
from tests.kit.crowd import at_once, eventually, reason
from tests.kit.postgres import Database
from tests.kit.scenario import story
from tests.kit.service import ServiceProcess
from tests.kit.wallets import asynchronous

OVER_AT_ONCE = Duration(nanos=1_000)
"""Before anybody can do something with the hold."""


async def purse(client: Client, wallet: str) -> tuple[int, int, int]:
    """Posted, held, available."""
    balance = (await client.transactions.GetBalance(GetBalanceRequest(wallet=wallet))).balance
    return balance.posted.minor_units, balance.held.minor_units, balance.available.minor_units


def parts(hold: Hold) -> tuple[str, int, int]:
    """Its state, what was captured and what was released."""
    return HoldState.Name(hold.state), hold.captured.minor_units, hold.released.minor_units


@asynchronous
async def test_a_stay_is_authorised_and_charged_in_three_parts(service: ServiceProcess, database: Database) -> None:
    async with story(service, database) as town:
        desk, elsewhere = town.client(0), town.client(1)
        guest, hotel, shop = await town.wallet(500), await town.wallet(), await town.wallet()

        hold = town.hear(await desk.place_hold(guest, hotel, 300, "authorisation-1")).hold
        assert await purse(elsewhere, guest) == (500, 300, 200)
        assert town.hear(await failed(elsewhere.transfer(guest, shop, 201))).reason == "INSUFFICIENT_FUNDS"
        town.hear(await elsewhere.transfer(guest, shop, 200))

        minibar = town.hear(await desk.capture(hold.name, 20, "minibar"))
        assert parts(minibar.hold) == ("HOLD_STATE_OPEN", 20, 0)
        night = town.hear(await elsewhere.capture(hold.name, 150, "night"))
        assert parts(night.hold) == ("HOLD_STATE_OPEN", 170, 0)
        again = town.hear(await desk.capture(hold.name, 150, "night"))
        assert (again.replayed, again.transaction) == (True, night.transaction)
        assert town.hear(await failed(desk.capture(hold.name, 131))).reason == "CAPTURE_ABOVE_HOLD"
        assert await purse(desk, guest) == (130, 130, 0)

        breakfast = town.hear(await desk.capture(hold.name, 30, "breakfast", final=True))
        assert parts(breakfast.hold) == ("HOLD_STATE_CAPTURED", 200, 100)
        assert town.hear(await failed(elsewhere.capture(hold.name, 1))).reason == "HOLD_CAPTURED"
        assert town.hear(await failed(elsewhere.release(hold.name))).reason == "HOLD_CAPTURED"

        assert await purse(desk, guest) == (100, 0, 100)
        assert await purse(desk, hotel) == (200, 0, 200)
        await town.ends_with(USD=500)


@asynchronous
async def test_a_cancelled_booking_frees_the_money(service: ServiceProcess, database: Database) -> None:
    async with story(service, database) as town:
        desk, elsewhere = town.client(0), town.client(1)
        guest, hotel = await town.wallet(300), await town.wallet()
        hold = town.hear(await desk.place_hold(guest, hotel, 300)).hold
        released = await desk.release(hold.name, "cancelled")
        assert parts(released.hold) == ("HOLD_STATE_RELEASED", 0, 300)
        assert (await elsewhere.release(hold.name, "cancelled")).replayed
        assert town.hear(await failed(elsewhere.capture(hold.name))).reason == "HOLD_RELEASED"
        assert await purse(desk, guest) == (300, 0, 300)
        await town.ends_with(USD=300)


@asynchronous
async def test_what_is_not_captured_in_time_expires_once(service: ServiceProcess, database: Database) -> None:
    """Both workers look for what has expired."""
    async with story(service, database) as town:
        desk = town.client()
        guest, hotel = await town.wallet(300), await town.wallet()
        holds = [town.hear(await desk.place_hold(guest, hotel, 10, ttl=OVER_AT_ONCE)).hold for _ in range(20)]
        kept = town.hear(await desk.place_hold(guest, hotel, 100)).hold
        assert town.hear(await failed(desk.capture(holds[0].name))).reason == "HOLD_EXPIRED"

        async def all_are_free() -> bool:
            return await purse(desk, guest) == (300, 100, 200)

        await eventually(all_are_free, "twenty holds expire")
        for hold in holds:
            now = (await desk.transactions.GetHold(GetHoldRequest(name=hold.name))).hold
            assert parts(now) == ("HOLD_STATE_EXPIRED", 0, 10)
            assert town.hear(await failed(desk.capture(hold.name))).reason == "HOLD_EXPIRED"
        expiries = await desk.listed(wallet=guest, kind=TransactionKind.TRANSACTION_KIND_EXPIRY)
        assert Counter(expiry.hold for expiry in expiries) == Counter(hold.name for hold in holds)
        assert {expiry.principal for expiry in expiries} == {"system/expiry"}

        town.hear(await desk.capture(kept.name))
        assert await purse(desk, guest) == (200, 0, 200)
        await town.ends_with(USD=300)


@asynchronous
async def test_twenty_desks_capture_at_once_and_never_more_than_was_authorised(
    service: ServiceProcess, database: Database
) -> None:
    async with story(service, database) as town:
        guest, hotel = await town.wallet(1_000), await town.wallet()
        hold = town.hear(await town.client().place_hold(guest, hotel, 100)).hold
        answers = town.hear_all(await at_once(20, lambda desk: town.client(desk).capture(hold.name, 15)))
        assert Counter(map(reason, answers)) == {"POSTED": 6, "CAPTURE_ABOVE_HOLD": 14}
        assert await purse(town.client(), guest) == (910, 10, 900)
        assert await purse(town.client(), hotel) == (90, 0, 90)
        await town.ends_with(USD=1_000)
