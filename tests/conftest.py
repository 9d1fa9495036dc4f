"""What tests of more than one kind use: a real PostgreSQL, a whole running stack, a real browser."""

import signal
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from tests.kit.browser import Pages, running_browser, running_pages
from tests.kit.postgres import Database, Server, running_server
from tests.kit.stack import Stack, running_stack

# A shell that starts the tests in the background has SIGINT ignored, and so would have all programs that they start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


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
def pages() -> Iterator[Pages]:
    """Web pages, of an origin that the stack's gateway lets in and of one that it does not."""
    with running_pages() as running:
        yield running


@pytest.fixture(scope="session")
def stack(pages: Pages) -> Iterator[Stack]:
    """Everything, running: for tests that come through the gateway."""
    outside = ("--payout-simulator", "--private-webhooks")
    with running_stack(("--ephemeral", "--cors-origin", pages.known, *outside)) as running:
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium, for the tests of one file."""
    with running_browser() as running:
        yield running
