"""The ledgers that the contract tests run against."""

from collections.abc import Iterator

import pytest

from tests.kit.ledgers import Ledger, memory_ledger, postgres_ledger


@pytest.fixture(params=["memory", "postgresql"])
def ledger(request: pytest.FixtureRequest) -> Iterator[Ledger]:
    """Every adapter in turn; the database is shared by the tests of a file."""
    if request.param == "memory":
        yield memory_ledger()
        return
    with postgres_ledger(request.getfixturevalue("database")) as on_postgresql:
        yield on_postgresql
