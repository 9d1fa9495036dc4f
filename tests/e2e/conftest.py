"""What several tests of the gateway use."""

from collections.abc import Iterator

import pytest

from tests.kit.standin import StandIn, standin


@pytest.fixture(scope="module")
def service() -> Iterator[StandIn]:
    """What stands behind a gateway that is tested alone."""
    with standin() as running:
        yield running
