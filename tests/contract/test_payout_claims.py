"""Claims of payouts on PostgreSQL: what is due of which provider, what a pause keeps, and whose word still counts."""

import asyncio
from collections.abc import Iterator
from datetime import timedelta

import pytest

from tests.kit.builders import fee, withdrawal
from tests.kit.payouts import LEASE_SECONDS, Paying, paying_out
from tests.kit.postgres import Database
from tests.kit.wallets import asynchronous
from transaction_service.adapters.payouts import NOT_ASKED
from transaction_service.domain.movement import Movement
from transaction_service.domain.terms import PayoutDestination, Terms
from transaction_service.payouts.payout import Payout, PayoutState

PENDING, PAID, REFUSED, REVERSED, DEAD = PayoutState


@pytest.fixture(scope="module")
def paying(database: Database) -> Iterator[Paying]:
    with paying_out(database) as paying:
        yield paying


async def claimed_again(paying: Paying, movement: Movement) -> Payout:
    paying.due(movement)
    return await paying.claimed(movement)


@pytest.mark.parametrize("provider", ["a-first", "z-last"])
@asynchronous
async def test_what_is_to_be_given_back_is_claimed_where_its_provider_has_nothing_to_pay(
    paying: Paying, provider: str
) -> None:
    await paying.withdraw()
    movement = await paying.withdraw(paid_by=provider)
    await paying.claimed(movement)
    refused = await paying.store.refused(await claimed_again(paying, movement), "r", "no")
    assert refused is not None
    assert (refused.attempts, refused.failures, refused.provider_reference) == (2, 1, "r")
    again = await claimed_again(paying, movement)
    assert (again.state, again.attempts, again.failures) == (REFUSED, 2, 2), "the provider is not called"


@pytest.mark.parametrize("change", ["taken", "postponed"])
@asynchronous
async def test_a_pause_is_kept(paying: Paying, change: str) -> None:
    movement = await paying.withdraw()
    assert await getattr(paying.store, change)(await paying.claimed(movement), "", 3600)
    assert movement.id not in {payout.id for payout in await paying.store.claim(1000, LEASE_SECONDS, {})}
    now = await paying.now(movement)
    assert now.next_time is not None
    assert now.next_time > now.update_time + timedelta(seconds=3599)
    paying.change(movement, "next_time = now()")
    await paying.claimed(movement)


@asynchronous
async def test_a_claim_of_before_others_were_told_that_it_is_taken_is_lost(paying: Paying) -> None:
    movement = await paying.withdraw()
    slow = await paying.claimed(movement)
    assert await paying.store.taken(await claimed_again(paying, movement), "r", 0)
    last = await claimed_again(paying, movement)
    assert (slow.failures, slow.attempts) == (last.failures, last.attempts - 2)
    assert not await paying.store.dead(slow, "unreachable")


@asynchronous
async def test_a_claim_of_before_it_was_retried_is_lost(paying: Paying) -> None:
    movement = await paying.withdraw()
    slow = await paying.claimed(movement)
    assert await paying.store.dead(slow, "unreachable")
    await paying.payouts.retry(movement.id, "ops", "")
    last = await paying.claimed(movement)
    assert (slow.attempts, slow.failures) == (last.attempts, last.failures)
    assert not await paying.store.dead(slow, "unreachable")


@asynchronous
async def test_a_claim_of_what_others_give_back_is_lost(paying: Paying) -> None:
    movement = await paying.withdraw()
    slow = await paying.store.refused(await paying.claimed(movement), "r", "no")
    assert slow is not None
    assert (await claimed_again(paying, movement)).attempts == slow.attempts
    assert not await paying.store.postponed(slow, "no", 3600)


@asynchronous
async def test_a_retried_payout_is_as_new_also_where_the_provider_had_it(paying: Paying) -> None:
    movement = await paying.withdraw()
    assert await paying.store.taken(await paying.claimed(movement), "r", 0)
    assert await paying.store.dead(await claimed_again(paying, movement), "unreachable")
    dead = await paying.now(movement)
    retried = await paying.payouts.retry(movement.id, "ops", "")
    assert retried is not None
    assert (dead.taken, retried.taken) == (True, False), "it is paid, and not asked for"
    assert retried.update_time > dead.update_time


@asynchronous
async def test_what_leaves_a_fee_behind_is_what_was_asked_for(paying: Paying) -> None:
    movement = await paying.withdraw(amount=20, terms=fee(3, included=True))
    assert (await paying.claimed(movement)).amount == 17


@asynchronous
async def test_what_a_failed_withdrawal_asks_for_is_paid_to_nobody(paying: Paying) -> None:
    """Somebody has written it into the table."""
    movement = await paying.withdraw(amount=60)
    terms = Terms(payout=PayoutDestination("bank", "DE89 3704", "Ann"))
    failed, other = withdrawal(movement.source, 60, terms=terms), await paying.withdraw()
    await asyncio.to_thread(paying.ledger.post, failed)
    paying.change(movement, "id = %s", failed.id)
    got = {payout.id for payout in await paying.store.claim(1000, LEASE_SECONDS, {})}
    assert (failed.id in got, other.id in got) == (False, True)
    stray = await paying.now(failed)
    assert (stray.state, stray.last_error) == (DEAD, NOT_ASKED)
    assert (await paying.now(other)).state is PENDING
