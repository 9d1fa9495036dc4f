"""One running transaction_service for all tests that only call it."""

from collections.abc import Iterator

import pytest

from tests.kit.auditor import audit
from tests.kit.ledger import Ledger
from tests.kit.postgres import Database, Server
from tests.kit.service import ServiceProcess, transaction_service


@pytest.fixture(scope="session")
def ledger_database(postgres_server: Server) -> Iterator[Database]:
    with postgres_server.fresh_database() as fresh:
        yield fresh


@pytest.fixture(scope="session")
def ledger_service(ledger_database: Database, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    """Whatever was sent to it, at the end it stops in order, has had no error of its own and left sound
    books. Nobody pays out what `bank` is to pay."""
    folder = tmp_path_factory.mktemp("ledger")
    with transaction_service(ledger_database, folder, PAYOUT_PROVIDERS="bank=127.0.0.1:9") as service:
        yield service
        assert service.stop() == 0
        audit(ledger_database.owner_dsn)
        assert [event for event in service.events() if event.get("level") not in ("info", "warning")] == []


@pytest.fixture(scope="session")
def target(ledger_service: ServiceProcess) -> str:
    return ledger_service.targets[0]


@pytest.fixture(scope="session")
def ledger(ledger_database: Database) -> Ledger:
    return Ledger(ledger_database)
