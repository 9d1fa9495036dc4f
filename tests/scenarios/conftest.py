"""A service for each story: two workers over a database of its own."""

from collections.abc import Iterator

import pytest

from tests.kit.ledger import Ledger
from tests.kit.postgres import Database
from tests.kit.scenario import sound_service
from tests.kit.service import ServiceProcess


@pytest.fixture(scope="module")
def service(database: Database, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    with sound_service(database, tmp_path_factory.mktemp("scenario"), SWEEP_SECONDS=0.1) as running:
        yield running


@pytest.fixture(scope="module")
def ledger(database: Database) -> Ledger:
    return Ledger(database)
