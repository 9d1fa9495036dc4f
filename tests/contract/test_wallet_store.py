"""What every WalletStore does alike."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from uuid import uuid4

import pytest
from pydantic import SecretStr

from service_kit.database import Database as Connections
from tests.kit.postgres import Database
from tests.kit.tokens import WALLET_IDENTITY
from tests.kit.wallets import asynchronous, new_wallet
from wallet_service.adapters.memory_store import MemoryWalletStore
from wallet_service.adapters.sql_store import SqlWalletStore
from wallet_service.domain.failure import Failure, Reason
from wallet_service.domain.wallet import (
    Closing,
    Limits,
    NewWallet,
    Particulars,
    TurnedDown,
    Updating,
    Wallet,
    WalletKind,
    WalletState,
)
from wallet_service.ports import Inserted, NameTaken, SameRequestId, WalletStore
from wallet_service.settings import WalletSettings

FULL = Particulars("Ann's", {"team": "a", "ünïcode": 'q"\\'}, Limits(2**63 - 1, 2, 3, "Europe/Berlin", 4))


@pytest.fixture(params=["memory", "postgresql"])
def store(request: pytest.FixtureRequest) -> Iterator[WalletStore]:
    """Everything unfinished is due at once."""
    if request.param == "memory":
        yield MemoryWalletStore(due_seconds=0)
        return
    database: Database = request.getfixturevalue("database")
    connections = Connections(WalletSettings(database_dsn=SecretStr(database.wallet_dsn), **WALLET_IDENTITY), "test")
    yield SqlWalletStore(connections, due_seconds=0)
    connections.close()


numbers = count(1)


def fresh(**changed: object) -> NewWallet:
    """A wallet that no other test has."""
    return new_wallet(f"wallets/w-{next(numbers):04}", **({"owner": f"o-{uuid4()}"} | changed))


async def inserted(store: WalletStore, new: NewWallet) -> Wallet:
    outcome = await store.insert(new)
    assert isinstance(outcome, Inserted)
    return outcome.wallet


async def became(store: WalletStore, wallet: Wallet) -> Wallet:
    stored = await store.replace(wallet)
    assert stored is not None
    return stored


@asynchronous
async def test_a_new_wallet_is_creating_and_keeps_all_it_was_given(store: WalletStore) -> None:
    new = fresh(particulars=FULL, kind=WalletKind.PROVIDER, request_id=f"r-{uuid4()}", fingerprint=b"\0\xff" * 8)
    wallet = await inserted(store, new)
    assert (wallet.state, wallet.revision, wallet.attempt) == (WalletState.CREATING, 1, None)
    assert {field: getattr(wallet, field) for field in NewWallet.__dataclass_fields__} == {
        field: getattr(new, field) for field in NewWallet.__dataclass_fields__
    }
    assert wallet.create_time == wallet.update_time
    assert wallet.create_time.utcoffset() is not None
    assert await store.get(new.name) == wallet


@asynchronous
async def test_a_name_is_taken_once(store: WalletStore) -> None:
    new = fresh()
    await inserted(store, new)
    assert await store.insert(replace(new, owner="other")) == NameTaken()


@asynchronous
async def test_a_request_id_finds_its_wallet_again_whatever_the_name(store: WalletStore) -> None:
    new = fresh(request_id=f"r-{uuid4()}")
    wallet = await inserted(store, new)
    assert await store.insert(new) == SameRequestId(wallet)
    assert await store.insert(replace(new, name=fresh().name)) == SameRequestId(wallet)


@asynchronous
async def test_a_request_id_is_the_principal_s_own(store: WalletStore) -> None:
    new = fresh(request_id=f"r-{uuid4()}")
    await inserted(store, new)
    await inserted(store, replace(new, name=fresh().name, principal="other"))


@asynchronous
async def test_of_equal_insertions_at_once_one_wins_and_all_find_it(store: WalletStore) -> None:
    new = fresh(request_id=f"r-{uuid4()}")
    outcomes = await asyncio.gather(*(store.insert(new) for _ in range(8)))
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["Inserted"] + 7 * ["SameRequestId"]


@asynchronous
async def test_unknown_names_are_left_out(store: WalletStore) -> None:
    wallet = await inserted(store, fresh())
    assert await store.get("wallets/nobody") is None
    assert await store.get_many([wallet.name, "wallets/nobody"]) == {wallet.name: wallet}
    assert await store.get_many([]) == {}


CHANGES = [
    {"state": WalletState.ACTIVE, "particulars": FULL, "update_revision": 3},
    {"state": WalletState.CLOSING, "attempt": Closing(1, WalletState.FROZEN, turned_down=True)},
    {"state": WalletState.ACTIVE, "attempt": Updating(1, FULL)},
    {
        "state": WalletState.FROZEN,
        "attempt": Updating(1, FULL, turned_down=True),
        "turned_down": TurnedDown(1, Failure(Reason.FLOOR_ABOVE_BALANCE, {"available": "-5"})),
    },
]


@pytest.mark.parametrize("change", CHANGES)
@asynchronous
async def test_a_change_is_kept_and_counted(store: WalletStore, change: dict[str, object]) -> None:
    before = await inserted(store, fresh())
    wanted = replace(before, **change)  # type: ignore[arg-type]
    after = await became(store, wanted)
    assert after == replace(wanted, revision=2, update_time=after.update_time)
    assert after.update_time >= before.update_time
    assert await store.get(before.name) == after


@asynchronous
async def test_a_change_of_an_old_revision_does_nothing(store: WalletStore) -> None:
    old = await inserted(store, fresh())
    new = await became(store, replace(old, state=WalletState.ACTIVE))
    assert await store.replace(replace(old, state=WalletState.ACTIVE, particulars=FULL)) is None
    assert await store.get(old.name) == new


@asynchronous
async def test_of_changes_of_one_revision_at_once_one_counts(store: WalletStore) -> None:
    old = await inserted(store, fresh())
    changes = (replace(old, particulars=Particulars(str(number))) for number in range(8))
    outcomes = await asyncio.gather(*map(store.replace, changes))
    [winner] = [outcome for outcome in outcomes if outcome is not None]
    assert await store.get(old.name) == winner


@asynchronous
async def test_what_is_fixed_for_good_is_not_changed(store: WalletStore) -> None:
    old = await inserted(store, fresh())
    new = await became(store, replace(old, state=WalletState.ACTIVE, owner="thief", currency_code="EUR"))
    assert (new.owner, new.currency_code) == (old.owner, "USD")


@asynchronous
async def test_a_wallet_that_does_not_exist_is_not_changed(store: WalletStore) -> None:
    wallet = await inserted(store, fresh())
    assert await store.replace(replace(wallet, name="wallets/nobody")) is None


@asynchronous
async def test_pages_go_by_name_and_keep_to_the_filters(store: WalletStore) -> None:
    owner = f"o-{uuid4()}"
    tag = uuid4().hex[:8]
    names = [f"wallets/{tag}{end}" for end in ("-", "-z", "0", "a", "a-b", "a0", "b")]
    wallets = {name: await inserted(store, new_wallet(name, owner=owner)) for name in reversed(names)}
    for name in names[::2]:
        await became(store, replace(wallets[name], state=WalletState.ACTIVE))
    await inserted(store, new_wallet(f"wallets/{tag}a1", owner="somebody else"))

    async def page(owner: str, state: WalletState | None, after: str, size: int) -> list[str]:
        return [wallet.name for wallet in await store.page(owner, state, after, size)]

    assert await page(owner, None, "", 100) == names
    assert await page(owner, None, "", 3) == names[:3]
    assert await page(owner, None, names[2], 3) == names[3:6]
    assert await page(owner, None, names[-1], 3) == []
    assert await page(owner, WalletState.ACTIVE, "", 100) == names[::2]
    everyone = await page("", None, f"wallets/{tag}", 100)
    assert f"wallets/{tag}a1" in everyone
    assert await page("", WalletState.CREATING, f"wallets/{tag}a0", 1) == [f"wallets/{tag}a1"]


@asynchronous
async def test_unfinished_wallets_are_claimed_once_a_lease(store: WalletStore) -> None:
    mine = {(await inserted(store, fresh())).name for _ in range(6)}
    settled = await became(store, replace(await inserted(store, fresh()), state=WalletState.ACTIVE))
    rounds = await asyncio.gather(*(store.claim(1000, 60) for _ in range(4)))
    claimed = [due.wallet.name for claims in rounds for due in claims]
    assert mine <= set(claimed)
    assert settled.name not in claimed
    assert len(claimed) == len(set(claimed))
    assert not mine & {due.wallet.name for due in await store.claim(1000, 60)}


@asynchronous
async def test_a_lease_that_ended_can_be_claimed_again_and_is_counted(store: WalletStore) -> None:
    wallet = await inserted(store, fresh())
    attempts = []
    for _ in range(3):
        attempts += [due.attempts for due in await store.claim(1000, 0) if due.wallet.name == wallet.name]
    assert attempts == [1, 2, 3]
    changed = await became(store, replace(wallet, state=WalletState.ACTIVE, attempt=Updating(1, FULL)))
    again = [due for due in await store.claim(1000, 0) if due.wallet.name == wallet.name]
    assert [(due.attempts, due.wallet) for due in again] == [(1, changed)]


@asynchronous
async def test_the_longest_due_are_claimed_first(store: WalletStore) -> None:
    while await store.claim(1000, 600):
        pass
    first = await inserted(store, fresh())
    await inserted(store, fresh())
    assert [due.wallet.name for due in await store.claim(1, 600)] == [first.name]


@asynchronous
async def test_it_answers(store: WalletStore) -> None:
    await store.ping()
