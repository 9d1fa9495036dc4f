"""What tests of more than one kind use: a real PostgreSQL, and a whole running stack."""

from collections.abc import Iterator

import pytest

from tests.kit.postgres import Database, Server, running_server
from tests.kit.stack import Stack, running_stack


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Server]:
    """A PostgreSQL server for the whole session."""
    with running_server() as server:
        yield server


@pytest.fixture(scope="module")
def database(postgres_server: Server) -> Iterator[Database]:
    """A fresh, migrated, empty database for the tests of one file."""
    with postgres_server.fresh_database() as fresh:
        yield fresh


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    """Everything, running: for tests that come through the gateway."""
    with running_stack() as running:
        yield running
