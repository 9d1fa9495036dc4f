"""The last times that there are, on a server that is told to speak of them in a zone in which they are later yet."""

from collections.abc import Iterator
from typing import Any

import psycopg2
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from psycopg2 import sql
from specie.transaction.v1 import (
    GetHoldRequest,
    GetTransactionRequest,
    HoldState,
    ListHoldsRequest,
    TransactionState,
    TransferMode,
)

from tests.kit.calls import connected
from tests.kit.postgres import Database
from tests.kit.service import ServiceProcess, transaction_service
from tests.kit.wallets import asynchronous

EAST = "Pacific/Kiritimati"
"""Fourteen hours before UTC."""


@pytest.fixture(scope="module")
def service(database: Database, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    name = database.owner_dsn.rpartition("/")[2]
    connection = psycopg2.connect(database.owner_dsn)
    with connection, connection.cursor() as cursor:
        cursor.execute(sql.SQL("ALTER DATABASE {} SET timezone = {}").format(sql.Identifier(name), sql.Literal(EAST)))
    connection.close()
    with transaction_service(database, tmp_path_factory.mktemp("far")) as running:
        yield running


@pytest.fixture
def target(service: ServiceProcess) -> str:
    return service.targets[0]


def last_second() -> Timestamp:
    time = Timestamp()
    time.FromJsonString("9999-12-31T23:59:59Z")
    return time


@asynchronous
async def test_a_hold_to_the_end_of_all_times_can_be_read_and_released(target: str) -> None:
    async with connected(target) as client:
        alice, bob = await client.open(100), await client.open()
        hold = (await client.place_hold(alice, bob, 60, expire_time=last_second())).hold
        read = (await client.transactions.GetHold(GetHoldRequest(name=hold.name))).hold
        assert (read, read.expire_time) == (hold, last_second())
        assert list((await client.transactions.ListHolds(ListHoldsRequest(wallet=alice))).holds) == [hold]
        assert (await client.release(hold.name)).hold.state == HoldState.HOLD_STATE_RELEASED


@asynchronous
async def test_a_transfer_of_the_last_second_waits_for_it(target: str) -> None:
    async with connected(target) as client:
        alice, bob = await client.open(100), await client.open()
        later: dict[str, Any] = {"mode": TransferMode.TRANSFER_MODE_ASYNC, "execute_time": last_second()}
        stored = (await client.transfer(alice, bob, 1, **later)).transaction
        read = (await client.transactions.GetTransaction(GetTransactionRequest(name=stored.name))).transaction
        assert (read.state, read.execute_time) == (TransactionState.TRANSACTION_STATE_PENDING, last_second())
