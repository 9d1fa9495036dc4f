"""Whatever dies when, a payout is paid once or reversed once."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kit.payout_campaign import FAULTS, KILLS, WITHDRAWALS, campaign
from tests.kit.postgres import Database, Server

SEED = 1


@pytest.fixture
def fresh(postgres_server: Server) -> Iterator[Database]:
    with postgres_server.fresh_database() as database:
        yield database


@pytest.mark.timeout(240)
def test_every_withdrawal_is_paid_once_or_reversed_once(fresh: Database, tmp_path: Path) -> None:
    figures = campaign(fresh, tmp_path, SEED)
    assert figures["paid"] + figures["reversed"] == WITHDRAWALS
    for name in ("service", "office 1", "office 2", "bank"):
        assert figures[f"killed: {name}"] == KILLS
    # All of it has happened, or it would show nothing.
    happened = {"delay", *FAULTS} - {"delay_ms", "delay_share", "refuse", "pending"}
    assert all(figures[f"fault: {fault}"] for fault in happened)
    others = ("paid", "reversed", "of them at a later try", "sent again", "postponed", "retried by an operator")
    assert all(figures[name] for name in others)
