"""As many calls at one moment as one connection may have are all answered by the service itself."""

from collections import Counter

from tests.kit.calls import connected
from tests.kit.crowd import at_once, reason
from tests.kit.wallets import asynchronous

CALLERS = 5_000
"""grpc's own limits of what may wait to be taken are 1,000, and 3,000 for none of them."""


@asynchronous
async def test_five_thousand_transfers_at_one_moment_all_post(target: str) -> None:
    async with connected(target) as client:
        alice, bob = await client.open(CALLERS), await client.open()
        answers = await at_once(CALLERS, lambda _: client.transfer(alice, bob, 1))
        assert Counter(map(reason, answers)) == {"POSTED": CALLERS}
        assert await client.balance(bob) == CALLERS
