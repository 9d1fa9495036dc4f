"""Whether a webhook may go to a URL: by its text, and by the addresses that its host has now."""

from typing import Final

from transaction_service.webhooks.addresses import host_of, is_allowed, is_private, problem_of
from transaction_service.webhooks.ports import Resolver

NOT_FOUND: Final = "must have a host that can be found: there is no address for {host}"
NOT_IN_TIME: Final = "must have a host that can be found: no answer about {host} came in time"
NOT_OF_THE_INTERNET: Final = "must not go to {host}, which has an address that is not of the Internet"
NOT_PRIVATE: Final = "must begin with https://: {host} has an address outside of private networks"


class Destinations:
    """`private`: webhooks may go to private networks, too (the setting of this name)."""

    def __init__(self, resolver: Resolver, *, private: bool) -> None:
        self._resolver = resolver
        self._private = private

    async def problem_of(self, url: str) -> str | None:
        """As a clause; None: nothing speaks against it now. Every address counts: a name that has a good one beside a
        bad one would lead to the bad one some day. What the bad one is is not told."""
        problem = problem_of(url, self._private)
        if problem is not None:
            return problem
        host = host_of(url)
        try:
            addresses = await self._resolver.addresses(host)
        except TimeoutError:
            return NOT_IN_TIME.format(host=host)
        if not addresses:
            return NOT_FOUND.format(host=host)
        if not all(is_allowed(address, self._private) for address in addresses):
            return NOT_OF_THE_INTERNET.format(host=host)
        if url[:5].lower() == "http:" and not all(map(is_private, addresses)):
            return NOT_PRIVATE.format(host=host)
        return None
