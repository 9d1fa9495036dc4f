"""The back office that seals, as it runs: several at once, killed, cut off from PostgreSQL, with and without a key."""

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest

from audit_chain.signing import Signer, new_private_pem
from tests.kit.builders import transfer
from tests.kit.ledgers import Ledger, funded, postgres_ledger, session
from tests.kit.postgres import Database
from tests.kit.sealing import Chain, chain_of
from tests.kit.service import ServiceProcess, back_office, wait_until

PROCESSES = 3
ROUNDS = 30
CUT_OFF = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'specie back office%'"


@pytest.fixture
def ledger(database: Database) -> Iterator[Ledger]:
    with postgres_ledger(database) as opened:
        yield opened


@pytest.fixture
def chain(database: Database) -> Iterator[Chain]:
    """It only reads here."""
    with chain_of(database) as opened:
        yield opened


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    file = tmp_path / "seal.pem"
    file.write_bytes(new_private_pem())
    return file


def pay(ledger: Ledger, rounds: int = 1) -> set[str]:
    """Some commits; the ids."""
    alice, bob = funded(ledger, 1000, "alice", "bob")
    made = set()
    for _ in range(rounds):
        group = [transfer(alice, bob, 1) for _ in range(3)]
        ledger.post(*group)
        made |= {movement.id for movement in group}
    return made


def sealed_ids(chain: Chain) -> list[str]:
    return [id_ for sealed in chain.all() for id_ in sealed.ids]


def has_sealed(chain: Chain, wanted: set[str]) -> bool:
    return wanted <= {*sealed_ids(chain)}


def test_what_is_posted_is_sealed_and_told(
    database: Database, ledger: Ledger, chain: Chain, tmp_path: Path, key_file: Path
) -> None:
    with back_office(database, tmp_path, SEAL_KEY_FILE=key_file, SEAL_SECONDS=0.05) as office:
        made = pay(ledger)
        wait_until(partial(has_sealed, chain, made), "it is sealed")
        wait_until(lambda: office.metrics()["specie_sealed_transactions_total"] >= len(made), "it is counted")
        wait_until(lambda: office.metrics()["specie_seal_lag_seconds"] == 0, "nothing waits")
        assert office.metrics()["specie_blocks_total"] == len(office.events("sealed"))
        assert sum(event["transactions"] for event in office.events("sealed")) == len(sealed_ids(chain))
        [key] = asyncio.run(chain.blocks.keys())
        assert key.public_key == Signer.from_pem(key_file.read_bytes()).public_pem
        assert office.stop() == 0
        assert [event for event in office.events() if event["level"] != "info"] == []


def test_several_back_offices_that_are_killed_in_the_middle_make_one_chain(
    database: Database, ledger: Ledger, chain: Chain, tmp_path: Path, key_file: Path
) -> None:
    with ExitStack() as opened:
        offices: list[ServiceProcess] = [
            opened.enter_context(back_office(database, tmp_path, SEAL_KEY_FILE=key_file, SEAL_SECONDS=0.05))
            for _ in range(PROCESSES)
        ]
        made: set[str] = set()
        for number in range(ROUNDS):
            made |= pay(ledger, 2)
            if number % 10 == 5:
                victim = offices[number // 10]
                victim.kill()
                victim.launch()
        wait_until(partial(has_sealed, chain, made), "all is sealed")
        for office in offices:
            office.end()
    sealed = sealed_ids(chain)
    assert len(sealed) == len(set(sealed))
    blocks = chain.all()
    assert [block.block.number for block in blocks] == [*range(1, len(blocks) + 1)]
    assert [block.header.previous for block in blocks[1:]] == [block.block.hash for block in blocks[:-1]]
    assert all(map(chain.is_as_sealed, blocks))


def test_who_is_cut_off_from_the_database_goes_on(
    database: Database, ledger: Ledger, chain: Chain, tmp_path: Path, key_file: Path
) -> None:
    with back_office(database, tmp_path, SEAL_KEY_FILE=key_file, SEAL_SECONDS=0.05):
        wait_until(partial(has_sealed, chain, pay(ledger)), "it seals")
        # A role may end its own sessions.
        with session(database.transaction_dsn) as role:
            role.execute(CUT_OFF)
        wait_until(partial(has_sealed, chain, pay(ledger)), "it seals again")


def test_without_a_key_nothing_is_sealed_and_the_log_says_so(
    database: Database, ledger: Ledger, chain: Chain, tmp_path: Path
) -> None:
    last = chain.latest()
    pay(ledger)
    with back_office(database, tmp_path) as office:
        assert [event["level"] for event in office.events("sealing_off")] == ["info"]
        assert office.stop() == 0
    assert chain.latest() == last


@pytest.mark.parametrize("content", [None, b"", b"not a key"])
def test_a_key_that_cannot_be_used_keeps_it_from_starting(
    database: Database, tmp_path: Path, content: bytes | None
) -> None:
    file = tmp_path / "seal.pem"
    if content is not None:
        file.write_bytes(content)
    office = ServiceProcess(
        "transaction_service.back_office",
        "SPECIE_BACK_OFFICE_",
        database,
        tmp_path / "log",
        DATABASE_DSN=database.transaction_dsn,
        SEAL_KEY_FILE=file,
    )
    office.launch()
    assert office.wait() == 1
    [event] = office.events("failed")
    assert str(file) in event["error"]
