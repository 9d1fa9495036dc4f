"""What a caller has left bounds PostgreSQL's work for it, and nobody else's."""

import asyncio
from time import monotonic
from typing import Any

import pytest
from specie.transaction.v1 import TransferRequest
from sqlalchemy import Connection, text

from service_kit.call import Call, enter_call
from service_kit.database import LOCK_TIMEOUT_MS, Database
from service_kit.status import Refusal
from tests.kit import postgres
from tests.kit.chain import METHOD
from tests.kit.wallets import asynchronous, wallet_settings

SETTING_SECONDS = 5.0
USUAL = (SETTING_SECONDS * 1000, LOCK_TIMEOUT_MS)


def within(seconds: float) -> None:
    """From now on this task answers a call that has so much time left."""
    context: Any = None
    enter_call(Call(METHOD, b"", TransferRequest.FromString, context, {}, deadline=monotonic() + seconds))


def limits(connection: Connection) -> tuple[float, float]:
    """The time limits of a statement and of a wait for a lock, in ms."""
    asked = "SELECT setting::int FROM pg_settings WHERE name = '{}'"
    found = [
        connection.execute(text(asked.format(name))).scalar_one() for name in ("statement_timeout", "lock_timeout")
    ]
    return found[0], found[1]


@asynchronous
async def test_work_is_limited_to_what_its_caller_has_left(database: postgres.Database) -> None:
    connections = Database(wallet_settings(database, 1, statement_timeout_seconds=SETTING_SECONDS), "test")

    async def found(seconds: float | None) -> tuple[float, float]:
        if seconds is not None:
            within(seconds)
        return await connections.run(limits)

    async def of_call(seconds: float | None) -> tuple[float, float]:
        return await asyncio.create_task(found(seconds))

    try:
        assert await of_call(None) == USUAL  # in the background
        assert await of_call(60) == USUAL
        statement, lock = await of_call(4)
        assert 0 < statement <= 4000
        assert lock == LOCK_TIMEOUT_MS
        statement, lock = await of_call(1)
        assert 0 < statement == lock <= 1000
        assert await of_call(60) == USUAL  # on the same connection
    finally:
        connections.close()


@asynchronous
async def test_who_is_late_begins_nothing_and_who_gets_late_is_ended(database: postgres.Database) -> None:
    connections = Database(wallet_settings(database, 1, read_threads=1), "test")
    begun: list[bool] = []
    try:
        within(0)
        with pytest.raises(Refusal) as late:
            await connections.run(lambda _: begun.append(True))
        within(0.2)
        with pytest.raises(Refusal) as ended:
            await connections.run(lambda connection: connection.execute(text("SELECT pg_sleep(60)")))
        assert late.value.reason == ended.value.reason == "DEADLINE_EXCEEDED"
        assert begun == []
        within(60)
        await connections.run(limits)  # the only thread is free again
    finally:
        connections.close()
