"""The addresses of hosts, as this machine finds them."""

import asyncio
import threading
from ipaddress import ip_address
from typing import Any

import pytest
import uvloop

from transaction_service.adapters import hosts
from transaction_service.adapters.hosts import SystemResolver


def test_a_name_has_addresses() -> None:
    found = uvloop.run(SystemResolver().addresses("localhost"))
    assert found
    assert all(ip_address(address).is_loopback for address in found)


@pytest.mark.parametrize("address", ["192.0.2.1", "2001:db8::1"])
def test_an_address_is_its_own(address: str) -> None:
    assert uvloop.run(SystemResolver().addresses(address)) == [address]


def test_a_name_that_nobody_knows_has_none() -> None:
    assert uvloop.run(SystemResolver().addresses("nobody.invalid")) == ()


def test_an_answer_that_does_not_come_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    over = threading.Event()

    def silent(*_: object, **__: object) -> list[Any]:
        over.wait()
        return []

    monkeypatch.setattr("socket.getaddrinfo", silent)
    monkeypatch.setattr(hosts, "RESOLVE_SECONDS", 0.01)

    async def main() -> None:
        try:
            with pytest.raises(TimeoutError):
                await SystemResolver().addresses("shop.example")
        finally:
            over.set()

    asyncio.run(main())
