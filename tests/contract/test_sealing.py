"""The audit chain on PostgreSQL: every decided transaction is in exactly one block, whoever writes and seals when."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from audit_chain.header import BEGINNING, GENESIS, TRANSACTIONS_MAX, Mark, hash_of
from audit_chain.merkle import root_of
from audit_chain.signing import PublicKeys, Signer, new_private_pem
from service_kit.status import Refusal
from tests.kit.builders import deposit, transfer
from tests.kit.ledgers import Ledger, funded, postgres_ledger, session
from tests.kit.postgres import Database
from tests.kit.sealing import Chain, SealedBlock, chain_of
from tests.kit.tampering import unguarded
from tests.kit.writers import write
from transaction_service.domain.movement import Manner, Movement, TransactionState, Work
from transaction_service.domain.terms import Terms

WRITERS = 3
GROUPS = 25
SEALERS = 2
UNSEALED = "SELECT min(decide_time) FROM transactions.transaction WHERE state <> 3 AND (xid, id) > (%s, %s)"


@pytest.fixture
def ledger(database: Database) -> Iterator[Ledger]:
    with postgres_ledger(database) as opened:
        yield opened


@pytest.fixture
def chain(database: Database) -> Iterator[Chain]:
    """Whatever the tests before have left is sealed."""
    with chain_of(database) as opened:
        opened.seal_all()
        yield opened


def ids(*movements: Movement) -> list[str]:
    """In the order in which those of one commit stand in the chain."""
    return sorted(movement.id for movement in movements)


def check_links(blocks: list[SealedBlock], keys: PublicKeys | None = None) -> None:
    """Of the whole chain. `keys`: of all of its blocks; None: their signatures are not looked at."""
    hash_, until = GENESIS, BEGINNING
    for number, sealed in enumerate(blocks, 1):
        block, header = sealed.block, sealed.header
        assert (block.number, header.number) == (number, number)
        assert (header.previous, header.after) == (hash_, until)
        assert header.until > until
        assert header.until == block.until
        assert 1 <= header.transactions == len(sealed.ids) <= TRANSACTIONS_MAX
        assert header.root == root_of(sealed.content.leaf_hashes())
        assert header.sealed == block.seal_time
        assert block.hash == hash_of(block.header)
        assert keys is None or keys.vouch(block.key_id, block.header, block.signature)
        hash_, until = block.hash, header.until


def test_what_is_committed_is_sealed_in_the_order_of_commits(ledger: Ledger, chain: Chain) -> None:
    last = chain.latest()
    alice, bob = funded(ledger, 100, "alice", "bob")
    groups = [[transfer(alice, bob, amount) for amount in (1, 2, 1000)] for _ in range(3)]
    for group in groups:
        ledger.post(*group)
    done = chain.seal()
    [sealed] = chain.all(after=last)
    assert done.block == sealed.block
    assert done.transactions == len(sealed.ids)
    assert sealed.ids[-9:] == [id_ for group in groups for id_ in ids(*group)]
    check_links(chain.all())
    assert chain.is_as_sealed(sealed)


def test_no_block_is_made_of_nothing(ledger: Ledger, chain: Chain) -> None:
    funded(ledger, 100, "alice")
    assert chain.seal().block is not None
    last = chain.latest()
    done = chain.seal()
    assert (done.block, done.transactions, done.lag_seconds) == (None, 0, 0)
    assert chain.latest() == last


def test_a_pending_transfer_is_sealed_when_it_is_decided(ledger: Ledger, chain: Chain) -> None:
    alice, bob = funded(ledger, 100, "alice", "bob")
    pending = transfer(alice, bob, 1, terms=Terms(deferred=True))
    ledger.post(pending)
    chain.seal_all()
    assert chain.seal().lag_seconds == 0, "it waits for its time, and not for a seal"
    last = chain.latest()
    assert pending.id not in [id_ for sealed in chain.all() for id_ in sealed.ids]
    ledger.work(Work([pending], Manner.DUE))
    chain.seal_all()
    [sealed] = chain.all(after=last)
    assert sealed.ids == [pending.id]
    assert all(map(chain.is_as_sealed, chain.all()))


def test_a_block_takes_no_more_than_it_may_and_the_next_goes_on_within_a_commit(
    ledger: Ledger, chain: Chain, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("transaction_service.sealing.sealer.TRANSACTIONS_MAX", 2)
    [alice] = funded(ledger, 100, "alice")
    chain.seal_all()
    last = chain.latest()
    groups = [[deposit(alice, 1) for _ in range(5)] for _ in range(2)]
    for group in groups:
        ledger.post(*group)
    chain.seal_all()
    blocks = chain.all(after=last)
    expected = [id_ for group in groups for id_ in ids(*group)]
    assert [sealed.ids for sealed in blocks] == [expected[i : i + 2] for i in range(0, 10, 2)]
    assert len({sealed.block.until.commit for sealed in blocks}) == len(groups)
    assert all(map(chain.is_as_sealed, blocks))
    check_links(chain.all())


def test_while_a_transaction_of_the_database_runs_nothing_behind_it_is_sealed(
    ledger: Ledger, chain: Chain, database: Database
) -> None:
    alice, bob = funded(ledger, 100, "alice", "bob")
    chain.seal_all()
    with session(database.owner_dsn) as other:
        other.execute("SELECT pg_current_xact_id()")
        refused = transfer(alice, bob, 1000)
        ledger.post(refused)
        with unguarded(database.owner_dsn) as cursor:
            hour_old = "UPDATE transaction SET decide_time = decide_time - interval '1 hour' WHERE id = %s"
            cursor.execute(hour_old, (refused.id,))
        ledger.post(transfer(alice, bob, 1))
        held_back = chain.seal()
        assert held_back.block is None
        assert held_back.lag_seconds > 3600, "the oldest counts"
        other.connection.rollback()
    done = chain.seal()
    assert done.transactions == 2
    assert done.lag_seconds == 0


def test_another_process_goes_on_where_one_has_ended(ledger: Ledger, chain: Chain, database: Database) -> None:
    alice, bob = funded(ledger, 100, "alice", "bob")
    chain.seal_all()
    last = chain.latest()
    movement = transfer(alice, bob, 1)
    ledger.post(movement)
    with chain_of(database, Signer.from_pem(new_private_pem())) as other:
        other.seal_all()
        [sealed] = chain.all(after=last)
        assert sealed.ids == [movement.id]
        assert sealed.block.key_id == other.signer.key_id
        keys = asyncio.run(chain.blocks.keys())
        assert keys[-1].public_key == other.signer.public_pem
    ledger.post(transfer(alice, bob, 1))
    chain.seal_all()
    assert len(asyncio.run(chain.blocks.keys())) == len(keys), "a key is kept once"
    check_links(chain.all(), PublicKeys.from_pem("".join(key.public_key for key in keys)))


def test_a_chain_goes_on_from_what_is_signed(ledger: Ledger, chain: Chain, database: Database) -> None:
    """Whoever changes the columns beside a header must not bring a sealer to sign what breaks the chain for ever."""
    alice, bob = funded(ledger, 100, "alice", "bob")
    chain.seal_all()
    with unguarded(database.owner_dsn) as cursor:
        cursor.execute("CREATE TABLE public.kept AS TABLE block")
        cursor.execute("UPDATE block SET hash = sha256('x'), until_xid = until_xid - 1, until_id = gen_random_uuid()")
    ledger.post(transfer(alice, bob, 1))
    chain.seal_all()
    with unguarded(database.owner_dsn) as cursor:
        cursor.execute(
            "UPDATE block SET hash = kept.hash, until_xid = kept.until_xid, until_id = kept.until_id"
            " FROM public.kept WHERE kept.number = block.number"
        )
        cursor.execute("DROP TABLE public.kept")
    check_links(chain.all())


def test_who_does_not_get_the_lock_leaves_the_block_to_who_has_it(
    ledger: Ledger, chain: Chain, database: Database
) -> None:
    funded(ledger, 100, "alice")
    with session(database.transaction_dsn) as other:
        other.execute("SELECT pg_advisory_xact_lock(%s)", (0x5345_414C,))
        assert chain.seal().block is None
        other.connection.rollback()
    assert chain.seal().block is not None


def test_a_block_whose_commit_is_lost_is_made_anew(
    ledger: Ledger, chain: Chain, monkeypatch: pytest.MonkeyPatch
) -> None:
    [alice] = funded(ledger, 100, "alice")
    chain.seal_all()
    last = chain.latest()
    movement = deposit(alice, 1)
    ledger.post(movement)
    with monkeypatch.context() as broken:

        def lose(*_: object) -> float:
            raise Refusal("UNAVAILABLE", "the connection is lost before the commit")

        broken.setattr("transaction_service.adapters.sealing._lag_seconds", lose)
        with pytest.raises(Refusal):
            chain.seal()
    assert chain.latest() == last
    chain.seal_all()
    assert [sealed.ids for sealed in chain.all(after=last)] == [[movement.id]]


class Crowd:
    """Writers and sealers in threads, each with connections of its own."""

    def __init__(self, ledger: Ledger) -> None:
        self._wallets = funded(ledger, 1000, *["wallet"] * 6)
        self._barrier = threading.Barrier(WRITERS + SEALERS)
        self._done = threading.Event()
        self.decided: dict[str, TransactionState] = {}

    def run(self, database: Database) -> None:
        with ExitStack() as opened:
            ledgers = [opened.enter_context(postgres_ledger(database)) for _ in range(WRITERS)]
            chains = [opened.enter_context(chain_of(database)) for _ in range(SEALERS)]
            writers = [threading.Thread(target=self._write, args=(ledgers[n], n)) for n in range(WRITERS)]
            sealers = [threading.Thread(target=self._seal, args=(chain,)) for chain in chains]
            for thread in (*writers, *sealers):
                thread.start()
            for thread in writers:
                thread.join()
            self._done.set()
            for thread in sealers:
                thread.join()

    def _write(self, ledger: Ledger, number: int) -> None:
        self._barrier.wait()
        write(ledger, self._wallets, number, GROUPS, self.decided)

    def _seal(self, chain: Chain) -> None:
        self._barrier.wait()
        while not self._done.is_set():
            chain.seal()


def test_many_writers_and_several_sealers(ledger: Ledger, chain: Chain, database: Database) -> None:
    """Every decided transaction is in exactly one block, however the commits fall."""
    crowd = Crowd(ledger)
    chain.seal_all()
    last = chain.latest()
    crowd.run(database)
    chain.seal_all()
    blocks = chain.all(after=last)
    sealed = [id_ for one in blocks for id_ in one.ids]
    assert len(blocks) > 1
    assert len(sealed) == len(set(sealed))
    assert set(sealed) == set(crowd.decided)
    assert len(sealed) > WRITERS * GROUPS * 2
    assert all(map(chain.is_as_sealed, blocks))
    check_links(chain.all())


def test_nothing_decided_is_left_behind_the_chain(chain: Chain, database: Database) -> None:
    until: Mark = chain.all()[-1].header.until
    with session(database.owner_dsn) as owner:
        owner.execute(UNSEALED, until)
        found: Any = owner.fetchone()
    assert found == (None,)
