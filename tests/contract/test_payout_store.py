"""The store of payouts on PostgreSQL: who gets them, and which change holds in which state."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest
from structlog.testing import capture_logs

from service_kit.status import Refusal
from tests.kit.builders import fee, withdrawal
from tests.kit.ledgers import named
from tests.kit.payouts import LEASE_SECONDS, Paying, paying_out
from tests.kit.postgres import Database
from tests.kit.tables import rows
from tests.kit.wallets import asynchronous
from transaction_service.adapters import payouts
from transaction_service.adapters.payouts import NOT_ASKED, SqlPayoutStore
from transaction_service.adapters.rows import to_transaction
from transaction_service.domain.account import AccountState, set_state
from transaction_service.domain.failure import Failure, Reason
from transaction_service.domain.movement import Movement, Transaction
from transaction_service.domain.terms import PayoutDestination, Terms
from transaction_service.payouts.payout import Payout, PayoutState

PENDING, PAID, REFUSED, REVERSED, DEAD = PayoutState


@pytest.fixture(scope="module")
def paying(database: Database) -> Iterator[Paying]:
    with paying_out(database) as paying:
        yield paying


@asynchronous
async def test_a_withdrawal_writes_what_is_to_be_paid_out(paying: Paying) -> None:
    [wallet] = await paying.wallets("payer")
    movement = await paying.withdraw(wallet, 20, description="wages", terms=fee(3, included=True))
    payout = await paying.now(movement)
    assert (payout.id, payout.name, payout.state) == (movement.id, f"payouts/{movement.id}", PENDING)
    assert (payout.wallet, payout.amount, payout.currency) == (wallet, 17, "USD"), "what the destination has got"
    assert (payout.provider, payout.account, payout.beneficiary) == ("bank", "DE89 3704", "Ann")
    assert (payout.reference, payout.attempts, payout.next_time) == ("wages", 0, payout.create_time)


@asynchronous
async def test_one_group_writes_only_those_that_were_posted_with_a_payout(paying: Paying) -> None:
    payer, poor = await paying.wallets("payer", "poor")
    terms = Terms(payout=PayoutDestination("bank", 'a "quoted" \\ account', ""))
    asked = [
        withdrawal(payer, 1, terms=terms),
        withdrawal(payer, 2),
        withdrawal(poor, 999, terms=terms),
        withdrawal(poor, 3, terms=terms),
    ]
    await asyncio.to_thread(paying.ledger.post, *asked)
    found = [await paying.payouts.payout(movement.id) for movement in asked]
    assert [None if payout is None else payout.amount for payout in found] == [1, None, None, 3]
    assert (await paying.now(asked[0])).account == 'a "quoted" \\ account'
    await asyncio.to_thread(paying.ledger.post, *asked)
    assert paying.query("SELECT count(*) FROM transactions.payout WHERE wallet = %s", payer) == [(1,)]


@asynchronous
async def test_a_claimed_payout_is_nobody_elses_until_the_lease_is_over(paying: Paying) -> None:
    movement = await paying.withdraw()
    payout = await paying.claimed(movement)
    assert (payout.attempts, payout.failures) == (1, 1)
    assert movement.id not in {other.id for other in await paying.store.claim(1000, LEASE_SECONDS, {})}
    paying.change(movement, "claimed_until = now()")
    again = await paying.claimed(movement)
    assert (again.attempts, again.failures) == (2, 2)


@pytest.mark.parametrize(
    "change",
    [
        "wallet = 'wallets/other'",
        "provider = 'other'",
        "account = 'DE00 0000'",
        "beneficiary = 'Eve'",
        "reference = 'bribe'",
        "amount = amount + 1",
        "currency = 'EUR'",
        "id = gen_random_uuid()",
    ],
)
@asynchronous
async def test_what_no_withdrawal_asks_for_is_paid_to_nobody(paying: Paying, change: str) -> None:
    """Somebody has written it into the table. It is an operator's to look at."""
    movement = await paying.withdraw()
    paying.change(movement, change)
    [(id_,)] = paying.query("SELECT id::text FROM transactions.payout ORDER BY create_time DESC LIMIT 1")
    assert id_ not in {payout.id for payout in await paying.store.claim(1000, LEASE_SECONDS, {})}
    found = await paying.payouts.payout(id_)
    assert found is not None
    assert (found.state, found.last_error) == (DEAD, NOT_ASKED)


