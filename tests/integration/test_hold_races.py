"""Many callers of one hold at one moment, over two worker processes of two lanes each."""

from collections import Counter
from collections.abc import Awaitable, Iterator

import pytest
from specie.transaction.v1 import GetBalanceRequest, GetHoldRequest, Hold, HoldState

from tests.kit.auditor import audit
from tests.kit.calls import Client, Failed, key
from tests.kit.crowd import at_once, both, reason
from tests.kit.ledger import Ledger
from tests.kit.postgres import Database
from tests.kit.scenario import sound_service
from tests.kit.service import ServiceProcess
from tests.kit.wallets import asynchronous

CALLERS = 32
OPEN, CAPTURED, RELEASED = HoldState.HOLD_STATE_OPEN, HoldState.HOLD_STATE_CAPTURED, HoldState.HOLD_STATE_RELEASED


@pytest.fixture(scope="module")
def service(database: Database, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    with sound_service(database, tmp_path_factory.mktemp("hold-races"), LANES=2) as running:
        yield running
        audit(database.owner_dsn, floors_never_changed=True)


async def reserved(client: Client, amount: int) -> tuple[str, str, str]:
    """Two wallets and the name of a hold of all that the first has."""
    alice, bob = await client.open(amount), await client.open()
    return alice, bob, (await client.place_hold(alice, bob, amount)).hold.name


async def held(client: Client, wallet: str) -> int:
    answer = await client.transactions.GetBalance(GetBalanceRequest(wallet=wallet))
    minor_units: int = answer.balance.held.minor_units
    return minor_units


async def read(client: Client, hold: str) -> Hold:
    found: Hold = (await client.transactions.GetHold(GetHoldRequest(name=hold))).hold
    return found


@asynchronous
async def test_concurrent_captures_never_take_more_than_was_reserved(service: ServiceProcess) -> None:
    async with both(service) as clients:
        alice, bob, hold = await reserved(clients[0], 105)
        answers = await at_once(CALLERS, lambda caller: clients[caller % 2].capture(hold, 10))
        assert Counter(map(reason, answers)) == {"POSTED": 10, "CAPTURE_ABOVE_HOLD": CALLERS - 10}
        assert (await clients[1].balance(bob), await held(clients[1], alice)) == (100, 5)
        found = await read(clients[0], hold)
        assert (found.state, found.captured.minor_units) == (OPEN, 100)


@asynchronous
async def test_of_concurrent_captures_of_all_one_wins(service: ServiceProcess) -> None:
    async with both(service) as clients:
        _, bob, hold = await reserved(clients[0], 100)
        answers = await at_once(CALLERS, lambda caller: clients[caller % 2].capture(hold))
        assert Counter(map(reason, answers)) == {"POSTED": 1, "HOLD_CAPTURED": CALLERS - 1}
        assert await clients[1].balance(bob) == 100


@asynchronous
async def test_of_a_capture_and_a_release_one_wins(service: ServiceProcess) -> None:
    async with both(service) as clients:
        for _ in range(10):
            alice, bob, hold = await reserved(clients[0], 100)

            def end(caller: int, hold: str = hold) -> Awaitable[object]:
                call: Awaitable[object] = clients[1].release(hold) if caller else clients[0].capture(hold)
                return call

            first, second = await at_once(2, end)
            found = await read(clients[0], hold)
            if found.state == CAPTURED:
                assert (reason(first), reason(second)) == ("POSTED", "HOLD_CAPTURED")
                assert (await clients[0].balance(alice), await clients[0].balance(bob)) == (0, 100)
            else:
                assert found.state == RELEASED
                assert (reason(first), reason(second)) == ("HOLD_RELEASED", "POSTED")
                assert (await clients[0].balance(alice), await clients[0].balance(bob)) == (100, 0)
            assert await held(clients[0], alice) == 0


@asynchronous
async def test_the_same_request_raced_places_one_hold(service: ServiceProcess, database: Database) -> None:
    async with both(service) as clients:
        alice, bob, request_id = await clients[0].open(100), await clients[0].open(), key()
        answers = await at_once(CALLERS, lambda caller: clients[caller % 2].place_hold(alice, bob, 10, request_id))
        told = [answer for answer in answers if not isinstance(answer, Failed)]
        assert len({answer.hold.SerializeToString() for answer in told}) == 1
        assert Counter(answer.replayed for answer in told) == {False: 1, True: CALLERS - 1}
        assert Ledger(database).query("SELECT count(*) FROM transactions.hold WHERE source = %s", alice) == [(1,)]
        assert await held(clients[1], alice) == 10


@asynchronous
async def test_holds_and_transfers_together_never_go_below_the_floor(service: ServiceProcess) -> None:
    async with both(service) as clients:
        alice, bob = await clients[0].open(100), await clients[0].open()

        def debit(caller: int) -> Awaitable[object]:
            client = clients[caller // 2 % 2]
            call: Awaitable[object] = (client.place_hold if caller % 2 else client.transfer)(alice, bob, 7)
            return call

        answers = await at_once(CALLERS, debit)
        assert Counter(map(reason, answers)) == {"POSTED": 100 // 7, "INSUFFICIENT_FUNDS": CALLERS - 100 // 7}
        assert await clients[0].balance(alice) - await held(clients[0], alice) == 100 % 7
