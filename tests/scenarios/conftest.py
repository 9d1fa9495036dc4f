"""One running service for all stories: two workers over one database."""

from collections.abc import Iterator

import pytest

from tests.kit.ledger import Ledger
from tests.kit.postgres import Database, Server
from tests.kit.scenario import sound_service
from tests.kit.service import ServiceProcess


@pytest.fixture(scope="session")
def database(postgres_server: Server) -> Iterator[Database]:
    with postgres_server.fresh_database() as fresh:
        yield fresh


@pytest.fixture(scope="session")
def service(database: Database, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    with sound_service(database, tmp_path_factory.mktemp("scenarios"), SWEEP_SECONDS=0.1) as running:
        yield running


@pytest.fixture(scope="session")
def ledger(database: Database) -> Ledger:
    return Ledger(database)