@asynchronous
async def test_what_cannot_be_read_is_left_and_holds_up_no_other(
    paying: Paying, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A later version has written it, while some back offices are of this one."""
    movement, other = await paying.withdraw(), await paying.withdraw()

    def read(row: Sequence[Any]) -> Transaction:
        if row[0] == movement.id:
            raise ValueError("terms that this version does not know: later")
        return to_transaction(row)

    monkeypatch.setattr(payouts, "to_transaction", read)
    with capture_logs() as logs:
        claimed = {payout.id for payout in await paying.store.claim(1000, LEASE_SECONDS, {})}
    assert movement.id not in claimed
    assert other.id in claimed
    assert [(log["event"], log["payout"]) for log in logs] == [("payout_unreadable", movement.id)]
    assert (await paying.now(movement)).state is PENDING


@asynchronous
async def test_of_several_workers_at_once_each_gets_others(paying: Paying) -> None:
    [wallet] = await paying.wallets("payer")
    mine = {(await paying.withdraw(wallet, 1)).id for _ in range(20)}
    shares = await asyncio.gather(*(paying.store.claim(5, LEASE_SECONDS, {}) for _ in range(12)))
    shares += [await paying.store.claim(1000, LEASE_SECONDS, {})]
    got = [payout.id for share in shares for payout in share if payout.id in mine]
    assert sorted(got) == sorted(mine)


@asynchronous
async def test_each_provider_has_its_share_and_none_takes_another_s(paying: Paying) -> None:
    """As many as bring what is under way to so many, whatever else is overdue, and for longer."""
    while await paying.store.claim(1000, LEASE_SECONDS, {}):
        pass
    [wallet] = await paying.wallets("payer")
    names = ("first", "hangs", "last")
    made = {name: [await paying.withdraw(wallet, 1, paid_by=name) for _ in range(6)] for name in names}
    for movements in made.values():
        for place, movement in enumerate(movements):
            paying.change(movement, f"next_time = now() - interval '{9 - place} min'")

    async def claimed(**under_way: int) -> dict[str, list[int]]:
        """Which of each provider's, oldest first."""
        found = {payout.id for payout in await paying.store.claim(4, LEASE_SECONDS, under_way)}
        return {name: [n for n, m in enumerate(movements) if m.id in found] for name, movements in made.items()}

    assert await claimed(first=2, hangs=4) == {"first": [0, 1], "hangs": [], "last": [0, 1, 2, 3]}
    assert await claimed(hangs=5) == {"first": [2, 3, 4, 5], "hangs": [], "last": [4, 5]}
    assert await claimed(hangs=3, other=9) == {"first": [], "hangs": [0], "last": []}


# Which change holds of a payout that was claimed and is in another state by now, and what it is then.
CHANGES = """
    # now         change        it is        event
    PENDING       paid          PAID         payout.paid
    PENDING       refused       REFUSED      -
    PENDING       taken         PENDING      -
    PENDING       postponed     PENDING      -
    PENDING       dead          DEAD         payout.dead
    PENDING       reversed      -            -
    PENDING       irreversible  -            -
    PAID          paid          -            -
    PAID          refused       -            -
    PAID          taken         -            -
    PAID          postponed     -            -
    PAID          dead          -            -
    PAID          reversed      -            -
    PAID          irreversible  -            -
    REFUSED       paid          -            -
    REFUSED       refused       -            -
    REFUSED       reversed      REVERSED     payout.reversed
    REFUSED       irreversible  DEAD         payout.dead
    REFUSED       dead          -            -
    REFUSED       taken         -            -
    REFUSED       postponed     -            -
    REVERSED      paid          -            -
    REVERSED      refused       -            -
    REVERSED      reversed      -            -
    REVERSED      irreversible  -            -
    REVERSED      dead          -            -
    REVERSED      postponed     -            -
    DEAD          paid          PAID         payout.paid
    DEAD          refused       -            -
    DEAD          taken         -            -
    DEAD          postponed     -            -
    DEAD          dead          -            -
    DEAD          reversed      -            -
    DEAD          irreversible  -            -
    DEAD-REFUSED  paid          -            -
    DEAD-REFUSED  reversed      -            -
"""


def calls_of(store: SqlPayoutStore, payout: Payout) -> dict[str, Callable[[], Awaitable[Any]]]:
    return {
        "paid": lambda: store.paid(payout, "r"),
        "refused": lambda: store.refused(payout, "r", "why"),
        "taken": lambda: store.taken(payout, "r", 1),
        "postponed": lambda: store.postponed(payout, "why", 1),
        "dead": lambda: store.dead(payout, "why"),
        "reversed": lambda: store.reversed(payout, str(uuid4())),
        "irreversible": lambda: store.irreversible(payout, "why"),
    }


def become(paying: Paying, movement: Movement, state: str) -> None:
    name = state.removesuffix("-REFUSED")
    next_time = "now()" if name in ("PENDING", "REFUSED") else "NULL"
    reversal = "gen_random_uuid()" if name == "REVERSED" else "NULL"
    refusals = 1 if state == "DEAD-REFUSED" else 0
    paying.change(
        movement,
        f"state = %s, next_time = {next_time}, reversal = {reversal}, reversal_attempts = %s",
        PayoutState[name].value,
        refusals,
    )


@pytest.mark.parametrize(("now", "change", "after", "event"), list(rows(CHANGES)))
@asynchronous
async def test_a_change_holds_only_where_it_may_come_from(
    paying: Paying, now: str, change: str, after: str, event: str
) -> None:
    movement = await paying.withdraw()
    payout = await paying.claimed(movement)
    become(paying, movement, now)
    before = await paying.now(movement)
    held = await calls_of(paying.store, payout)[change]()
    is_now = await paying.now(movement)
    assert bool(held) is (after != "-")
    assert paying.events(movement) == ([] if event == "-" else [event])
    if after == "-":
        assert is_now == before
    else:
        assert is_now.state.name == after
        assert is_now.update_time > before.update_time
        assert (await paying.store.state(movement.id)).name == after


@pytest.mark.parametrize("change", ["taken", "postponed", "dead"])
@asynchronous
async def test_who_has_lost_his_claim_says_nothing_that_is_not_final(paying: Paying, change: str) -> None:
    movement = await paying.withdraw()
    slow = await paying.claimed(movement)
    paying.due(movement)
    await paying.claimed(movement)
    assert not await calls_of(paying.store, slow)[change]()


@asynchronous
async def test_a_late_word_about_an_earlier_reversal_ends_nothing(paying: Paying) -> None:
    movement = await paying.withdraw()
    refused = await paying.store.refused(await paying.claimed(movement), "r", "no")
    assert refused is not None
    assert await paying.store.irreversible(refused, "frozen")
    await paying.payouts.retry(movement.id, "ops", "")
    assert not await paying.store.irreversible(refused, "frozen")
    assert (await paying.now(movement)).state is REFUSED


@asynchronous
async def test_what_the_provider_has_under_way_is_no_failure(paying: Paying) -> None:
    movement = await paying.withdraw()
    assert await paying.store.taken(await paying.claimed(movement), "ref-7", 0)
    payout = await paying.claimed(movement)
    assert (payout.taken, payout.provider_reference, payout.attempts, payout.failures) == (True, "ref-7", 2, 1)


@asynchronous
async def test_to_retry_is_an_act_on_record(paying: Paying) -> None:
    movement = await paying.withdraw()
    assert await paying.store.dead(await paying.claimed(movement), "unreachable")
    retried = await paying.payouts.retry(movement.id, "ops", "trace-1")
    assert retried is not None
    assert (retried.state, retried.attempts, retried.failures, retried.taken) == (PENDING, 0, 0, False)
    assert retried == await paying.payouts.retry(movement.id, "ops", "trace-2"), "it is not DEAD any more"
    assert await paying.store.dead(await paying.claimed(movement), "unreachable")
    await paying.payouts.retry(movement.id, "ops", "trace-3")
    told = ({"state": "DEAD"}, {"state": "PENDING"}, "ops")
    assert paying.acts(movement) == [(1, "RETRY", *told, "trace-1"), (2, "RETRY", *told, "trace-3")]
    assert paying.events(movement) == ["payout.dead", "payout.dead"]
    assert await paying.payouts.retry(str(uuid4()), "ops", "") is None


@asynchronous
async def test_of_what_was_refused_the_giving_back_is_retried(paying: Paying) -> None:
    movement = await paying.withdraw()
    refused = await paying.store.refused(await paying.claimed(movement), "r", "no")
    assert refused is not None
    assert await paying.store.irreversible(refused, "frozen")
    retried = await paying.payouts.retry(movement.id, "ops", "trace")
    assert retried is not None
    assert (retried.state, retried.reversal_attempts) == (REFUSED, 1)
    assert [act[3] for act in paying.acts(movement)] == [{"state": "REFUSED"}]


@asynchronous
async def test_two_who_retry_at_once_retry_once(paying: Paying) -> None:
    movement = await paying.withdraw()
    await paying.store.dead(await paying.claimed(movement), "unreachable")
    await asyncio.gather(*(paying.payouts.retry(movement.id, f"ops {n}", "") for n in range(4)))
    assert len(paying.acts(movement)) == 1


@asynchronous
async def test_payouts_by_wallet_and_state_in_pages(paying: Paying) -> None:
    ann, ben = await paying.wallets("ann", "ben")
    made = [await paying.withdraw(wallet, 1) for wallet in (ann, ben, ann, ann, ben)]
    for movement in made[2:]:
        await paying.store.dead(await paying.claimed(movement), "unreachable")
    await paying.store.paid(await paying.claimed(made[0]), "r")
    stored = [await paying.now(movement) for movement in made]

    async def listed(wallet: str, state: PayoutState | None, size: int) -> list[Payout]:
        found, after = await paying.payouts.payouts(wallet, state, None, size)
        while after is not None:
            more, after = await paying.payouts.payouts(wallet, state, after, size)
            assert len(more) <= size
            found += more
        return found

    for wallet in (ann, ben, named("nobody")):
        for state in (None, *PayoutState):
            expected = [p for p in reversed(stored) if p.wallet == wallet and state in (None, p.state)]
            for size in (1, 2, 100):
                assert await listed(wallet, state, size) == expected
    for state in (None, DEAD, PENDING):
        mine = [p for p in await listed("", state, 2) if p.wallet in (ann, ben)]
        assert mine == [p for p in reversed(stored) if state in (None, p.state)]
    with pytest.raises(Refusal, match="page token"):
        await paying.payouts.payouts(ann, None, [["strange", "place"]], 1)


@asynchronous
async def test_who_is_bound_sees_payouts_out_of_his_own_wallets(paying: Paying) -> None:
    movement = await paying.withdraw()
    [account] = await paying.ledger.accounts.get([movement.source])
    owner = account.owner
    assert await paying.payouts.payout(movement.id, owner) == await paying.now(movement)
    assert await paying.payouts.payout(movement.id, "nobody") is None
    assert await paying.payouts.payout(str(uuid4()), owner) is None


@pytest.mark.parametrize("state", ["PENDING", "REFUSED", "DEAD", "PAID", "REVERSED"])
def test_a_wallet_is_closed_when_its_payouts_have_ended(paying: Paying, state: str) -> None:
    movement = paying.withdrawn(amount=100)
    become(paying, movement, state)
    changed = paying.ledger.change(movement.source, lambda account: set_state(account, AccountState.CLOSED, 2))
    if state in ("PAID", "REVERSED"):
        assert not isinstance(changed, Failure)
        assert changed is not None
        assert changed.state is AccountState.CLOSED
        become(paying, movement, "PENDING")
        again = paying.ledger.change(movement.source, lambda account: replace(account, revision=3))
        assert not isinstance(again, Failure), "it is closed already"
    else:
        assert changed == Failure(Reason.PAYOUTS_UNDER_WAY, {"wallet": movement.source, "payouts": "1"})
        assert paying.ledger.account(movement.source).state is AccountState.OPEN


@asynchronous
async def test_the_backlog_is_counted_so_far_and_no_further(postgres_server: Any) -> None:  # noqa: ANN401 - a Server
    with postgres_server.fresh_database() as fresh, paying_out(fresh) as paying:
        assert await paying.store.backlog(10) == (0, 0, 0, 0.0)
        [wallet] = await paying.wallets("payer")
        made = [await paying.withdraw(wallet, 1) for _ in range(7)]
        await paying.store.refused(await paying.claimed(made[0]), "", "no")
        for movement in made[1:3]:
            await paying.store.dead(await paying.claimed(movement), "unreachable")
        paying.change(made[3], "next_time = now() - interval '1 hour'")
        pending, refused, dead, overdue = await paying.store.backlog(3)
        assert (pending + refused, dead) == (3, 2)
        assert 3600 <= overdue < 7200
        for movement in [made[0], *made[3:]]:
            paying.change(movement, "next_time = now() + interval '1 hour'")
        assert await paying.store.backlog(100) == (4, 1, 2, 0.0), "none is due"
